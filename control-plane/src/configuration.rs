//! kubeadm's `ClusterConfiguration`, as far as a joining control plane depends on it.
//!
//! kubeadm only warns of fields that it does not know. Here they are refused: what this agent does not know it would
//! leave out of a control plane that has to be as the others are. Versions are v1beta4, v1beta3 as kubeadm 1.35 and 1.36
//! convert it, and the experimental v1 of kubeadm 1.37, which differs in `mergeMethod` alone.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use join_trust::endpoint::Endpoint;
use join_trust::yaml::{Document, YamlError};
use k8s_openapi::api::core::v1::EnvVar;

use crate::version::{KubernetesVersion, Minor};

mod build;
mod raw;

const GROUP: &str = "kubeadm.k8s.io/";
const KIND: &str = "ClusterConfiguration";
/// The longest text that is read: 256 KiB. A ConfigMap has at most 1 MiB, and a ClusterConfiguration some kilobytes.
const MAX_BYTES: usize = 256 * 1024;

/// A text cannot be used as a ClusterConfiguration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigurationError {
    /// The text is too large.
    #[error("has {length} bytes, expected at most {MAX_BYTES}")]
    Size {
        /// Its length in bytes.
        length: usize,
    },
    /// The text is not YAML of the expected shape, or has a field that kubeadm does not have.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// It is something else.
    #[error("has {seen}, expected one document of kind {KIND}")]
    Kind {
        /// What it is.
        seen: String,
    },
    /// Its version is another.
    #[error(
        "has apiVersion {version:?}, expected kubeadm.k8s.io/v1beta4 or v1beta3, or with Kubernetes 1.37 kubeadm.k8s.io/v1"
    )]
    Version {
        /// The version.
        version: String,
    },
    /// A field of another version of the type.
    #[error("{field}: a document of kubeadm.k8s.io/{version} does not have this")]
    OtherVersion {
        /// The field.
        field: String,
        /// The document's version.
        version: &'static str,
    },
    /// The cluster runs a version of Kubernetes whose control planes this agent does not know.
    #[error(
        "kubernetesVersion is {version}, and this version of join-agent makes control planes of Kubernetes {known} only; \
         use the join-agent that was made for it",
        known = Minor::KNOWN
    )]
    KubernetesVersion {
        /// The cluster's version.
        version: String,
    },
    /// The cluster was not made for more than one control plane.
    #[error(
        "has no controlPlaneEndpoint, without which nobody finds a second control plane when the first one fails: make an \
         address that leads to every API server (a load balancer, a virtual address or a DNS name), write it as \
         `controlPlaneEndpoint: HOST:PORT` with `kubectl --namespace kube-system edit configmap kubeadm-config`, and make \
         the first API server's certificate anew, so that it names the address: remove apiserver.crt and apiserver.key \
         there, then `kubeadm init phase certs apiserver --control-plane-endpoint HOST:PORT`"
    )]
    NoControlPlaneEndpoint,
    /// A feature gate that changes how a control plane is made, in a way that is not known here.
    #[error(
        "featureGates: {gate} is true, and join-agent does not make such control planes; use kubeadm join for this one"
    )]
    FeatureGate {
        /// The gate.
        gate: &'static str,
    },
    /// A field has a value that it cannot have.
    #[error("{field}: {reason}")]
    Field {
        /// The field, from the top of the document.
        field: &'static str,
        /// What was seen and expected.
        reason: String,
    },
}

/// What a cluster's control planes have in common. Defaults are kubeadm's.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterConfiguration {
    /// The version of Kubernetes.
    pub version: KubernetesVersion,
    /// Where every API server is reached.
    pub control_plane_endpoint: ControlPlaneEndpoint,
    /// The cluster's name in kubeconfigs.
    pub cluster_name: String,
    /// Where images are pulled from.
    pub image_repository: String,
    /// The folder of certificates and keys: absolute, without a slash at the end.
    pub certificates_dir: String,
    /// The cluster's networks.
    pub networking: Networking,
    /// kube-apiserver.
    pub api_server: Component,
    /// What kube-apiserver's certificate names besides kubeadm's own names, in lower case.
    pub api_server_sans: Vec<String>,
    /// kube-controller-manager.
    pub controller_manager: Component,
    /// kube-scheduler.
    pub scheduler: Component,
    /// etcd.
    pub etcd: Etcd,
    /// The kind of new keys.
    pub key_algorithm: KeyAlgorithm,
    /// How long new certificates are valid.
    pub certificate_validity: Duration,
}

/// Where every API server is reached: `controlPlaneEndpoint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlPlaneEndpoint {
    endpoint: Endpoint,
    has_port: bool,
}

impl ControlPlaneEndpoint {
    /// The host, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        self.endpoint.host()
    }

    /// The host as an address; none if it is a DNS name.
    pub fn ip(&self) -> Option<IpAddr> {
        self.endpoint.ip()
    }

    /// `https://host:port`; where the configuration has no port it is the one that the member's own API server listens on.
    pub fn url(&self, bind_port: u16) -> String {
        if self.has_port {
            return self.endpoint.url();
        }
        match self.ip() {
            Some(ip) => format!("https://{}", std::net::SocketAddr::new(ip, bind_port)),
            None => format!("https://{}:{bind_port}", self.host()),
        }
    }
}

/// The cluster's networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Networking {
    /// The networks of Services, as they stand in the configuration: one, or two separated by a comma.
    pub service_subnet: String,
    /// The API server's own address as a Service: the first of the first of these networks.
    pub service_address: IpAddr,
    /// The networks of pods, or an empty text.
    pub pod_subnet: String,
    /// The domain of Services.
    pub dns_domain: String,
}

/// What an administrator adds to a program of the control plane.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Component {
    /// Its arguments.
    pub extra_args: Vec<Argument>,
    /// Its folders and files of the host.
    pub extra_volumes: Vec<HostPathMount>,
    /// Its environment.
    pub extra_envs: Vec<EnvVar>,
}

/// One argument, without leading dashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// How it goes together with kubeadm's own argument of the name; none: it replaces it.
    pub merge: Option<Merge>,
}

/// How an argument goes together with kubeadm's own of the same name: the texts are joined as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// kubeadm's value, then this one.
    Append,
    /// This value, then kubeadm's.
    Prepend,
}

/// A folder or file of the host inside a static pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPathMount {
    /// The volume's name; one of kubeadm's own names replaces that volume.
    pub name: String,
    /// The path on the host.
    pub host_path: String,
    /// The path in the container.
    pub mount_path: String,
    /// Whether the container may only read it.
    pub read_only: bool,
    /// What has to be there, in Kubernetes' words; empty: no matter.
    pub path_type: String,
}

/// Where the cluster's state is.
#[derive(Debug, Clone, PartialEq)]
pub enum Etcd {
    /// Each control plane runs a member.
    Local(LocalEtcd),
    /// Elsewhere.
    External(ExternalEtcd),
}

/// The member that each control plane runs.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalEtcd {
    /// Where its image is pulled from, unless where the others are.
    pub image_repository: Option<String>,
    /// The tag of its image, unless kubeadm's own.
    pub image_tag: Option<String>,
    /// The folder of its data.
    pub data_dir: String,
    /// Its arguments.
    pub extra_args: Vec<Argument>,
    /// Its environment.
    pub extra_envs: Vec<EnvVar>,
    /// What its serving certificate names besides kubeadm's own names.
    pub server_sans: Vec<String>,
    /// The same of the certificate that it shows to other members.
    pub peer_sans: Vec<String>,
}

/// An etcd that nobody joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalEtcd {
    /// The URLs of its members.
    pub endpoints: Vec<String>,
    /// The path of its authority's certificate, or an empty text.
    pub ca_file: String,
    /// The path of the client's certificate, or an empty text.
    pub cert_file: String,
    /// The path of the client's key, or an empty text.
    pub key_file: String,
}

/// The kind of the keys that are made here.
///
/// kubeadm makes RSA keys unless `encryptionAlgorithm` says ECDSA. The cryptography that is used here makes no RSA keys, so
/// that RSA of any size becomes ECDSA P-256, with which all parts of Kubernetes work as well; the authorities' keys stay
/// what they are. kubeadm replaces the keys by RSA ones when it renews the certificates, as it does after every upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// ECDSA with the curve P-256.
    EcdsaP256,
    /// ECDSA with the curve P-384.
    EcdsaP384,
}

impl ClusterConfiguration {
    /// Reads the value of key `ClusterConfiguration` of ConfigMap kube-system/kubeadm-config.
    pub fn parse(text: &str) -> Result<Self, ConfigurationError> {
        if text.len() > MAX_BYTES {
            return Err(ConfigurationError::Size { length: text.len() });
        }
        let documents = Document::all(text)?;
        let [document] = documents.as_slice() else {
            return Err(ConfigurationError::Kind { seen: format!("{} documents", documents.len()) });
        };
        if document.kind != KIND {
            return Err(ConfigurationError::Kind { seen: format!("a document of kind {:?}", document.kind) });
        }
        build::build(document.read()?, Version::parse(&document.api_version)?)
    }

    /// Whether each control plane runs a member of etcd.
    pub fn local_etcd(&self) -> Option<&LocalEtcd> {
        match &self.etcd {
            Etcd::Local(local) => Some(local),
            Etcd::External(_) => None,
        }
    }
}

/// The versions of the type that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    V1Beta3,
    V1Beta4,
    V1,
}

impl Version {
    fn parse(api_version: &str) -> Result<Self, ConfigurationError> {
        match api_version.strip_prefix(GROUP) {
            Some("v1beta4") => Ok(Self::V1Beta4),
            Some("v1beta3") => Ok(Self::V1Beta3),
            Some("v1") => Ok(Self::V1),
            _ => Err(ConfigurationError::Version { version: api_version.to_owned() }),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::V1Beta3 => "v1beta3",
            Self::V1Beta4 => "v1beta4",
            Self::V1 => "v1",
        }
    }

    /// Refuses a field that is set and that only other versions have.
    fn needs(self, has_it: bool, field: &str, is_set: bool) -> Result<(), ConfigurationError> {
        if has_it || !is_set {
            return Ok(());
        }
        Err(ConfigurationError::OtherVersion { field: field.to_owned(), version: self.as_str() })
    }
}

/// kubeadm's gates are ignored where its version does not have them, and of those that the known versions have only this
/// one changes the files of a control plane.
const ROOTLESS: &str = "RootlessControlPlane";

fn check_gates(gates: &BTreeMap<String, bool>) -> Result<(), ConfigurationError> {
    if gates.get(ROOTLESS).copied().unwrap_or_default() {
        return Err(ConfigurationError::FeatureGate { gate: ROOTLESS });
    }
    Ok(())
}

#[cfg(test)]
#[path = "configuration_tests.rs"]
mod tests;
