//! The plaintext of sealed credentials: the sealer is not authenticated by the seal itself.
#![no_main]

use join_trust::credentials::JoinCredentials;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(credentials) = JoinCredentials::parse(data) {
        let json = credentials.to_json().expect("what was read can be written");
        assert_eq!(JoinCredentials::parse(&json), Ok(credentials));
    }
});
