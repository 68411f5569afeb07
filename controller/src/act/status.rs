//! The controller's part of a request's status.

use join_crds::spec::NodeJoinRequest;
use join_crds::status::NodeJoinRequestStatus;
use join_crds::vocabulary::{API_VERSION, FINALIZER, KIND, MANAGER_FINALIZER, MANAGER_STATUS};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::ActError;

/// Whether the status has to be written: only the controller's part is compared.
pub fn differs(request: &NodeJoinRequest, next: &NodeJoinRequestStatus) -> bool {
    let present = request.status.clone().unwrap_or_default();
    NodeJoinRequestStatus { agent: None, ..present } != *next
}

/// Sets or removes the finalizer that holds a request; those of others stay.
pub async fn hold(
    api: &Api<NodeJoinRequest>,
    request: &NodeJoinRequest,
    hold: bool,
) -> Result<NodeJoinRequest, ActError> {
    let name = request.node_name();
    let finalizers: &[&str] = if hold { &[FINALIZER] } else { &[] };
    let body = json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": { "name": name, "uid": request.uid(), "finalizers": finalizers },
    });
    api.patch(name, &PatchParams::apply(MANAGER_FINALIZER).force(), &Patch::Apply(body))
        .await
        .map_err(ActError::api("set the finalizer of NodeJoinRequest", name))
}

/// Applies the whole of the controller's part; what is not in it goes. The agent's part has another field manager.
///
/// The UID keeps the status of a deleted request from landing on another of the same name.
pub async fn write(
    api: &Api<NodeJoinRequest>,
    request: &NodeJoinRequest,
    next: &NodeJoinRequestStatus,
) -> Result<NodeJoinRequest, ActError> {
    let name = request.node_name();
    let body = json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": { "name": name, "uid": request.uid() },
        "status": next,
    });
    api.patch_status(name, &PatchParams::apply(MANAGER_STATUS).force(), &Patch::Apply(body))
        .await
        .map_err(ActError::api("write the status of NodeJoinRequest", name))
}
