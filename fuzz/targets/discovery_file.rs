//! Kubeconfig files for discovery.
#![no_main]

use join_trust::kubeconfig::DiscoveryFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(file) = DiscoveryFile::parse(text) {
        assert!(file.endpoint.url().starts_with("https://"));
    }
});
