//! The files that a join leaves on a machine, rendered as kubeadm of the same version renders them.
//!
//! Pure: from the cluster's configuration and the request to text. [`crate::join`] writes them.

mod flags;
mod kubeconfig;
mod kubelet_config;

use std::path::Path;

use join_trust::ca_bundle::CaBundle;
use join_trust::endpoint::Endpoint;
use join_trust::names::NodeName;

pub use flags::{FlagSource, kubeadm_flags_env};
pub use kubeconfig::kubelet_conf;
pub use kubelet_config::{ClusterConfiguration, Error, healthz_url, kubelet_config};

/// The kubelet's kubeconfig; written last, so that its existence means that all the others are there.
pub const KUBELET_CONF: &str = "/etc/kubernetes/kubelet.conf";
/// The cluster's certificate authorities.
pub const CA_CRT: &str = "/etc/kubernetes/pki/ca.crt";
/// The kubelet's configuration.
pub const CONFIG_YAML: &str = "/var/lib/kubelet/config.yaml";
/// What of the kubelet's configuration is this machine's alone.
pub const INSTANCE_CONFIG_YAML: &str = "/var/lib/kubelet/instance-config.yaml";
/// The kubelet's additional command line.
pub const KUBEADM_FLAGS_ENV: &str = "/var/lib/kubelet/kubeadm-flags.env";
/// Where the kubelet keeps its certificates.
pub const PKI_FOLDER: &str = "/var/lib/kubelet/pki";
/// The link to the kubelet's current client certificate and key.
pub const CLIENT_PEM: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";
/// The container runtime's socket where the request names none: kubeadm's default for containerd.
pub const DEFAULT_CRI_SOCKET: &str = "unix:///var/run/containerd/containerd.sock";

/// Everything that the files are made of, but for the certificate and its key.
pub struct Inputs<'a> {
    /// The node's name.
    pub node_name: &'a NodeName,
    /// The machine's host name.
    pub hostname: &'a str,
    /// The API server that the kubelet speaks to: as cluster-info names it, or on a control plane its own.
    pub endpoint: &'a Endpoint,
    /// The cluster's certificate authorities.
    pub ca: &'a CaBundle,
    /// `data.kubelet` of the ConfigMap `kubelet-config`.
    pub kubelet_config: &'a str,
    /// What the ConfigMap `kubeadm-config` says.
    pub cluster: &'a ClusterConfiguration,
    /// The request's registration.
    pub registration: &'a join_crds::NodeRegistration,
    /// The taints that the node registers with.
    pub taints: &'a [join_crds::Taint],
    /// Whether systemd-resolved runs, whose stub listener a pod cannot reach.
    pub systemd_resolved: bool,
}

/// The rendered files: path and content. Modes are 0644, but for the kubeconfig's 0600.
#[derive(Debug, PartialEq, Eq)]
pub struct Rendered {
    /// [`CA_CRT`]
    pub ca_crt: String,
    /// [`CONFIG_YAML`]
    pub config_yaml: String,
    /// [`INSTANCE_CONFIG_YAML`]
    pub instance_config_yaml: String,
    /// [`KUBEADM_FLAGS_ENV`]
    pub kubeadm_flags_env: String,
    /// [`KUBELET_CONF`]
    pub kubelet_conf: String,
}

impl Rendered {
    /// Renders all files.
    ///
    /// # Errors
    /// When the cluster's configuration is not understood; nothing has been written then.
    pub fn new(inputs: &Inputs<'_>) -> Result<Self, Error> {
        let socket = cri_socket(inputs.registration);
        let source = FlagSource {
            node_name: inputs.node_name.as_str(),
            hostname: inputs.hostname,
            taints: inputs.taints,
            extra: &inputs.registration.kubelet_extra_args,
        };
        Ok(Self {
            ca_crt: inputs.ca.to_pem(),
            config_yaml: kubelet_config(inputs.kubelet_config, inputs.cluster, &socket, inputs.systemd_resolved)?,
            instance_config_yaml: format!("containerRuntimeEndpoint: {}\n", go_quoted(&socket)),
            kubeadm_flags_env: kubeadm_flags_env(&source),
            kubelet_conf: kubelet_conf(inputs.endpoint, inputs.ca, Path::new(CLIENT_PEM))?,
        })
    }
}

/// The container runtime's socket of a request, with its scheme.
pub fn cri_socket(registration: &join_crds::NodeRegistration) -> String {
    match registration.cri_socket.as_deref() {
        None => DEFAULT_CRI_SOCKET.to_owned(),
        Some(socket) if socket.contains("://") => socket.to_owned(),
        Some(path) => format!("unix://{path}"),
    }
}

/// A string as Go's `%q` writes it, for the characters that can stand in a flag or a path: the API server admits no
/// control characters in a request.
fn go_quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
