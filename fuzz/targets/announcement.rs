//! Announcements of machines, as PEM or as the DER inside.
#![no_main]

use join_trust::announcement::verify;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for request in [data.to_vec(), as_pem(data)] {
        if let Ok(announcement) = verify(&request) {
            assert!(!announcement.node_name.as_str().is_empty());
            assert!(announcement.sealing_key.as_bytes() != &[0; 32]);
        }
    }
});

fn as_pem(der: &[u8]) -> Vec<u8> {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("CERTIFICATE REQUEST", der), config).into_bytes()
}
