//! Signatures in cluster-info, as somebody without the token's secret can write them there.
#![no_main]

use std::collections::BTreeMap;

use join_trust::jws;
use join_trust::token::{BootstrapToken, TokenId};
use libfuzzer_sys::fuzz_target;

const PAYLOAD: &str = "apiVersion: v1\nkind: Config\n";

fuzz_target!(|text: &str| {
    let token = BootstrapToken::parse("abcdef.0123456789abcdef").expect("a token");
    let right = jws::sign(&token, PAYLOAD).expect("a signature");
    assert_eq!(jws::verify(&token, PAYLOAD, text).is_ok(), text == right, "one payload has one signature");

    // Keys and values of the ConfigMap: a line each, the key before the first colon.
    let data: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let verified = jws::verify_in(&token, PAYLOAD, &data).is_ok();
    assert_eq!(verified, data.get("jws-kubeconfig-abcdef") == Some(&right));
    for key in data.keys() {
        if let Some(id) = jws::token_id_of_key(key) {
            assert_eq!(jws::data_key(&id), *key, "one token has one key");
            assert_eq!(TokenId::parse(id.as_str()), Ok(id));
        }
    }

    // The text as a payload: what is signed is verified, and never by another token.
    let other = BootstrapToken::parse("abcdef.fedcba9876543210").expect("a token");
    if let Ok(signature) = jws::sign(&token, text) {
        assert_eq!(jws::verify(&token, text, &signature), Ok(()));
        assert!(jws::verify(&other, text, &signature).is_err());
    }
});
