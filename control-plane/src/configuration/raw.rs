//! The fields of a ClusterConfiguration as they stand in the ConfigMap, of all versions.
//!
//! Every field may be null, which kubeadm takes for absent.

use std::collections::BTreeMap;

use join_trust::yaml::ListOrMap;
use k8s_openapi::api::core::v1::EnvVarSource;
use serde::Deserialize;
use serde::de::IgnoredAny;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawCluster {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    pub etcd: Option<RawEtcd>,
    pub networking: Option<RawNetworking>,
    pub kubernetes_version: Option<String>,
    pub control_plane_endpoint: Option<String>,
    pub api_server: Option<RawApiServer>,
    pub controller_manager: Option<RawComponent>,
    pub scheduler: Option<RawComponent>,
    /// Add-ons are made once for a cluster.
    #[serde(rename = "dns")]
    _dns: Option<IgnoredAny>,
    #[serde(rename = "proxy")]
    _proxy: Option<IgnoredAny>,
    pub certificates_dir: Option<String>,
    pub image_repository: Option<String>,
    pub feature_gates: Option<BTreeMap<String, bool>>,
    pub cluster_name: Option<String>,
    pub encryption_algorithm: Option<String>,
    pub certificate_validity_period: Option<String>,
    /// Authorities are made once for a cluster.
    #[serde(rename = "caCertificateValidityPeriod")]
    _ca_certificate_validity_period: Option<IgnoredAny>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawNetworking {
    pub service_subnet: Option<String>,
    pub pod_subnet: Option<String>,
    pub dns_domain: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "kubeadm's names")]
pub(super) struct RawComponent {
    pub extra_args: Option<ListOrMap<RawArgument>>,
    pub extra_volumes: Option<Vec<RawMount>>,
    pub extra_envs: Option<Vec<RawEnv>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawApiServer {
    pub extra_args: Option<ListOrMap<RawArgument>>,
    pub extra_volumes: Option<Vec<RawMount>>,
    pub extra_envs: Option<Vec<RawEnv>>,
    #[serde(rename = "certSANs")]
    pub cert_sans: Option<Vec<String>>,
    /// How long v1beta3's `kubeadm init` waits; a join has a time of its own.
    #[serde(rename = "timeoutForControlPlane")]
    pub timeout_for_control_plane: Option<IgnoredAny>,
}

impl RawApiServer {
    pub fn component(self) -> RawComponent {
        RawComponent { extra_args: self.extra_args, extra_volumes: self.extra_volumes, extra_envs: self.extra_envs }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawArgument {
    pub name: String,
    #[serde(default)]
    pub value: String,
    pub merge_method: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawMount {
    pub name: String,
    pub host_path: String,
    pub mount_path: String,
    pub read_only: Option<bool>,
    pub path_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawEnv {
    pub name: String,
    pub value: Option<String>,
    pub value_from: Option<EnvVarSource>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawEtcd {
    pub local: Option<RawLocalEtcd>,
    pub external: Option<RawExternalEtcd>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawLocalEtcd {
    pub image_repository: Option<String>,
    pub image_tag: Option<String>,
    pub data_dir: Option<String>,
    pub extra_args: Option<ListOrMap<RawArgument>>,
    pub extra_envs: Option<Vec<RawEnv>>,
    #[serde(rename = "serverCertSANs")]
    pub server_cert_sans: Option<Vec<String>>,
    #[serde(rename = "peerCertSANs")]
    pub peer_cert_sans: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawExternalEtcd {
    pub endpoints: Option<Vec<String>>,
    /// Only kubeadm's own health checks use them.
    #[serde(rename = "httpEndpoints")]
    _http_endpoints: Option<IgnoredAny>,
    pub ca_file: Option<String>,
    pub cert_file: Option<String>,
    pub key_file: Option<String>,
}
