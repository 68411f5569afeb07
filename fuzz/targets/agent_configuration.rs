//! The agent's configuration file, and the files that it names.
#![no_main]

use std::cell::Cell;
use std::path::Path;
use std::sync::LazyLock;

use join_agent::config::{Configuration, Discovery, Surroundings};
use join_trust::ca_bundle::CaTrust;
use join_trust::kubeconfig::Credentials;
use libfuzzer_sys::fuzz_target;
use zeroize::Zeroizing;

const TOKEN: &str = "abcdef.0123456789abcdef\n";
/// Every file that a configuration names holds this, unless it is called `token`: a token, or a kubeconfig where one is
/// expected, with a user or without.
const FILES: [&str; 3] = [
    TOKEN,
    include_str!("../seeds/discovery_file/good-token.yaml"),
    include_str!("../seeds/discovery_file/good-cluster-info.yaml"),
];

static SURROUNDINGS: LazyLock<Surroundings> =
    LazyLock::new(|| Surroundings { hostname: "worker-7".to_owned(), allow_unsafe_discovery: false });

fuzz_target!(|text: &str| {
    for content in FILES {
        let was_asked = Cell::new(false);
        let read = |path: &Path| {
            was_asked.set(true);
            Ok(Zeroizing::new(if path.ends_with("token") { TOKEN } else { content }.to_owned()))
        };
        match Configuration::of_text(Path::new("config.yaml"), text, &SURROUNDINGS, &read) {
            Ok(configuration) => {
                assert!(!configuration.node_name.as_str().is_empty());
                match configuration.discovery {
                    Discovery::Token { trust, .. } => {
                        assert!(matches!(trust, CaTrust::Pinned(pins) if !pins.is_empty()), "nothing unpinned is trusted");
                    }
                    Discovery::File { kubeconfig, token, .. } => {
                        let is_anonymous = matches!(kubeconfig.credentials, Credentials::Anonymous);
                        assert!(token.is_some() || !is_anonymous, "there is nobody to announce the machine as");
                    }
                    Discovery::Url { .. } => {}
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
