//! `/var/lib/kubelet/config.yaml`: the cluster's kubelet configuration, with kubeadm's defaults and this machine's
//! container runtime.

use join_control_plane::service_network;
use join_trust::go_yaml::{self, WriteError};
use join_trust::yaml::present;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A ConfigMap of kube-system is a few kilobytes.
const MAX_BYTES: usize = 256 * 1024;
/// The resolver file that does not name systemd-resolved's stub, which is unreachable from a pod.
const RESOLVED_CONF: &str = "/run/systemd/resolve/resolv.conf";

/// The cluster's configuration cannot be turned into files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A ConfigMap's content is not what kubeadm writes.
    #[error("ConfigMap kube-system/{map}: {reason}")]
    ConfigMap {
        /// The ConfigMap.
        map: &'static str,
        /// What was expected.
        reason: String,
    },
    /// A file could not be rendered.
    #[error(transparent)]
    Write(#[from] WriteError),
}

fn kubelet_map(reason: String) -> Error {
    Error::ConfigMap { map: "kubelet-config", reason }
}

/// The versions of kubeadm's ClusterConfiguration, in all of which what a worker reads is the same: v1beta3 is there before
/// Kubernetes 1.37, v1 is an experiment of 1.37.
const CLUSTER_VERSIONS: [&str; 3] = ["kubeadm.k8s.io/v1beta4", "kubeadm.k8s.io/v1beta3", "kubeadm.k8s.io/v1"];

/// What a joining worker reads of kubeadm's ClusterConfiguration. An empty text counts as absent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterConfiguration {
    api_version: String,
    kubernetes_version: String,
    certificates_dir: Option<String>,
    networking: Option<Networking>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Networking {
    dns_domain: Option<String>,
    service_subnet: Option<String>,
    pod_subnet: Option<String>,
}

impl ClusterConfiguration {
    /// Reads `data.ClusterConfiguration` of the ConfigMap `kubeadm-config`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |reason: String| Error::ConfigMap { map: "kubeadm-config", reason };
        if text.len() > MAX_BYTES {
            return Err(wrong(format!("has {} bytes, expected at most {MAX_BYTES}", text.len())));
        }
        let parsed: Self = serde_saphyr::from_str(text).map_err(|failure| wrong(failure.to_string()))?;
        if !CLUSTER_VERSIONS.contains(&parsed.api_version.as_str()) {
            let expected = CLUSTER_VERSIONS.join(", ");
            return Err(wrong(format!("has apiVersion {:?}, expected one of {expected}", parsed.api_version)));
        }
        Ok(parsed)
    }

    /// The networks of Services and pods, as far as they are configured and understood.
    pub fn networks(&self) -> Vec<ipnet::IpNet> {
        let given = self.networking.iter().flat_map(|networking| [&networking.service_subnet, &networking.pod_subnet]);
        let given = given.flatten().flat_map(|networks| networks.split(','));
        given.filter_map(|network| network.trim().parse().ok()).collect()
    }

    /// The version of the control plane, for example `v1.37.2`.
    pub fn kubernetes_version(&self) -> &str {
        &self.kubernetes_version
    }

    /// The domain of Services.
    fn dns_domain(&self) -> &str {
        let given = self.networking.as_ref().and_then(|networking| networking.dns_domain.as_deref());
        present(given).unwrap_or("cluster.local")
    }

    /// The address of the cluster's DNS. Where the network of Services has none, kubeadm takes that of its default network,
    /// without a word.
    fn dns_address(&self) -> String {
        let given = self.networking.as_ref().and_then(|networking| networking.service_subnet.as_deref());
        let address = service_network::address(present(given).unwrap_or("10.96.0.0/12"), service_network::DNS);
        address.map_or_else(|_| "10.96.0.10".to_owned(), |address| address.to_string())
    }

    /// The path of the authority's certificate on the machine.
    fn client_ca_file(&self) -> String {
        let folder = present(self.certificates_dir.as_deref()).unwrap_or("/etc/kubernetes/pki");
        format!("{}/ca.crt", folder.trim_end_matches('/'))
    }
}

/// Renders the kubelet's configuration.
///
/// `config` is `data.kubelet` of the ConfigMap `kubelet-config`. Values that stand in it are kept, but for
/// `rotateCertificates`, which a joined kubelet needs.
pub fn kubelet_config(
    config: &str,
    cluster: &ClusterConfiguration,
    cri_socket: &str,
    systemd_resolved: bool,
) -> Result<String, Error> {
    if config.len() > MAX_BYTES {
        return Err(kubelet_map(format!("has {} bytes, expected at most {MAX_BYTES}", config.len())));
    }
    let mut value: Value = serde_saphyr::from_str(config).map_err(|failure| kubelet_map(failure.to_string()))?;
    let Value::Object(fields) = &mut value else {
        return Err(kubelet_map("is not a map".to_owned()));
    };
    let version = fields.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    if version != "kubelet.config.k8s.io/v1beta1" {
        return Err(kubelet_map(format!("has apiVersion {version:?}, expected kubelet.config.k8s.io/v1beta1")));
    }
    apply_defaults(fields, cluster);
    fields.insert("rotateCertificates".to_owned(), json!(true));
    fields.insert("containerRuntimeEndpoint".to_owned(), json!(cri_socket));
    if systemd_resolved {
        set_if_empty(fields, "resolvConf", json!(RESOLVED_CONF));
    }
    Ok(go_yaml::to_string(&value)?)
}

/// Where a kubelet with this configuration tells whether it is well; `None` when it tells nobody (port 0).
pub fn healthz_url(config_yaml: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Healthz {
        healthz_bind_address: Option<std::net::IpAddr>,
        healthz_port: Option<u16>,
    }
    let healthz: Healthz = serde_saphyr::from_str(config_yaml).ok()?;
    let port = healthz.healthz_port.unwrap_or(10248);
    let address = match healthz.healthz_bind_address {
        // Whoever listens everywhere listens on the local host.
        Some(address) if !address.is_unspecified() => address,
        Some(std::net::IpAddr::V6(_)) => std::net::Ipv6Addr::LOCALHOST.into(),
        _ => std::net::Ipv4Addr::LOCALHOST.into(),
    };
    (port != 0).then(|| format!("http://{}", std::net::SocketAddr::new(address, port)))
}

/// kubeadm's own defaults (kubeadm `componentconfigs/kubelet.go`).
fn apply_defaults(fields: &mut Map<String, Value>, cluster: &ClusterConfiguration) {
    set_if_empty(fields, "staticPodPath", json!("/etc/kubernetes/manifests"));
    set_if_empty(fields, "clusterDomain", json!(cluster.dns_domain()));
    set_if_empty(fields, "clusterDNS", json!([cluster.dns_address()]));
    set_if_empty(fields, "healthzBindAddress", json!("127.0.0.1"));
    set_if_empty(fields, "healthzPort", json!(10248));
    set_if_empty(fields, "cgroupDriver", json!("systemd"));
    set_inside(fields, &["authentication", "x509", "clientCAFile"], json!(cluster.client_ca_file()));
    set_inside(fields, &["authentication", "anonymous", "enabled"], json!(false));
    set_inside(fields, &["authentication", "webhook", "enabled"], json!(true));
    set_inside(fields, &["authorization", "mode"], json!("Webhook"));
}

/// Sets a default inside a field's map, which is made when it is missing.
fn set_inside(fields: &mut Map<String, Value>, path: &[&str], default: Value) {
    match path {
        [] => {}
        [name] => set_if_empty(fields, name, default),
        [name, rest @ ..] => {
            let value = fields.entry(*name).or_insert_with(|| json!({}));
            if let Value::Object(inner) = value {
                set_inside(inner, rest, default);
            }
        }
    }
}

/// Go writes an empty text, list or zero where a field is not set.
fn set_if_empty(fields: &mut Map<String, Value>, name: &str, default: Value) {
    let is_empty = match fields.get(name) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(_) => false,
    };
    if is_empty {
        fields.insert(name.to_owned(), default);
    }
}
