//! From the fields as they stand in the ConfigMap to what they mean.

use std::path::{Component as PathPart, Path};
use std::time::Duration;

use jiff::SignedDuration;
use join_trust::endpoint::Endpoint;
use join_trust::yaml::{ListOrMap, present};
use k8s_openapi::api::core::v1::EnvVar;

use super::raw::{RawArgument, RawCluster, RawComponent, RawEnv, RawEtcd, RawExternalEtcd, RawLocalEtcd, RawMount};
use super::{
    Argument, ClusterConfiguration, Component, ConfigurationError, ControlPlaneEndpoint, Etcd, ExternalEtcd,
    HostPathMount, KeyAlgorithm, LocalEtcd, Merge, Networking, Version, check_gates,
};
use crate::service_network;
use crate::version::{KubernetesVersion, Minor};

/// 365 days (`CertificateValidityPeriod`).
const DEFAULT_VALIDITY: Duration = Duration::from_hours(8760);

fn wrong(field: &'static str, reason: String) -> ConfigurationError {
    ConfigurationError::Field { field, reason }
}

fn or(text: Option<String>, default: &str) -> String {
    present(text).unwrap_or_else(|| default.to_owned())
}

pub(super) fn build(raw: RawCluster, version: Version) -> Result<ClusterConfiguration, ConfigurationError> {
    let kubernetes = KubernetesVersion::parse(raw.kubernetes_version.as_deref().unwrap_or_default())?;
    let minor = kubernetes.minor();
    if version == Version::V1 && !minor.has_v1() {
        return Err(ConfigurationError::Version { version: "kubeadm.k8s.io/v1".to_owned() });
    }
    let gates = raw.feature_gates.unwrap_or_default();
    check_gates(&gates)?;
    let since_beta4 = version >= Version::V1Beta4;
    version.needs(since_beta4, "encryptionAlgorithm", raw.encryption_algorithm.is_some())?;
    version.needs(since_beta4, "certificateValidityPeriod", raw.certificate_validity_period.is_some())?;
    let endpoint = present(raw.control_plane_endpoint).ok_or(ConfigurationError::NoControlPlaneEndpoint)?;
    let networking = raw.networking.unwrap_or_default();
    let service_subnet = or(networking.service_subnet, "10.96.0.0/12");
    let mut api_server = raw.api_server.unwrap_or_default();
    let timeout = api_server.timeout_for_control_plane.is_some();
    version.needs(version == Version::V1Beta3, "apiServer.timeoutForControlPlane", timeout)?;
    // Names of load balancers have capitals in them at times.
    let sans = api_server.cert_sans.take().unwrap_or_default();
    let component = |field, raw: Option<RawComponent>| component(field, raw.unwrap_or_default(), version);
    Ok(ClusterConfiguration {
        control_plane_endpoint: control_plane_endpoint(&endpoint)?,
        cluster_name: or(raw.cluster_name, "kubernetes"),
        image_repository: or(raw.image_repository, "registry.k8s.io"),
        certificates_dir: folder("certificatesDir", or(raw.certificates_dir, "/etc/kubernetes/pki"))?,
        networking: Networking {
            service_address: service_network::address(&service_subnet, service_network::API_SERVER)
                .map_err(|error| wrong("networking.serviceSubnet", error.to_string()))?,
            service_subnet,
            pod_subnet: networking.pod_subnet.unwrap_or_default(),
            dns_domain: or(networking.dns_domain, "cluster.local"),
        },
        api_server: component("apiServer", Some(api_server.component()))?,
        api_server_sans: sans.into_iter().map(|name| name.to_lowercase()).collect(),
        controller_manager: component("controllerManager", raw.controller_manager)?,
        scheduler: component("scheduler", raw.scheduler)?,
        etcd: etcd(raw.etcd.unwrap_or_default(), version)?,
        key_algorithm: key_algorithm(
            raw.encryption_algorithm.as_deref(),
            gates.contains_key(PUBLIC_KEYS_ECDSA),
            minor,
        )?,
        certificate_validity: validity(raw.certificate_validity_period.as_deref())?,
        version: kubernetes,
    })
}

/// A host, with or without a port (`ParseHostPort`). An IPv6 address without a port may stand without brackets.
fn control_plane_endpoint(text: &str) -> Result<ControlPlaneEndpoint, ConfigurationError> {
    if let Ok(endpoint) = Endpoint::parse(text) {
        return Ok(ControlPlaneEndpoint { endpoint, has_port: true });
    }
    let host = if text.parse::<std::net::Ipv6Addr>().is_ok() { format!("[{text}]") } else { text.to_owned() };
    let endpoint = Endpoint::parse(&format!("{host}:{}", crate::Member::DEFAULT_BIND_PORT));
    let endpoint = endpoint.map_err(|_| {
        wrong("controlPlaneEndpoint", format!("{text:?} is no address or DNS name, with or without a port"))
    })?;
    Ok(ControlPlaneEndpoint { endpoint, has_port: false })
}

/// A gate of kubeadm's before 1.37. False means RSA, which is ECDSA P-256 here, too.
const PUBLIC_KEYS_ECDSA: &str = "PublicKeysECDSA";

fn key_algorithm(text: Option<&str>, has_gate: bool, minor: Minor) -> Result<KeyAlgorithm, ConfigurationError> {
    if has_gate && minor.has_public_keys_ecdsa() {
        return Ok(KeyAlgorithm::EcdsaP256);
    }
    match text.unwrap_or_default() {
        "" | "RSA-2048" | "RSA-3072" | "RSA-4096" | "ECDSA-P256" => Ok(KeyAlgorithm::EcdsaP256),
        "ECDSA-P384" => Ok(KeyAlgorithm::EcdsaP384),
        other => {
            let expected = "expected RSA-2048, RSA-3072, RSA-4096, ECDSA-P256 or ECDSA-P384";
            Err(wrong("encryptionAlgorithm", format!("is {other:?}, {expected}")))
        }
    }
}

/// A length of time as Go writes it, for example `8760h0m0s`.
fn validity(text: Option<&str>) -> Result<Duration, ConfigurationError> {
    let Some(text) = text else { return Ok(DEFAULT_VALIDITY) };
    let parsed = text.parse::<SignedDuration>().ok().and_then(|parsed| Duration::try_from(parsed).ok());
    parsed
        .filter(|parsed| !parsed.is_zero())
        .ok_or_else(|| wrong("certificateValidityPeriod", format!("{text:?} is no length of time like 8760h0m0s")))
}

/// A path that is absolute and goes nowhere but down.
fn absolute(field: &'static str, text: String) -> Result<String, ConfigurationError> {
    let goes_down = Path::new(&text).components().all(|part| matches!(part, PathPart::RootDir | PathPart::Normal(_)));
    if text.starts_with('/') && goes_down && !text.contains(char::is_control) {
        return Ok(text);
    }
    Err(wrong(field, format!("{text:?} is no absolute path without `..`")))
}

fn folder(field: &'static str, text: String) -> Result<String, ConfigurationError> {
    let text = absolute(field, text)?;
    match text.trim_end_matches('/') {
        "" => Err(wrong(field, "is the root of all folders".to_owned())),
        folder => Ok(folder.to_owned()),
    }
}

fn component(field: &str, raw: RawComponent, version: Version) -> Result<Component, ConfigurationError> {
    Ok(Component {
        extra_args: arguments(field, raw.extra_args, version)?,
        extra_volumes: raw.extra_volumes.unwrap_or_default().into_iter().map(HostPathMount::from).collect(),
        extra_envs: environment(field, raw.extra_envs, version)?,
    })
}

fn arguments(
    field: &str,
    raw: Option<ListOrMap<RawArgument>>,
    version: Version,
) -> Result<Vec<Argument>, ConfigurationError> {
    let raw = raw.unwrap_or_default();
    version.needs(version == Version::V1Beta3, &format!("{field}.extraArgs as a map"), raw.is_map())?;
    version.needs(version >= Version::V1Beta4, &format!("{field}.extraArgs as a list"), raw.is_list())?;
    let argument = |raw: RawArgument| {
        let merge = present(raw.merge_method);
        version.needs(version == Version::V1, &format!("{field}.extraArgs.mergeMethod"), merge.is_some())?;
        let merge = match merge.as_deref() {
            None => None,
            Some("append") => Some(Merge::Append),
            Some("prepend") => Some(Merge::Prepend),
            Some(other) => {
                return Err(wrong("extraArgs.mergeMethod", format!("is {other:?}, expected append or prepend")));
            }
        };
        Ok(Argument { name: raw.name, value: raw.value, merge })
    };
    match raw {
        ListOrMap::List(list) => list.into_iter().map(argument).collect(),
        ListOrMap::Map(map) => Ok(map.into_iter().map(|(name, value)| Argument { name, value, merge: None }).collect()),
    }
}

fn environment(field: &str, raw: Option<Vec<RawEnv>>, version: Version) -> Result<Vec<EnvVar>, ConfigurationError> {
    version.needs(version >= Version::V1Beta4, &format!("{field}.extraEnvs"), raw.is_some())?;
    let variable = |raw: RawEnv| {
        let mut source = raw.value_from;
        // Kubernetes' default, which kubeadm writes down.
        if let Some(field) = source.as_mut().and_then(|source| source.field_ref.as_mut()) {
            field.api_version.get_or_insert_with(|| "v1".to_owned());
        }
        EnvVar { name: raw.name, value: present(raw.value), value_from: source }
    };
    Ok(raw.unwrap_or_default().into_iter().map(variable).collect())
}

impl From<RawMount> for HostPathMount {
    fn from(raw: RawMount) -> Self {
        Self {
            name: raw.name,
            host_path: raw.host_path,
            mount_path: raw.mount_path,
            read_only: raw.read_only.unwrap_or_default(),
            path_type: raw.path_type.unwrap_or_default(),
        }
    }
}

fn etcd(raw: RawEtcd, version: Version) -> Result<Etcd, ConfigurationError> {
    match (raw.local, raw.external) {
        (Some(_), Some(_)) => Err(wrong("etcd", "has both local and external, expected one of them".to_owned())),
        (None, Some(external)) => external_etcd(external).map(Etcd::External),
        (local, None) => local_etcd(local.unwrap_or_default(), version).map(Etcd::Local),
    }
}

fn local_etcd(raw: RawLocalEtcd, version: Version) -> Result<LocalEtcd, ConfigurationError> {
    Ok(LocalEtcd {
        image_repository: present(raw.image_repository),
        image_tag: present(raw.image_tag),
        data_dir: folder("etcd.local.dataDir", or(raw.data_dir, "/var/lib/etcd"))?,
        extra_args: arguments("etcd.local", raw.extra_args, version)?,
        extra_envs: environment("etcd.local", raw.extra_envs, version)?,
        server_sans: raw.server_cert_sans.unwrap_or_default(),
        peer_sans: raw.peer_cert_sans.unwrap_or_default(),
    })
}

fn external_etcd(raw: RawExternalEtcd) -> Result<ExternalEtcd, ConfigurationError> {
    let file =
        |field, text: Option<String>| present(text).map_or_else(|| Ok(String::new()), |text| absolute(field, text));
    let endpoints = raw.endpoints.unwrap_or_default();
    if endpoints.is_empty() {
        return Err(wrong("etcd.external.endpoints", "is empty, expected the URLs of etcd's members".to_owned()));
    }
    Ok(ExternalEtcd {
        endpoints,
        ca_file: file("etcd.external.caFile", raw.ca_file)?,
        cert_file: file("etcd.external.certFile", raw.cert_file)?,
        key_file: file("etcd.external.keyFile", raw.key_file)?,
    })
}
