//! Labels and taints of Nodes.

use std::sync::Arc;

use join_crds::spec::NodeJoinRequest;
use join_crds::vocabulary::MANAGER_NODE;
use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use serde_json::json;

use super::{ActError, deleted};
use crate::cache::Shared;
use crate::cache::node::NodeEntry;
use crate::plan::missing_taints;

/// Writes Nodes.
pub struct Nodes {
    api: Api<Node>,
    table: Shared<NodeEntry>,
}

impl Nodes {
    /// Writes with this client, and into this table.
    pub fn new(client: Client, table: Shared<NodeEntry>) -> Self {
        Self { api: Api::all(client), table }
    }

    /// Applies all labels of the request: what is no longer among them goes, what others set stays.
    ///
    /// The UID keeps this from touching, or making, another Node of the same name.
    pub async fn label(&self, request: &NodeJoinRequest, node: &NodeEntry) -> Result<(), ActError> {
        let body = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": node.name,
                "uid": node.uid,
                "labels": request.spec.node_labels(),
            },
        });
        let params = PatchParams::apply(MANAGER_NODE).force();
        self.patched(self.api.patch(&node.name, &params, &Patch::Apply(body)).await, "label", &node.name)
    }

    /// Adds the taints that are missing, if the Node is still as it was read: a list can only be written as a whole.
    pub async fn taint(&self, request: &NodeJoinRequest, node: &NodeEntry) -> Result<(), ActError> {
        let mut taints = node.taints.clone();
        taints.extend(missing_taints(&request.spec, node));
        let patch = json!({
            "metadata": { "uid": node.uid, "resourceVersion": node.version },
            "spec": { "taints": taints },
        });
        let params = PatchParams { field_manager: Some(MANAGER_NODE.to_owned()), ..PatchParams::default() };
        self.patched(self.api.patch(&node.name, &params, &Patch::Merge(patch)).await, "taint", &node.name)
    }

    /// Marks a Node as one that takes no more pods.
    pub async fn cordon(&self, node: &NodeEntry) -> Result<(), ActError> {
        let patch = json!({ "metadata": { "uid": node.uid }, "spec": { "unschedulable": true } });
        let params = PatchParams { field_manager: Some(MANAGER_NODE.to_owned()), ..PatchParams::default() };
        self.patched(self.api.patch(&node.name, &params, &Patch::Merge(patch)).await, "cordon", &node.name)
    }

    /// Deletes this very Node; one of the same name that was made meanwhile stays.
    pub async fn delete(&self, node: &NodeEntry) -> Result<(), ActError> {
        let preconditions = Preconditions { uid: Some(node.uid.clone()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        deleted(self.api.delete(&node.name, &params).await)
            .map_err(ActError::api("delete", format!("Node {}", node.name)))?;
        self.table.write().remove(&node.name);
        Ok(())
    }

    fn patched(&self, answer: Result<Node, kube::Error>, action: &'static str, name: &str) -> Result<(), ActError> {
        let node = answer.map_err(ActError::api(action, format!("Node {name}")))?;
        self.table.write().insert(Arc::new(NodeEntry::read(node)));
        Ok(())
    }
}
