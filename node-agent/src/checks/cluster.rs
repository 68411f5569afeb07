//! What the machine is measured against: what is known of the cluster and of the node that it is to become.

use std::net::IpAddr;

use ipnet::IpNet;
use join_trust::ca_bundle::CaBundle;
use join_trust::endpoint::Endpoint;
use join_trust::pin::{PinSet, PublicKeyPin};
use serde::Deserialize;

use super::control_plane::NewControlPlane;

/// A ConfigMap of kube-system is a few kilobytes.
const MAX_BYTES: usize = 256 * 1024;

/// What is known; what is not, is not judged.
#[derive(Default)]
pub struct Expected<'a> {
    /// The node's name.
    pub node_name: Option<&'a str>,
    /// The machine's key.
    pub machine_key: Option<PublicKeyPin>,
    /// The cluster's certificate authorities.
    pub authorities: Authorities<'a>,
    /// Where the API server is.
    pub endpoint: Option<&'a Endpoint>,
    /// The control plane's version, for example `v1.37.2`.
    pub control_plane: Option<&'a str>,
    /// What the cluster configures its kubelets with.
    pub kubelet: Option<&'a KubeletSettings>,
    /// The cluster's networks of Services and pods.
    pub networks: &'a [IpNet],
    /// The addresses that the node's `--node-ip` names.
    pub node_ip: &'a [IpAddr],
    /// The addresses that the agent's configuration gives to the machine.
    pub node_addresses: &'a [IpAddr],
    /// The control plane that the machine is to become; none if it becomes a worker, or if that is not known.
    pub new_control_plane: Option<&'a NewControlPlane>,
}

/// What is known of the cluster's certificate authorities.
#[derive(Default, Clone, Copy)]
pub enum Authorities<'a> {
    /// Nothing.
    #[default]
    Unknown,
    /// The hashes of their keys.
    Pinned(&'a PinSet),
    /// All of them.
    Known(&'a CaBundle),
}

/// What of the ConfigMap `kubelet-config` decides whether a kubelet can start on a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeletSettings {
    cgroup_driver: Option<String>,
    fail_swap_on: Option<bool>,
    #[serde(rename = "failCgroupV1")]
    fail_cgroup_v1: Option<bool>,
}

impl KubeletSettings {
    /// Reads `data.kubelet` of the ConfigMap; `None` when it is not understood, which the join itself tells.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() <= MAX_BYTES).then(|| serde_saphyr::from_str(text).ok()).flatten()
    }

    /// Who manages cgroups. kubeadm sets systemd where nothing is set.
    pub fn cgroup_driver(&self) -> &str {
        self.cgroup_driver.as_deref().filter(|driver| !driver.is_empty()).unwrap_or("systemd")
    }

    /// Whether the kubelet ends when there is swap: its own default.
    pub fn fails_on_swap(&self) -> bool {
        self.fail_swap_on.unwrap_or(true)
    }

    /// Whether the cluster admits cgroup v1.
    pub fn admits_cgroup_v1(&self) -> bool {
        self.fail_cgroup_v1 == Some(false)
    }
}

/// The addresses in the value of a kubelet's `--node-ip`. `0.0.0.0` and `::` mean the default address of a family, which
/// names none.
pub fn node_ip(arguments: &[join_crds::KubeletArg]) -> Vec<IpAddr> {
    let given = arguments.iter().filter(|argument| argument.name == "node-ip");
    let addresses = given.flat_map(|argument| argument.value.split(','));
    addresses.filter_map(|text| text.trim().parse().ok()).filter(|ip: &IpAddr| !ip.is_unspecified()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_the_kubelets_own_defaults() {
        let nothing = KubeletSettings::parse("apiVersion: kubelet.config.k8s.io/v1beta1\n").unwrap();
        assert_eq!(
            (nothing.cgroup_driver(), nothing.fails_on_swap(), nothing.admits_cgroup_v1()),
            ("systemd", true, false)
        );
        let set = KubeletSettings::parse("cgroupDriver: cgroupfs\nfailSwapOn: false\nfailCgroupV1: false\n").unwrap();
        assert_eq!((set.cgroup_driver(), set.fails_on_swap(), set.admits_cgroup_v1()), ("cgroupfs", false, true));
        assert_eq!(KubeletSettings::parse("- 1\n"), None);
        assert_eq!(KubeletSettings::parse(&"#".repeat(MAX_BYTES + 1)), None);
    }

    #[test]
    fn node_ips_are_read_from_the_kubelets_arguments() {
        let argument =
            |name: &str, value: &str| join_crds::KubeletArg { name: name.to_owned(), value: value.to_owned() };
        let arguments = [argument("v", "2"), argument("node-ip", "10.0.0.5,fd00::5"), argument("node-ip", "0.0.0.0")];
        assert_eq!(node_ip(&arguments), ["10.0.0.5".parse::<IpAddr>().unwrap(), "fd00::5".parse().unwrap()]);
        assert!(node_ip(&[argument("node-ip", "::")]).is_empty());
    }
}
