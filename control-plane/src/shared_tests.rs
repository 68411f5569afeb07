use super::*;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rstest::rstest;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// Made by `EncryptBytes` of kubeadm 1.37.2 (`util/crypto`) with [`KEY`] from [`PUBLIC_KEY`].
const OF_KUBEADM: &str = "EOIODy9xH84cXQFKfXE07COM8W0jINUF5NUidzEyXCp+D+uG9MXkd4y09Z6GCl2tQ8rrS3XfXyx2KqU1nmwv2goYO4uh16vu8H3HHF5hDovTj4HV5q/42a83ZF74Qcbg63QHMA0TvR6vaZ5C1gnFqsY96kl+9wpHy6udqV5blMl6M9xVSmYiYLrrnq1ipqY45Cx9YHbSj7O5gh7bDwn9vFrel+WagsRqhFZwuBFk3R6LsZ7lV/MKmsxedjj42o9ic0/paE0oDcNvjYGRCfQ=";
const PUBLIC_KEY: &str = "\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt
6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==
-----END PUBLIC KEY-----
";
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
const RSA_KEY: &str = "-----BEGIN RSA PRIVATE KEY-----\nMAA=\n-----END RSA PRIVATE KEY-----\n";

fn key() -> CertificateKey {
    CertificateKey::parse(KEY).unwrap()
}

/// kubeadm's form, by the cipher alone.
fn encrypt(text: &[u8], nonce: [u8; 12]) -> Vec<u8> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &hex::decode(KEY).unwrap()).unwrap());
    let mut sealed = text.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed).unwrap();
    [nonce.to_vec(), sealed].concat()
}

fn configuration(etcd: &str) -> ClusterConfiguration {
    let text = format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: v1.37.2\n\
         controlPlaneEndpoint: cp:6443\ncertificatesDir: /pki\n{etcd}"
    );
    ClusterConfiguration::parse(&text).unwrap()
}

const EXTERNAL: &str =
    "etcd: {external: {endpoints: ['https://e:2379'], caFile: /e/ca, certFile: /e/c, keyFile: /e/k}}\n";
const INSECURE: &str = "etcd: {external: {endpoints: ['http://e:2379']}}\n";

fn data(texts: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    texts.iter().map(|(entry, text)| ((*entry).to_owned(), encrypt(text.as_bytes(), [7; 12]))).collect()
}

fn complete() -> BTreeMap<String, Vec<u8>> {
    data(&[
        ("ca.crt", CERTIFICATE),
        ("ca.key", RSA_KEY),
        ("front-proxy-ca.crt", CERTIFICATE),
        ("front-proxy-ca.key", RSA_KEY),
        ("sa.pub", PUBLIC_KEY),
        ("sa.key", RSA_KEY),
        ("etcd-ca.crt", CERTIFICATE),
        ("etcd-ca.key", RSA_KEY),
        ("external-etcd-ca.crt", CERTIFICATE),
        ("external-etcd.crt", CERTIFICATE),
        ("external-etcd.key", RSA_KEY),
    ])
}

#[test]
fn what_kubeadm_encrypted_is_decrypted() {
    let sealed = BASE64_STANDARD.decode(OF_KUBEADM).unwrap();
    assert_eq!(open(&key(), &sealed).unwrap().as_slice(), PUBLIC_KEY.as_bytes());
}

#[rstest]
#[case("", "/pki/etcd/ca.crt 644, /pki/etcd/ca.key 600")]
#[case(EXTERNAL, "/e/ca 644, /e/c 644, /e/k 600")]
#[case(INSECURE, "")]
fn files_are_those_that_the_configuration_asks_for(#[case] etcd: &str, #[case] of_etcd: &str) {
    let files = decrypt(&complete(), &key(), &configuration(etcd)).unwrap();
    let seen: Vec<_> = files.iter().map(|file| format!("{} {:o}", file.path.display(), file.mode)).collect();
    let common = "/pki/ca.crt 644, /pki/ca.key 600, /pki/front-proxy-ca.crt 644, /pki/front-proxy-ca.key 600, \
                  /pki/sa.pub 644, /pki/sa.key 600";
    let expected = [common, of_etcd].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ");
    assert_eq!(seen.join(", "), expected);
    let public_key = files.iter().find(|file| file.path.ends_with("sa.pub")).unwrap();
    assert_eq!(public_key.content.expose(), PUBLIC_KEY.as_bytes());
}

#[test]
fn an_entry_that_is_missing_empty_or_too_large_is_named() {
    let path = PathBuf::from("/pki/ca.crt");
    let with = |value: Option<Vec<u8>>| {
        let mut data = complete();
        data.remove("ca.crt");
        data.extend(value.map(|value| ("ca.crt".to_owned(), value)));
        decrypt(&data, &key(), &configuration("")).unwrap_err()
    };
    assert_eq!(with(None), SharedError::Missing { entry: "ca.crt", path: path.clone() });
    assert_eq!(with(Some(Vec::new())), SharedError::Empty { entry: "ca.crt", path });
    let length = MAX_ENTRY_BYTES + 1;
    assert_eq!(with(Some(vec![0; length])), SharedError::Size { entry: "ca.crt", length });
}

#[test]
fn a_wrong_key_is_told_from_wrong_content() {
    let other = CertificateKey::parse(&"ff".repeat(32)).unwrap();
    let expected = SharedError::Decrypt { entry: "ca.crt" };
    assert_eq!(decrypt(&complete(), &other, &configuration("")).unwrap_err(), expected);
}

#[rstest]
#[case("ca.crt", RSA_KEY, "certificate")]
#[case("ca.key", CERTIFICATE, "private key")]
#[case("sa.pub", RSA_KEY, "public key")]
#[case(
    "etcd-ca.key",
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n",
    "private key"
)]
#[case("sa.key", "-----BEGIN RSA PRIVATE KEY-----\n?\n-----END RSA PRIVATE KEY-----\n", "private key")]
#[case("sa.key", "", "private key")]
fn an_entry_of_another_kind_is_named(#[case] entry: &str, #[case] text: &str, #[case] kind: &str) {
    let mut all = complete();
    all.extend(data(&[(entry, text)]));
    let error = decrypt(&all, &key(), &configuration("")).unwrap_err();
    assert!(matches!(&error, SharedError::Kind { entry: named, expected, .. } if *named == entry && *expected == kind));
    assert!(!error.to_string().contains("MAA="), "{error}");
}

#[test]
fn neither_key_nor_content_is_printed() {
    let files = decrypt(&complete(), &key(), &configuration("")).unwrap();
    let printed = format!("{:?} {files:?}", key());
    assert!(!printed.contains("BEGIN") && !printed.contains("0001") && !printed.contains("[0, 1"), "{printed}");
}

proptest! {
    #[test]
    fn every_text_comes_back(text in prop::collection::vec(any::<u8>(), 0..200), nonce in any::<[u8; 12]>()) {
        let decrypted = open(&key(), &encrypt(&text, nonce)).unwrap();
        prop_assert_eq!(decrypted.as_slice(), text.as_slice());
    }

    #[test]
    fn a_changed_bit_is_noticed(text in prop::collection::vec(any::<u8>(), 0..50), at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let mut sealed = encrypt(&text, [3; 12]);
        let at = at.index(sealed.len());
        sealed[at] ^= 1_u8 << bit;
        prop_assert!(open(&key(), &sealed).is_none());
    }

    #[test]
    fn what_is_cut_off_is_refused(length in 0_usize..28) {
        prop_assert!(open(&key(), &encrypt(b"", [3; 12])[..length]).is_none());
    }
}
