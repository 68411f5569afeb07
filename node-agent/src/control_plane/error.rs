//! Why a machine does not become a control plane.

use join_control_plane::SharedError;
use join_crds::Reason;
use join_trust::ca_bundle::CaBundleError;
use join_trust::endpoint::EndpointError;

use crate::connection::{CallError, SetupError};
use crate::{discovery, etcd, journal, kubelet};

/// A machine does not become a control plane.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster's configuration, or what is to be made from it.
    #[error(transparent)]
    Files(#[from] join_control_plane::Error),
    /// The credentials are a worker's.
    #[error(
        "the sealed credentials have no certificate key, which a control plane needs; expected one from the controller"
    )]
    NoCertificateKey,
    /// The machine's own address is not known.
    #[error(
        "no address of this machine leads to the API server; expected one, or \
         controlPlane.localAPIEndpoint.advertiseAddress in the request"
    )]
    NoAddress,
    /// The machine's own API server cannot be spoken to under its address.
    #[error("the machine's own API server {text}: {source}")]
    Endpoint {
        /// Its address.
        text: String,
        /// What is wrong with it.
        source: EndpointError,
    },
    /// The certificates that control planes share are gone.
    #[error(
        "Secret kube-system/kubeadm-certs does not exist; expected the certificates that control planes share, which kubeadm \
         removes two hours after `kubeadm init phase upload-certs --upload-certs`"
    )]
    NoSharedCertificates,
    /// The shared authority is not this cluster's.
    #[error("ca.crt in Secret kube-system/kubeadm-certs is no authority of this cluster: {0}")]
    OtherAuthority(#[from] CaBundleError),
    /// A file lies where a join writes nothing.
    #[error("the cluster's configuration has {field} {value}; expected a path below {expected}: use kubeadm join here")]
    Place {
        /// The field of ClusterConfiguration.
        field: &'static str,
        /// What it says.
        value: String,
        /// Where a join may write.
        expected: &'static str,
    },
    /// What a join has written is gone.
    #[error("{path}, which this join has written, cannot be used any more: {reason}")]
    Written {
        /// The file.
        path: String,
        /// What was seen.
        reason: String,
    },
    /// Nobody says where etcd is.
    #[error(
        "no pod in kube-system with the labels component=etcd and tier=control-plane has the annotation {annotation}; \
         expected one for each control plane, as kubeadm makes them",
        annotation = super::start::CLIENT_URLS
    )]
    NoEtcd,
    /// The folder of etcd's data could not be made.
    #[error("failed to make {folder}: {0}", folder = journal::ETCD_FOLDER)]
    EtcdFolder(kubelet::Error),
    /// etcd.
    #[error("etcd: {0}")]
    Etcd(#[from] etcd::Error),
    /// A part of the control plane is not healthy.
    #[error("pod kube-system/{pod} is not Ready: {seen}; expected it to be within {seconds} s")]
    NotHealthy {
        /// The pod.
        pod: String,
        /// What was seen of it.
        seen: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A client could not be made.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The administrator's kubeconfig.
    #[error(transparent)]
    Admin(#[from] discovery::Error),
    /// What is done could not be noted, or a file could not be written.
    #[error(transparent)]
    Journal(#[from] journal::Error),
}

impl Error {
    /// Why, in one word.
    pub fn reason(&self) -> Reason {
        use join_control_plane::Error as Files;
        match self {
            Self::Files(Files::Shared(SharedError::Missing { .. } | SharedError::Empty { .. }))
            | Self::NoSharedCertificates => Reason::SharedCertificatesMissing,
            Self::Files(Files::Shared(_)) => Reason::SharedCertificatesUnreadable,
            Self::Files(_) | Self::NoAddress | Self::Endpoint { .. } | Self::Place { .. } => {
                Reason::ControlPlaneUnsuitable
            }
            Self::OtherAuthority(_) => Reason::CAPinMismatch,
            Self::NoEtcd | Self::Etcd(_) => Reason::EtcdNotJoined,
            Self::NotHealthy { .. } => Reason::ControlPlaneNotHealthy,
            Self::Call(error) => error.reason,
            Self::Journal(error) if crate::atomic_file::is_full(error) => Reason::MachineNotWritable,
            Self::NoCertificateKey
            | Self::Written { .. }
            | Self::Setup(_)
            | Self::Admin(_)
            | Self::EtcdFolder(_)
            | Self::Journal(_) => Reason::AgentFailed,
        }
    }
}
