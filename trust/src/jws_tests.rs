use std::collections::BTreeMap;

use proptest::prelude::*;
use rstest::rstest;

use super::*;

const CONTENT: &str = "Hello from the other side. I must have called a thousand times.";
const CLUSTER_INFO: &str = include_str!("../testdata/kubeadm-cluster-info.yaml");

/// The vectors of Kubernetes' `cluster-bootstrap/token/jws/jws_test.go`, of kubeadm's dry-run cluster-info, and one
/// that was computed with an independent implementation.
#[rstest]
#[case(
    "joshua",
    "my voice is my passcode",
    CONTENT,
    "eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..VShe2taLd-YTrmWuRkcL_8QTNDHYxQIEBsAYYiIj1_8"
)]
#[case(
    "joshua",
    "my voice is my passcode",
    "",
    "eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..7Ui1ALizW4jXphVUB7xUqC9vLYLL9RZeOFfVLoB7Tgk"
)]
#[case("joshua", "", CONTENT, "eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..UfkqvDGiIFxrMnFseDj9LYJOLNrvjW8aHhF71mvvAs8")]
#[case(
    "abcdef",
    "0123456789abcdef",
    "apiVersion: v1\nkind: Config\n",
    "eyJhbGciOiJIUzI1NiIsImtpZCI6ImFiY2RlZiJ9..vH_kT4yiol-nrAWgjfCYqvum5wsKETXe0S7OOp1VgnE"
)]
#[case(
    "abcdef",
    "abcdef0123456789",
    CLUSTER_INFO,
    "eyJhbGciOiJIUzI1NiIsImtpZCI6ImFiY2RlZiJ9..rh3cVKiU2mdt3CqHzC81sNE-4WQLRHMtXduHWfSbrIM"
)]
fn published_vectors_are_reproduced_to_the_byte(
    #[case] id: &str,
    #[case] secret: &str,
    #[case] content: &str,
    #[case] expected: &str,
) {
    assert_eq!(sign_raw(id, secret.as_bytes(), content), expected);
}

fn token(text: &str) -> BootstrapToken {
    BootstrapToken::parse(text).unwrap()
}

fn mismatch() -> Result<(), JwsError> {
    Err(JwsError::Mismatch { id: TokenId::parse("abcdef").unwrap() })
}

#[test]
fn what_is_signed_verifies_and_nothing_else_does() {
    let ours = token("abcdef.0123456789abcdef");
    let signature = sign(&ours, CONTENT).unwrap();
    assert_eq!(verify(&ours, CONTENT, &signature), Ok(()));
    assert_eq!(verify(&ours, &format!("{CONTENT}\n"), &signature), mismatch());
    assert_eq!(verify(&token("abcdef.0123456789abcdee"), CONTENT, &signature), mismatch());
    assert!(verify(&token("abcdee.0123456789abcdef"), CONTENT, &signature).is_err());
    for wrong in
        ["", ".", "..", &format!("{signature}foo"), &format!("{signature}="), &signature[..signature.len() - 1]]
    {
        assert_eq!(verify(&ours, CONTENT, wrong), mismatch(), "{wrong}");
    }
    assert_eq!(verify(&ours, CONTENT, &"a".repeat(10_000_000)), mismatch());
}

#[test]
fn a_right_signature_under_another_header_is_refused() {
    // The same claims with a space in the JSON and with a different order: valid JWS, but not what Kubernetes writes.
    let ours = token("abcdef.0123456789abcdef");
    for header in [r#"{"alg": "HS256","kid":"abcdef"}"#, r#"{"kid":"abcdef","alg":"HS256"}"#, r#"{"alg":"none"}"#] {
        let header = URL_SAFE_NO_PAD.encode(header);
        let input = format!("{header}.{}", URL_SAFE_NO_PAD.encode(CONTENT));
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"0123456789abcdef"), input.as_bytes());
        let signature = format!("{header}..{}", URL_SAFE_NO_PAD.encode(mac.as_ref()));
        assert_eq!(verify(&ours, CONTENT, &signature), mismatch());
    }
}

#[test]
fn the_signature_of_this_token_is_looked_for() {
    let ours = token("abcdef.0123456789abcdef");
    let missing = Err(JwsError::Missing { id: TokenId::parse("abcdef").unwrap() });
    let mut data = BTreeMap::new();
    assert_eq!(verify_in(&ours, CONTENT, &data), missing);
    data.insert("jws-kubeconfig-abcdeg".to_owned(), sign(&ours, CONTENT).unwrap());
    assert_eq!(verify_in(&ours, CONTENT, &data), missing);
    data.insert("jws-kubeconfig-abcdef".to_owned(), String::new());
    assert_eq!(verify_in(&ours, CONTENT, &data), missing);
    data.insert("jws-kubeconfig-abcdef".to_owned(), sign(&ours, CONTENT).unwrap());
    assert_eq!(verify_in(&ours, CONTENT, &data), Ok(()));
}

#[test]
fn oversized_payloads_are_cut_off_before_any_work() {
    let ours = token("abcdef.0123456789abcdef");
    let huge = "x".repeat(MAX_KUBECONFIG_BYTES + 1);
    assert_eq!(sign(&ours, &huge), Err(JwsError::PayloadSize { length: huge.len() }));
    assert_eq!(verify(&ours, &huge, "x"), Err(JwsError::PayloadSize { length: huge.len() }));
    assert!(sign(&ours, &huge[1..]).is_ok());
}

#[test]
fn keys_name_their_token() {
    let id = TokenId::parse("abcdef").unwrap();
    assert_eq!(data_key(&id), "jws-kubeconfig-abcdef");
    assert_eq!(token_id_of_key("jws-kubeconfig-abcdef"), Some(id));
    for other in ["kubeconfig", "jws-kubeconfig-", "jws-kubeconfig-ABCDEF", "xjws-kubeconfig-abcdef"] {
        assert_eq!(token_id_of_key(other), None);
    }
}

#[test]
fn errors_do_not_repeat_the_secret() {
    let error = verify(&token("abcdef.0123456789abcdef"), CONTENT, "x").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("0123456789abcdef"));
}

proptest! {
    #[test]
    fn any_single_change_of_the_payload_is_noticed(position in 0..CONTENT.len(), byte in 0x20_u8..0x7f) {
        let ours = token("abcdef.0123456789abcdef");
        let signature = sign(&ours, CONTENT).unwrap();
        let mut changed = CONTENT.as_bytes().to_vec();
        changed[position] = byte;
        let changed = String::from_utf8(changed).unwrap();
        prop_assert_eq!(verify(&ours, &changed, &signature).is_ok(), changed == CONTENT);
    }

    #[test]
    fn any_single_change_of_the_signature_is_noticed(position in any::<proptest::sample::Index>(), byte in 0_u8..0x80) {
        let ours = token("abcdef.0123456789abcdef");
        let signature = sign(&ours, CONTENT).unwrap();
        let mut changed = signature.clone().into_bytes();
        let position = position.index(changed.len());
        changed[position] = byte;
        let changed = String::from_utf8(changed).unwrap();
        prop_assert_eq!(verify(&ours, CONTENT, &changed).is_ok(), changed == signature);
    }
}
