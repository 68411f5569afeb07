//! kube-public/cluster-info: single keys are patched, and one write serves all tokens that wait for one.
//!
//! kube-controller-manager's bootstrapsigner writes the same object by replacing it as a whole at the version that it
//! read; its signatures are the same bytes as ours. A patch of single keys never undoes what it wrote, and what it
//! undoes of ours shows in the watch and is written again.

use std::collections::BTreeMap;
use std::sync::Arc;

use join_crds::vocabulary::{CLUSTER_INFO, CLUSTER_INFO_ROLE, KUBE_PUBLIC, MANAGER_CLUSTER_INFO};
use join_trust::ca_bundle::{CaBundle, CaTrust};
use join_trust::cluster_info::{KUBECONFIG_KEY, render};
use join_trust::endpoint::Endpoint;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::ActError;
use crate::cache::cluster_info::SharedClusterInfo;
use crate::metrics::Metrics;

/// The most changes of one write; each is about 100 bytes.
const BATCH: usize = 1000;

struct Change {
    key: String,
    value: Option<String>,
    done: oneshot::Sender<Result<(), String>>,
}

/// Hands changes to the one task that writes.
#[derive(Clone)]
pub struct ClusterInfoWriter(mpsc::Sender<Change>);

impl ClusterInfoWriter {
    /// Sets a key, or removes it, and waits until that is written.
    pub async fn change(&self, key: String, value: Option<String>) -> Result<(), ActError> {
        let ended = || ActError::ClusterInfo("the task that writes it has ended".to_owned());
        let (done, written) = oneshot::channel();
        self.0.send(Change { key, value, done }).await.map_err(|_| ended())?;
        written.await.map_err(|_| ended())?.map_err(ActError::ClusterInfo)
    }
}

/// Makes a writer and the task that writes for it.
///
/// While one write is under way, further changes gather, and the next write takes them all.
pub fn writer(
    client: Client,
    shared: SharedClusterInfo,
    trust: Arc<CaTrust>,
    metrics: Metrics,
) -> (ClusterInfoWriter, impl Future<Output = ()>) {
    let (sender, mut receiver) = mpsc::channel(BATCH);
    let api: Api<ConfigMap> = Api::namespaced(client, KUBE_PUBLIC);
    let task = async move {
        let mut batch = Vec::with_capacity(BATCH);
        while receiver.recv_many(&mut batch, BATCH).await > 0 {
            let answer = write(&api, &batch).await;
            if let Ok(map) = &answer {
                shared.saw(map, &trust);
                metrics.cluster_info_written();
            }
            let outcome = answer.map(drop).map_err(|error| error.to_string());
            for change in batch.drain(..) {
                // Whoever waited may have been cancelled; what he wanted is done all the same.
                let _ = change.done.send(outcome.clone());
            }
        }
    };
    (ClusterInfoWriter(sender), task)
}

async fn write(api: &Api<ConfigMap>, batch: &[Change]) -> Result<ConfigMap, kube::Error> {
    let params = PatchParams { field_manager: Some(MANAGER_CLUSTER_INFO.to_owned()), ..PatchParams::default() };
    api.patch(CLUSTER_INFO, &params, &Patch::Merge(merge_patch(batch))).await
}

/// A JSON merge patch (RFC 7396) of these keys: null removes one. Of two changes of one key the later counts.
fn merge_patch(batch: &[Change]) -> serde_json::Value {
    let data: BTreeMap<&str, Option<&str>> =
        batch.iter().map(|change| (change.key.as_str(), change.value.as_deref())).collect();
    json!({ "data": data })
}

/// What a new cluster-info says.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Where machines reach the API server.
    pub endpoint: Endpoint,
    /// The cluster's certificate authorities.
    pub ca: CaBundle,
}

/// Creates cluster-info, after the right of everybody to read it. What exists is left as it is.
pub async fn publish(
    client: &Client,
    publication: &Publication,
    shared: &SharedClusterInfo,
    trust: &CaTrust,
) -> Result<(), ActError> {
    let params = PostParams { field_manager: Some(MANAGER_CLUSTER_INFO.to_owned()), ..PostParams::default() };
    let metadata = |name: &str| ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    let role = Role {
        metadata: metadata(CLUSTER_INFO_ROLE),
        rules: Some(vec![PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec!["configmaps".to_owned()]),
            resource_names: Some(vec![CLUSTER_INFO.to_owned()]),
            verbs: vec!["get".to_owned()],
            ..PolicyRule::default()
        }]),
    };
    let binding = RoleBinding {
        metadata: metadata(CLUSTER_INFO_ROLE),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "Role".to_owned(),
            name: CLUSTER_INFO_ROLE.to_owned(),
        },
        subjects: Some(vec![Subject {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "User".to_owned(),
            name: "system:anonymous".to_owned(),
            namespace: None,
        }]),
    };
    let map = ConfigMap {
        metadata: metadata(CLUSTER_INFO),
        data: Some(BTreeMap::from([(KUBECONFIG_KEY.to_owned(), render(&publication.endpoint, &publication.ca)?)])),
        ..ConfigMap::default()
    };
    let roles: Api<Role> = Api::namespaced(client.clone(), KUBE_PUBLIC);
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), KUBE_PUBLIC);
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), KUBE_PUBLIC);
    existing(roles.create(&params, &role).await).map_err(ActError::api("create role", CLUSTER_INFO_ROLE))?;
    existing(bindings.create(&params, &binding).await)
        .map_err(ActError::api("create role binding", CLUSTER_INFO_ROLE))?;
    let created = maps.create(&params, &map).await.map_err(ActError::api("create", "kube-public/cluster-info"))?;
    shared.saw(&created, trust);
    Ok(())
}

fn existing<T>(answer: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match answer {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(key: &str, value: Option<&str>) -> Change {
        Change { key: key.to_owned(), value: value.map(str::to_owned), done: oneshot::channel().0 }
    }

    #[test]
    fn a_batch_names_its_keys_and_no_other() {
        let batch = [
            change("a", Some("1")),
            change("b", None),
            change("a", Some("2")),
            change("c", Some("3")),
            change("c", None),
        ];
        assert_eq!(merge_patch(&batch), json!({"data": {"a": "2", "b": null, "c": null}}));
    }
}
