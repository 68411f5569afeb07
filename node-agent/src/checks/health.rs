//! The node's health over time: what was last seen of the machine and of its Node.

use std::path::Path;
use std::time::{Duration, Instant};

use join_checks::pauses::Lasting;
use join_checks::{Finding, Report, Verdict};
use join_crds::{Check, NodeJoinRequest};
use join_trust::names::NodeName;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, DefaultBackoff, watch_object};
use kube::{Api, Client};

use super::after::{self, Local, Present, Seen};
use super::{control_plane_certificates, for_status};
use crate::files;
use crate::kubelet::Systemd;

/// How often the machine is looked at: two questions to systemd, three small files.
pub const LOOK: Duration = Duration::from_secs(5);
/// How often the container runtime is asked for kube-proxy, and a control plane's certificates are read.
const LOOK_CLOSER: Duration = Duration::from_secs(30);

/// What was last seen.
pub struct Health {
    node: NodeName,
    cri_socket: String,
    systemd: Option<Systemd>,
    looked_closer: Option<Instant>,
    local: Option<Local>,
    seen: Seen,
}

impl Health {
    /// Nothing was seen yet.
    pub fn new(node: NodeName) -> Self {
        let instance = std::fs::read_to_string(files::INSTANCE_CONFIG_YAML).unwrap_or_default();
        Self {
            node,
            cri_socket: after::cri_socket(&instance),
            systemd: None,
            looked_closer: None,
            local: None,
            seen: Seen::Unknown("the Node was not looked at yet".to_owned()),
        }
    }

    /// The machine's own Node, whenever it changes. The kubelet writes it when something changes, and every five minutes.
    pub fn watch(
        client: &Client,
        node: &NodeName,
    ) -> impl futures::Stream<Item = watcher::Result<Option<Node>>> + use<> {
        watch_object(Api::<Node>::all(client.clone()), node.as_str()).backoff(Lasting::<DefaultBackoff>::default())
    }

    /// Takes what the watch brought. When it fails, what was seen before stands: without the API server nothing can be
    /// written either.
    pub fn see(&mut self, event: watcher::Result<Option<Node>>) {
        match event {
            Ok(Some(node)) => self.seen = Seen::Present(Present::of(&node)),
            Ok(None) => self.seen = Seen::Absent,
            Err(error) => {
                if let Seen::Unknown(why) = &mut self.seen {
                    *why = format!("the Node cannot be watched: {error}");
                }
            }
        }
    }

    /// Asks for the Node once, where nobody watches it.
    pub async fn ask(&mut self, client: &Client) {
        let nodes: Api<Node> = Api::all(client.clone());
        let name = self.node.as_str();
        self.seen = match crate::connection::call("asking for the Node", nodes.get_opt(name)).await {
            Ok(Some(node)) => Seen::Present(Present::of(&node)),
            Ok(None) => Seen::Absent,
            Err(error) => Seen::Unknown(error.to_string()),
        };
    }

    /// Looks at the machine.
    pub async fn look(&mut self) {
        if self.systemd.is_none() {
            self.systemd = Systemd::connect().await.ok();
        }
        let systemd = self.systemd.as_ref().ok_or_else(|| "the system bus cannot be reached".to_owned());
        // Asked seldom: what was seen last counts until then.
        let is_due = self.looked_closer.is_none_or(|looked| looked.elapsed() >= LOOK_CLOSER);
        let (kube_proxy, control_plane) = match &self.local {
            Some(known) if !is_due => (known.kube_proxy.clone(), known.control_plane.clone()),
            _ => {
                self.looked_closer = Some(Instant::now());
                let certificates = control_plane_certificates::observe(Path::new("/"));
                (after::kube_proxy_containers(&self.cri_socket).await, certificates)
            }
        };
        let local = after::observe(&self.node, systemd, kube_proxy, control_plane).await;
        if local.kubelet.is_err() {
            // A bus that was restarted needs a new connection.
            self.systemd = None;
        }
        self.local = Some(local);
    }

    /// The checks of a node; `None` before the machine and its Node were looked at.
    pub fn report(&self, request: Option<&NodeJoinRequest>) -> Option<Report> {
        let allowed = request.map(|request| request.spec.addresses.as_slice()).unwrap_or_default();
        Some(after::judge(self.local.as_ref()?, &self.seen, allowed, Timestamp::now()))
    }

    /// The same for the request's status, once both the machine and its Node were seen.
    pub fn checks(&self, request: &NodeJoinRequest) -> Option<Vec<Check>> {
        if matches!(self.seen, Seen::Unknown(_)) {
            return None;
        }
        Some(for_status(&self.report(Some(request))?, true))
    }

    /// What is wrong, for a person on the machine.
    pub fn trouble(&self) -> Option<String> {
        let report = self.report(None)?;
        let failed = report.checks.iter().filter(|finding| finding.verdict == Verdict::Failed);
        let told: Vec<String> = failed.map(|Finding { id, observed, .. }| format!("{id}: {observed}")).collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_told_before_everything_was_seen() {
        let mut health = Health::new(NodeName::parse("worker-1").unwrap());
        let request: NodeJoinRequest = serde_json::from_value(serde_json::json!({
            "apiVersion": "nodejoin.dev/v1alpha1", "kind": "NodeJoinRequest", "metadata": {"name": "worker-1"},
            "spec": {"role": "Worker", "machine": {"trust": "FirstUse"}},
        }))
        .unwrap();
        let local = Local {
            kubelet: Err("no bus".to_owned()),
            kube_proxy_unit: false,
            kube_proxy: Ok(Vec::new()),
            credential: Err("kubelet.conf is gone".to_owned()),
            configuration: Ok(()),
            control_plane: None,
        };
        health.see(Ok(None));
        assert_eq!(health.checks(&request), None);
        health.local = Some(local.clone());
        assert_eq!(health.checks(&request).unwrap().len(), 6);
        assert_eq!(
            health.trouble().unwrap(),
            "NodeRegistered: there is no such Node; KubeletCredential: kubelet.conf is gone"
        );
        let mut health = Health { local: Some(local), ..Health::new(NodeName::parse("worker-1").unwrap()) };
        health.see(Err(watcher::Error::NoResourceVersion));
        assert!(matches!(&health.seen, Seen::Unknown(why) if why.contains("cannot be watched")));
        assert_eq!(health.checks(&request), None);
        // What was seen stays when the watch fails.
        health.see(Ok(Some(Node::default())));
        health.see(Err(watcher::Error::NoResourceVersion));
        assert!(health.checks(&request).is_some());
    }
}
