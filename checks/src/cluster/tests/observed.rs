//! How what was read becomes facts.

use join_trust::jws;
use join_trust::token::BootstrapToken;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::ObjectMeta;
use rstest::rstest;

use crate::cluster::facts::Signature;
use crate::cluster::observe::{number, token};

#[rstest]
#[case("v1.37.2", Some((1, 37, 2)))]
#[case("v1.36.0-rc.1", Some((1, 36, 0)))]
#[case("v1.35.4+k3s1", Some((1, 35, 4)))]
#[case("v1.35", None)]
#[case("1.35.4", None)]
#[case("nginx", None)]
fn versions_are_read_as_distributions_write_them(#[case] text: &str, #[case] expected: Option<(u32, u32, u32)>) {
    assert_eq!(number(text), expected);
}

fn secret(values: &[(&str, &str)]) -> Secret {
    let data = values.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
    Secret {
        metadata: ObjectMeta { name: Some("bootstrap-token-abcdef".to_owned()), ..ObjectMeta::default() },
        data: Some(data.collect()),
        ..Secret::default()
    }
}

fn info(signature: Option<String>) -> ConfigMap {
    let mut data = std::collections::BTreeMap::from([("kubeconfig".to_owned(), "text".to_owned())]);
    data.extend(signature.map(|signature| ("jws-kubeconfig-abcdef".to_owned(), signature)));
    ConfigMap { data: Some(data), ..ConfigMap::default() }
}

#[test]
fn a_tokens_signature_is_looked_at_and_its_secret_is_gone() {
    const SECRET: &str = "0123456789abcdef";
    let values = [
        ("token-id", "abcdef"),
        ("token-secret", SECRET),
        ("usage-bootstrap-signing", "true"),
        ("usage-bootstrap-authentication", "true"),
        ("auth-extra-groups", "system:bootstrappers:a,system:bootstrappers:b"),
        ("expiration", "2026-07-01T12:00:00Z"),
    ];
    let whole = BootstrapToken::parse(&format!("abcdef.{SECRET}")).unwrap();
    let right = jws::sign(&whole, "text").unwrap();
    let wrong = jws::sign(&whole, "another text").unwrap();
    for (map, expected) in
        [(info(Some(right)), Signature::Valid), (info(Some(wrong)), Signature::Wrong), (info(None), Signature::Missing)]
    {
        let seen = token(&secret(&values), Some(&map));
        assert_eq!(seen.signature, expected);
        assert!(!format!("{seen:?}").contains(SECRET));
    }
    let seen = token(&secret(&values), None);
    assert_eq!((seen.signature, seen.id.as_str(), seen.authenticates), (Signature::NotApplicable, "abcdef", true));
    assert_eq!(seen.groups, ["system:bootstrappers:a", "system:bootstrappers:b"]);
    assert_eq!(seen.expires.unwrap().to_string(), "2026-07-01T12:00:00Z");
}

#[test]
fn a_secret_that_is_no_token_claims_nothing() {
    let seen = token(&secret(&[("expiration", "tomorrow")]), Some(&info(None)));
    assert_eq!((seen.expires, seen.authenticates, seen.signature), (None, false, Signature::NotApplicable));
}
