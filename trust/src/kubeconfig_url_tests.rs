use rstest::rstest;

use super::*;

#[rstest]
#[case("https://example.com", "example.com:443", "/", "https://example.com:443/")]
#[case("HTTPS://Files.Example.COM/d.conf", "files.example.com:443", "/d.conf", "https://files.example.com:443/d.conf")]
#[case("https://192.0.2.1:8443/a/b", "192.0.2.1:8443", "/a/b", "https://192.0.2.1:8443/a/b")]
#[case("https://[2001:DB8::1]:8443/a", "[2001:db8::1]:8443", "/a", "https://[2001:db8::1]:8443/a")]
#[case("https://[::1]/a", "[::1]:443", "/a", "https://[::1]:443/a")]
#[case("https://a/x@y:z", "a:443", "/x@y:z", "https://a:443/x@y:z")]
#[case("https://a/%20?k=s3cret&x=/", "a:443", "/%20?k=s3cret&x=/", "https://a:443/%20")]
#[case("https://a?k=s3cret", "a:443", "/?k=s3cret", "https://a:443/")]
fn a_url_is_a_server_and_what_to_ask_it_for(
    #[case] text: &str,
    #[case] server: &str,
    #[case] asked: &str,
    #[case] shown: &str,
) {
    let url = KubeconfigUrl::parse(text).unwrap();
    assert_eq!((url.server().to_string().as_str(), url.path_and_query().as_str()), (server, asked));
    assert_eq!((url.to_string(), format!("{url:?}")), (shown.to_owned(), format!("KubeconfigUrl({shown})")));
}

#[rstest]
#[case("http://a/d.conf", KubeconfigUrlError::Scheme { scheme: "http".to_owned() })]
#[case("ftp://a/d.conf", KubeconfigUrlError::Scheme { scheme: "ftp".to_owned() })]
#[case("file://a/d.conf", KubeconfigUrlError::Scheme { scheme: "file".to_owned() })]
#[case("://a/d.conf", KubeconfigUrlError::Scheme { scheme: String::new() })]
#[case("https://user:s3cret@a/d.conf", KubeconfigUrlError::UserInformation)]
#[case("https://s3cret@a", KubeconfigUrlError::UserInformation)]
#[case("https://@a/d.conf", KubeconfigUrlError::UserInformation)]
#[case("https://a@b@c/d.conf", KubeconfigUrlError::UserInformation)]
#[case("https://a/d.conf#s3cret", KubeconfigUrlError::Fragment)]
#[case("https://a#@b/d.conf", KubeconfigUrlError::Fragment)]
#[case("https://a/d conf", KubeconfigUrlError::Characters)]
#[case("https://a/d\nhost: b", KubeconfigUrlError::Characters)]
#[case("https://a/\u{e9}", KubeconfigUrlError::Characters)]
#[case("https://b\u{fc}cher.example/", KubeconfigUrlError::Characters)]
#[case("https://a\\@b/", KubeconfigUrlError::Url)]
#[case("https://", KubeconfigUrlError::Url)]
#[case("https:///d.conf", KubeconfigUrlError::Url)]
#[case("https://a:0/d.conf", KubeconfigUrlError::Host)]
#[case("https://a:65536/d.conf", KubeconfigUrlError::Host)]
#[case("https://a:/d.conf", KubeconfigUrlError::Host)]
#[case("https://a_b/d.conf", KubeconfigUrlError::Host)]
#[case("https://127.1/d.conf", KubeconfigUrlError::Host)]
#[case("https://[::1%eth0]/d.conf", KubeconfigUrlError::Host)]
#[case("https://%61/d.conf", KubeconfigUrlError::Url)]
fn what_is_more_or_less_than_that_is_refused(#[case] text: &str, #[case] expected: KubeconfigUrlError) {
    let error = KubeconfigLocation::parse(text).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
    assert_eq!(error, expected);
}

#[test]
fn a_url_has_an_end() {
    let of = |length: usize| format!("https://a/{}", "x".repeat(length - "https://a/".len()));
    assert!(KubeconfigUrl::parse(&of(MAX_URL_BYTES)).is_ok());
    let error = KubeconfigUrl::parse(&of(MAX_URL_BYTES + 1)).unwrap_err();
    assert_eq!(error, KubeconfigUrlError::Length { length: MAX_URL_BYTES + 1 });
}

#[rstest]
#[case("/etc/d.conf", "/etc/d.conf")]
#[case("d.conf", "d.conf")]
#[case("file:///etc/d.conf", "/etc/d.conf")]
#[case("/etc/http://d.conf", "/etc/http://d.conf")]
#[case("https:/etc/d.conf", "https:/etc/d.conf")]
fn what_is_no_url_is_a_path(#[case] text: &str, #[case] path: &str) {
    assert_eq!(KubeconfigLocation::parse(text), Ok(KubeconfigLocation::Path(path.to_owned())));
}
