use proptest::prelude::*;
use rstest::rstest;

use super::*;

#[rstest]
#[case("192.0.2.1:6443", "192.0.2.1", 6443)]
#[case("[2001:db8::1]:6443", "2001:db8::1", 6443)]
#[case("[2001:0DB8:0::1]:6443", "2001:db8::1", 6443)]
#[case("api.example.org:443", "api.example.org", 443)]
#[case("localhost:1", "localhost", 1)]
#[case("a1:65535", "a1", 65535)]
fn addresses_are_read(#[case] address: &str, #[case] host: &str, #[case] port: u16) {
    let endpoint = Endpoint::parse(address).unwrap();
    assert_eq!((endpoint.host(), endpoint.port()), (host, port));
    assert_eq!(Endpoint::parse(&endpoint.to_string()), Ok(endpoint.clone()));
    assert_eq!(Endpoint::parse_url(&endpoint.url()), Ok(endpoint));
}

#[rstest]
#[case("")]
#[case("192.0.2.1")]
#[case("192.0.2.1:")]
#[case("192.0.2.1:0")]
#[case("192.0.2.1:65536")]
#[case("192.0.2.1:+443")]
#[case("192.0.2.1: 443")]
#[case("192.0.2.1:443 ")]
#[case(":6443")]
#[case("2001:db8::1:6443")]
#[case("[2001:db8::1]")]
#[case("[2001:db8::1:6443")]
#[case("[192.0.2.1]:6443")]
#[case("[fe80::1%eth0]:6443")]
#[case("300.1.1.1:6443")]
#[case("127.1:6443")]
#[case("0x7f.1:6443")]
#[case("API.example.org:6443")]
#[case("a b:6443")]
#[case("user@host:6443")]
#[case("host/path:6443")]
#[case("https://host:6443")]
#[case("-a:6443")]
fn what_is_no_address_is_refused(#[case] address: &str) {
    assert!(Endpoint::parse(address).is_err(), "{:?}", Endpoint::parse(address));
}

#[rstest]
#[case("https://192.0.2.1:6443", "192.0.2.1:6443")]
#[case("https://192.0.2.1:6443/", "192.0.2.1:6443")]
#[case("https://api.example.org", "api.example.org:443")]
#[case("https://[2001:db8::1]", "[2001:db8::1]:443")]
#[case("https://[2001:db8::1]:6443", "[2001:db8::1]:6443")]
#[case("HTTPS://192.0.2.1:6443", "192.0.2.1:6443")]
fn urls_are_read(#[case] url: &str, #[case] expected: &str) {
    assert_eq!(Endpoint::parse_url(url).unwrap().to_string(), expected);
}

#[rstest]
#[case("http://192.0.2.1:6443", "Scheme")]
#[case("ftp://192.0.2.1:6443", "Scheme")]
#[case("192.0.2.1:6443", "Url")]
#[case("/", "Url")]
#[case("", "Url")]
#[case("https://", "Url")]
#[case("https:///path", "Url")]
#[case("https://host:6443/path", "Extra")]
#[case("https://host:6443/?q", "Extra")]
#[case("https://host:6443?q", "Extra")]
#[case("https://host:6443#f", "Extra")]
#[case("https://host:6443/#f", "Extra")]
#[case("https://user:secret@host:6443", "Extra")]
#[case("https://host:0", "Port")]
#[case("https://host:", "Port")]
#[case("https://HOST:6443", "Host")]
#[case("https://ho_st:6443", "Host")]
#[case("https://1.2.3:6443", "Host")]
fn urls_that_say_something_else_are_refused(#[case] url: &str, #[case] variant: &str) {
    let error = Endpoint::parse_url(url).unwrap_err();
    assert!(format!("{error:?}").starts_with(variant), "{url}: {error:?}");
    assert!(!format!("{error:?}{error}").contains("secret"), "{error}");
}

#[test]
fn long_input_is_cut_off() {
    let long = format!("{}:6443", "a.".repeat(1000));
    assert!(matches!(Endpoint::parse(&long), Err(EndpointError::Length { .. })));
    assert!(matches!(Endpoint::parse_url(&format!("https://{long}")), Err(EndpointError::Length { .. })));
}

proptest! {
    #[test]
    fn any_text_is_parsed_without_a_panic_and_reads_itself_again(text in "[a-z0-9.:/@#?\\[\\]% A-Z-]{0,40}") {
        for endpoint in [Endpoint::parse(&text), Endpoint::parse_url(&text)].into_iter().flatten() {
            prop_assert_eq!(Endpoint::parse(&endpoint.to_string()), Ok(endpoint.clone()));
            prop_assert_eq!(Endpoint::parse_url(&endpoint.url()), Ok(endpoint));
        }
    }
}
