//! Pods of a node that is drained: they are listed, and asked to go.

use join_trust::UnixSeconds;
use k8s_openapi::api::core::v1 as core;
use kube::api::{DeleteParams, EvictParams, ListParams, Preconditions};
use kube::{Api, Client};

use super::ActError;
use crate::cache::node::NodeEntry;
use crate::plan::{Drained, Fate, Left, Pod, Why, fate, is_given_up};

/// The annotation by which the kubelet marks what stands for a static pod.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// Pods that one answer of the API server holds at most.
const PAGE: u32 = 500;

/// Looks at all pods of a node once, and asks those to go that may.
pub async fn drain(client: &Client, node: &NodeEntry, now: UnixSeconds) -> Result<Drained, ActError> {
    let mut left = Vec::new();
    for pod in pods_of(client, &node.name).await? {
        let why = match fate(&pod) {
            Fate::Stays => continue,
            Fate::Ends if is_given_up(&pod, node.ready, now) => continue,
            Fate::Ends => Why::Ends,
            Fate::Unmanaged => Why::Unmanaged,
            Fate::Evict => match evict(client, &pod).await? {
                Some(why) => why,
                None => continue,
            },
        };
        left.push(Left { pod: format!("{}/{}", pod.namespace, pod.name), why });
    }
    Ok(Drained { at: now, left })
}

async fn pods_of(client: &Client, node: &str) -> Result<Vec<Pod>, ActError> {
    let api: Api<core::Pod> = Api::all(client.clone());
    let mut params = ListParams::default().fields(&format!("spec.nodeName={node}")).limit(PAGE);
    let mut pods = Vec::new();
    loop {
        let page = api.list(&params).await.map_err(ActError::api("list the pods of Node", node))?;
        pods.extend(page.items.into_iter().map(read));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(pods),
        }
    }
}

fn read(pod: core::Pod) -> Pod {
    let metadata = pod.metadata;
    let owners = metadata.owner_references.unwrap_or_default();
    let phase = pod.status.and_then(|status| status.phase).unwrap_or_default();
    Pod {
        namespace: metadata.namespace.unwrap_or_default(),
        name: metadata.name.unwrap_or_default(),
        uid: metadata.uid.unwrap_or_default(),
        controller: owners.into_iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.kind),
        is_mirror: metadata.annotations.is_some_and(|annotations| annotations.contains_key(MIRROR)),
        is_finished: matches!(phase.as_str(), "Succeeded" | "Failed"),
        ends_at: metadata.deletion_timestamp.map(|time| time.0.as_second()),
    }
}

/// Asks a pod to go; none if it is gone. Whatever speaks against it is a matter of this pod, and holds no other up.
async fn evict(client: &Client, pod: &Pod) -> Result<Option<Why>, ActError> {
    let api: Api<core::Pod> = Api::namespaced(client.clone(), &pod.namespace);
    // The UID keeps this from another pod of the same name, such as that of a StatefulSet on another node.
    let preconditions = Preconditions { uid: Some(pod.uid.clone()), resource_version: None };
    let delete_options = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    let params = EvictParams { delete_options: Some(delete_options), ..EvictParams::default() };
    match api.evict(&pod.name, &params).await {
        Ok(_) => Ok(Some(Why::Ends)),
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(None),
        Err(kube::Error::Api(status)) if !status.is_forbidden() => {
            // The cause has the budget's name, and what it needs.
            let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
            let causes: Vec<&str> = causes.iter().map(|cause| cause.message.as_str()).collect();
            let said = [&[status.message.as_str()], causes.as_slice()].concat().join(" ");
            Ok(Some(Why::Refused(said)))
        }
        Err(error) => Err(ActError::api("evict pod", format!("{}/{}", pod.namespace, pod.name))(error)),
    }
}
