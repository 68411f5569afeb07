//! kubeadm's JoinConfiguration, by itself and as the agent's configuration.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use join_agent::config::{Configuration, Discovery, Surroundings};
use join_trust::ca_bundle::CaTrust;
use join_trust::join_configuration::{self as kubeadm, JoinConfiguration, is_of_kubeadm};
use join_trust::token::{BootstrapToken, TokenSecret};
use libfuzzer_sys::fuzz_target;
use zeroize::Zeroizing;

/// The token of the seeds.
const TOKEN: &str = "abcdef.0123456789abcdef";
/// What a kubeconfig holds, wherever it is said to be.
const KUBECONFIG: &str = include_str!("../seeds/discovery_file/good-token.yaml");

static OTHER: LazyLock<TokenSecret> = LazyLock::new(|| TokenSecret::parse("otherothersecret").expect("a secret"));

static SURROUNDINGS: LazyLock<Surroundings> =
    LazyLock::new(|| Surroundings { hostname: "worker-7".to_owned(), allow_unsafe_discovery: false });

fuzz_target!(|text: &str| {
    let read = JoinConfiguration::parse(text);
    match &read {
        Ok(file) => {
            assert!(is_of_kubeadm(text), "the agent reads as such what is one");
            is_not_printed(file);
        }
        Err(error) => assert!(!format!("{error} {error:?}").contains(TOKEN), "a token is in {error:?}"),
    }
    if !is_of_kubeadm(text) {
        return;
    }
    let kubeconfig = |_: &Path| Ok(Zeroizing::new(KUBECONFIG.to_owned()));
    match Configuration::of_text(Path::new("config.yaml"), text, &SURROUNDINGS, &kubeconfig) {
        Ok(configuration) => is_the_same_join(&configuration, &read.expect("the agent has read it")),
        Err(error) => assert!(!format!("{error} {error:?}").contains(TOKEN), "a token is in {error:?}"),
    }
});

/// With other secrets the same would be printed.
fn is_not_printed(file: &JoinConfiguration) {
    let other = |token: &BootstrapToken| BootstrapToken::new(token.id().clone(), OTHER.clone());
    let mut changed = file.clone();
    if let kubeadm::Discovery::BootstrapToken { token, .. } = &mut changed.discovery {
        *token = other(token);
    }
    changed.tls_bootstrap_token = changed.tls_bootstrap_token.as_ref().map(other);
    assert_eq!(format!("{file:?}"), format!("{changed:?}"));
}

/// The agent does what the file says, or nothing.
fn is_the_same_join(configuration: &Configuration, file: &JoinConfiguration) {
    assert!(file.control_plane.is_none() && !file.dry_run && file.skip_phases.is_empty() && file.patches.is_none());
    let name = file.node_registration.name.as_ref().map_or("worker-7", |name| name.as_str());
    assert_eq!(configuration.node_name.as_str(), name);
    assert_eq!(Ok(&configuration.node_addresses), file.node_registration.node_ips().as_ref());
    match (&configuration.discovery, &file.discovery) {
        (
            Discovery::Token { endpoint, token, trust: CaTrust::Pinned(trusted), .. },
            kubeadm::Discovery::BootstrapToken { endpoint: asked, token: given, pins, .. },
        ) => {
            assert!(!pins.is_empty() && trusted == pins, "only what the file pins is trusted");
            assert!(endpoint == asked && token == given);
            assert!(file.tls_bootstrap_token.as_ref().is_none_or(|other| other == token), "one token is used");
        }
        (Discovery::File { path, token, .. }, kubeadm::Discovery::File { path: named }) => {
            assert_eq!(path, Path::new(named));
            assert_eq!(*token, file.tls_bootstrap_token, "the token beside the file is used, and no other");
        }
        (Discovery::Url { url, token }, kubeadm::Discovery::Url(named)) => {
            assert_eq!((url.server(), url.path_and_query()), (named.server(), named.path_and_query()));
            assert_eq!(*token, file.tls_bootstrap_token, "the token beside the file is used, and no other");
        }
        _ => panic!("something else is trusted than what the file says"),
    }
}
