use x509_cert::der::Decode as _;

use super::*;
use crate::pkcs10::{AttributeKind, CertificationRequest, KeyKind};

const GO_PKCS8: &str = include_str!("../testdata/go-key.pkcs8.pem");
const GO_SEC1: &str = include_str!("../testdata/go-key.sec1.pem");
const GO_CLIENT_CSR: &str = include_str!("../testdata/go-client.csr.pem");

/// The signed part of a request and its signature algorithm, as DER.
fn signed_part(pem: &str) -> (Vec<u8>, Vec<u8>) {
    use x509_cert::der::Encode as _;
    let request = x509_cert::request::CertReq::from_der(pem::parse(pem).unwrap().contents()).unwrap();
    (request.info.to_der().unwrap(), request.algorithm.to_der().unwrap())
}

#[test]
fn the_sec1_form_is_gos_to_the_byte() {
    let key = MachineKey::from_pem(GO_PKCS8).unwrap();
    assert_eq!(key.to_sec1_pem().unwrap().as_str(), GO_SEC1);
}

#[test]
fn the_client_request_is_a_kubelets_to_the_byte() {
    let key = MachineKey::from_pem(GO_PKCS8).unwrap();
    let ours = key.client_csr(&NodeName::parse("worker-7").unwrap()).unwrap();
    assert_eq!(signed_part(&ours), signed_part(GO_CLIENT_CSR));
    let request = CertificationRequest::parse_pem(ours.as_bytes()).unwrap();
    request.verify_signature().unwrap();
    assert_eq!(request.pin(), key.pin());
    assert_eq!(*request.key_kind(), KeyKind::P256);
    assert!(request.names().is_empty() && request.extensions().is_empty());
    let kinds: Vec<_> = request.subject().iter().map(|attribute| attribute.kind.clone()).collect();
    assert_eq!(kinds, [AttributeKind::Organization, AttributeKind::CommonName]);
}

#[test]
fn the_longest_node_name_can_be_asked_for() {
    let key = MachineKey::generate().unwrap();
    let name = NodeName::parse(&"a".repeat(253)).unwrap();
    let request = key.client_csr(&name).unwrap();
    let request = CertificationRequest::parse_pem(request.as_bytes()).unwrap();
    assert_eq!(request.common_name(), Some(name.user_name().as_str()));
}

#[test]
fn keys_survive_a_round_trip() {
    let key = MachineKey::generate().unwrap();
    let text = key.to_pem().unwrap();
    assert!(text.starts_with("-----BEGIN PRIVATE KEY-----\n") && text.ends_with("-----END PRIVATE KEY-----\n"));
    let again = MachineKey::from_pem(&text).unwrap();
    assert_eq!(again.pin(), key.pin());
    assert_eq!(again.public_key_der(), key.public_key_der());
    assert_eq!(PublicKeyPin::of_spki(&key.public_key_der()), key.pin());
    assert_eq!(again.to_pem().unwrap(), text);
    assert_ne!(MachineKey::generate().unwrap().pin(), key.pin());
}

#[test]
fn what_is_no_machine_key_is_refused() {
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    for (text, expected) in [
        (String::new(), MachineKeyError::Pem),
        ("no key".to_owned(), MachineKeyError::Pem),
        (GO_SEC1.to_owned(), MachineKeyError::Pem),
        (format!("{GO_PKCS8}{GO_PKCS8}"), MachineKeyError::Pem),
        (GO_CLIENT_CSR.to_owned(), MachineKeyError::Pem),
        (p384.serialize_pem(), MachineKeyError::Kind),
        (ed25519.serialize_pem(), MachineKeyError::Kind),
        (crate::pem_text::encode(PKCS8_TAG, b"\x30\x00"), MachineKeyError::Kind),
        ("x".repeat(MAX_KEY_FILE_BYTES + 1), MachineKeyError::Size { length: MAX_KEY_FILE_BYTES + 1 }),
    ] {
        assert_eq!(MachineKey::from_pem(&text).map(|key| key.pin()), Err(expected), "{text}");
    }
}

#[test]
fn a_key_prints_its_pin_only() {
    let key = MachineKey::from_pem(GO_PKCS8).unwrap();
    assert_eq!(format!("{key:?}"), format!("MachineKey({})", key.pin()));
}
