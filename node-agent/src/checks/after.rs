//! The checks of a machine that is a node: is everything that makes it one still there?

use std::net::IpAddr;
use std::path::Path;

use join_checks::{Finding, Report};
use join_trust::names::NodeName;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::catalogue::{
    KUBE_PROXY, KUBELET_CONFIGURATION, KUBELET_CREDENTIAL, KUBELET_SERVICE, NODE_READY, NODE_REGISTERED,
};
use super::control_plane_certificates::{self, Certificates};
use super::kubelet::{self, Unit};
use crate::cri::{self, Container, Cri};
use crate::files;
use crate::kubelet::{Systemd, UNIT};

/// The unit of those who run kube-proxy without a pod.
const KUBE_PROXY_UNIT: &str = "kube-proxy.service";
/// A certificate that ends this soon should have been renewed: the kubelet does so in the last fifth of its life or
/// earlier, and no signer issues one for less than ten minutes.
const SOON_SECONDS: i64 = 120;
/// No more of a Node's own words are repeated.
const MAX_MESSAGE: usize = 256;

/// What the machine itself shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// The kubelet's unit; why systemd says nothing otherwise.
    pub kubelet: Result<Unit, String>,
    /// Whether a unit named kube-proxy is active.
    pub kube_proxy_unit: bool,
    /// The containers named kube-proxy, the newest first.
    pub kube_proxy: Result<Vec<Container>, cri::Error>,
    /// What is wrong with kubelet.conf and the certificate, or until when it is valid.
    pub credential: Result<Timestamp, String>,
    /// What is wrong with the kubelet's configuration.
    pub configuration: Result<(), String>,
    /// The control plane's certificates, where the machine is one.
    pub control_plane: Option<Certificates>,
}

/// What the cluster shows of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It was not asked yet, or did not answer.
    Unknown(String),
    /// There is no such Node.
    Absent,
    /// The Node.
    Present(Present),
}

/// What of a Node counts here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Present {
    /// The value of its condition Ready, and the reason and message that came with it.
    pub ready: Option<(String, String, String)>,
    /// Its internal addresses.
    pub addresses: Vec<String>,
}

impl Present {
    /// Of a whole Node, which can have many kilobytes.
    pub fn of(node: &Node) -> Self {
        let status = node.status.as_ref();
        let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let ready = conditions.iter().find(|condition| condition.type_ == "Ready").map(|condition| {
            let text = |text: &Option<String>| -> String {
                text.as_deref().unwrap_or_default().chars().take(MAX_MESSAGE).collect()
            };
            (condition.status.clone(), text(&condition.reason), text(&condition.message))
        });
        let addresses = status.and_then(|status| status.addresses.as_deref()).unwrap_or_default();
        let internal = addresses.iter().filter(|address| address.type_ == "InternalIP");
        Self { ready, addresses: internal.map(|address| address.address.clone()).collect() }
    }
}

/// Asks the runtime for the containers named kube-proxy.
pub async fn kube_proxy_containers(cri_socket: &str) -> Result<Vec<Container>, cri::Error> {
    Cri::connect(cri_socket).await?.containers("kube-proxy").await
}

/// Looks at the machine.
pub async fn observe(
    node: &NodeName,
    systemd: Result<&Systemd, String>,
    kube_proxy: Result<Vec<Container>, cri::Error>,
    control_plane: Option<Certificates>,
) -> Local {
    let (kubelet, kube_proxy_unit) = match systemd {
        Ok(systemd) => {
            let (unit, proxy) = tokio::join!(kubelet::state(systemd, UNIT), systemd.is_active(KUBE_PROXY_UNIT));
            (unit.map_err(|error| error.to_string()), proxy)
        }
        Err(error) => (Err(error), false),
    };
    Local {
        kubelet,
        kube_proxy_unit,
        kube_proxy,
        credential: credential(
            std::fs::read(files::KUBELET_CONF).is_ok(),
            std::fs::read(files::CLIENT_PEM).map_err(|error| error.to_string()),
            node,
        ),
        configuration: configuration(Path::new(files::CONFIG_YAML)),
        control_plane,
    }
}

/// The container runtime's socket of a node, from the file that names it.
pub fn cri_socket(instance_config_yaml: &str) -> String {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Instance {
        container_runtime_endpoint: Option<String>,
    }
    let parsed = serde_saphyr::from_str::<Instance>(instance_config_yaml).ok();
    let socket = parsed.and_then(|instance| instance.container_runtime_endpoint);
    socket.filter(|socket| !socket.is_empty()).unwrap_or_else(|| files::DEFAULT_CRI_SOCKET.to_owned())
}

/// Until when the node's certificate is valid.
fn credential(has_kubelet_conf: bool, pem: Result<Vec<u8>, String>, node: &NodeName) -> Result<Timestamp, String> {
    let path = files::CLIENT_PEM;
    if !has_kubelet_conf {
        return Err(format!("{} cannot be read", files::KUBELET_CONF));
    }
    let pem = pem.map_err(|error| format!("{path}: {error}"))?;
    let der = crate::member::certificate(&pem).ok_or_else(|| format!("{path} holds no certificate"))?;
    let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| format!("{path} holds no certificate"))?;
    let mut names = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    if names.next() != Some(node.user_name().as_str()) {
        return Err(format!("{path} is not for {}", node.user_name()));
    }
    let until =
        |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).map_err(|error| error.to_string());
    let (begin, end) = (until(certificate.validity().not_before)?, until(certificate.validity().not_after)?);
    if Timestamp::now() < begin {
        return Err(format!("{path} is valid from {begin} on only: is this machine's clock behind?"));
    }
    Ok(end)
}

fn configuration(path: &Path) -> Result<(), String> {
    let wrong = |reason: &str| format!("{}: {reason}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error.to_string()))?;
    if text.contains("kind: KubeletConfiguration") { Ok(()) } else { Err(wrong("is no KubeletConfiguration")) }
}

/// Judges what was seen: six findings, and one more of a control plane, always in the same order. What is seen of a sound node does not change from one
/// look to the next, so that it is not written again and again.
pub fn judge(local: &Local, seen: &Seen, allowed: &[IpAddr], now: Timestamp) -> Report {
    let mut checks = vec![
        registered(seen, allowed),
        ready(seen),
        service(&local.kubelet),
        kube_proxy(local),
        certificate(local.credential.as_ref(), now),
        KUBELET_CONFIGURATION.unless(local.configuration.clone().err(), files::CONFIG_YAML),
    ];
    checks.extend(local.control_plane.as_ref().map(|seen| control_plane_certificates::judge(seen, now)));
    Report { checks }
}

fn registered(seen: &Seen, allowed: &[IpAddr]) -> Finding {
    let present = match seen {
        Seen::Unknown(why) => return NODE_REGISTERED.skipped(why.clone()),
        Seen::Absent => return NODE_REGISTERED.failed("there is no such Node"),
        Seen::Present(present) => present,
    };
    let shown = present.addresses.join(", ");
    if present.addresses.is_empty() {
        return NODE_REGISTERED.warning("the Node has no internal address");
    }
    let is_allowed = |text: &String| text.parse().is_ok_and(|address| allowed.contains(&address));
    if allowed.is_empty() || present.addresses.iter().all(is_allowed) {
        return NODE_REGISTERED.passed(shown);
    }
    let mend =
        "add {name: node-ip, value: ADDRESS} to kubeletExtraArgs in a new request, or the address to spec.addresses";
    let allowed: Vec<String> = allowed.iter().map(IpAddr::to_string).collect();
    let seen = format!("the Node registered with {shown}, and the request allows {}", allowed.join(", "));
    NODE_REGISTERED.failed_with(seen, mend).as_warning()
}

fn ready(seen: &Seen) -> Finding {
    match seen {
        Seen::Unknown(why) => NODE_READY.skipped(why.clone()),
        Seen::Absent => NODE_READY.skipped("there is no such Node"),
        Seen::Present(Present { ready: None, .. }) => NODE_READY.failed("the Node has no condition Ready yet"),
        Seen::Present(Present { ready: Some((status, reason, message)), .. }) => {
            let mend = if message.contains("NetworkPluginNotReady") || message.contains("cni") {
                "install the cluster's network plugin (CNI), or look at its pods on this node"
            } else if status == "Unknown" {
                "the kubelet has stopped reporting: run `journalctl -u kubelet` on the machine"
            } else {
                NODE_READY.mend
            };
            if status == "True" {
                NODE_READY.passed("Ready")
            } else {
                NODE_READY.failed_with(format!("{reason}: {message}"), mend)
            }
        }
    }
}

fn service(unit: &Result<Unit, String>) -> Finding {
    match unit {
        Err(error) => KUBELET_SERVICE.skipped(format!("systemd cannot be asked: {error}")),
        Ok(unit) if unit.active_state != "active" => {
            let state = if unit.is_loaded() { &unit.active_state } else { &unit.load_state };
            KUBELET_SERVICE.failed(format!("{UNIT} is {state}"))
        }
        Ok(unit) if !unit.is_enabled() => {
            let mend = "run `systemctl enable kubelet.service`";
            KUBELET_SERVICE.failed_with(format!("{UNIT} is active, and {}", unit.file_state), mend).as_warning()
        }
        Ok(_) => KUBELET_SERVICE.passed("active and enabled"),
    }
}

/// A container that runs is what is expected. None at all is no fault: who runs kube-proxy otherwise, or not at all,
/// does not tell this machine.
fn kube_proxy(local: &Local) -> Finding {
    match &local.kube_proxy {
        Ok(containers) if containers.iter().any(|one| one.running) => {
            let pod = containers.iter().find(|one| one.running).map(|one| one.pod.as_str()).unwrap_or_default();
            KUBE_PROXY.passed(format!("in the pod {pod}"))
        }
        _ if local.kube_proxy_unit => KUBE_PROXY.passed(format!("{KUBE_PROXY_UNIT} is active; there is no pod of it")),
        Ok(containers) => match containers.first() {
            Some(ended) => KUBE_PROXY.failed(format!("the container in the pod {} does not run", ended.pod)),
            None => KUBE_PROXY.skipped(format!(
                "there is no container named kube-proxy and no active {KUBE_PROXY_UNIT}; this cluster may do without"
            )),
        },
        Err(error) => KUBE_PROXY.skipped(format!("the container runtime cannot be asked: {error}")),
    }
}

fn certificate(credential: Result<&Timestamp, &String>, now: Timestamp) -> Finding {
    match credential {
        Err(problem) => KUBELET_CREDENTIAL.failed(problem.clone()),
        Ok(end) if *end <= now => KUBELET_CREDENTIAL.failed(format!("the certificate has expired at {end}")),
        Ok(end) if end.as_second() - now.as_second() < SOON_SECONDS => {
            let mend = "run `journalctl -u kubelet`: the kubelet should have renewed it";
            KUBELET_CREDENTIAL.failed_with(format!("the certificate expires at {end}"), mend).as_warning()
        }
        Ok(end) => KUBELET_CREDENTIAL.passed(format!("valid until {end}")),
    }
}

#[cfg(test)]
#[path = "after_tests.rs"]
mod tests;
