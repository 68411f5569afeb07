//! Joins that succeed.

use join_crds::{ConditionType, Reason};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::PostParams;
use kube::runtime::conditions::is_pod_running;
use libtest_mimic::Failed;

use join_e2e::suite::joining::{Suite, condition_of};

pub fn request_after_the_machine(suite: &Suite) -> Result<(), Failed> {
    let machine = suite.machine("after-1")?;
    let announcement = suite.announcement(machine.name())?;
    suite.request(
        machine.name(),
        &serde_json::json!({
            "role": "Worker",
            "machine": {"publicKeyHash": announced_hash(&announcement)?},
            "addresses": [machine.address()],
            "nodeRegistration": {
                "labels": {"node-role.kubernetes.io/edge": "", "rack": "r7"},
                "taints": [{"key": "edge", "value": "yes", "effect": "PreferNoSchedule"}],
            },
        }),
    )?;
    let request = suite.wait_until_joined(machine.name())?;
    let status = request.status.clone().unwrap_or_default();
    assert_eq!(condition_of(&request, ConditionType::Stalled).map(|(status, _)| status).as_deref(), Some("False"));
    assert_eq!(status.observed_generation, request.metadata.generation);

    let node: Node = suite.block_on(Api::all(suite.client()).get(machine.name()))?;
    assert_eq!(status.node.map(|node| node.uid), node.metadata.uid);
    let node = suite.wait(&Api::all(suite.client()), machine.name(), "labels and taints", |node: &Node| {
        let labels = node.metadata.labels.clone().unwrap_or_default();
        let taints = node.spec.clone().unwrap_or_default().taints.unwrap_or_default();
        labels.contains_key("node-role.kubernetes.io/edge")
            && labels.get("rack").is_some_and(|rack| rack == "r7")
            && taints.iter().any(|taint| taint.key == "edge" && taint.effect == "PreferNoSchedule")
    })?;
    assert_eq!(node.metadata.name.as_deref(), Some(machine.name()));

    // The credential ends with the join, and the kubelet's serving certificate is issued without anybody's approval.
    suite.wait_for(machine.name(), ConditionType::ServingCertificateIssued, "True", Reason::CertificateIssued)?;
    suite.wait_for(machine.name(), ConditionType::CredentialIssued, "True", Reason::TokenRemoved)?;
    assert_eq!(suite.join_tokens()?, Vec::<String>::new());

    let log = machine.journal("join-agent.service")?;
    assert!(!log.contains(Reason::ControllerSilent.as_str()), "a controller that answers is not silent: {log}");
    runs_a_pod(suite, machine.name())?;
    no_secret_is_left_on_the_machine(suite, machine.name())
}

pub fn request_before_the_machine(suite: &Suite) -> Result<(), Failed> {
    let name = "before-1";
    suite.request(name, &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    suite.wait_for(name, ConditionType::MachineBound, "False", Reason::WaitingForMachine)?;
    assert_eq!(suite.join_tokens()?, Vec::<String>::new(), "a token was minted for a machine that is not there");
    suite.machine(name)?;
    suite.wait_until_joined(name)?;
    Ok(())
}

/// kube-controller-manager's bootstrapsigner alone signs cluster-info, here because the controller may not: the bytes are
/// the same, so neither the controller nor the agent needs to know who wrote them.
pub fn only_bootstrapsigner_signs(suite: &Suite) -> Result<(), Failed> {
    let name = "kcm-signs-1";
    let may_patch = |verbs: &str| {
        let patch = format!(r#"[{{"op": "replace", "path": "/rules/0/verbs", "value": {verbs}}}]"#);
        let arguments = ["patch", "role", "nodejoin:controller", "--namespace=kube-public", "--type=json", "--patch"];
        suite.operator().kubectl(&[&arguments[..], &[&patch]].concat())
    };
    may_patch(r#"["get", "list", "watch"]"#)?;
    suite.machine(name)?;
    suite.request(name, &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    let outcome = suite.wait_until_joined(name);
    may_patch(r#"["get", "list", "watch", "patch"]"#)?;
    outcome.map(drop)
}

/// The pin of the announced key, which the administrator reads from the machine or from the announcement.
pub fn announced_hash(
    announcement: &k8s_openapi::api::certificates::v1::CertificateSigningRequest,
) -> Result<String, Failed> {
    let verified = join_trust::announcement::verify(&announcement.spec.request.0)?;
    Ok(verified.public_key_hash.to_string())
}

fn runs_a_pod(suite: &Suite, node: &str) -> Result<(), Failed> {
    let pods: Api<Pod> = Api::namespaced(suite.client(), "default");
    let pod: Pod = serde_json::from_value(serde_json::json!({
        "metadata": {"name": node},
        "spec": {"nodeName": node, "containers": [{
            "name": "pod", "image": join_e2e::lab::images::POD, "imagePullPolicy": "Never",
        }]},
    }))?;
    suite.block_on(pods.create(&PostParams::default(), &pod))?;
    suite.wait(&pods, node, "Running", |pod: &Pod| {
        kube::runtime::wait::Condition::matches_object(&is_pod_running(), Some(pod))
    })?;
    // The API server verifies nothing of the kubelet's serving certificate by default; that logs come back shows that
    // the kubelet serves at all.
    suite.operator().kubectl(&["logs", node])?;
    Ok(())
}

/// kubeadm's bootstrap-kubelet.conf holds a token in clear while it works; our agent never writes one.
fn no_secret_is_left_on_the_machine(suite: &Suite, name: &str) -> Result<(), Failed> {
    let machine = suite.lab().machine(name)?;
    assert!(!machine.path("/etc/kubernetes/bootstrap-kubelet.conf")?.exists());
    let loose = machine.run(&[
        "find",
        "/etc/join-agent",
        "/var/lib/join-agent",
        "/var/lib/kubelet/pki",
        "-type",
        "f",
        "-perm",
        "/077",
        "-not",
        "-name",
        "*.crt",
        "-not",
        "-name",
        "status.json",
    ])?;
    assert_eq!(loose.stdout, "", "readable by others");
    Ok(())
}
