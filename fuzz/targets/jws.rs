//! Signatures in cluster-info, as somebody without the token's secret can write them there.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use join_trust::jws;
use join_trust::token::{BootstrapToken, TokenId};
use libfuzzer_sys::fuzz_target;

const PAYLOAD: &str = "apiVersion: v1\nkind: Config\n";

static TOKEN: LazyLock<BootstrapToken> =
    LazyLock::new(|| BootstrapToken::parse("abcdef.0123456789abcdef").expect("a token"));
static OTHER: LazyLock<BootstrapToken> =
    LazyLock::new(|| BootstrapToken::parse("abcdef.fedcba9876543210").expect("a token"));
static RIGHT: LazyLock<String> = LazyLock::new(|| jws::sign(&TOKEN, PAYLOAD).expect("a signature"));

fuzz_target!(|text: &str| {
    assert_eq!(jws::verify(&TOKEN, PAYLOAD, text).is_ok(), text == *RIGHT, "one payload has one signature");

    // Keys and values of the ConfigMap: a line each, the key before the first colon.
    let data: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let verified = jws::verify_in(&TOKEN, PAYLOAD, &data).is_ok();
    assert_eq!(verified, data.get("jws-kubeconfig-abcdef") == Some(&*RIGHT));
    for key in data.keys() {
        if let Some(id) = jws::token_id_of_key(key) {
            assert_eq!(jws::data_key(&id), *key, "one token has one key");
            assert_eq!(TokenId::parse(id.as_str()), Ok(id));
        }
    }

    // The text as a payload: what is signed is verified, and never by another token.
    if let Ok(signature) = jws::sign(&TOKEN, text) {
        assert_eq!(jws::verify(&TOKEN, text, &signature), Ok(()));
        assert!(jws::verify(&OTHER, text, &signature).is_err());
    }
});
