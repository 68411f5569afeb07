//! Input that people get wrong, and other ways to find the cluster.

use std::os::unix::fs::PermissionsExt;

use join_crds::vocabulary::CLUSTER_INFO_ROLE;
use join_crds::{ConditionType, Reason};
use join_e2e::lab::layout::{API_PORT, CONTROL_PLANE};
use libtest_mimic::Failed;

use join_e2e::suite::joining::Suite;

/// Each mistake is refused by the API server itself, with the field and the rule in its message.
pub fn bad_requests_are_refused_with_the_field(suite: &Suite) -> Result<(), Failed> {
    let good = serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}});
    let with = |pointer: &str, value: serde_json::Value| {
        let mut spec = good.clone();
        spec[pointer] = value;
        spec
    };
    let registration =
        |field: &str, value: serde_json::Value| with("nodeRegistration", serde_json::json!({field: value}));
    let taint = serde_json::json!([{"key": "a key", "effect": "NoSchedule"}]);
    let effect = serde_json::json!([{"key": "key", "effect": "Sometimes"}]);
    let flag = serde_json::json!([{"name": "kubeconfig", "value": "/tmp/x"}]);
    let long = "a".repeat(254);
    for (name, spec, field) in [
        ("Upper-Case", good.clone(), "metadata.name"),
        (long.as_str(), good.clone(), "metadata.name"),
        ("bad", with("role", serde_json::json!("Master")), "spec.role"),
        ("bad", with("machine", serde_json::json!({"publicKeyHash": "sha256:12"})), "publicKeyHash"),
        ("bad", with("machine", serde_json::json!({})), "machine"),
        ("bad", with("addresses", serde_json::json!(["127.0.0.1"])), "addresses"),
        ("bad", with("addresses", serde_json::json!(["not an address"])), "addresses"),
        ("bad", with("tokenTTLSeconds", serde_json::json!(10)), "tokenTTLSeconds"),
        ("bad", with("replacesNodeUID", serde_json::json!("0b5c3f6e-4d1a-4c55-9c3e-2f1f6a1f7a10")), "replacesNodeUID"),
        ("bad", registration("taints", taint), "taints"),
        ("bad", registration("taints", effect), "taints"),
        ("bad", registration("kubeletExtraArgs", flag), "kubeletExtraArgs"),
    ] {
        let request = serde_json::json!({
            "apiVersion": "nodejoin.dev/v1alpha1", "kind": "NodeJoinRequest", "metadata": {"name": name}, "spec": spec,
        });
        let file = suite.lab().layout().folder().join("bad-request.json");
        std::fs::write(&file, request.to_string())?;
        let path = file.display().to_string();
        let outcome = suite.operator().kubectl(&["create", "--dry-run=server", "--filename", &path]);
        let said = outcome.err().ok_or_else(|| format!("accepted: {request}"))?.to_string();
        assert!(said.contains(field), "{field:?} is not named for {request}: {said}");
    }
    Ok(())
}

/// A kubeconfig that was brought to the machine takes the place of token and pins, and of reading cluster-info anonymously.
pub fn a_machine_finds_the_cluster_by_a_file(suite: &Suite) -> Result<(), Failed> {
    let of_strangers = [CLUSTER_INFO_ROLE, "--namespace=kube-public"];
    suite.operator().kubectl(&[&["delete", "rolebinding"], &of_strangers[..]].concat())?;
    let outcome = find_by_a_file(suite);
    let role = format!("--role={CLUSTER_INFO_ROLE}");
    let again = ["create", "rolebinding", &role, "--user=system:anonymous"];
    suite.operator().kubectl(&[&again[..], &of_strangers].concat())?;
    outcome
}

fn find_by_a_file(suite: &Suite) -> Result<(), Failed> {
    let machine = suite.bare_machine("by-file-1")?;
    let kubeconfig = suite.lab().layout().folder().join("discovery.conf");
    suite.lab().write_kubeconfig(&kubeconfig, &suite.enrollment().token())?;
    std::fs::create_dir_all(machine.path("/etc/join-agent")?)?;
    let place = machine.path("/etc/join-agent/discovery.conf")?;
    std::fs::copy(&kubeconfig, &place)?;
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o600))?;
    let configuration = serde_json::json!({
        "apiVersion": "agent.nodejoin.dev/v1alpha1", "kind": "AgentConfiguration",
        "discovery": {"file": {"kubeConfigPath": "/etc/join-agent/discovery.conf"}},
    });
    suite.operator().prepare_agent(&machine, &configuration.to_string())?;
    machine.run(&["systemctl", "start", "join-agent.service"])?;
    suite.request(machine.name(), &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    suite.wait_until_joined(machine.name())?;
    Ok(())
}

/// `kubeadm join --discovery-file FILE --tls-bootstrap-token TOKEN`: the file is what cluster-info has, and says nothing of
/// who asks.
pub fn a_machine_joins_by_a_file_without_a_user_and_a_token(suite: &Suite) -> Result<(), Failed> {
    let machine = suite.bare_machine("by-file-2")?;
    let output = "--output=jsonpath={.data.kubeconfig}";
    let kubeconfig =
        suite.operator().kubectl(&["get", "configmap", "--namespace=kube-public", "cluster-info", output])?;
    assert!(kubeconfig.contains("users: null"), "somebody is named: {kubeconfig}");
    std::fs::create_dir_all(machine.path("/etc/join-agent")?)?;
    let place = machine.path("/etc/join-agent/discovery.conf")?;
    std::fs::write(&place, kubeconfig)?;
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o600))?;
    let configuration = serde_json::json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "JoinConfiguration",
        "discovery": {
            "file": {"kubeConfigPath": "/etc/join-agent/discovery.conf"},
            "tlsBootstrapToken": suite.enrollment().token(),
        },
    });
    suite.operator().prepare_agent(&machine, &configuration.to_string())?;
    machine.run(&["systemctl", "start", "join-agent.service"])?;
    suite.request(machine.name(), &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    suite.wait_until_joined(machine.name())?;
    Ok(())
}

/// An API server whose certificate authority is not the pinned one is refused, and the agent says what to compare.
pub fn another_certificate_authority_is_refused(suite: &Suite) -> Result<(), Failed> {
    let machine = suite.bare_machine("other-ca-1")?;
    let configuration = serde_json::json!({
        "apiVersion": "agent.nodejoin.dev/v1alpha1", "kind": "AgentConfiguration",
        "discovery": {"bootstrapToken": {
            "apiServerEndpoint": format!("{CONTROL_PLANE}:{API_PORT}"),
            "token": suite.enrollment().token(),
            "caCertHashes": [format!("sha256:{}", "0".repeat(64))],
        }},
    });
    suite.operator().prepare_agent(&machine, &configuration.to_string())?;
    machine.run(&["systemctl", "start", "join-agent.service"])?;
    join_e2e::lab::wait_until("the agent to refuse", std::time::Duration::from_mins(1), || {
        let said = suite.operator().agent_status(&machine);
        if said.contains("Failed") && said.contains("pinned") { Ok(()) } else { Err(said) }
    })?;
    let said = suite.operator().agent_status(&machine);
    assert!(!said.contains(suite.enrollment().token().split('.').nth(1).unwrap_or("?")), "a secret is in: {said}");
    Ok(())
}

/// A check of the machine that fails stands in the request with its remedy, nothing has been changed on the machine, and
/// once it is mended the join goes on by itself.
pub fn a_failed_check_is_shown_and_the_join_goes_on_once_mended(suite: &Suite) -> Result<(), Failed> {
    let machine = suite.bare_machine("mended-1")?;
    let leftover = machine.path("/var/lib/kubelet/pki/kubelet-client-current.pem")?;
    std::fs::create_dir_all(leftover.parent().ok_or("no folder")?)?;
    std::fs::write(&leftover, "left by an earlier cluster")?;
    suite.operator().install_agent(&machine, suite.enrollment())?;
    suite.request(machine.name(), &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    let request = suite.wait_for(machine.name(), ConditionType::Ready, "False", Reason::PreflightFailed)?;
    let agent = request.status.and_then(|status| status.agent).ok_or("no status.agent")?;
    let said = agent.message.unwrap_or_default();
    assert!(said.contains("kubelet-client-current.pem") && said.contains("kubeadm reset"), "{said}");
    assert!(!machine.path("/etc/kubernetes/kubelet.conf")?.exists());
    assert!(!machine.path("/etc/kubernetes/pki/ca.crt")?.exists());
    assert!(!machine.path("/var/lib/kubelet/config.yaml")?.exists());

    std::fs::remove_file(&leftover)?;
    suite.wait_until_joined(machine.name())?;
    Ok(())
}
