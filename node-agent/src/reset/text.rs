//! What a reset says to a person.

use std::fmt::Write;

use join_checks::terminal::printable;

use super::plan::Plan;
use crate::journal::EtcdMember;

/// The plan, an action a line.
pub fn plan(plan: &Plan, all: bool) -> String {
    let mut text = String::new();
    let heading = if all {
        "Without regard to a journal, as `kubeadm reset` does on a worker, these are to be done:"
    } else {
        "To undo this machine's join, these are to be done:"
    };
    let _ = writeln!(text, "{heading}");
    for action in &plan.actions {
        let _ = writeln!(text, "  {}", printable(&action.to_string()));
    }
    for remark in &plan.remarks {
        let _ = writeln!(text, "  note: {}", printable(remark));
    }
    text
}

/// What a reset leaves, as far as it differs from machine to machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Left<'a> {
    /// The node, if it is known.
    pub node: Option<&'a str>,
    /// Whether the machine's keys go.
    pub forget_keys: bool,
    /// Whether the machine was a control plane.
    pub is_control_plane: bool,
    /// The member that stays in etcd.
    pub etcd_member: Option<&'a EtcdMember>,
}

/// What is left on purpose, and what to type for each.
pub fn left(of: &Left<'_>) -> String {
    let node = of.node.unwrap_or("NODE");
    let mut left = vec![
        ("the Node and its request in the cluster", format!("kubectl delete njr/{node} node/{node}")),
        ("the network of pods (CNI)", "rm -r /etc/cni/net.d /var/lib/cni".to_owned()),
        ("rules of kube-proxy", "nft delete table ip kube-proxy; nft delete table ip6 kube-proxy; or, for mode iptables: kube-proxy --cleanup".to_owned()),
        ("images", "crictl rmi --all".to_owned()),
        ("logs of pods", "rm -r /var/log/pods /var/log/containers".to_owned()),
        ("the agent, which starts again at the next boot", "systemctl disable join-agent; to join again: systemctl start join-agent".to_owned()),
        ("the enrollment token", "rm /etc/join-agent/config.yaml".to_owned()),
        ("the node's certificate, valid until it expires", "whoever copied it can use it until then; deleting the Node does not end it".to_owned()),
    ];
    if of.is_control_plane {
        left.push((
            "the API server's address, where control planes are found (a load balancer, DNS)",
            "take this machine out there".to_owned(),
        ));
        left.push((
            "the keys of the cluster's authorities, which were on this machine",
            "whoever copied them can make certificates until the authorities are replaced".to_owned(),
        ));
        left.push(("copies of the administrator's kubeconfig", "rm ~/.kube/config, for each user".to_owned()));
    }
    if let Some(member) = of.etcd_member {
        left.push((
            "this machine's member of etcd, which the others go on counting",
            format!(
                "on another control plane, `etcdctl member list`, then `etcdctl member remove ID` with the ID of {}",
                member.peer_url
            ),
        ));
    }
    if !of.forget_keys {
        left.push((
            "the machine's keys: it is the same machine to the cluster",
            "join-agent reset --forget-keys".to_owned(),
        ));
    }
    let mut text = "\nLeft on purpose:\n".to_owned();
    for (what, command) in left {
        let _ = writeln!(text, "  {what}: {command}");
    }
    text
}
