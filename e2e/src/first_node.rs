//! What a cluster has before join-operator: a node that stock kubeadm joined.

use crate::lab::command;
use crate::lab::{self, Lab, Machine};

/// The one check of kubeadm's that a host with cgroup v1 fails.
const CGROUP_V1: &str = "--ignore-preflight-errors=SystemVerification";

/// Joins a machine as a cluster without join-operator does, and waits until pods can run on it.
///
/// # Errors
/// When kubeadm fails, or the node does not become Ready.
pub fn join(lab: &Lab, machine: &Machine<'_>) -> Result<(), lab::Error> {
    let mut create = lab.control_plane_command(&lab.components().kubernetes.join("kubeadm"))?;
    create.args(["token", "create", "--print-join-command", "--kubeconfig=/etc/kubernetes/admin.conf"]);
    let line = command::run(&mut create)?.stdout;
    let words: Vec<&str> = line.split_whitespace().chain([CGROUP_V1]).collect();
    machine.run(&words)?;
    let node = format!("node/{}", machine.name());
    // kubeadm is done when the kubelet answers, which can be before it has registered the Node.
    for state in ["create", "condition=Ready"] {
        lab.kubectl_output(&["wait", &format!("--for={state}"), &node, "--timeout=60s"])?;
    }
    Ok(())
}
