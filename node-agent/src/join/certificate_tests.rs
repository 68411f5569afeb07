use k8s_openapi::api::certificates::v1::{CertificateSigningRequestCondition, CertificateSigningRequestStatus};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::*;

/// A certificate authority as PEM, and what signs with it.
fn authority() -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), Issuer::new(params, key))
}

/// What a signer would issue for a key.
fn issued(
    key: &MachineKey,
    name: &str,
    issuer: &Issuer<'static, KeyPair>,
    change: impl Fn(&mut CertificateParams),
) -> String {
    let key = KeyPair::from_pem(&key.to_pem().unwrap()).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
    params.distinguished_name.push(DnType::CommonName, name);
    change(&mut params);
    params.signed_by(&key, issuer).unwrap().pem()
}

#[test]
fn only_the_certificate_that_was_asked_for_is_accepted() {
    let (ca, issuer) = authority();
    let (_, stranger) = authority();
    let bundle = CaBundle::parse_pem(ca.as_bytes()).unwrap();
    let (key, other_key) = (MachineKey::generate().unwrap(), MachineKey::generate().unwrap());
    let node = NodeName::parse("worker-1").unwrap();
    let name = "system:node:worker-1";
    let check = |pem: &str| check(pem.as_bytes(), key.pin(), &node, &bundle);

    assert_eq!(check(&issued(&key, name, &issuer, |_| {})), Ok(()));
    for (pem, expected) in [
        (issued(&other_key, name, &issuer, |_| {}), "its key is"),
        (issued(&key, "system:node:worker-2", &issuer, |_| {}), "expected CN=system:node:worker-1"),
        (issued(&key, name, &issuer, |params| params.not_after = rcgen::date_time_ymd(2001, 1, 1)), "clock"),
        (issued(&key, name, &issuer, |params| params.not_before = rcgen::date_time_ymd(4000, 1, 1)), "clock"),
        (issued(&key, name, &stranger, |_| {}), "no certificate authority of this cluster"),
        ("nothing".to_owned(), "not one PEM block"),
        (key.client_csr(&node).unwrap(), "no X.509 certificate"),
    ] {
        let reason = check(&pem).expect_err(expected);
        assert!(reason.contains(expected), "expected {expected:?} in: {reason}");
    }
}

fn request(conditions: &[&str], certificate: Option<&str>) -> CertificateSigningRequest {
    let condition = |kind: &&str| CertificateSigningRequestCondition {
        type_: (*kind).to_owned(),
        status: "True".to_owned(),
        reason: Some("PinnedKey".to_owned()),
        message: Some("key is another".to_owned()),
        ..CertificateSigningRequestCondition::default()
    };
    CertificateSigningRequest {
        status: Some(CertificateSigningRequestStatus {
            conditions: Some(conditions.iter().map(condition).collect()),
            certificate: certificate.map(|text| ByteString(text.as_bytes().to_vec())),
        }),
        ..CertificateSigningRequest::default()
    }
}

#[test]
fn a_request_ends_with_a_certificate_a_denial_or_a_failure() {
    assert_eq!(outcome("a", &CertificateSigningRequest::default()).unwrap(), None);
    assert_eq!(outcome("a", &request(&["Approved"], None)).unwrap(), None);
    assert_eq!(outcome("a", &request(&["Approved"], Some(""))).unwrap(), None);
    assert_eq!(outcome("a", &request(&["Approved"], Some("pem"))).unwrap(), Some(ByteString(b"pem".to_vec())));
    let denied = outcome("a", &request(&["Denied"], None)).unwrap_err().to_string();
    assert_eq!(denied, "certificate request a was denied: PinnedKey: key is another");
    // A certificate beside a denial is not taken.
    assert!(matches!(outcome("a", &request(&["Denied"], Some("pem"))), Err(Error::Denied { .. })));
    assert!(matches!(outcome("a", &request(&["Approved", "Failed"], None)), Err(Error::Failed { .. })));
}
