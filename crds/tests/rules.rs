//! Every CEL rule has objects that keep it and objects that break it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end where it fails")]

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::{SCHEMA, refused_by_rules, refused_by_schema, walk, worker};

/// A UID as the API server makes them.
const NODE_UID: &str = "0b5c3f6e-0000-4000-8000-00000000000a";

/// Changes an object.
type Change = fn(&mut Value);

/// A rule about a single state of an object.
struct Rule {
    /// Where the schema has it, as [`walk`] spells it.
    at: &'static str,
    /// Where a violation is reported.
    reported: &'static str,
    /// The beginning of its message, enough to tell it from the others there.
    message: &'static str,
    /// Changes to [`worker`] that keep it.
    kept: &'static [Change],
    /// Changes to [`worker`] that break it, and nothing else.
    broken: &'static [Change],
}

/// A rule about a change of an object.
struct Transition {
    at: &'static str,
    reported: &'static str,
    message: &'static str,
    /// What the object was, as a change to [`worker`].
    old: Change,
    /// Changes to the old object that keep it.
    kept: &'static [Change],
    /// Changes to the old object that break it, and nothing else.
    broken: &'static [Change],
}

fn name(request: &mut Value, name: impl Into<String>) {
    request["metadata"]["name"] = json!(name.into());
}

fn first_use(request: &mut Value) {
    request["spec"]["machine"] = json!({"trust": "FirstUse"});
}

fn control_plane(request: &mut Value) {
    request["spec"]["role"] = json!("ControlPlane");
    request["spec"]["controlPlane"] = json!({"certificateKeySecret": "key", "localAPIEndpoint": {"bindPort": 6443}});
}

fn key_secret(request: &mut Value, name: &str) {
    request["spec"]["role"] = json!("ControlPlane");
    request["spec"]["controlPlane"] = json!({"certificateKeySecret": name});
}

fn argument(request: &mut Value, name: &str, value: &str) {
    request["spec"]["nodeRegistration"]["kubeletExtraArgs"] = json!([{"name": name, "value": value}]);
}

fn label(request: &mut Value, key: &str) {
    request["spec"]["nodeRegistration"]["labels"] = json!({key: "yes"});
}

fn taint(request: &mut Value, key: &str) {
    request["spec"]["nodeRegistration"]["taints"] = json!([{"key": key, "effect": "NoSchedule"}]);
}

fn socket(request: &mut Value, socket: &str) {
    request["spec"]["nodeRegistration"]["criSocket"] = json!(socket);
}

fn address(request: &mut Value, address: &str) {
    request["spec"]["addresses"] = json!([address]);
}

fn advertise(request: &mut Value, address: &str) {
    request["spec"]["role"] = json!("ControlPlane");
    request["spec"]["controlPlane"] =
        json!({"certificateKeySecret": "key", "localAPIEndpoint": {"advertiseAddress": address}});
}

const RULES: &[Rule] = &[
    Rule {
        at: "",
        reported: "",
        message: "metadata.name: is the node's name, and must have at most 63",
        kept: &[|r| name(r, "n"), |r| name(r, "a.".repeat(31) + "a")],
        broken: &[|r| name(r, "a".repeat(64)), |r| name(r, "a.".repeat(100) + "a")],
    },
    Rule {
        at: "",
        reported: "",
        message: "metadata.name: is the node's name, and must not be one of the API server's",
        kept: &[|r| name(r, "kubernetes-1"), |r| name(r, "localhost.example")],
        broken: &[
            |r| name(r, "kubernetes"),
            |r| name(r, "localhost"),
            |r| name(r, "kubernetes.default"),
            |r| name(r, "kubernetes.default.svc.cluster.local"),
        ],
    },
    Rule {
        at: "spec",
        reported: "spec.controlPlane",
        message: "controlPlane: needs role",
        kept: &[control_plane, |r| key_secret(r, "key")],
        broken: &[
            |r| r["spec"]["controlPlane"] = json!({"certificateKeySecret": "key"}),
            |r| {
                control_plane(r);
                r["spec"]["role"] = json!("Worker");
            },
        ],
    },
    Rule {
        at: "spec",
        reported: "spec.controlPlane",
        message: "controlPlane: role ControlPlane needs",
        kept: &[control_plane],
        broken: &[|r| r["spec"]["role"] = json!("ControlPlane")],
    },
    Rule {
        at: "spec",
        reported: "spec.role",
        message: "role: ControlPlane needs machine.publicKeyHash",
        kept: &[control_plane],
        broken: &[
            |r| {
                control_plane(r);
                first_use(r);
            },
            |r| {
                control_plane(r);
                first_use(r);
                r["spec"]["delivery"] = json!("Token");
            },
        ],
    },
    Rule {
        at: "spec.controlPlane.certificateKeySecret",
        reported: "spec.controlPlane.certificateKeySecret",
        message: "certificateKeySecret: must be the name of a Secret",
        kept: &[|r| key_secret(r, "a"), |r| key_secret(r, "certificate-key.1")],
        broken: &[|r| key_secret(r, "A"), |r| key_secret(r, "-a"), |r| key_secret(r, "a/b"), |r| key_secret(r, "a\nb")],
    },
    Rule {
        at: "spec",
        reported: "spec.delivery",
        message: "delivery: Token needs",
        kept: &[
            |r| {
                first_use(r);
                r["spec"]["delivery"] = json!("Token");
            },
            first_use,
        ],
        broken: &[|r| r["spec"]["delivery"] = json!("Token")],
    },
    Rule {
        at: "spec",
        reported: "spec.nodeRegistration",
        message: "nodeRegistration.kubeletExtraArgs: node-ip",
        kept: &[
            |r| {
                address(r, "192.0.2.17");
                argument(r, "node-ip", "192.0.2.17");
            },
            |r| {
                r["spec"]["addresses"] = json!(["2001:db8::17", "192.0.2.17"]);
                argument(r, "node-ip", "192.0.2.17,2001:db8::17");
            },
            |r| argument(r, "node-ip", "::"),
            |r| argument(r, "node-ip", "0.0.0.0"),
            |r| argument(r, "v", "192.0.2.17"),
            |r| r["spec"]["nodeRegistration"] = json!({}),
        ],
        broken: &[
            |r| argument(r, "node-ip", "192.0.2.17"),
            |r| {
                address(r, "192.0.2.18");
                argument(r, "node-ip", "192.0.2.17");
            },
            |r| {
                address(r, "192.0.2.17");
                argument(r, "node-ip", "192.0.2.17,2001:db8::17");
            },
            |r| {
                address(r, "192.0.2.17");
                r["spec"]["nodeRegistration"]["kubeletExtraArgs"] = json!([
                    {"name": "node-ip", "value": "192.0.2.17"},
                    {"name": "node-ip", "value": "192.0.2.18"},
                ]);
            },
            |r| argument(r, "node-ip", ""),
        ],
    },
    Rule {
        at: "spec.machine",
        reported: "spec.machine",
        message: "machine: needs either",
        kept: &[first_use, |r| r["spec"]["machine"]["trust"] = json!("Pinned")],
        broken: &[
            |r| r["spec"]["machine"] = json!({}),
            |r| r["spec"]["machine"]["trust"] = json!("FirstUse"),
            |r| r["spec"]["machine"] = json!({"trust": "Pinned"}),
        ],
    },
    Rule {
        at: "spec.machine.publicKeyHash",
        reported: "spec.machine.publicKeyHash",
        message: "publicKeyHash: must be",
        kept: &[|r| r["spec"]["machine"]["publicKeyHash"] = json!(format!("sha256:{}", "f".repeat(64)))],
        broken: &[
            |r| r["spec"]["machine"]["publicKeyHash"] = json!("f".repeat(64)),
            |r| r["spec"]["machine"]["publicKeyHash"] = json!(format!("sha256:{}", "F".repeat(64))),
            |r| r["spec"]["machine"]["publicKeyHash"] = json!(format!("sha256:{}", "f".repeat(63))),
            |r| r["spec"]["machine"]["publicKeyHash"] = json!(format!("sha512:{}", "f".repeat(64))),
            |r| r["spec"]["machine"]["publicKeyHash"] = json!(""),
        ],
    },
    Rule {
        at: "spec",
        reported: "spec.removal",
        message: "removal: Drain needs role Worker",
        kept: &[
            |r| r["spec"]["removal"] = json!("Retain"),
            |r| r["spec"]["removal"] = json!("Drain"),
            |r| {
                control_plane(r);
                r["spec"]["removal"] = json!("Retain");
            },
        ],
        broken: &[|r| {
            control_plane(r);
            r["spec"]["removal"] = json!("Drain");
        }],
    },
    Rule {
        at: "spec",
        reported: "spec.replacesNodeUID",
        message: "replacesNodeUID: needs machine.publicKeyHash",
        kept: &[|r| r["spec"]["replacesNodeUID"] = json!(NODE_UID)],
        broken: &[|r| {
            r["spec"]["machine"] = json!({"trust": "FirstUse"});
            r["spec"]["replacesNodeUID"] = json!(NODE_UID);
        }],
    },
    Rule {
        at: "spec.replacesNodeUID",
        reported: "spec.replacesNodeUID",
        message: "replacesNodeUID: must be a Node's UID",
        kept: &[|r| r["spec"]["replacesNodeUID"] = json!(NODE_UID)],
        broken: &[
            |r| r["spec"]["replacesNodeUID"] = json!(""),
            |r| r["spec"]["replacesNodeUID"] = json!("worker-7"),
            |r| r["spec"]["replacesNodeUID"] = json!(NODE_UID.to_uppercase()),
        ],
    },
    Rule {
        at: "spec.nodeRegistration.criSocket",
        reported: "spec.nodeRegistration.criSocket",
        message: "criSocket: must be",
        kept: &[
            |r| socket(r, "unix:///run/containerd/containerd.sock"),
            |r| socket(r, "unix:///var/run/crio/crio.sock"),
        ],
        broken: &[
            |r| socket(r, "/run/containerd/containerd.sock"),
            |r| socket(r, "unix://run/containerd.sock"),
            |r| socket(r, "unix:///run/containerd.sock --kubeconfig=/tmp/other"),
            |r| socket(r, "unix:///run/containerd.sock\n"),
            |r| socket(r, "npipe:////./pipe/containerd"),
            |r| socket(r, "unix:///"),
            |r| socket(r, ""),
        ],
    },
    Rule {
        at: "spec.nodeRegistration.kubeletExtraArgs[].name",
        reported: "spec.nodeRegistration.kubeletExtraArgs[0].name",
        message: "kubeletExtraArgs: a name must be",
        kept: &[|r| argument(r, "max-pods", "200"), |r| argument(r, "v", "4")],
        broken: &[
            |r| argument(r, "--max-pods", "200"),
            |r| argument(r, "hostname_override", "other"),
            |r| argument(r, "max-pods=1 --kubeconfig", "other"),
            |r| argument(r, "Max-Pods", "200"),
            |r| argument(r, "max-pods-", "200"),
        ],
    },
    Rule {
        at: "spec.nodeRegistration.kubeletExtraArgs[].name",
        reported: "spec.nodeRegistration.kubeletExtraArgs[0].name",
        message: "kubeletExtraArgs: must not name a flag",
        kept: &[|r| argument(r, "config-dir", "/etc/kubelet.d"), |r| argument(r, "node-labels", "a=b")],
        broken: &[
            |r| argument(r, "bootstrap-kubeconfig", "x"),
            |r| argument(r, "cert-dir", "x"),
            |r| argument(r, "config", "x"),
            |r| argument(r, "container-runtime-endpoint", "x"),
            |r| argument(r, "hostname-override", "x"),
            |r| argument(r, "kubeconfig", "x"),
            |r| argument(r, "register-node", "x"),
            |r| argument(r, "register-with-taints", "x"),
            |r| argument(r, "root-dir", "x"),
            |r| argument(r, "rotate-certificates", "x"),
        ],
    },
    Rule {
        at: "spec.nodeRegistration.kubeletExtraArgs[].value",
        reported: "spec.nodeRegistration.kubeletExtraArgs[0].value",
        message: "kubeletExtraArgs: a value must be",
        kept: &[
            |r| argument(r, "eviction-hard", "memory.available<100Mi,nodefs.available<10%"),
            |r| argument(r, "node-labels", "example.com/a=b,c=d"),
            |r| argument(r, "v", ""),
            |r| argument(r, "v", "!#$%&()*+,-./:;<=>?@[]^_`{|}~"),
        ],
        broken: &[
            |r| argument(r, "v", "2 --kubeconfig=/tmp/other"),
            |r| argument(r, "v", "2\n"),
            |r| argument(r, "v", "2\t"),
            |r| argument(r, "v", "\"2"),
            |r| argument(r, "v", "'2"),
            |r| argument(r, "v", r"\x20"),
            |r| argument(r, "v", "ü"),
            |r| argument(r, "v", "\u{7f}"),
        ],
    },
    Rule {
        at: "spec.nodeRegistration.labels",
        reported: "spec.nodeRegistration.labels",
        message: "labels: a key must be",
        kept: &[|r| label(r, "node-role.kubernetes.io/worker"), |r| label(r, "rack"), |r| label(r, "A_b.c-9")],
        broken: &[
            |r| label(r, ""),
            |r| label(r, "a b"),
            |r| label(r, "a/b/c"),
            |r| label(r, "-a"),
            |r| label(r, "Example.com/a"),
            |r| label(r, &"a".repeat(64)),
        ],
    },
    Rule {
        at: "spec.nodeRegistration.labels",
        reported: "spec.nodeRegistration.labels",
        message: "labels: must not set",
        kept: &[|r| label(r, "topology.kubernetes.io/zone"), |r| label(r, "nodejoin.dev.example/a")],
        broken: &[
            |r| label(r, "beta.kubernetes.io/arch"),
            |r| label(r, "beta.kubernetes.io/os"),
            |r| label(r, "kubernetes.io/arch"),
            |r| label(r, "kubernetes.io/hostname"),
            |r| label(r, "kubernetes.io/os"),
            |r| label(r, "node-role.kubernetes.io/control-plane"),
            |r| label(r, "nodejoin.dev/request-uid"),
        ],
    },
    Rule {
        at: "spec.nodeRegistration.taints[].key",
        reported: "spec.nodeRegistration.taints[0].key",
        message: "taints: a key must be up to",
        kept: &[|r| taint(r, "dedicated"), |r| taint(r, "example.com/gpu")],
        broken: &[|r| taint(r, "a b"), |r| taint(r, "a/b/c"), |r| taint(r, "/a"), |r| taint(r, "a:NoExecute,b")],
    },
    Rule {
        at: "spec.nodeRegistration.taints[].key",
        reported: "spec.nodeRegistration.taints[0].key",
        message: "taints: a key must not be of",
        kept: &[
            |r| taint(r, "node-role.kubernetes.io/control-plane"),
            |r| taint(r, "node.cloudprovider.kubernetes.io/uninitialized"),
        ],
        broken: &[|r| taint(r, "node.kubernetes.io/not-ready"), |r| taint(r, "nodejoin.dev/a")],
    },
    Rule {
        at: "spec.nodeRegistration.ignorePreflightErrors",
        reported: "spec.nodeRegistration.ignorePreflightErrors",
        message: "ignorePreflightErrors: all stands",
        kept: &[
            |r| r["spec"]["nodeRegistration"]["ignorePreflightErrors"] = json!(["all"]),
            |r| r["spec"]["nodeRegistration"]["ignorePreflightErrors"] = json!(["Swap", "Port-10250"]),
            |r| r["spec"]["nodeRegistration"]["ignorePreflightErrors"] = json!([]),
        ],
        broken: &[
            |r| r["spec"]["nodeRegistration"]["ignorePreflightErrors"] = json!(["Swap", "all"]),
            |r| r["spec"]["nodeRegistration"]["ignorePreflightErrors"] = json!(["ALL", "Swap"]),
        ],
    },
    Rule {
        at: "spec.addresses[]",
        reported: "spec.addresses[0]",
        message: "must be an IP address",
        kept: &[|r| address(r, "192.0.2.17"), |r| address(r, "2001:db8::17")],
        broken: &[
            |r| address(r, "worker-7"),
            |r| address(r, "192.0.2.0/24"),
            |r| address(r, "192.0.2.17:10250"),
            |r| address(r, "192.0.2.017"),
            |r| address(r, "::ffff:192.0.2.17"),
            |r| address(r, "fe80::1%eth0"),
            |r| address(r, ""),
        ],
    },
    Rule {
        at: "spec.addresses[]",
        reported: "spec.addresses[0]",
        message: "must be written in the canonical form",
        kept: &[|r| address(r, "2001:db8::17")],
        broken: &[|r| address(r, "2001:DB8::17"), |r| address(r, "2001:db8:0::17"), |r| address(r, "2001:0db8::17")],
    },
    Rule {
        at: "spec.addresses[]",
        reported: "spec.addresses[0]",
        message: "must be an address of one machine",
        kept: &[|r| address(r, "10.0.0.1"), |r| address(r, "fd00::1"), |r| address(r, "203.0.113.1")],
        broken: &[
            |r| address(r, "127.0.0.1"),
            |r| address(r, "127.8.0.1"),
            |r| address(r, "::1"),
            |r| address(r, "169.254.169.254"),
            |r| address(r, "fe80::1"),
            |r| address(r, "0.0.0.0"),
            |r| address(r, "::"),
            |r| address(r, "224.0.0.1"),
            |r| address(r, "ff02::1"),
            |r| address(r, "255.255.255.255"),
        ],
    },
    Rule {
        at: "spec.controlPlane.localAPIEndpoint.advertiseAddress",
        reported: "spec.controlPlane.localAPIEndpoint.advertiseAddress",
        message: "must be an IP address",
        kept: &[|r| advertise(r, "192.0.2.17"), |r| advertise(r, "2001:db8::17")],
        broken: &[|r| advertise(r, "api.example"), |r| advertise(r, "192.0.2.17:6443")],
    },
    Rule {
        at: "spec.controlPlane.localAPIEndpoint.advertiseAddress",
        reported: "spec.controlPlane.localAPIEndpoint.advertiseAddress",
        message: "must be written in the canonical form",
        kept: &[|r| advertise(r, "2001:db8::17")],
        broken: &[|r| advertise(r, "2001:DB8::17")],
    },
    Rule {
        at: "spec.controlPlane.localAPIEndpoint.advertiseAddress",
        reported: "spec.controlPlane.localAPIEndpoint.advertiseAddress",
        message: "must be an address of one machine",
        kept: &[|r| advertise(r, "10.0.0.1")],
        broken: &[|r| advertise(r, "127.0.0.1"), |r| advertise(r, "0.0.0.0"), |r| advertise(r, "fe80::1")],
    },
];

const TRANSITIONS: &[Transition] = &[
    Transition {
        at: "spec.role",
        reported: "spec.role",
        message: "role: cannot be changed",
        old: |_| {},
        // Written out or left to its default, it is the same role.
        kept: &[|r| r["spec"]["role"] = json!("Worker"), |r| r["spec"]["tokenTTLSeconds"] = json!(300)],
        broken: &[control_plane],
    },
    Transition {
        at: "spec.machine",
        reported: "spec.machine",
        message: "machine: cannot be changed",
        old: |_| {},
        kept: &[|r| r["spec"]["machine"]["trust"] = json!("Pinned"), |r| address(r, "192.0.2.17")],
        broken: &[|r| r["spec"]["machine"]["publicKeyHash"] = json!(format!("sha256:{}", "f".repeat(64))), first_use],
    },
    Transition {
        at: "spec.delivery",
        reported: "spec.delivery",
        message: "delivery: cannot be changed",
        old: first_use,
        kept: &[|r| r["spec"]["delivery"] = json!("Sealed")],
        broken: &[|r| r["spec"]["delivery"] = json!("Token")],
    },
    Transition {
        at: "spec",
        reported: "spec.controlPlane",
        message: "controlPlane: cannot be changed",
        old: control_plane,
        kept: &[|r| r["spec"]["deadlineSeconds"] = json!(300)],
        broken: &[
            |r| r["spec"]["controlPlane"]["localAPIEndpoint"]["bindPort"] = json!(443),
            |r| r["spec"]["controlPlane"]["certificateKeySecret"] = json!("another"),
            |r| drop(r["spec"]["controlPlane"].as_object_mut().unwrap().remove("localAPIEndpoint")),
        ],
    },
];

/// Asserts that an object is refused by one rule, and by nothing else.
fn assert_refused_by(object: &Value, old: Option<&Value>, reported: &str, message: &str) {
    assert_eq!(refused_by_schema(object), [], "the rule shall refuse it, not the schema: {object}");
    let refusals = refused_by_rules(object, old);
    assert_eq!(refusals.len(), 1, "expected only {message:?} for {object}, got {refusals:?}");
    assert!(refusals[0].message.starts_with(message), "expected {message:?} for {object}, got {refusals:?}");
    assert_eq!(refusals[0].path, reported, "{message:?}");
}

fn assert_accepted(object: &Value, old: Option<&Value>) {
    assert_eq!(refused_by_schema(object), [], "{object}");
    assert_eq!(refused_by_rules(object, old), [], "{object}");
}

#[test]
fn a_plain_request_is_accepted() {
    assert_accepted(&worker(), None);
    assert_accepted(&worker(), Some(&worker()));
}

#[test]
fn every_rule_lets_the_right_pass_and_refuses_the_wrong() {
    for rule in RULES {
        for kept in rule.kept {
            let mut request = worker();
            kept(&mut request);
            assert_accepted(&request, None);
        }
        for broken in rule.broken {
            let mut request = worker();
            broken(&mut request);
            assert_refused_by(&request, None, rule.reported, rule.message);
        }
    }
}

#[test]
fn every_transition_rule_lets_the_right_pass_and_refuses_the_wrong() {
    for rule in TRANSITIONS {
        let mut old = worker();
        (rule.old)(&mut old);
        assert_accepted(&old, None);
        for kept in rule.kept {
            let mut request = old.clone();
            kept(&mut request);
            assert_accepted(&request, Some(&old));
        }
        for broken in rule.broken {
            let mut request = old.clone();
            broken(&mut request);
            // On its own the new object is fine: it is the change that is refused.
            assert_accepted(&request, None);
            assert_refused_by(&request, Some(&old), rule.reported, rule.message);
        }
    }
}

/// Everything that may change after a request was made.
#[test]
fn what_is_no_identity_may_change() {
    let mut request = worker();
    request["spec"]["addresses"] = json!(["192.0.2.17"]);
    request["spec"]["tokenTTLSeconds"] = json!(600);
    request["spec"]["deadlineSeconds"] = json!(7200);
    request["spec"]["nodeRegistration"] = json!({"labels": {"rack": "4"}, "taints": []});
    assert_accepted(&request, Some(&worker()));
}

#[test]
fn no_rule_is_without_a_test() {
    let mut in_schema = BTreeSet::new();
    walk("", &SCHEMA, &mut |path, schema| {
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            in_schema.insert((path.to_owned(), rule["message"].as_str().unwrap().to_owned()));
        }
    });
    let tested: Vec<(&str, &str)> = RULES
        .iter()
        .map(|rule| (rule.at, rule.message))
        .chain(TRANSITIONS.iter().map(|rule| (rule.at, rule.message)))
        .collect();
    let untested: Vec<_> = in_schema
        .iter()
        .filter(|(path, message)| !tested.iter().any(|(at, start)| at == path && message.starts_with(start)))
        .collect();
    assert!(untested.is_empty(), "rules in the schema without a test: {untested:#?}");
    for (at, start) in tested {
        let found = in_schema.iter().filter(|(path, message)| at == path && message.starts_with(start)).count();
        assert_eq!(found, 1, "{start:?} at {at:?} shall name one rule in the schema");
    }
}
