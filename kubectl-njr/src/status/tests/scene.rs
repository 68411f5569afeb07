//! What is gathered, in the states of a join.

use std::sync::OnceLock;

use join_crds::NodeJoinRequest;
use join_crds::conditions;
use join_crds::spec::Role;
use join_crds::vocabulary::{ConditionType, KIND, REPORTING_CONTROLLER, Reason};
use join_trust::announcement;
use join_trust::machine_key::MachineKey;
use join_trust::names::NodeName;
use join_trust::sealing::SealingKey;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::jiff::{Timestamp, ToSpan as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::status::gather::Gathered;

/// One condition: type, status, reason, message, and how many seconds ago it became so.
pub type Said<'a> = (ConditionType, &'static str, Reason, &'a str, i64);

const PIN: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// When everything is looked at.
pub fn now() -> Timestamp {
    "2026-07-01T12:00:00Z".parse().unwrap()
}

fn ago(seconds: i64) -> Timestamp {
    now().checked_sub(seconds.seconds()).unwrap()
}

fn object<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// The keys of two machines, new in every run.
fn keys() -> &'static [MachineKey; 2] {
    static KEYS: OnceLock<[MachineKey; 2]> = OnceLock::new();
    KEYS.get_or_init(|| [(); 2].map(|()| MachineKey::generate().unwrap()))
}

/// A text with the machines' pins replaced by others of the same length, which are the same in every run.
pub fn settled(text: &str) -> String {
    let pins = keys().iter().map(|key| key.pin().to_string());
    pins.enumerate().fold(text.to_owned(), |text, (index, pin)| {
        text.replace(&pin, &format!("sha256:{}", (index + 1).to_string().repeat(64)))
    })
}

/// A machine's announcement, made so many seconds ago. Each number from 1 is a machine with a key of its own.
pub fn announcement(name: &str, machine: u8, seconds: i64) -> CertificateSigningRequest {
    let key = &keys()[usize::from(machine) - 1];
    let sealing = SealingKey::generate().unwrap();
    let node = NodeName::parse(name).unwrap();
    let address = std::net::IpAddr::from([192, 0, 2, machine]);
    let request = announcement::build(key, &sealing.public(), &node, &[address]).unwrap();
    object(json!({
        "metadata": {"name": format!("nodejoin-machine-{name}-{machine}"), "creationTimestamp": ago(seconds).to_string()},
        "spec": {
            "signerName": "nodejoin.dev/machine", "username": "system:bootstrap:enroll",
            "request": base64::Engine::encode(&base64::engine::general_purpose::STANDARD, request),
        },
    }))
}

/// An Event about the request with this UID.
pub fn event(reason: &str, kind: &str, note: &str, seconds: i64, uid: &str) -> Event {
    object(json!({
        "metadata": {"name": format!("worker-1.{seconds}")},
        "type": kind, "reason": reason, "note": note,
        "eventTime": format!("{:.6}", ago(seconds)),
        "reportingController": REPORTING_CONTROLLER,
        "regarding": {"kind": KIND, "name": "worker-1", "uid": uid},
    }))
}

/// A Node with its Ready condition.
pub fn node(status: &str, reason: &str, message: &str) -> Node {
    object(json!({
        "metadata": {"name": "worker-1", "uid": "uid-of-node"},
        "status": {
            "conditions": [{"type": "Ready", "status": status, "reason": reason, "message": message,
                "lastTransitionTime": ago(30).to_string()}],
            "nodeInfo": {"kubeletVersion": "v1.37.2", "architecture": "", "bootID": "", "containerRuntimeVersion": "",
                "kernelVersion": "", "kubeProxyVersion": "", "machineID": "", "operatingSystem": "", "osImage": "",
                "systemUUID": ""},
        },
    }))
}

/// A Node that is Ready.
pub fn node_ready() -> Node {
    node("True", "KubeletReady", "kubelet is posting ready status")
}

/// A Node without a network.
pub fn node_unready() -> Node {
    node("False", "KubeletNotReady", "container runtime network not ready: NetworkReady=false")
}

/// What is gathered, while it is put together.
pub struct Scene(Gathered);

impl Scene {
    /// Nothing at all.
    pub fn nothing() -> Self {
        Self(Gathered { now: now(), ..Gathered::new("worker-1") })
    }

    /// A request at which nobody has looked.
    pub fn requested() -> Self {
        let mut scene = Self::nothing();
        let request: NodeJoinRequest = object(json!({
            "apiVersion": "nodejoin.dev/v1alpha1", "kind": KIND,
            "metadata": {"name": "worker-1", "uid": "uid-of-request", "generation": 1,
                "creationTimestamp": ago(600).to_string()},
            "spec": {"machine": {"publicKeyHash": PIN}},
        }));
        scene.0.request = Some(request);
        scene
    }

    /// A request whose machine is known.
    pub fn bound() -> Self {
        let mut scene =
            Self::requested().says(&[(ConditionType::MachineBound, "True", Reason::MachineKeyPinned, "", 500)]);
        scene.status("machine", json!({"publicKeyHash": PIN, "firstSeen": ago(500).to_string()}));
        scene
    }

    /// The node of a request that was carried out.
    pub fn joined(node: Node) -> Self {
        use ConditionType::{ClientCertificateIssued, CredentialIssued, NodeRegistered, ServingCertificateIssued};
        let mut scene = Self::bound().says(&[
            (CredentialIssued, "False", Reason::TokenRemoved, "", 300),
            (ClientCertificateIssued, "True", Reason::CertificateIssued, "", 400),
            (NodeRegistered, "True", Reason::NodeRegistered, "", 350),
            (ServingCertificateIssued, "False", Reason::NotRequested, "", 350),
        ]);
        scene.0.node = Some(node);
        let year = now().checked_add((365 * 24).hours()).unwrap().to_string();
        let client = json!({"request": "nodejoin-client-abcdef", "notAfter": year, "serial": "0a"});
        scene.status("certificates", json!({"client": client}));
        scene
    }

    fn status(&mut self, field: &str, value: Value) {
        let request = self.0.request.as_mut().unwrap();
        let mut status = serde_json::to_value(request.status.clone().unwrap_or_default()).unwrap();
        status[field] = value;
        request.status = Some(object(status));
    }

    /// With these conditions, the others as on the first visit.
    pub fn says(mut self, said: &[Said<'_>]) -> Self {
        let request = self.0.request.as_mut().unwrap();
        let status = request.status.get_or_insert_default();
        status.observed_generation = Some(1);
        conditions::complete(&mut status.conditions, 1, ago(590));
        for (kind, value, reason, message, seconds) in said {
            let condition = status.conditions.iter_mut().find(|one| one.type_ == kind.as_str()).unwrap();
            (*value).clone_into(&mut condition.status);
            reason.as_str().clone_into(&mut condition.reason);
            (*message).clone_into(&mut condition.message);
            condition.last_transition_time.0 = ago(*seconds);
        }
        self
    }

    /// For a control plane.
    pub fn control_plane(mut self) -> Self {
        self.0.request.as_mut().unwrap().spec.role = Role::ControlPlane;
        self
    }

    /// With a token that lives.
    pub fn token(mut self) -> Self {
        self.status("credential", json!({"tokenID": "abcdef", "expirationTime": ago(-700).to_string()}));
        self.says(&[(ConditionType::CredentialIssued, "True", Reason::TokenIssued, "", 450)])
    }

    /// With the agent at this step.
    pub fn agent(mut self, step: &str, message: &str) -> Self {
        self.status("agent", json!({"step": step, "since": ago(20).to_string(), "message": message}));
        self
    }

    /// With another certificate request.
    pub fn with(mut self, request: CertificateSigningRequest) -> Self {
        self.0.certificate_requests.push(request);
        self
    }

    fn kubelets(self, name: &str, signer: &str, user: &str, decision: Option<&str>, issued: bool) -> Self {
        let conditions: Vec<Value> = decision.map(|kind| json!({"type": kind, "status": "True"})).into_iter().collect();
        self.with(object(json!({
            "metadata": {"name": name, "creationTimestamp": ago(60).to_string()},
            "spec": {"signerName": signer, "username": user, "request": ""},
            "status": {"conditions": conditions, "certificate": if issued { "QUJD" } else { "" }},
        })))
    }

    /// With the kubelet's first certificate request.
    pub fn csr(self, name: &str, decision: Option<&str>, signed: bool) -> Self {
        self.kubelets(name, "kubernetes.io/kube-apiserver-client-kubelet", "system:bootstrap:abcdef", decision, signed)
    }

    /// With the kubelet's request for a serving certificate.
    pub fn serving(self, name: &str, decision: Option<&str>) -> Self {
        self.kubelets(name, "kubernetes.io/kubelet-serving", "system:node:worker-1", decision, false)
    }

    /// With an Event about the request.
    pub fn event(mut self, reason: &str, kind: &str, note: &str, seconds: i64) -> Self {
        self.0.events.push(event(reason, kind, note, seconds, "uid-of-request"));
        self
    }

    /// While it is being deleted.
    pub fn deleted(mut self) -> Self {
        let request = self.0.request.as_mut().unwrap();
        request.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(ago(5)));
        self
    }

    /// What was gathered.
    pub fn done(self) -> Gathered {
        self.0
    }
}
