use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::limits::{MAX_CA_BUNDLE_BYTES, MAX_CA_CERTIFICATES};
use crate::test_support::ca;

fn credentials() -> JoinCredentials {
    JoinCredentials {
        token: BootstrapToken::parse("abcdef.0123456789abcdef").unwrap(),
        api_server_endpoint: Endpoint::parse("[2001:db8::1]:6443").unwrap(),
        ca_bundle: CaBundle::parse_pem(ca("lab").0.as_bytes()).unwrap(),
        certificate_key: None,
    }
}

fn of_a_control_plane() -> JoinCredentials {
    JoinCredentials { certificate_key: Some(CertificateKey::parse(&"0a".repeat(32)).unwrap()), ..credentials() }
}

#[test]
fn credentials_survive_a_round_trip() {
    for credentials in [credentials(), of_a_control_plane()] {
        let json = credentials.to_json().unwrap();
        assert_eq!(JoinCredentials::parse(&json).unwrap(), credentials);
    }
}

#[test]
fn the_json_has_three_fields_and_a_control_planes_one_more() {
    let json = credentials().to_json().unwrap();
    let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let object = value.as_object().unwrap();
    assert_eq!(object.len(), 3);
    assert_eq!(object["token"], "abcdef.0123456789abcdef");
    assert_eq!(object["apiServerEndpoint"], "[2001:db8::1]:6443");
    assert!(object["caBundle"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----\n"));
    let more: serde_json::Value = serde_json::from_slice(&of_a_control_plane().to_json().unwrap()).unwrap();
    assert_eq!(more["certificateKey"], "0a".repeat(32));
}

#[test]
fn the_largest_bundle_fits() {
    let one = ca(&"n".repeat(900)).0;
    let count = MAX_CA_CERTIFICATES.min(MAX_CA_BUNDLE_BYTES / one.len());
    let bundle = CaBundle::parse_pem(one.repeat(count).as_bytes()).unwrap();
    assert!(bundle.to_pem().len() > MAX_CA_BUNDLE_BYTES - one.len(), "not the largest");
    let largest = JoinCredentials { ca_bundle: bundle, ..of_a_control_plane() };
    assert_eq!(JoinCredentials::parse(&largest.to_json().unwrap()).unwrap(), largest);
}

#[rstest]
#[case("", "Json")]
#[case("{}", "Json")]
#[case("[]", "Json")]
#[case(r#"{"token":"abcdef.0123456789abcdef","apiServerEndpoint":"a:1"}"#, "Json")]
#[case(r#"{"token":"abcdef.0123456789abcdef","apiServerEndpoint":"a:1","caBundle":"","more":1}"#, "Json")]
#[case(r#"{"token":"abcdef.0123456789abcdef","token":"x","apiServerEndpoint":"a:1","caBundle":""}"#, "Json")]
#[case(r#"{"token":"abcdef0123456789abcdef","apiServerEndpoint":"a:1","caBundle":""}"#, "Token")]
#[case(r#"{"token":"abcdef.0123456789abcdef","apiServerEndpoint":"a","caBundle":""}"#, "Endpoint")]
#[case(r#"{"token":"abcdef.0123456789abcdef","apiServerEndpoint":"a:1","caBundle":""}"#, "Ca")]
#[case(r#"{"token":"abcdef.0123456789abcdef","apiServerEndpoint":"a:1","caBundle":"","certificateKey":1}"#, "Json")]
#[case(r#"{"token":"abcdef.0123456789abcdef","apiServerEndpoint":"a:1","caBundle":""} x"#, "Json")]
fn what_is_wrong_is_named_without_the_secret(#[case] json: &str, #[case] variant: &str) {
    let error = JoinCredentials::parse(json.as_bytes()).unwrap_err();
    assert!(format!("{error:?}").starts_with(variant), "{error:?}");
    assert!(!format!("{error:?} {error}").contains("0123456789abcdef"), "{error:?}");
}

#[test]
fn sizes_are_bounded() {
    let mut json = credentials().to_json().unwrap().to_vec();
    json.resize(MAX_CREDENTIALS_BYTES, b' ');
    assert!(JoinCredentials::parse(&json).is_ok());
    json.push(b' ');
    assert_eq!(JoinCredentials::parse(&json), Err(CredentialsError::Size { length: json.len() }));
}

#[test]
fn the_secret_is_not_printed() {
    let printed = format!("{:?}", of_a_control_plane());
    assert!(!printed.contains("0123456789abcdef") && !printed.contains("0a0a"), "{printed}");
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(JoinCredentials::parse(&bytes).is_err());
    }
}
