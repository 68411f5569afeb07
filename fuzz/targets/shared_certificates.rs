//! Entries of the Secret `kubeadm-certs`: their decryption, and a control plane's certificates by an authority from them.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use join_control_plane::{ClusterConfiguration, Member, SharedError, certificates, shared};
use join_trust::certificate_key::CertificateKey;
use join_trust::names::NodeName;
use libfuzzer_sys::fuzz_target;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// For tests only.
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const CERTIFICATE: &str = include_str!("../../control-plane/testdata/ec.crt");
const PRIVATE_KEY: &str = include_str!("../../control-plane/testdata/ec.pkcs8.key");
/// The entries of authorities; the rest are given as they should be.
const AUTHORITIES: [(&str, &str); 3] =
    [("ca.crt", "ca.key"), ("front-proxy-ca.crt", "front-proxy-ca.key"), ("etcd-ca.crt", "etcd-ca.key")];
/// A key is what has such a tag, everything else goes where a certificate should be.
const OF_A_KEY: &[u8] = b"PRIVATE KEY-----";

static CERTIFICATE_KEY: LazyLock<CertificateKey> = LazyLock::new(|| CertificateKey::parse(KEY).expect("a key"));
static CONFIGURATION: LazyLock<ClusterConfiguration> = LazyLock::new(|| {
    let text = include_str!("../seeds/cluster_configuration/good-uploaded.yaml");
    ClusterConfiguration::parse(text).expect("a configuration")
});
static MEMBER: LazyLock<Member> = LazyLock::new(|| Member {
    node_name: NodeName::parse("control-plane-2").expect("a name"),
    advertise_address: "192.0.2.2".parse().expect("an address"),
    bind_port: Member::DEFAULT_BIND_PORT,
});
static GOOD: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
    let public = pem::encode(&pem::Pem::new("PUBLIC KEY", [0x30, 0]));
    let mut entries = vec![("sa.pub", seal(public.as_bytes())), ("sa.key", seal(PRIVATE_KEY.as_bytes()))];
    for (certificate, key) in AUTHORITIES {
        entries.extend([(certificate, seal(CERTIFICATE.as_bytes())), (key, seal(PRIVATE_KEY.as_bytes()))]);
    }
    entries.into_iter().map(|(entry, sealed)| (entry.to_owned(), sealed)).collect()
});

/// Encrypts as kubeadm does.
fn seal(text: &[u8]) -> Vec<u8> {
    let key = hex::decode(KEY).expect("hexadecimal");
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).expect("a key of 32 bytes"));
    let mut sealed = text.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key([0; NONCE_LEN]), Aad::empty(), &mut sealed)
        .expect("a short text can be encrypted");
    [[0; NONCE_LEN].as_slice(), &sealed].concat()
}

fuzz_target!(|data: &[u8]| {
    let mut entries = GOOD.clone();
    // Nobody without the key can write an entry.
    entries.insert("ca.crt".to_owned(), data.to_vec());
    let refused = shared::decrypt(&entries, &CERTIFICATE_KEY, &CONFIGURATION).expect_err("this was not encrypted");
    assert!(matches!(refused, SharedError::Decrypt { .. } | SharedError::Empty { .. }), "{refused}");

    // Who has it can write anything into one. The first authority signs first, and ends the join when it cannot.
    let is_key = data.windows(OF_A_KEY.len()).any(|window| window == OF_A_KEY);
    let entry = if is_key { "ca.key" } else { "ca.crt" };
    let text = if is_key || data.starts_with(b"-") { data.into() } else { as_certificate(data) };
    entries.insert("ca.crt".to_owned(), GOOD["ca.crt"].clone());
    entries.insert(entry.to_owned(), seal(&text));
    let files = match shared::decrypt(&entries, &CERTIFICATE_KEY, &CONFIGURATION) {
        Ok(files) => files,
        Err(SharedError::Kind { entry: named, .. }) if named == entry => return,
        Err(error) => panic!("{error}"),
    };
    let read = files.iter().find(|file| file.path.ends_with(entry)).expect("the entry has a file");
    assert_eq!(read.content.expose(), text.as_ref(), "another text is written");
    assert_eq!(read.mode, if is_key { 0o600 } else { 0o644 });
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    match certificates(&CONFIGURATION, &MEMBER, &files, now) {
        Ok(made) => {
            assert!(made.iter().all(|file| file.path.starts_with(&CONFIGURATION.certificates_dir)));
            assert!(made.iter().all(|file| (file.mode == 0o600) == (file.path.extension() == Some("key".as_ref()))));
        }
        Err(error) => assert!(!error.to_string().contains("-----"), "a file's text is in an error"),
    }
});

/// DER inside of a block, so that both forms are mutated.
fn as_certificate(der: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("CERTIFICATE", der), config).into_bytes().into()
}
