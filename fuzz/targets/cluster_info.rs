//! cluster-info as somebody who has the token can make it: the signature is right, the text is anything.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use join_trust::ca_bundle::CaTrust;
use join_trust::cluster_info::{ClusterInfo, KUBECONFIG_KEY};
use join_trust::jws;
use join_trust::pin::PinSet;
use join_trust::token::BootstrapToken;
use libfuzzer_sys::fuzz_target;

/// The authority in the seed that kubeadm's own tests publish.
const PIN: &str = "sha256:3b793efefe27a19f93b0fbe6e637e9c41d0dde8a377d6ab1c0f656bf1136dd8a";

static TOKEN: LazyLock<BootstrapToken> =
    LazyLock::new(|| BootstrapToken::parse("abcdef.abcdef0123456789").expect("a token"));
static PINS: LazyLock<PinSet> = LazyLock::new(|| PinSet::parse([PIN]).expect("a pin"));
static PINNED: LazyLock<CaTrust> = LazyLock::new(|| CaTrust::Pinned(PINS.clone()));

fuzz_target!(|text: &str| {
    let mut data = BTreeMap::from([(KUBECONFIG_KEY.to_owned(), text.to_owned())]);
    assert!(ClusterInfo::verify(&data, &TOKEN, &CaTrust::UnsafeAny).is_err(), "nothing is believed unsigned");
    let Ok(signature) = jws::sign(&TOKEN, text) else { return };
    data.insert(jws::data_key(TOKEN.id()), signature);
    if let Ok(info) = ClusterInfo::verify(&data, &TOKEN, &PINNED) {
        assert_eq!(info.ca_pins(), *PINS, "only what is pinned becomes a root of trust");
        assert_eq!(info.confirm(&data), Ok(()));
    }
});
