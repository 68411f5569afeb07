//! Nodes, as the controller keeps them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use join_trust::UnixSeconds;
use join_trust::limits::MAX_ALTERNATIVE_NAMES;
use k8s_openapi::api::core::v1::{Node, Taint};

use super::{Entry, version_number};

/// One Node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeEntry {
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.resourceVersion`
    pub version: String,
    /// `metadata.creationTimestamp`
    pub created_at: UnixSeconds,
    /// `metadata.labels`
    pub labels: BTreeMap<String, String>,
    /// `spec.taints`
    pub taints: Vec<Taint>,
    /// `spec.unschedulable`: whether it is cordoned.
    pub unschedulable: bool,
    /// The IP addresses in `status.addresses`: the kubelet's own word, which can deny a certificate and never approve one.
    pub addresses: Vec<IpAddr>,
    /// Whether the condition `Ready` is True.
    pub ready: bool,
    /// Reason and message of the condition `Ready`.
    pub readiness: String,
    /// `status.nodeInfo.kubeletVersion`
    pub kubelet_version: Option<String>,
}

impl NodeEntry {
    /// Reads a Node.
    pub fn read(node: Node) -> Self {
        let status = node.status.unwrap_or_default();
        let ready = status.conditions.unwrap_or_default().into_iter().find(|condition| condition.type_ == "Ready");
        Self {
            name: node.metadata.name.unwrap_or_default(),
            uid: node.metadata.uid.unwrap_or_default(),
            version: node.metadata.resource_version.unwrap_or_default(),
            created_at: node.metadata.creation_timestamp.map_or(0, |time| time.0.as_second()),
            labels: node.metadata.labels.unwrap_or_default(),
            unschedulable: node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true)),
            taints: node.spec.and_then(|spec| spec.taints).unwrap_or_default(),
            // Host names are no addresses; at most as many as an announcement may have are looked at.
            addresses: status
                .addresses
                .unwrap_or_default()
                .iter()
                .filter_map(|one| one.address.parse().ok())
                .take(MAX_ALTERNATIVE_NAMES)
                .collect(),
            ready: ready.as_ref().is_some_and(|condition| condition.status == "True"),
            readiness: ready.map_or_else(
                || "the kubelet has not reported yet".to_owned(),
                |condition| {
                    let reason = condition.reason.unwrap_or_default();
                    format!("{reason}: {}", condition.message.unwrap_or_default())
                },
            ),
            kubelet_version: status.node_info.map(|info| info.kubelet_version).filter(|version| !version.is_empty()),
        }
    }

    /// Whether a request has to be looked at again when a Node goes from `before` to this. Heartbeats do not count.
    pub fn differs_from(&self, before: &Self) -> bool {
        Self { version: before.version.clone(), ..self.clone() } != *before
    }
}

impl Entry for NodeEntry {
    /// One of its addresses.
    type Key = IpAddr;

    fn name(&self) -> &str {
        &self.name
    }

    fn keys(&self) -> Vec<IpAddr> {
        self.addresses.clone()
    }

    fn version(&self) -> Option<u64> {
        version_number(Some(&self.version))
    }
}
