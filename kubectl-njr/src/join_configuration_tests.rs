use rstest::rstest;

use super::*;

const WORKER: &str = include_str!("../../fuzz/seeds/join_configuration/good-worker.yaml");
const DOCUMENTS: &str = include_str!("../../fuzz/seeds/join_configuration/good-documents.yaml");
const V1BETA3: &str = include_str!("../../fuzz/seeds/join_configuration/good-v1beta3.yaml");
const CONTROL_PLANE: &str = include_str!("../../fuzz/seeds/join_configuration/good-control-plane.yaml");
const SECRET: &str = "0123456789abcdef";

fn of(text: &str, name: &str) -> Result<Defaults, Error> {
    let path = Path::new("join.yaml");
    Defaults::of(path, parse(path, text)?, &NodeName::parse(name).unwrap())
}

#[test]
fn a_worker_is_taken_over_and_its_discovery_is_not() {
    let defaults = of(WORKER, "worker-7").unwrap();
    assert_eq!((defaults.role, defaults.advertise_address, defaults.bind_port), (Role::Worker, None, None));
    let addresses: Vec<String> = defaults.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["192.0.2.17", "2001:db8::17"]);
    let expected = serde_json::json!({
        "criSocket": "unix:///run/containerd/containerd.sock",
        "kubeletExtraArgs": [{"name": "node-ip", "value": "192.0.2.17,2001:db8::17"}],
        "taints": [{"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}],
        "ignorePreflightErrors": ["Swap"],
    });
    assert_eq!(serde_json::to_value(&defaults.node_registration).unwrap(), expected);
    assert!(!format!("{defaults:?}").contains(SECRET));
}

#[test]
fn no_taints_is_something_else_than_nothing_said_of_taints() {
    let defaults = of(V1BETA3, "worker-7").unwrap();
    assert_eq!(defaults.node_registration.taints, Some(Vec::new()));
    let arguments: Vec<&str> =
        defaults.node_registration.kubelet_extra_args.iter().map(|argument| argument.name.as_str()).collect();
    assert_eq!((arguments, defaults.addresses), (vec!["max-pods", "node-ip"], Vec::new()));
    assert_eq!(of(DOCUMENTS, "worker-8").unwrap(), Defaults::default());
}

#[test]
fn a_control_plane_is_one() {
    let defaults = of(CONTROL_PLANE, "cp-2").unwrap();
    assert_eq!(defaults.role, Role::ControlPlane);
    assert_eq!((defaults.advertise_address, defaults.bind_port), (Some("192.0.2.9".parse().unwrap()), Some(7443)));
}

#[rstest]
#[case(WORKER, &["timeouts", "nodeRegistration.imagePullPolicy", "nodeRegistration.imagePullSerial"])]
#[case(CONTROL_PLANE, &["dryRun", "skipPhases", "patches", "controlPlane.certificateKey"])]
#[case(DOCUMENTS, &["KubeletConfiguration", "KubeProxyConfiguration"])]
fn what_no_request_can_say_is_named(#[case] text: &str, #[case] expected: &[&str]) {
    assert_eq!(not_taken(&parse(Path::new("join.yaml"), text).unwrap()), expected);
}

#[rstest]
#[case("", "", "worker-8", "nodeRegistration.name is worker-7, and the request is for worker-8")]
#[case("effect: NoSchedule", "effect: Never", "worker-7", "the effect of \"dedicated\" is \"Never\"")]
#[case("192.0.2.17,", "here,", "worker-7", "node-ip: \"here\" is no IP address")]
#[case("caCertHashes", "caCertHash", "worker-7", "unknown field `caCertHash`")]
#[case("token: abcdef.", "token: abcde.", "worker-7", "discovery.bootstrapToken.token")]
#[case("kind: JoinConfiguration", "kind: Pod", "worker-7", "has 0 documents of kind JoinConfiguration")]
fn what_is_wrong_is_named(#[case] from: &str, #[case] to: &str, #[case] name: &str, #[case] expected: &str) {
    let error = of(&WORKER.replacen(from, to, 1), name).unwrap_err().to_string();
    assert!(error.starts_with("join.yaml: ") && error.contains(expected), "{error}");
    assert!(!error.contains(SECRET), "{error}");
}

#[test]
fn files_are_read_to_a_limit() {
    let missing = Defaults::read(Path::new("/nonexistent/join.yaml"), &NodeName::parse("a").unwrap()).unwrap_err();
    assert!(missing.to_string().starts_with("failed to read /nonexistent/join.yaml: "), "{missing}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), WORKER).unwrap();
    let read = |name: &str| Defaults::read(file.path(), &NodeName::parse(name).unwrap());
    assert_eq!(read("worker-7").unwrap(), of(WORKER, "worker-7").unwrap());
    std::fs::write(file.path(), format!("{WORKER}#{}", "x".repeat(2 * MAX_JOIN_CONFIGURATION_BYTES))).unwrap();
    let error = read("worker-7").unwrap_err().to_string();
    assert!(error.ends_with("has 65537 bytes, expected at most 65536"), "{error}");
}
