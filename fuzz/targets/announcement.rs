//! Announcements of machines, as PEM or as the DER inside.
#![no_main]

use join_fuzz::certificate_request;
use join_trust::announcement::verify;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(announcement) = verify(&certificate_request(data)) {
        assert!(!announcement.node_name.as_str().is_empty());
        assert!(announcement.sealing_key.as_bytes() != &[0; 32]);
    }
});
