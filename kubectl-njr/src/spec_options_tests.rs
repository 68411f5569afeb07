use clap::Parser;
use rstest::rstest;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: SpecOptions,
}

fn parse(arguments: &[&str]) -> Result<SpecOptions, clap::Error> {
    Line::try_parse_from([&["x"], arguments].concat()).map(|line| line.options)
}

fn spec(arguments: &[&str]) -> Result<NodeJoinRequestSpec, Error> {
    parse(arguments).unwrap().spec(Machine::default(), Delivery::Sealed, &Defaults::default())
}

/// What a file says of everything that a flag can say as well.
fn defaults(role: Role) -> Defaults {
    Defaults {
        role,
        addresses: vec!["192.0.2.17".parse().unwrap()],
        node_registration: NodeRegistration {
            cri_socket: Some("unix:///run/file.sock".to_owned()),
            kubelet_extra_args: vec![KubeletArg { name: "v".to_owned(), value: "1".to_owned() }],
            taints: Some(vec![Taint { key: "file".to_owned(), value: None, effect: TaintEffect::NoSchedule }]),
            ignore_preflight_errors: vec!["Swap".to_owned()],
            ..NodeRegistration::default()
        },
        advertise_address: Some("192.0.2.9".parse().unwrap()),
        bind_port: Some(7443),
    }
}

#[test]
fn every_field_has_a_flag() {
    let spec = spec(&[
        "--role=control-plane",
        "--address=192.0.2.1,2001:db8::1",
        "--label=a=1",
        "--label=b=",
        "--taint=k=v:NoSchedule",
        "--taint=k:NoExecute",
        "--kubelet-extra-arg=--v=4",
        "--kubelet-extra-arg=node-labels=x=y",
        "--cri-socket=unix:///run/c.sock",
        "--ignore-preflight-errors=NumCPU,Swap",
        "--token-ttl=10m",
        "--deadline=2h",
        "--certificate-key-secret=key",
        "--apiserver-advertise-address=192.0.2.9",
        "--apiserver-bind-port=7443",
        "--replaces-node-uid=0b5c",
    ]);
    let expected = serde_json::json!({
        "role": "ControlPlane", "machine": {"trust": "Pinned"}, "delivery": "Sealed",
        "tokenTTLSeconds": 600, "deadlineSeconds": 7200, "addresses": ["192.0.2.1", "2001:db8::1"],
        "nodeRegistration": {
            "criSocket": "unix:///run/c.sock",
            "kubeletExtraArgs": [{"name": "v", "value": "4"}, {"name": "node-labels", "value": "x=y"}],
            "labels": {"a": "1", "b": ""},
            "taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}, {"key": "k", "effect": "NoExecute"}],
            "ignorePreflightErrors": ["NumCPU", "Swap"],
        },
        "controlPlane": {
            "certificateKeySecret": "key",
            "localAPIEndpoint": {"advertiseAddress": "192.0.2.9", "bindPort": 7443},
        },
        "removal": "Retain", "replacesNodeUID": "0b5c",
    });
    assert_eq!(serde_json::to_value(spec.unwrap()).unwrap(), expected);
}

#[test]
fn no_taints_is_something_else_than_nothing_said_of_taints() {
    assert_eq!(spec(&[]).unwrap().node_registration.taints, None);
    assert_eq!(spec(&["--no-taints"]).unwrap().node_registration.taints, Some(Vec::new()));
}

#[rstest]
#[case("--address=192.0.2.1", "addresses", serde_json::json!(["192.0.2.1"]))]
#[case("--cri-socket=unix:///c", "nodeRegistration.criSocket", "unix:///c".into())]
#[case("--kubelet-extra-arg=a=b", "nodeRegistration.kubeletExtraArgs", serde_json::json!([{"name": "a", "value": "b"}]))]
#[case("--taint=k:NoExecute", "nodeRegistration.taints", serde_json::json!([{"key": "k", "effect": "NoExecute"}]))]
#[case("--no-taints", "nodeRegistration.taints", serde_json::json!([]))]
#[case("--ignore-preflight-errors=Mem", "nodeRegistration.ignorePreflightErrors", serde_json::json!(["Mem"]))]
#[case("--label=a=b", "nodeRegistration.labels", serde_json::json!({"a": "b"}))]
#[case("--apiserver-bind-port=1", "controlPlane.localAPIEndpoint.bindPort", 1.into())]
#[case("--apiserver-advertise-address=::1", "controlPlane.localAPIEndpoint.advertiseAddress", "::1".into())]
fn a_flag_wins_over_its_field_of_the_file_alone(
    #[case] flag: &str,
    #[case] field: &str,
    #[case] expected: serde_json::Value,
) {
    let spec = |arguments: &[&str]| {
        let options = parse(&[&["--certificate-key-secret=key"], arguments].concat()).unwrap();
        let spec = options.spec(Machine::default(), Delivery::Sealed, &defaults(Role::ControlPlane));
        serde_json::to_value(spec.unwrap()).unwrap()
    };
    let pointer = format!("/{}", field.replace('.', "/"));
    let (mut with, mut without) = (spec(&[flag]), spec(&[]));
    assert_eq!(with.pointer(&pointer), Some(&expected));
    for spec in [&mut with, &mut without] {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        spec.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
    }
    assert_eq!(with, without);
}

#[test]
fn the_role_is_the_flags_or_else_the_files() {
    let spec = |arguments: &[&str], role| {
        parse(arguments).unwrap().spec(Machine::default(), Delivery::Sealed, &defaults(role)).unwrap()
    };
    let secret = "--certificate-key-secret=key";
    assert_eq!(spec(&[secret], Role::ControlPlane).role, Role::ControlPlane);
    let worker = spec(&["--role=worker"], Role::ControlPlane);
    assert_eq!((worker.role, worker.control_plane), (Role::Worker, None));
    assert_eq!(spec(&["--role=control-plane", secret], Role::Worker).role, Role::ControlPlane);
    // A file of a worker has no port, and a flag for one is a contradiction still.
    let options = parse(&["--apiserver-bind-port=1"]).unwrap();
    let refused = options.spec(Machine::default(), Delivery::Sealed, &defaults(Role::Worker));
    assert_eq!(refused, Err(Error::OnlyControlPlane));
}

#[rstest]
#[case(&["--token-ttl=1500ms"], Error::Seconds { flag: "token-ttl", given: Duration::from_millis(1500) })]
#[case(&["--deadline=1000000h"], Error::Seconds { flag: "deadline", given: Duration::from_hours(1_000_000) })]
#[case(&["--label=a=1", "--label=a=2"], Error::LabelTwice { key: "a".to_owned() })]
#[case(&["--apiserver-bind-port=1"], Error::OnlyControlPlane)]
#[case(&["--certificate-key-secret=a"], Error::OnlyControlPlane)]
#[case(&["--role=control-plane"], Error::NoCertificateKey)]
fn contradictions_are_told(#[case] arguments: &[&str], #[case] expected: Error) {
    assert_eq!(spec(arguments), Err(expected));
}

#[rstest]
#[case("--role=master")]
#[case("--address=worker-1")]
#[case("--label=a")]
#[case("--label==a")]
#[case("--taint=k=v")]
#[case("--taint=k=v:Never")]
#[case("--taint=:NoSchedule")]
#[case("--kubelet-extra-arg=--")]
#[case("--token-ttl=15")]
#[case("--token-ttl=-15m")]
#[case("--token-ttl=99999999999999999h")]
#[case("--token-ttl=")]
#[case("--apiserver-bind-port=0")]
fn what_is_no_value_is_a_usage_error(#[case] argument: &str) {
    assert_eq!(parse(&[argument]).map(|_| ()).map_err(|error| error.exit_code()), Err(2));
}
