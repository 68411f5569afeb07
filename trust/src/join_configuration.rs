//! kubeadm's `JoinConfiguration`, as far as join-operator can carry it out or has to know what it asks for.
//!
//! kubeadm only warns of fields that it does not know. Here they are refused: a misspelt `caCertHashes` is a pin that
//! nobody checks. Versions are v1beta4, and v1beta3 as kubeadm converts it.

use std::net::IpAddr;

use crate::endpoint::Endpoint;
use crate::kubeconfig_url::{KubeconfigLocation, KubeconfigUrl};
use crate::limits::MAX_JOIN_CONFIGURATION_BYTES;
use crate::names::NodeName;
use crate::pin::PinSet;
use crate::token::{BootstrapToken, redacted};
use crate::yaml::{Document, YamlError, present};

mod raw;

use raw::{RawBootstrapToken, RawConfiguration, RawDiscovery, RawNodeRegistration};

const GROUP: &str = "kubeadm.k8s.io/";
const KIND: &str = "JoinConfiguration";

/// A text cannot be used as a JoinConfiguration. No variant holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinConfigurationError {
    /// The text is too large.
    #[error("has {length} bytes, expected at most {MAX_JOIN_CONFIGURATION_BYTES}")]
    Size {
        /// Its length in bytes.
        length: usize,
    },
    /// The text is not YAML of the expected shape, or has a field that kubeadm does not have.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// A document does not say what it is.
    #[error("the document at line {line} has no apiVersion and kind, expected both in each document")]
    Unnamed {
        /// Where it begins.
        line: u64,
    },
    /// There is not exactly one JoinConfiguration.
    #[error("has {count} documents of kind JoinConfiguration, expected exactly one")]
    Count {
        /// How many there are.
        count: usize,
    },
    /// Its version is another.
    #[error(
        "has a JoinConfiguration of apiVersion {version:?}, expected kubeadm.k8s.io/v1beta4 or kubeadm.k8s.io/v1beta3; \
         `kubeadm config migrate --old-config FILE --new-config FILE` writes the newer one"
    )]
    Version {
        /// The version.
        version: String,
    },
    /// A field of another version of the type.
    #[error("{field}: {reason}")]
    OtherVersion {
        /// The field.
        field: &'static str,
        /// Which version has it.
        reason: &'static str,
    },
    /// A field that is necessary is absent or empty.
    #[error("{field}: is missing or empty, expected {expected}")]
    Missing {
        /// The field.
        field: &'static str,
        /// What belongs there.
        expected: &'static str,
    },
    /// A field has a value that it cannot have.
    #[error("{field}: {reason}")]
    Field {
        /// The field, from the top of the document.
        field: &'static str,
        /// What was expected.
        reason: String,
    },
}

/// A field's value is wrong, and the reason may quote it.
fn wrong(field: &'static str, reason: &str) -> JoinConfigurationError {
    JoinConfigurationError::Field { field, reason: redacted(reason).into_owned() }
}

/// What a file that was written for `kubeadm join --config` says.
#[derive(Debug, Clone)]
#[cfg_attr(test, derive(PartialEq, Eq))]
pub struct JoinConfiguration {
    /// How to find the API server and recognise it.
    pub discovery: Discovery,
    /// The token for the certificate request, where it is not the one of the discovery; never an empty one.
    pub tls_bootstrap_token: Option<BootstrapToken>,
    /// How the kubelet is set up and what the Node carries.
    pub node_registration: NodeRegistration,
    /// What only a control plane has; absent for a worker.
    pub control_plane: Option<ControlPlane>,
    /// Where the cluster's authorities are written on the machine.
    pub ca_cert_path: Option<String>,
    /// Phases that are not carried out.
    pub skip_phases: Vec<String>,
    /// A folder with patches for files that kubeadm writes.
    pub patches: Option<String>,
    /// How long kubeadm waits for what. Nothing here waits by them, so they stay texts.
    pub timeouts: Vec<(&'static str, String)>,
    /// Whether nothing is to be done.
    pub dry_run: bool,
    /// The kinds of the other documents of the file, in its order.
    pub not_read: Vec<String>,
}

/// How to find the API server and recognise it.
#[derive(Debug, Clone)]
#[cfg_attr(test, derive(PartialEq, Eq))]
pub enum Discovery {
    /// By a token's signature in cluster-info, and pins.
    BootstrapToken {
        /// Whom to ask first.
        endpoint: Endpoint,
        /// The token.
        token: BootstrapToken,
        /// Which authorities are trusted. May be empty, whatever the next field says: what that means is for the caller.
        pins: PinSet,
        /// Whether any authority is to be trusted where there are no pins.
        unsafe_skip_ca_verification: bool,
    },
    /// By a kubeconfig at this path on the machine.
    File {
        /// The path.
        path: String,
    },
    /// By a kubeconfig that this https URL answers with.
    Url(KubeconfigUrl),
}

/// How the kubelet is set up and what the Node carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeRegistration {
    /// The node's name, trimmed and in lower case, as kubeadm makes it. Absent: the host name.
    pub name: Option<NodeName>,
    /// The container runtime's socket.
    pub cri_socket: Option<String>,
    /// Taints of the Node. Absent: none for a worker, the control-plane taint for a control plane. Empty: none.
    pub taints: Option<Vec<Taint>>,
    /// Flags for the kubelet, in the file's order; those of v1beta3 by name, as kubeadm converts them.
    pub kubelet_extra_args: Vec<KubeletArg>,
    /// Checks whose failure is only a warning.
    pub ignore_preflight_errors: Vec<String>,
    /// When images are pulled.
    pub image_pull_policy: Option<String>,
    /// Whether images are pulled one after the other.
    pub image_pull_serial: Option<bool>,
}

/// One flag of the kubelet, without leading dashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeletArg {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// One taint, which kubeadm does not check and neither does this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: Option<String>,
    /// What it does to pods.
    pub effect: String,
}

/// What only a control plane has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ControlPlane {
    /// The address that its API server advertises.
    pub advertise_address: Option<IpAddr>,
    /// The port that its API server listens on.
    pub bind_port: Option<u16>,
    /// Whether there is a key to the shared certificates. It is a secret, and not kept: nothing takes it from a file.
    pub has_certificate_key: bool,
}

impl NodeRegistration {
    /// The addresses that the kubelet's flag `node-ip` names. The last flag of that name counts, as for the kubelet;
    /// `0.0.0.0` and `::` choose a family and are no addresses.
    pub fn node_ips(&self) -> Result<Vec<IpAddr>, JoinConfigurationError> {
        let value =
            self.kubelet_extra_args.iter().rev().find(|arg| arg.name == "node-ip").map(|arg| arg.value.as_str());
        let texts = value.into_iter().flat_map(|value| value.split(',')).map(str::trim).filter(|text| !text.is_empty());
        let addresses: Result<Vec<IpAddr>, JoinConfigurationError> =
            texts.map(|text| text.parse().map_err(|_| wrong(NODE_IP, &format!("{text:?} is no IP address")))).collect();
        Ok(addresses?.into_iter().filter(|address| !address.is_unspecified()).collect())
    }
}

const NODE_IP: &str = "nodeRegistration.kubeletExtraArgs: node-ip";

/// Whether a text has a document of kubeadm's in it, and is to be read as a JoinConfiguration. What is no YAML has none.
pub fn is_of_kubeadm(text: &str) -> bool {
    text.len() <= MAX_JOIN_CONFIGURATION_BYTES
        && Document::all(text)
            .is_ok_and(|documents| documents.iter().any(|document| document.api_version.starts_with(GROUP)))
}

impl JoinConfiguration {
    /// Reads the JoinConfiguration of a file, which may have other documents as well.
    pub fn parse(text: &str) -> Result<Self, JoinConfigurationError> {
        if text.len() > MAX_JOIN_CONFIGURATION_BYTES {
            return Err(JoinConfigurationError::Size { length: text.len() });
        }
        let documents = Document::all(text)?;
        if let Some(unnamed) = documents.iter().find(|one| one.api_version.is_empty() || one.kind.is_empty()) {
            return Err(JoinConfigurationError::Unnamed { line: unnamed.line });
        }
        let (own, others): (Vec<_>, Vec<_>) = documents.into_iter().partition(|document| document.kind == KIND);
        let [document] = own.as_slice() else { return Err(JoinConfigurationError::Count { count: own.len() }) };
        let version = Version::parse(&document.api_version)?;
        let mut read = build(document.read()?, version)?;
        read.not_read = others.into_iter().map(|other| redacted(&other.kind).into_owned()).collect();
        Ok(read)
    }
}

/// The versions of the type that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1Beta3,
    V1Beta4,
}

impl Version {
    fn parse(api_version: &str) -> Result<Self, JoinConfigurationError> {
        match api_version.strip_prefix(GROUP) {
            Some("v1beta4") => Ok(Self::V1Beta4),
            Some("v1beta3") => Ok(Self::V1Beta3),
            _ => Err(JoinConfigurationError::Version { version: redacted(api_version).into_owned() }),
        }
    }

    /// Refuses a field that only the other version has.
    fn has(self, only_in: Self, field: &'static str, is_set: bool) -> Result<(), JoinConfigurationError> {
        if !is_set || self == only_in {
            return Ok(());
        }
        let reason = match only_in {
            Self::V1Beta3 => "only kubeadm.k8s.io/v1beta3 has this, and the document is of v1beta4",
            Self::V1Beta4 => "only kubeadm.k8s.io/v1beta4 has this, and the document is of v1beta3",
        };
        Err(JoinConfigurationError::OtherVersion { field, reason })
    }
}

fn build(raw: RawConfiguration, version: Version) -> Result<JoinConfiguration, JoinConfigurationError> {
    version.has(Version::V1Beta4, "dryRun", raw.dry_run.is_some())?;
    version.has(Version::V1Beta4, "timeouts", raw.timeouts.is_some())?;
    let expected = "one of bootstrapToken and file";
    let raw_discovery = raw.discovery.ok_or(JoinConfigurationError::Missing { field: "discovery", expected })?;
    version.has(Version::V1Beta3, "discovery.timeout", raw_discovery.timeout.is_some())?;
    let of_discovery = raw_discovery.timeout.clone().map(|timeout| ("discovery", timeout));
    let timeouts = raw.timeouts.map_or_else(|| of_discovery.into_iter().collect(), raw::RawTimeouts::set);
    let (discovery, tls_bootstrap_token) = discovery(raw_discovery)?;
    let control_plane = raw.control_plane.map(raw::RawControlPlane::checked).transpose()?;
    Ok(JoinConfiguration {
        discovery,
        tls_bootstrap_token,
        node_registration: node_registration(raw.node_registration.unwrap_or_default(), version)?,
        control_plane,
        ca_cert_path: present(raw.ca_cert_path),
        skip_phases: raw.skip_phases.unwrap_or_default(),
        patches: raw.patches.and_then(|patches| present(patches.directory)),
        timeouts,
        dry_run: raw.dry_run.unwrap_or_default(),
        not_read: Vec::new(),
    })
}

fn discovery(raw: RawDiscovery) -> Result<(Discovery, Option<BootstrapToken>), JoinConfigurationError> {
    let discovery = match (raw.bootstrap_token, raw.file) {
        (Some(token), None) => token_discovery(token)?,
        (None, Some(file)) => {
            const FIELD: &str = "discovery.file.kubeConfigPath";
            let path = present(file.kube_config_path)
                .ok_or(JoinConfigurationError::Missing { field: FIELD, expected: "the path or URL of a kubeconfig" })?;
            match KubeconfigLocation::parse(&path).map_err(|error| wrong(FIELD, &error.to_string()))? {
                KubeconfigLocation::Path(path) => Discovery::File { path },
                KubeconfigLocation::Url(url) => Discovery::Url(url),
            }
        }
        _ => return Err(wrong("discovery", "expected exactly one of bootstrapToken and file")),
    };
    let token = present(raw.tls_bootstrap_token);
    let token = token.map(|token| BootstrapToken::parse(&token)).transpose();
    Ok((discovery, token.map_err(|error| wrong("discovery.tlsBootstrapToken", &error.to_string()))?))
}

fn token_discovery(raw: RawBootstrapToken) -> Result<Discovery, JoinConfigurationError> {
    const TOKEN: &str = "discovery.bootstrapToken.token";
    const ENDPOINT: &str = "discovery.bootstrapToken.apiServerEndpoint";
    let missing = |field, expected| JoinConfigurationError::Missing { field, expected };
    let token = present(raw.token).ok_or(missing(TOKEN, "a token"))?;
    let endpoint = present(raw.api_server_endpoint).ok_or(missing(ENDPOINT, "host:port of the API server"))?;
    let hashes = raw.ca_cert_hashes.unwrap_or_default();
    Ok(Discovery::BootstrapToken {
        endpoint: Endpoint::parse(&endpoint).map_err(|error| wrong(ENDPOINT, &error.to_string()))?,
        token: BootstrapToken::parse(&token).map_err(|error| wrong(TOKEN, &error.to_string()))?,
        pins: PinSet::parse(hashes.iter().map(String::as_str))
            .map_err(|error| wrong("discovery.bootstrapToken.caCertHashes", &error.to_string()))?,
        unsafe_skip_ca_verification: raw.unsafe_skip_ca_verification.unwrap_or_default(),
    })
}

fn node_registration(raw: RawNodeRegistration, version: Version) -> Result<NodeRegistration, JoinConfigurationError> {
    version.has(Version::V1Beta4, "nodeRegistration.imagePullSerial", raw.image_pull_serial.is_some())?;
    let name = raw.name.map(|name| name.trim().to_lowercase()).filter(|name| !name.is_empty());
    let name = name.map(|name| NodeName::parse(&name)).transpose();
    let arguments = raw.kubelet_extra_args.unwrap_or_default();
    version.has(Version::V1Beta3, "nodeRegistration.kubeletExtraArgs as a map", arguments.is_map())?;
    version.has(Version::V1Beta4, "nodeRegistration.kubeletExtraArgs as a list", arguments.is_list())?;
    let kubelet_extra_args = raw::into_args(arguments);
    if kubelet_extra_args.iter().any(|argument| argument.name.is_empty()) {
        return Err(wrong("nodeRegistration.kubeletExtraArgs", "has an argument without a name"));
    }
    Ok(NodeRegistration {
        name: name.map_err(|error| wrong("nodeRegistration.name", &error.to_string()))?,
        cri_socket: present(raw.cri_socket),
        taints: raw.taints.map(|taints| taints.into_iter().map(Taint::from).collect()),
        kubelet_extra_args,
        ignore_preflight_errors: raw.ignore_preflight_errors.unwrap_or_default(),
        image_pull_policy: present(raw.image_pull_policy),
        image_pull_serial: raw.image_pull_serial,
    })
}

#[cfg(test)]
#[path = "join_configuration_tests.rs"]
mod tests;
