use std::fmt::Write as _;

use rstest::rstest;

use super::*;

/// A discovery file with everything that is supported; tests replace parts of it.
const FULL: &str = r"apiVersion: v1
kind: Config
clusters:
- name: other
  cluster:
    server: https://198.51.100.1:6443
- name: lab
  cluster:
    server: https://192.0.2.1:6443
    certificate-authority-data: aGVsbG8=
contexts:
- name: node@lab
  context:
    cluster: lab
    user: node
current-context: node@lab
users:
- name: node
  user:
    token: abc.def
preferences: {}
";

fn full_with(from: &str, to: &str) -> String {
    assert!(FULL.contains(from), "{from}");
    FULL.replace(from, to)
}

#[test]
fn the_current_contexts_cluster_and_user_are_read() {
    let file = DiscoveryFile::parse(FULL).unwrap();
    assert_eq!(file.endpoint.to_string(), "192.0.2.1:6443");
    assert_eq!(file.ca, Some(Material::Inline(Zeroizing::new(b"hello".to_vec()))));
    assert_eq!(file.credentials, Credentials::Token(Zeroizing::new("abc.def".to_owned())));
}

#[test]
fn an_unnamed_cluster_is_meant_before_the_current_contexts() {
    let file = DiscoveryFile::parse(&full_with("name: other", "name: \"\"")).unwrap();
    assert_eq!(file.endpoint.to_string(), "198.51.100.1:6443");
}

#[test]
fn one_cluster_is_enough() {
    let file = DiscoveryFile::parse("clusters: [{name: a, cluster: {server: 'https://a:1'}}]").unwrap();
    assert_eq!((file.endpoint.to_string().as_str(), file.ca, file.credentials), ("a:1", None, Credentials::Anonymous));
}

#[rstest]
#[case("token: abc.def", "tokenFile: /etc/token", Credentials::TokenFile("/etc/token".to_owned()))]
#[case("token: abc.def", "{}", Credentials::Anonymous)]
#[case(
    "token: abc.def",
    "client-certificate: c.pem\n    client-key-data: a2V5",
    Credentials::ClientCertificate {
        certificate: Material::File("c.pem".to_owned()),
        key: Material::Inline(Zeroizing::new(b"key".to_vec())),
    }
)]
#[case("    user: node", "    user: \"\"", Credentials::Anonymous)]
fn credentials_are_optional_and_of_three_kinds(#[case] from: &str, #[case] to: &str, #[case] expected: Credentials) {
    assert_eq!(DiscoveryFile::parse(&full_with(from, to)).unwrap().credentials, expected);
}

#[rstest]
#[case("token: abc.def", "exec: {command: sh}", KubeconfigError::Unsupported { field: "exec" })]
#[case("token: abc.def", "auth-provider: {name: gcp}", KubeconfigError::Unsupported { field: "auth-provider" })]
#[case("token: abc.def", "username: a", KubeconfigError::Unsupported { field: "username" })]
#[case("token: abc.def", "password: a", KubeconfigError::Unsupported { field: "password" })]
#[case("token: abc.def", "as: a", KubeconfigError::Unsupported { field: "as" })]
#[case("token: abc.def", "client-key: a", KubeconfigError::Missing { field: "client-certificate" })]
#[case("token: abc.def", "client-certificate: a", KubeconfigError::Missing { field: "client-key" })]
#[case("token: abc.def", "client-key-data: '!'", KubeconfigError::Base64 { field: "client-key-data" })]
#[case(
    "token: abc.def",
    "token: a\n    tokenFile: b",
    KubeconfigError::Both { first: "token", second: "tokenFile" }
)]
#[case(
    "token: abc.def",
    "token: a\n    client-key: b",
    KubeconfigError::Both { first: "token", second: "client-certificate" }
)]
#[case("token: abc.def", "token: \"a\\r\\nb\"", KubeconfigError::Token { length: 4 })]
#[case("aGVsbG8=", "aGVsbG8", KubeconfigError::Base64 { field: "certificate-authority-data" })]
#[case(
    "certificate-authority-data: aGVsbG8=",
    "certificate-authority-data: aGVsbG8=\n    certificate-authority: ca.crt",
    KubeconfigError::Both { first: "certificate-authority-data", second: "certificate-authority" }
)]
#[case(
    "certificate-authority-data: aGVsbG8=",
    "insecure-skip-tls-verify: true",
    KubeconfigError::Unsupported { field: "insecure-skip-tls-verify" }
)]
#[case(
    "certificate-authority-data: aGVsbG8=",
    "proxy-url: http://p",
    KubeconfigError::Unsupported { field: "proxy-url" }
)]
#[case(
    "certificate-authority-data: aGVsbG8=",
    "tls-server-name: p",
    KubeconfigError::Unsupported { field: "tls-server-name" }
)]
#[case("server: https://192.0.2.1:6443", "server: ''", KubeconfigError::Missing { field: "server" })]
#[case("current-context: node@lab", "current-context: gone", KubeconfigError::Dangling { what: "context" })]
#[case("current-context: node@lab", "", KubeconfigError::Clusters { count: 2 })]
#[case("    cluster: lab", "    cluster: gone", KubeconfigError::Dangling { what: "cluster" })]
#[case("    user: node", "    user: gone", KubeconfigError::Dangling { what: "user" })]
#[case("apiVersion: v1", "apiVersion: v2", KubeconfigError::Kind { api_version: "v2".to_owned(), kind: "Config".to_owned() })]
#[case("kind: Config", "kind: Secret", KubeconfigError::Kind { api_version: "v1".to_owned(), kind: "Secret".to_owned() })]
fn what_cannot_be_carried_out_is_refused_by_name(
    #[case] from: &str,
    #[case] to: &str,
    #[case] expected: KubeconfigError,
) {
    assert_eq!(DiscoveryFile::parse(&full_with(from, to)), Err(expected));
}

/// What the machine reads is not for the network to say; what stands in the file itself is taken.
#[rstest]
#[case("token: abc.def", "tokenFile: /etc/token", "tokenFile", "token")]
#[case(
    "token: abc.def",
    "client-certificate: c.pem\n    client-key-data: a2V5",
    "client-certificate",
    "client-certificate-data"
)]
#[case("token: abc.def", "client-certificate-data: Yw==\n    client-key: k.pem", "client-key", "client-key-data")]
#[case(
    "certificate-authority-data: aGVsbG8=",
    "certificate-authority: /etc/ca.crt",
    "certificate-authority",
    "certificate-authority-data"
)]
fn a_fetched_file_names_no_file(
    #[case] from: &str,
    #[case] to: &str,
    #[case] field: &'static str,
    #[case] instead: &'static str,
) {
    let text = full_with(from, to);
    assert!(DiscoveryFile::parse(&text).is_ok());
    assert_eq!(DiscoveryFile::parse_fetched(&text), Err(KubeconfigError::LocalFile { field, instead }));
}

#[rstest]
#[case("token: abc.def")]
#[case("{}")]
#[case("client-certificate-data: Yw==\n    client-key-data: a2V5")]
fn a_fetched_file_may_hold_credentials(#[case] to: &str) {
    let text = full_with("token: abc.def", to);
    assert_eq!(DiscoveryFile::parse_fetched(&text), DiscoveryFile::parse(&text));
}

#[test]
fn a_fetched_file_runs_nothing() {
    let error = DiscoveryFile::parse_fetched(&full_with("token: abc.def", "exec: {command: sh}")).unwrap_err();
    assert_eq!(error, KubeconfigError::Unsupported { field: "exec" });
}

#[rstest]
#[case("")]
#[case("[]")]
#[case("clusters: 7")]
#[case("clusters: [{cluster: {server: [a]}}]")]
#[case("a: b: c")]
#[case("clusters:\n- cluster:\n    server: https://a:1\n    server: https://b:1")]
#[case("\u{0}")]
fn what_is_no_kubeconfig_is_refused(#[case] text: &str) {
    assert!(DiscoveryFile::parse(text).is_err(), "{:?}", DiscoveryFile::parse(text));
}

#[test]
fn sizes_are_bounded() {
    let long = format!("{FULL}#{}", "x".repeat(MAX_KUBECONFIG_BYTES));
    assert_eq!(DiscoveryFile::parse(&long), Err(KubeconfigError::Size { length: long.len() }));
    let token = "t".repeat(MAX_BEARER_TOKEN_BYTES + 1);
    let error = DiscoveryFile::parse(&full_with("abc.def", &token)).unwrap_err();
    assert_eq!(error, KubeconfigError::Token { length: token.len() });
}

#[test]
fn a_document_that_grows_when_it_is_read_is_refused() {
    // "A billion laughs": nine levels of nine references each.
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let references = vec![format!("*a{}", level - 1); 9].join(", ");
        writeln!(bomb, "a{level}: &a{level} [{references}]").unwrap();
    }
    assert!(matches!(DiscoveryFile::parse(&bomb), Err(KubeconfigError::Yaml { .. })));
}

#[test]
fn secrets_are_neither_printed_nor_repeated_in_errors() {
    let secrets = full_with("token: abc.def", "client-certificate-data: Yw==\n    client-key-data: c3VwZXJzZWNyZXQ=");
    for text in [FULL, &secrets] {
        let printed = format!("{:?}", DiscoveryFile::parse(text).unwrap());
        assert!(!printed.contains("abc.def") && !printed.contains("115, 117, 112"), "{printed}");
    }
    for broken in
        ["token: [abc.def]", "token: abc.def\n    token: abc.def", "token: \"abc.def\\q\"", "token: \"abc.def x\""]
    {
        let error = DiscoveryFile::parse(&full_with("token: abc.def", broken)).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("abc.def"), "{error:?}");
    }
}
