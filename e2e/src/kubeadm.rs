//! Stock kubeadm, as clusters without join-operator use it.

use std::time::Duration;

use join_crds::vocabulary::JWS_KEY_PREFIX;
use secrecy::{ExposeSecret, SecretString};

use crate::lab::{self, Lab, Machine, cgroups, command, wait_until};

/// The argument that leaves out the one check of kubeadm's that a host with cgroup v1 fails; none on other hosts.
pub fn accept_cgroup_v1() -> Option<&'static str> {
    cgroups::has_v1().then_some("--ignore-preflight-errors=SystemVerification")
}

/// Makes a token and returns the line that joins a machine with it, once the token's signature is in cluster-info:
/// kubeadm waits for kube-controller-manager's signature, too, but not for long.
///
/// # Errors
/// When no token can be made, or nobody signs it.
pub fn join_line(lab: &Lab) -> Result<String, lab::Error> {
    let mut create = lab.control_plane_command(&lab.components().kubernetes.join("kubeadm"))?;
    create.args(["token", "create", "--print-join-command", "--kubeconfig=/etc/kubernetes/admin.conf"]);
    let line = command::run(&mut create)?.stdout;
    let token = line.split_whitespace().skip_while(|word| *word != "--token").nth(1).unwrap_or_default();
    let key = format!("{JWS_KEY_PREFIX}{}:", token.split('.').next().unwrap_or_default());
    wait_until("the token's signature", Duration::from_mins(1), || {
        let arguments = ["get", "configmap", "cluster-info", "--namespace=kube-public", "--output=yaml"];
        let map = lab.kubectl_output(&arguments).map_err(|failure| failure.to_string())?;
        if map.contains(&key) { Ok(()) } else { Err(format!("no {key}")) }
    })?;
    Ok(line)
}

/// Joins a machine. kubeadm is done when the kubelet answers, which can be before it has registered the Node.
///
/// # Errors
/// When kubeadm fails.
pub fn join(lab: &Lab, machine: &Machine<'_>) -> Result<(), lab::Error> {
    let line = join_line(lab)?;
    let words: Vec<&str> = line.split_whitespace().chain(accept_cgroup_v1()).collect();
    machine.run(&words).map(drop)
}

/// Joins a machine of [`Lab::add_control_plane_machine`] as an additional control plane, with the key of
/// [`Lab::upload_certificates`]; the lab needs the stub of [`Lab::add_etcd_pod_stub`]. kubeadm is done when the machine's
/// etcd has a vote, its Node is marked and its three other components say that they are healthy.
///
/// # Errors
/// When kubeadm fails.
pub fn join_control_plane(lab: &Lab, machine: &Machine<'_>, key: &SecretString) -> Result<(), lab::Error> {
    let line = join_line(lab)?;
    let control_plane = ["--control-plane", "--certificate-key", key.expose_secret()];
    let words: Vec<&str> = line.split_whitespace().chain(accept_cgroup_v1()).chain(control_plane).collect();
    machine.run(&words).map(drop)
}

/// Joins a machine as a cluster without join-operator does, and waits until pods can run on it.
///
/// # Errors
/// When kubeadm fails, or the node does not become Ready.
pub fn join_first_node(lab: &Lab, machine: &Machine<'_>) -> Result<(), lab::Error> {
    join(lab, machine)?;
    let node = format!("node/{}", machine.name());
    for state in ["create", "condition=Ready"] {
        lab.kubectl_output(&["wait", &format!("--for={state}"), &node, "--timeout=60s"])?;
    }
    Ok(())
}
