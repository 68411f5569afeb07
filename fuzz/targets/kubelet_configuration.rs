//! The kubelet's configuration from the ConfigMap `kubelet-config`, and the file that is made of it.
#![no_main]

use std::sync::LazyLock;

use join_agent::files::{ClusterConfiguration, healthz_url, kubelet_config};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const SOCKET: &str = "unix:///run/containerd/containerd.sock";

static CLUSTER: LazyLock<ClusterConfiguration> = LazyLock::new(|| {
    let text = include_str!("../seeds/cluster_configuration/good-uploaded.yaml");
    ClusterConfiguration::parse(text).expect("a configuration")
});

fuzz_target!(|text: &str| {
    let _ = healthz_url(text);
    // Whether systemd-resolved runs changes one line, not the reading: either for every other input.
    let systemd_resolved = text.len().is_multiple_of(2);
    let Ok(file) = kubelet_config(text, &CLUSTER, SOCKET, systemd_resolved) else { return };
    let written: Value = serde_saphyr::from_str(&file).expect("the file is YAML");
    assert_eq!(written["rotateCertificates"], true);
    assert_eq!(written["containerRuntimeEndpoint"], SOCKET);
    let given: Value = serde_saphyr::from_str(text).expect("what was read once can be read again");
    for (name, value) in given.as_object().expect("a map was read") {
        let is_ours = matches!(name.as_str(), "rotateCertificates" | "containerRuntimeEndpoint");
        assert!(is_ours || is_kept(value, &written[name]), "{name}: {value} became {}", written[name]);
    }
    let again = kubelet_config(&file, &CLUSTER, SOCKET, systemd_resolved).expect("the file is a configuration");
    assert_eq!(again, file, "a second rendering changes the file");
});

/// Whether everything that was given is there as it was; more may have come to it where nothing was given.
fn is_kept(given: &Value, written: &Value) -> bool {
    match (given, written) {
        (Value::Object(given), Value::Object(written)) => {
            given.iter().all(|(name, value)| written.get(name).is_some_and(|written| is_kept(value, written)))
        }
        (Value::Null, _) => true,
        (Value::String(text), _) if text.is_empty() => true,
        (Value::Array(list), _) if list.is_empty() => true,
        (given, written) => given == written,
    }
}
