//! The static pods of a control plane (kubeadm's `phases/controlplane` and `phases/etcd`).

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use join_trust::go_yaml::{self, WriteError};
use k8s_openapi::api::core::v1::{EnvVar, Pod};

use crate::configuration::ClusterConfiguration;
use crate::file::File;
use crate::member::Member;

mod components;
mod etcd;
mod pod;
mod volumes;

pub use etcd::etcd_manifest;
pub use volumes::CA_FOLDERS;

/// The folder that the kubelet runs static pods from.
pub const MANIFESTS_FOLDER: &str = "/etc/kubernetes/manifests";

/// A manifest cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It could not be written down.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The Pod has no JSON.
    #[error("cannot write a static pod as JSON: {reason}")]
    Json {
        /// What the library says.
        reason: String,
    },
    /// The cluster's etcd is elsewhere.
    #[error("the cluster has an external etcd, of which a control plane runs no member")]
    ExternalEtcd,
    /// The member is not among those of its etcd.
    #[error(
        "etcd's members {members:?} do not have {peer_url}: the new one has to be added to etcd before its manifest is \
         written, or it would begin a cluster of its own"
    )]
    NotAMember {
        /// The new member's URL.
        peer_url: String,
        /// The URLs that etcd has.
        members: Vec<String>,
    },
}

/// What the manifests take from the machine itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Those of [`CA_FOLDERS`] that exist: certificates in `/etc/ssl/certs` may be links to them.
    pub ca_folders: BTreeSet<String>,
    /// The environment that the agent runs with. Variables whose names end in `_proxy`, in any case, are handed on to the
    /// pods, unless they are empty.
    pub environment: Vec<(String, String)>,
    /// How long a component may take to become healthy: `timeouts.controlPlaneComponentHealthCheck`.
    pub health_check: Duration,
}

impl Host {
    /// kubeadm's `ControlPlaneComponentHealthCheckTimeout`.
    pub const DEFAULT_HEALTH_CHECK: Duration = Duration::from_mins(4);

    /// The variables that the pods get.
    fn proxies(&self) -> Vec<EnvVar> {
        let is_proxy = |name: &str| name.to_lowercase().ends_with("_proxy");
        let set = self.environment.iter().filter(|(name, value)| is_proxy(name) && !value.is_empty());
        set.map(|(name, value)| EnvVar { name: name.clone(), value: Some(value.clone()), value_from: None }).collect()
    }
}

/// The manifests of kube-apiserver, kube-controller-manager and kube-scheduler.
pub fn manifests(
    configuration: &ClusterConfiguration,
    member: &Member,
    host: &Host,
) -> Result<Vec<File>, ManifestError> {
    components::pods(configuration, member, host).iter().map(file).collect()
}

fn file(pod: &Pod) -> Result<File, ManifestError> {
    let json = serde_json::to_value(pod).map_err(|error| ManifestError::Json { reason: error.to_string() })?;
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let path = PathBuf::from(format!("{MANIFESTS_FOLDER}/{name}.yaml"));
    Ok(File::new(path, File::PRIVATE, go_yaml::to_string(&json)?))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
