use super::*;
use crate::file::Content;
use crate::kubeconfigs::kubeconfigs;
use rstest::rstest;
use x509_parser::prelude::{FromDer, X509Certificate};

const RSA: &str = include_str!("../testdata/rsa.crt");
const RSA_PKCS1: &str = include_str!("../testdata/rsa.key");
const RSA_PKCS8: &str = include_str!("../testdata/rsa.pkcs8.key");
/// `openssl` writes the curve's parameters before the key.
const EC: &str = include_str!("../testdata/ec.crt");
const EC_SEC1: &str = include_str!("../testdata/ec.key");
const EC_PKCS8: &str = include_str!("../testdata/ec.pkcs8.key");
/// Two of `DC` in its subject, and the key of [`EC`].
const TWICE: &str = include_str!("../testdata/dc.crt");
/// No authority, with the key of [`EC`].
const LEAF: &str = include_str!("../testdata/leaf.crt");
const P521: &str = include_str!("../testdata/p521.crt");
const P521_KEY: &str = include_str!("../testdata/p521.key");

fn configuration(version: &str, more: &str) -> ClusterConfiguration {
    let text = format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: {version}\n\
         controlPlaneEndpoint: cp.example.org:6443\ncertificatesDir: /pki\n{more}"
    );
    ClusterConfiguration::parse(&text).unwrap()
}

fn member() -> Member {
    Member {
        node_name: "cp-2".parse().unwrap(),
        advertise_address: "192.0.2.10".parse().unwrap(),
        bind_port: Member::DEFAULT_BIND_PORT,
    }
}

fn files(certificate: &str, key: &str) -> Vec<File> {
    let file = |path: &str, text: &str| File {
        path: PathBuf::from(path),
        mode: File::PRIVATE,
        content: Content::from(text.to_owned()),
    };
    let names = ["/pki/ca", "/pki/front-proxy-ca", "/pki/etcd/ca"];
    names
        .iter()
        .flat_map(|name| [file(&format!("{name}.crt"), certificate), file(&format!("{name}.key"), key)])
        .collect()
}

/// 2027-01-15T08:00:00Z.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(500_000)
}

fn make(certificate: &str, key: &str) -> Result<Vec<File>, CertificateError> {
    certificates(&configuration("v1.37.2", ""), &member(), &files(certificate, key), now())
}

fn find<'a>(files: &'a [File], path: &str) -> &'a File {
    files.iter().find(|file| file.path == Path::new(path)).unwrap()
}

fn subject(file: &File) -> String {
    let (_, der) = crate::pem::first_block(file.content.text().unwrap(), &["CERTIFICATE"]).unwrap();
    let (_, parsed) = X509Certificate::from_der(der.as_bytes()).unwrap();
    parsed.subject().to_string()
}

#[rstest]
#[case::pkcs1(RSA, RSA_PKCS1)]
#[case::rsa_pkcs8(RSA, RSA_PKCS8)]
#[case::sec1(EC, EC_SEC1)]
#[case::ec_pkcs8(EC, EC_PKCS8)]
#[case::chain(&format!("{EC}{RSA}"), EC_SEC1)]
#[case::windows(&EC.replace('\n', "\r\n"), &EC_SEC1.replace('\n', "\r\n"))]
fn authorities_of_every_form_sign(#[case] certificate: &str, #[case] key: &str) {
    let made = make(certificate, key).unwrap();
    assert_eq!(made.len(), 14);
    assert!(made.iter().all(|file| file.mode == if file.path.extension().unwrap() == "key" { 0o600 } else { 0o644 }));
    let key = find(&made, "/pki/apiserver.key");
    assert!(key.content.text().unwrap().starts_with("-----BEGIN EC PRIVATE KEY-----\n"));
}

#[rstest]
#[case::other_key(RSA, EC_SEC1, "another public key")]
#[case::leaf(LEAF, EC_SEC1, "may sign no others")]
#[case::no_certificate(EC_SEC1, EC_SEC1, "no certificate")]
#[case::curve(P521, P521_KEY, "/pki/ca.key holds no key")]
#[case::no_key(RSA, RSA, "/pki/ca.key holds no key")]
#[case::twice(TWICE, EC_SEC1, "more than once")]
fn authorities_that_cannot_sign_are_named(#[case] certificate: &str, #[case] key: &str, #[case] expected: &str) {
    let error = make(certificate, key).unwrap_err().to_string();
    assert!(error.contains("/pki/ca.") && error.contains(expected), "{error}");
}

#[test]
fn an_authority_that_was_not_given_is_named() {
    let mut files = files(RSA, RSA_PKCS1);
    files.retain(|file| file.path != Path::new("/pki/etcd/ca.key"));
    let error = certificates(&configuration("v1.37.2", ""), &member(), &files, now()).unwrap_err();
    assert_eq!(error, CertificateError::NotGiven { path: "/pki/etcd/ca.key".into() });
}

#[rstest]
#[case("v1.35.4", "O=kubeadm:cluster-admins, CN=kube-apiserver-kubelet-client")]
#[case("v1.36.3", "CN=kube-apiserver-kubelet-client")]
#[case("v1.37.2", "CN=kube-apiserver-kubelet-client")]
fn an_api_server_is_an_administrator_of_kubelets_before_1_36(#[case] version: &str, #[case] expected: &str) {
    let made = certificates(&configuration(version, ""), &member(), &files(RSA, RSA_PKCS1), now()).unwrap();
    assert_eq!(subject(find(&made, "/pki/apiserver-kubelet-client.crt")), expected);
}

#[test]
fn without_a_member_of_etcd_there_are_no_certificates_for_it() {
    let etcd = "etcd: {external: {endpoints: ['https://e:2379']}}\n";
    let made = certificates(&configuration("v1.37.2", etcd), &member(), &files(RSA, RSA_PKCS1), now()).unwrap();
    assert_eq!(made.len(), 6);
}

#[test]
fn a_validity_beyond_all_calendars_is_refused() {
    let more = "certificateValidityPeriod: 87600000h0m0s\n";
    let error = certificates(&configuration("v1.37.2", more), &member(), &files(RSA, RSA_PKCS1), now()).unwrap_err();
    assert!(matches!(error, CertificateError::Time { .. }));
}

#[rstest]
#[case(SystemTime::UNIX_EPOCH)]
#[case(SystemTime::UNIX_EPOCH - Duration::from_secs(1))]
#[case(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 60))]
fn a_clock_that_is_far_off_is_refused(#[case] now: SystemTime) {
    let error = certificates(&configuration("v1.37.2", ""), &member(), &files(RSA, RSA_PKCS1), now).unwrap_err();
    assert!(matches!(error, CertificateError::Time { .. }));
}

#[test]
fn no_key_is_in_what_is_printed() {
    let files = files(RSA, RSA_PKCS1);
    let mut made = certificates(&configuration("v1.37.2", ""), &member(), &files, now()).unwrap();
    made.extend(kubeconfigs(&configuration("v1.37.2", ""), &member(), &files, now()).unwrap());
    let printed = format!("{made:?}");
    assert!(!printed.contains("BEGIN") && !printed.contains("LS0t") && !printed.contains("45, 45"), "{printed}");
}

/// A fuzzer that starts from files which the first check refuses explores nothing: with `good-*` certificates are made, with
/// others not.
#[test]
fn seeds_of_the_fuzz_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/shared_certificates");
    let mut good = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let content = std::fs::read(&path).unwrap();
        // What is no text is the inside of a certificate, as the target has it.
        let text = String::from_utf8(content).or_else(|der| certificate_pem(der.as_bytes())).unwrap();
        let is_key = text.contains("PRIVATE KEY-----");
        let made = if is_key { make(EC, &text) } else { make(&text, EC_SEC1) };
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(made.is_ok(), name.starts_with("good-"), "{name}: {:?}", made.err());
        good += usize::from(made.is_ok());
    }
    assert!(good > 0, "no seed is accepted");
}
