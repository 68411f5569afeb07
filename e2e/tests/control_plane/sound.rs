//! What a machine is that has become a control plane, whoever has joined it.

use std::path::Path;
use std::time::Duration;

use join_e2e::lab::layout::{API_PORT, CONTROL_PLANE};
use join_e2e::lab::{Lab, Machine, wait_until};
use join_e2e::snapshot::control_plane_files;
use k8s_openapi::api::core::v1::Node;
use libtest_mimic::Failed;

/// The machine.
pub const NAME: &str = "control-plane-2";
/// Where etcd has its data.
pub const ETCD_DATA: &str = "/var/lib/etcd";

/// Fails when something is missing of a control plane.
pub fn is_a_sound_control_plane(lab: &Lab, machine: &Machine<'_>) -> Result<(), Failed> {
    has_a_node_of_a_control_plane(lab)?;
    etcd_has_two_votes(lab, machine)?;
    serves_the_same_objects(lab, machine)?;
    runs_every_static_pod(lab)?;
    keeps_its_keys_to_root(machine)?;
    keeps_etcds_data_to_root(machine)
}

/// Every object of the cluster lies there, Secrets among them.
fn keeps_etcds_data_to_root(machine: &Machine<'_>) -> Result<(), Failed> {
    assert_eq!(mode_of(machine, ETCD_DATA)?.as_deref(), Some("40700"));
    Ok(())
}

/// Kind and mode of a path that belongs to root, in octal.
pub fn mode_of(machine: &Machine<'_>, path: &str) -> Result<Option<String>, Failed> {
    let files = control_plane_files(machine)?;
    let of_root = files.get(Path::new(path)).filter(|permissions| permissions.owner == (0, 0));
    Ok(of_root.map(|permissions| format!("{:o}", permissions.mode)))
}

fn has_a_node_of_a_control_plane(lab: &Lab) -> Result<(), Failed> {
    lab.kubectl_output(&["wait", "--for=condition=Ready", &format!("node/{NAME}"), "--timeout=60s"])?;
    let node: Node = serde_json::from_str(&lab.kubectl_output(&["get", "node", NAME, "--output=json"])?)?;
    let role = "node-role.kubernetes.io/control-plane";
    assert_eq!(node.metadata.labels.unwrap_or_default().get(role).map(String::as_str), Some(""));
    let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
    assert!(taints.iter().any(|taint| taint.key == role && taint.effect == "NoSchedule"), "taints: {taints:?}");
    Ok(())
}

fn etcd_has_two_votes(lab: &Lab, machine: &Machine<'_>) -> Result<(), Failed> {
    let members = lab.etcd_members(machine.address())?;
    let started: Vec<_> = members.iter().map(|member| (member.name.as_str(), member.is_learner)).collect();
    assert_eq!(started, [("control-plane", false), (NAME, false)]);
    assert_eq!(members[1].peer_urls, [format!("https://{}:2380", machine.address())]);
    assert_eq!(lab.etcd_members(CONTROL_PLANE)?, members, "the two members see different members");
    Ok(())
}

/// What is written through one API server is read through the other.
fn serves_the_same_objects(lab: &Lab, machine: &Machine<'_>) -> Result<(), Failed> {
    let server = format!("--server=https://{}:{API_PORT}", machine.address());
    wait_until("the API server of the machine to be ready", Duration::from_mins(1), || {
        let ready = lab.kubectl_output(&[&server, "get", "--raw", "/readyz"]);
        ready.map(drop).map_err(|failure| failure.to_string())
    })?;
    assert_eq!(lab.kubectl_output(&[&server, "get", "--raw", "/healthz/etcd"])?, "ok");
    let uid = "--output=jsonpath={.metadata.uid}";
    let made = lab.kubectl_output(&[&server, "create", "configmap", "made-through-the-second", uid])?;
    assert!(!made.is_empty(), "the object has no UID");
    assert_eq!(lab.kubectl_output(&["get", "configmap", "made-through-the-second", uid])?, made);
    Ok(())
}

/// The kubelet calls a static pod Ready when the probes that kubeadm wrote into its manifest have succeeded.
///
/// Each pod is waited for by itself: asked for several objects of which more than one is not there yet,
/// `kubectl wait --for=create` ends at once instead of waiting.
fn runs_every_static_pod(lab: &Lab) -> Result<(), Failed> {
    for pod in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        for state in ["create", "condition=Ready"] {
            let (state, pod) = (format!("--for={state}"), format!("pod/{pod}-{NAME}"));
            lab.kubectl_output(&["wait", &state, &pod, "--namespace=kube-system", "--timeout=180s"])?;
        }
    }
    Ok(())
}

fn keeps_its_keys_to_root(machine: &Machine<'_>) -> Result<(), Failed> {
    for secret in ["ca.key", "sa.key", "front-proxy-ca.key", "etcd/ca.key", "apiserver.key", "etcd/peer.key"] {
        assert_eq!(mode_of(machine, &format!("/etc/kubernetes/pki/{secret}"))?.as_deref(), Some("100600"), "{secret}");
    }
    for manifest in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        let path = format!("/etc/kubernetes/manifests/{manifest}.yaml");
        assert_eq!(mode_of(machine, &path)?.as_deref(), Some("100600"), "{manifest}");
    }
    Ok(())
}
