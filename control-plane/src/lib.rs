//! What `kubeadm join --control-plane` writes on a machine, computed from values.
//!
//! Nothing here opens a file or a socket or reads a clock. The agent reads the cluster's configuration and the Secret
//! with the shared keys, calls what is here, and writes the files that it answers with. Randomness for keys and serial
//! numbers is the one thing that is not given.
//!
//! | module | kubeadm's counterpart (in `cmd/kubeadm/app`) |
//! |---|---|
//! | [`configuration`] | `apis/kubeadm`: the ClusterConfiguration in ConfigMap kube-system/kubeadm-config |
//! | [`shared`] | `phases/copycerts`: the authorities in Secret kube-system/kubeadm-certs |
//! | [`service_network`] | `constants`: the addresses of Kubernetes' own Services |
//! | [`manifests`] | `phases/controlplane`, `phases/etcd`, `util/staticpod`: the static pods |
//! | [`certificates`] | `phases/certs`, `util/pkiutil` |
//! | [`kubeconfigs`] | `phases/kubeconfig` |
//!
//! kubeadm of the cluster's own minor version is what every file is compared with (the end-to-end suite
//! `kubeadm_files`). The one difference is meant: a key is always an elliptic curve's, see [`KeyAlgorithm`].
#![deny(missing_docs)]

mod arguments;
mod authority;
pub mod certificates;
pub mod configuration;
mod file;
pub mod kubeconfigs;
pub mod manifests;
mod member;
mod pem;
pub mod service_network;
pub mod shared;
mod version;

pub use certificates::{CertificateError, certificates};
pub use configuration::{ClusterConfiguration, ConfigurationError, KeyAlgorithm};
pub use file::{Content, File};
pub use kubeconfigs::kubeconfigs;
pub use manifests::{Host, ManifestError, etcd_manifest, manifests};
pub use member::Member;
pub use shared::SharedError;
pub use version::{KubernetesVersion, Minor};

/// A file of a control plane cannot be made. Each module's own error says more to who wants to know which.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The cluster's configuration cannot be used.
    #[error("ClusterConfiguration in ConfigMap kube-system/kubeadm-config: {0}")]
    Configuration(#[from] ConfigurationError),
    /// The shared keys cannot be used.
    #[error("Secret kube-system/kubeadm-certs: {0}")]
    Shared(#[from] SharedError),
    /// A static pod's manifest cannot be made.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A certificate or a kubeconfig cannot be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}
