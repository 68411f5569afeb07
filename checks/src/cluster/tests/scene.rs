//! A cluster that is well, of which tests spoil one thing each.

use std::collections::BTreeMap;

use join_crds::vocabulary::{GROUP_ENROLL, GROUP_JOIN};
use join_trust::pin::PublicKeyPin;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::{Timestamp, ToSpan as _};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, PublicKeyData as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cluster::facts::{Facts, Look, Named, RecordSeen, Server, Signature, Token};
use crate::cluster::policies;
use crate::cluster::rights::{Right, administrator};

/// When everything is looked at.
pub(super) fn now() -> Timestamp {
    "2026-07-01T12:00:00Z".parse().unwrap()
}

/// So many seconds before that.
pub(super) fn ago(seconds: i64) -> Timestamp {
    now().checked_sub(seconds.seconds()).unwrap()
}

/// An object from JSON.
pub(super) fn object<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// A token of the enrollment group.
pub(super) fn token(id: &str) -> Token {
    Token {
        secret_name: format!("bootstrap-token-{id}"),
        uid: format!("uid-of-{id}"),
        id: id.to_owned(),
        created: Some(ago(3600)),
        expires: Some(ago(-3600)),
        authenticates: true,
        groups: vec![GROUP_ENROLL.to_owned()],
        request_uid: None,
        signature: Signature::Valid,
    }
}

/// A binding of a cluster role to one subject.
#[allow(clippy::needless_pass_by_value, reason = "subjects are made where they are used")]
pub(super) fn binding(name: &str, role: &str, subject: Value) -> Value {
    json!({
        "metadata": {"name": name, "uid": format!("uid-of-{name}")},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    })
}

/// A group as a subject.
pub(super) fn group(name: &str) -> Value {
    json!({"kind": "Group", "name": name, "apiGroup": "rbac.authorization.k8s.io"})
}

/// A ServiceAccount as a subject.
pub(super) fn account(namespace: &str, name: &str) -> Value {
    json!({"kind": "ServiceAccount", "namespace": namespace, "name": name})
}

/// A cluster role with one rule.
pub(super) fn role(name: &str, groups: &[&str], resources: &[&str], verbs: &[&str], names: &[&str]) -> Value {
    json!({"metadata": {"name": name}, "rules": [
        {"apiGroups": groups, "resources": resources, "verbs": verbs, "resourceNames": names}
    ]})
}

/// A kubelet's certificate request: its age, and when it was approved.
pub(super) fn kubelet_request(name: &str, created: i64, approved: Option<i64>, signed: bool) -> Value {
    let conditions: Vec<Value> = approved
        .map(|seconds| json!({"type": "Approved", "status": "True", "lastUpdateTime": ago(seconds).to_string()}))
        .into_iter()
        .collect();
    let certificate = if signed { json!("QUJD") } else { Value::Null };
    json!({
        "metadata": {"name": name, "creationTimestamp": ago(created).to_string()},
        "spec": {"signerName": "kubernetes.io/kube-apiserver-client-kubelet", "request": "QUJD"},
        "status": {"conditions": conditions, "certificate": certificate},
    })
}

/// A lease renewed so many seconds ago.
pub(super) fn lease(holder: &str, renewed: i64) -> Value {
    json!({"metadata": {"name": "a-lease"}, "spec": {
        "holderIdentity": holder, "leaseDurationSeconds": 15,
        "renewTime": format!("{:.6}", ago(renewed)),
    }})
}

/// A static pod of the control plane.
pub(super) fn component(name: &str, flags: &[&str]) -> Value {
    json!({"metadata": {"name": format!("{name}-cp"), "labels": {"component": name, "tier": "control-plane"}},
        "spec": {"containers": [{"name": name, "command": std::iter::once(&name).chain(flags).collect::<Vec<_>>()}]}})
}

/// cluster-info and the pin of the authority in it.
fn cluster_info() -> (ConfigMap, PublicKeyPin) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    let ca = join_trust::ca_bundle::CaBundle::parse_pem(pem.as_bytes()).unwrap();
    let endpoint = join_trust::endpoint::Endpoint::parse("192.0.2.10:6443").unwrap();
    let kubeconfig = join_trust::cluster_info::render(&endpoint, &ca).unwrap();
    let data = BTreeMap::from([
        ("kubeconfig".to_owned(), kubeconfig),
        ("jws-kubeconfig-abcdef".to_owned(), "e30..eA".to_owned()),
        ("jws-kubeconfig-fedcba".to_owned(), "e30..eA".to_owned()),
    ]);
    let map = ConfigMap { data: Some(data), ..ConfigMap::default() };
    (map, PublicKeyPin::of_spki(&key.subject_public_key_info()))
}

fn cluster_roles() -> Vec<Value> {
    const CERTIFICATES: &[&str] = &["certificates.k8s.io"];
    vec![
        role("nodejoin:enroll", CERTIFICATES, &["certificatesigningrequests"], &["create", "get"], &[]),
        role(
            "nodejoin:controller",
            CERTIFICATES,
            &["signers"],
            &["approve"],
            &["kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"],
        ),
        role("selfnodeclient", CERTIFICATES, &["certificatesigningrequests/selfnodeclient"], &["create"], &[]),
        role("nodeclient", CERTIFICATES, &["certificatesigningrequests/nodeclient"], &["create"], &[]),
        role("cluster-admin", &["*"], &["*"], &["*"], &[]),
        role("secret-reader", &[""], &["secrets"], &["get", "list"], &[]),
        role("approver", CERTIFICATES, &["signers"], &["approve"], &["kubernetes.io/kubelet-serving"]),
    ]
}

fn deployment(available: i32) -> Value {
    json!({
        "metadata": {"name": "join-controller"},
        "spec": {"replicas": 2, "selector": {}, "template": {"spec": {"containers": [
            {"name": "controller", "image": "ghcr.io/nodejoin/join-controller:0.1.0"}
        ]}}},
        "status": {"availableReplicas": available, "conditions": [
            {"type": "Available", "status": if available < 2 { "False" } else { "True" },
             "message": "Deployment does not have minimum availability."}
        ]},
    })
}

/// The same with another number of replicas that are available.
pub(super) fn with_available(facts: &mut Facts, available: i32) {
    facts.deployment = Look::Found(Box::new(object(deployment(available))));
}

/// A cluster in which everything is as it should be.
pub(super) fn good() -> Facts {
    let (map, pin) = cluster_info();
    let expected = policies::expected("join-system").unwrap();
    let installed_policies =
        expected.policies.iter().map(|(name, spec)| object(json!({"metadata": {"name": name}, "spec": spec})));
    let installed_bindings =
        expected.bindings.iter().map(|(name, spec)| object(json!({"metadata": {"name": name}, "spec": spec})));
    let join = Token {
        groups: vec![GROUP_JOIN.to_owned()],
        request_uid: Some("uid-of-worker-1".to_owned()),
        ..token("fedcba")
    };
    Facts {
        namespace: "join-system".to_owned(),
        now: now(),
        server: Look::Found(Server {
            url: "https://192.0.2.10:6443/".to_owned(),
            version: "v1.37.2".to_owned(),
            number: Some((1, 37, 2)),
            skew_seconds: Some(0),
        }),
        trusted: vec![pin],
        rights: administrator().into_iter().map(|right: Right| (right, Look::Found(true))).collect(),
        served: Look::Found(()),
        crd: Look::Found(Box::new(join_crds::generate::crd().unwrap())),
        cluster_info: Look::Found(map),
        anonymous: Look::Found(200),
        tokens: Look::Found(vec![token("abcdef"), join]),
        requests: Look::Found(vec![Named { name: "worker-1".to_owned(), uid: "uid-of-worker-1".to_owned() }]),
        records: Look::Found(vec![RecordSeen {
            name: "njr-uid-of-worker-1".to_owned(),
            request_uid: "uid-of-worker-1".to_owned(),
            of_node: false,
            created: Some(ago(3600)),
        }]),
        certificate_requests: Look::Found(vec![object(kubelet_request(
            "nodejoin-client-fedcba",
            7200,
            Some(7190),
            true,
        ))]),
        manager_lease: Look::Found(object(lease("cp_1", 3))),
        controller_lease: Look::Found(object(lease("join-controller-0", 4))),
        deployment: Look::Found(Box::new(object(deployment(2)))),
        components: Look::Found(vec![
            object(component(
                "kube-apiserver",
                &["--enable-bootstrap-token-auth=true", "--enable-admission-plugins=NodeRestriction"],
            )),
            object(component("kube-controller-manager", &["--cluster-signing-cert-file=/etc/kubernetes/pki/ca.crt"])),
        ]),
        policies: Look::Found(installed_policies.collect()),
        policy_bindings: Look::Found(installed_bindings.collect()),
        cluster_roles: Look::Found(cluster_roles().into_iter().map(object).collect()),
        cluster_role_bindings: Look::Found(
            [
                binding("nodejoin:enroll", "nodejoin:enroll", group(GROUP_ENROLL)),
                binding("nodejoin:controller", "nodejoin:controller", account("join-system", "join-controller")),
                binding("rotation", "selfnodeclient", group("system:nodes")),
                binding("cluster-admin", "cluster-admin", group("system:masters")),
            ]
            .into_iter()
            .map(object)
            .collect(),
        ),
        roles: Look::Found(vec![object(role("info", &[""], &["configmaps"], &["get"], &["cluster-info"]))]),
        role_bindings: Look::Found(vec![]),
    }
}
