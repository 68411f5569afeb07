//! cluster-info as somebody who has the token can make it: the signature is right, the text is anything.
#![no_main]

use std::collections::BTreeMap;

use join_trust::ca_bundle::CaTrust;
use join_trust::cluster_info::{ClusterInfo, KUBECONFIG_KEY};
use join_trust::jws;
use join_trust::pin::PinSet;
use join_trust::token::BootstrapToken;
use libfuzzer_sys::fuzz_target;

/// The authority in the seed that kubeadm's own tests publish.
const PIN: &str = "sha256:3b793efefe27a19f93b0fbe6e637e9c41d0dde8a377d6ab1c0f656bf1136dd8a";

fuzz_target!(|text: &str| {
    let token = BootstrapToken::parse("abcdef.abcdef0123456789").expect("a token");
    let pins = PinSet::parse([PIN]).expect("a pin");
    let mut data = BTreeMap::from([(KUBECONFIG_KEY.to_owned(), text.to_owned())]);
    assert!(ClusterInfo::verify(&data, &token, &CaTrust::UnsafeAny).is_err(), "nothing is believed unsigned");
    // The text itself as a signature: whatever it is, it is refused without a panic.
    data.insert(jws::data_key(token.id()), text.to_owned());
    assert!(ClusterInfo::verify(&data, &token, &CaTrust::UnsafeAny).is_err());
    let Ok(signature) = jws::sign(&token, text) else { return };
    data.insert(jws::data_key(token.id()), signature);
    if let Ok(info) = ClusterInfo::verify(&data, &token, &CaTrust::Pinned(pins.clone())) {
        assert_eq!(info.ca_pins(), pins, "only what is pinned becomes a root of trust");
        assert_eq!(info.confirm(&data), Ok(()));
    }
});
