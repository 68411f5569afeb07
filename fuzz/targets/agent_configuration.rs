//! The agent's configuration file, and the files that it names.
#![no_main]

use std::cell::Cell;
use std::path::Path;
use std::sync::LazyLock;

use join_agent::config::{Configuration, Discovery, Surroundings};
use join_trust::ca_bundle::CaTrust;
use libfuzzer_sys::fuzz_target;
use zeroize::Zeroizing;

/// Every file that a configuration names holds this: a token, or a kubeconfig where one is expected.
const FILES: [&str; 2] = ["abcdef.0123456789abcdef\n", include_str!("../seeds/discovery_file/good-token.yaml")];

static SURROUNDINGS: LazyLock<Surroundings> =
    LazyLock::new(|| Surroundings { hostname: "worker-7".to_owned(), allow_unsafe_discovery: false });

fuzz_target!(|text: &str| {
    for content in FILES {
        let was_asked = Cell::new(false);
        let read = |_: &Path| {
            was_asked.set(true);
            Ok(Zeroizing::new(content.to_owned()))
        };
        match Configuration::of_text(Path::new("config.yaml"), text, &SURROUNDINGS, &read) {
            Ok(configuration) => {
                assert!(!configuration.node_name.as_str().is_empty());
                if let Discovery::Token { trust, .. } = configuration.discovery {
                    assert!(matches!(trust, CaTrust::Pinned(pins) if !pins.is_empty()), "nothing unpinned is trusted");
                }
            }
            Err(error) => assert!(!error.to_string().contains("0123456789abcdef") || text.contains("0123456789abcdef")),
        }
        // Without a file the other content changes nothing.
        if !was_asked.get() {
            break;
        }
    }
});
