//! Sealed envelopes as they lie in a status: two base64 texts, here on two lines.
#![no_main]

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use join_trust::credentials::JoinCredentials;
use join_trust::sealing::{Binding, SealedEnvelope, SealingKey, SealingPublicKey, open};
use libfuzzer_sys::fuzz_target;

/// The key to which the seeds are sealed; for tests only.
const KEY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VuBCIEIEj/o71qpAqyiLT30riuWACAlr0OBKC/A0gF9eePl8Vm
-----END PRIVATE KEY-----
";

static SEALING_KEY: LazyLock<SealingKey> = LazyLock::new(|| SealingKey::from_pem(KEY).expect("a key"));
const BINDING: Binding<'_> = Binding { uid: "00000000-0000-4000-8000-000000000000", name: "worker-7", generation: 1 };

fuzz_target!(|text: &str| {
    let (encapsulated_key, ciphertext) = text.trim_end().split_once('\n').unwrap_or((text, ""));
    if let Ok(sealed) = SealedEnvelope::from_base64(encapsulated_key, ciphertext) {
        let again = SealedEnvelope::from_base64(&sealed.encapsulated_key_base64(), &sealed.ciphertext_base64());
        assert_eq!(again, Ok(sealed.clone()));
        if let Ok(plaintext) = open(&SEALING_KEY, &BINDING, &sealed) {
            let _ = JoinCredentials::parse(&plaintext);
        }
    }
    if let Ok(key) = SealingPublicKey::from_base64(encapsulated_key) {
        assert_eq!(STANDARD.decode(key.to_base64()).ok().as_deref(), Some(key.as_bytes().as_slice()));
    }
    let _ = SealingKey::from_pem(text);
});
