//! Sealed envelopes as they lie in a status: two base64 texts, here on two lines.
#![no_main]

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

fuzz_target!(|text: &str| {
    let (encapsulated_key, ciphertext) = text.trim_end().split_once('\n').unwrap_or((text, ""));
    let raw = SealedEnvelope::new(text.as_bytes().get(..32).unwrap_or_default(), text.as_bytes().to_vec());
    for sealed in [SealedEnvelope::from_base64(encapsulated_key, ciphertext), raw].into_iter().flatten() {
        let again = SealedEnvelope::from_base64(&sealed.encapsulated_key_base64(), &sealed.ciphertext_base64());
        assert_eq!(again, Ok(sealed.clone()));
        let key = SealingKey::from_pem(KEY).expect("a key");
        let binding = Binding { uid: "00000000-0000-4000-8000-000000000000", name: "worker-7", generation: 1 };
        if let Ok(plaintext) = open(&key, &binding, &sealed) {
            let _ = JoinCredentials::parse(&plaintext);
        }
    }
    if let Ok(key) = SealingPublicKey::from_base64(encapsulated_key) {
        assert_eq!(STANDARD.decode(key.to_base64()).ok().as_deref(), Some(key.as_bytes().as_slice()));
    }
    let _ = SealingKey::from_pem(text);
});
