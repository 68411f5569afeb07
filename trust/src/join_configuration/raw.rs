//! The fields of a JoinConfiguration as they stand in the file, of both versions.
//!
//! Every field may be null, which kubeadm takes for absent.

use serde::Deserialize;
use serde::de::IgnoredAny;
use zeroize::Zeroizing;

use super::{ControlPlane, JoinConfigurationError, KubeletArg, Taint, wrong};
use crate::yaml::{ListOrMap, present};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawConfiguration {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    pub dry_run: Option<bool>,
    pub node_registration: Option<RawNodeRegistration>,
    pub ca_cert_path: Option<String>,
    pub discovery: Option<RawDiscovery>,
    pub control_plane: Option<RawControlPlane>,
    pub skip_phases: Option<Vec<String>>,
    pub patches: Option<RawPatches>,
    pub timeouts: Option<RawTimeouts>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawDiscovery {
    pub bootstrap_token: Option<RawBootstrapToken>,
    pub file: Option<RawFile>,
    pub tls_bootstrap_token: Option<Zeroizing<String>>,
    pub timeout: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawBootstrapToken {
    pub token: Option<Zeroizing<String>>,
    pub api_server_endpoint: Option<String>,
    pub ca_cert_hashes: Option<Vec<String>>,
    #[serde(rename = "unsafeSkipCAVerification")]
    pub unsafe_skip_ca_verification: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawFile {
    pub kube_config_path: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawNodeRegistration {
    pub name: Option<String>,
    pub cri_socket: Option<String>,
    pub taints: Option<Vec<RawTaint>>,
    pub kubelet_extra_args: Option<RawArgs>,
    pub ignore_preflight_errors: Option<Vec<String>>,
    pub image_pull_policy: Option<String>,
    pub image_pull_serial: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawTaint {
    key: String,
    value: Option<String>,
    effect: String,
    /// Kubernetes sets it.
    #[serde(rename = "timeAdded")]
    _time_added: Option<IgnoredAny>,
}

impl From<RawTaint> for Taint {
    fn from(raw: RawTaint) -> Self {
        Self { key: raw.key, value: present(raw.value), effect: raw.effect }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawArg {
    name: String,
    #[serde(default)]
    value: String,
}

/// The kubelet's flags of either version.
pub(super) type RawArgs = ListOrMap<RawArg>;

pub(super) fn into_args(raw: RawArgs) -> Vec<KubeletArg> {
    match raw {
        ListOrMap::List(list) => list.into_iter().map(|arg| KubeletArg { name: arg.name, value: arg.value }).collect(),
        ListOrMap::Map(map) => map.into_iter().map(|(name, value)| KubeletArg { name, value }).collect(),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawControlPlane {
    #[serde(rename = "localAPIEndpoint")]
    local_api_endpoint: Option<RawLocalEndpoint>,
    /// A secret, which is not kept.
    certificate_key: Option<IgnoredAny>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawLocalEndpoint {
    advertise_address: Option<String>,
    bind_port: Option<i64>,
}

impl RawControlPlane {
    pub fn checked(self) -> Result<ControlPlane, JoinConfigurationError> {
        let endpoint = self.local_api_endpoint.unwrap_or_default();
        let address = present(endpoint.advertise_address).map(|text| {
            let field = "controlPlane.localAPIEndpoint.advertiseAddress";
            text.parse().map_err(|_| wrong(field, &format!("{text:?} is no IP address")))
        });
        // kubeadm takes 0 for its default.
        let port = endpoint.bind_port.filter(|port| *port != 0).map(|port| {
            let field = "controlPlane.localAPIEndpoint.bindPort";
            u16::try_from(port).map_err(|_| wrong(field, &format!("is {port}, expected a port of 1 to 65535")))
        });
        Ok(ControlPlane {
            advertise_address: address.transpose()?,
            bind_port: port.transpose()?,
            has_certificate_key: self.certificate_key.is_some(),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawPatches {
    pub directory: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawTimeouts {
    control_plane_component_health_check: Option<String>,
    kubelet_health_check: Option<String>,
    #[serde(rename = "kubernetesAPICall")]
    kubernetes_api_call: Option<String>,
    #[serde(rename = "etcdAPICall")]
    etcd_api_call: Option<String>,
    tls_bootstrap: Option<String>,
    discovery: Option<String>,
    upgrade_manifests: Option<String>,
}

impl RawTimeouts {
    /// Those that are set.
    pub fn set(self) -> Vec<(&'static str, String)> {
        let all = [
            ("controlPlaneComponentHealthCheck", self.control_plane_component_health_check),
            ("kubeletHealthCheck", self.kubelet_health_check),
            ("kubernetesAPICall", self.kubernetes_api_call),
            ("etcdAPICall", self.etcd_api_call),
            ("tlsBootstrap", self.tls_bootstrap),
            ("discovery", self.discovery),
            ("upgradeManifests", self.upgrade_manifests),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, present(value)?))).collect()
    }
}
