//! Kubeconfig files for discovery.
#![no_main]

use join_trust::kubeconfig::DiscoveryFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(file) = DiscoveryFile::parse(text) {
        assert!(file.endpoint.url().starts_with("https://"));
    }
    if let Ok(fetched) = DiscoveryFile::parse_fetched(text) {
        // Whatever is printed of a file that is named is its path.
        let printed = format!("{fetched:?}");
        assert!(!printed.contains("File(\""), "a file of the machine is named: {printed}");
    }
});
