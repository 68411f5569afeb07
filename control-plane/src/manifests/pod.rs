//! What all static pods have in common (kubeadm's `util/staticpod`).

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, HTTPGetAction, Pod, PodSecurityContext, PodSpec, PodStatus, Probe,
    ResourceRequirements, SeccompProfile, Volume,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The name that the probes know the port by.
const PROBE_PORT: &str = "probe-port";
/// The value of the priority class system-node-critical.
const SYSTEM_NODE_CRITICAL: i32 = 2_000_001_000;
/// Seconds from one try to the next.
const PERIOD: i32 = 10;

/// A static pod of one container.
pub(super) fn pod(container: Container, volumes: Vec<Volume>, annotation: Option<(&str, String)>) -> Pod {
    let labels = [("component", container.name.as_str()), ("tier", "control-plane")];
    let seccomp = SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() };
    Pod {
        metadata: ObjectMeta {
            name: Some(container.name.clone()),
            namespace: Some("kube-system".to_owned()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            annotations: annotation.map(|(key, value)| BTreeMap::from([(key.to_owned(), value)])),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            containers: vec![container],
            host_network: Some(true),
            priority: Some(SYSTEM_NODE_CRITICAL),
            priority_class_name: Some("system-node-critical".to_owned()),
            security_context: Some(PodSecurityContext {
                seccomp_profile: Some(seccomp),
                ..PodSecurityContext::default()
            }),
            volumes: Some(volumes),
            ..PodSpec::default()
        }),
        // Go writes it although nothing is in it.
        status: Some(PodStatus::default()),
    }
}

/// Where a component tells whether it is well.
pub(super) struct Probes<'a> {
    /// The host; none for a component that listens on every address.
    pub host: Option<String>,
    /// The port.
    pub port: u16,
    /// `HTTP` or `HTTPS`.
    pub scheme: &'static str,
    /// The path that says whether it lives.
    pub live: &'a str,
    /// The path that says whether it is ready.
    pub ready: Option<&'a str>,
    /// The path that says whether it has started.
    pub started: &'a str,
}

impl Probes<'_> {
    /// Adds the probes and their port to a container.
    pub(super) fn on(&self, container: Container, health_check: Duration) -> Container {
        // As many tries as fit into the time, and one more for what is left of it.
        let tries = health_check.as_secs_f64() / f64::from(PERIOD);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a cast of a float to an integer ends at the integer's limits"
        )]
        let tries = tries.ceil() as i32;
        Container {
            liveness_probe: Some(self.probe(self.live, PERIOD, 8, PERIOD)),
            readiness_probe: self.ready.map(|path| self.probe(path, 0, 3, 1)),
            startup_probe: Some(self.probe(self.started, PERIOD, tries, PERIOD)),
            ports: Some(vec![ContainerPort {
                name: Some(PROBE_PORT.to_owned()),
                container_port: self.port.into(),
                protocol: Some("TCP".to_owned()),
                ..ContainerPort::default()
            }]),
            ..container
        }
    }

    fn probe(&self, path: &str, delay: i32, failures: i32, period: i32) -> Probe {
        Probe {
            http_get: Some(HTTPGetAction {
                host: self.host.clone(),
                path: Some(path.to_owned()),
                port: IntOrString::String(PROBE_PORT.to_owned()),
                scheme: Some(self.scheme.to_owned()),
                ..HTTPGetAction::default()
            }),
            // Go writes no zero.
            initial_delay_seconds: Some(delay).filter(|delay| *delay != 0),
            timeout_seconds: Some(15),
            failure_threshold: Some(failures),
            period_seconds: Some(period),
            ..Probe::default()
        }
    }
}

/// What a component asks the machine for.
pub(super) fn requests<const N: usize>(requests: [(&str, &str); N]) -> ResourceRequirements {
    let requests = requests.map(|(name, quantity)| (name.to_owned(), Quantity(quantity.to_owned())));
    ResourceRequirements { requests: Some(requests.into()), ..ResourceRequirements::default() }
}

/// Variables by name; of those with the same name the last counts.
pub(super) fn environment<'a>(variables: impl Iterator<Item = &'a EnvVar>) -> Option<Vec<EnvVar>> {
    let by_name: BTreeMap<&str, &EnvVar> = variables.map(|variable| (variable.name.as_str(), variable)).collect();
    Some(by_name.into_values().cloned().collect::<Vec<_>>()).filter(|variables| !variables.is_empty())
}

/// An address as a probe's host; none for every address.
pub(super) fn probe_host(address: &str) -> Option<String> {
    Some(address.to_owned()).filter(|address| address != "0.0.0.0" && address != "::")
}
