//! Killed at any instant: each half goes on where it was.

use std::time::Duration;

use join_crds::{ConditionType, Reason};
use join_e2e::lab::wait_until;
use libtest_mimic::Failed;

use join_e2e::suite::joining::{CONTROLLER, Suite, condition_of};

/// More writes than any join needs; a join that has not converged by then never will.
const MOST_WRITES: u32 = 60;

/// A controller that is killed after each single write, and started again, ends where an undisturbed one ends: with
/// one token and one certificate.
pub fn controller_after_each_write(suite: &Suite) -> Result<(), Failed> {
    let name = "crash-1";
    let operator = suite.operator();
    let before = audit_lines(suite)?.len();
    suite.lab().kill_process(CONTROLLER)?;
    let machine = suite.machine(name)?;
    suite.announcement(name)?;
    suite.request(
        name,
        &serde_json::json!({
            "role": "Worker", "machine": {"trust": "FirstUse"}, "addresses": [machine.address()],
            "nodeRegistration": {"labels": {"node-role.kubernetes.io/edge": ""}},
        }),
    )?;
    let mut kills = 0;
    while !is_joined(suite, name)? {
        kills += 1;
        assert!(kills < MOST_WRITES, "not joined after {kills} kills");
        operator.start_controller(CONTROLLER, &["--crash-after-writes=1"])?;
        wait_until("the controller to crash or the join to end", Duration::from_mins(1), || {
            if suite.lab().process_id(CONTROLLER).is_err() || is_joined(suite, name).unwrap_or(false) {
                Ok(())
            } else {
                Err(format!("running; the request: {:?}", suite.block_on(suite.requests_api().get(name))))
            }
        })?;
    }
    println!("converged after {kills} kills");
    assert!(kills > 5, "only {kills} writes were interrupted: the switch does not work");
    if suite.lab().process_id(CONTROLLER).is_ok() {
        suite.lab().kill_process(CONTROLLER)?;
    }
    operator.start_controller(CONTROLLER, &[])?;
    suite.wait_until_joined(name)?;
    suite.wait_for(name, ConditionType::CredentialIssued, "True", Reason::TokenRemoved)?;

    let tokens = created(suite, before, "secrets", "bootstrap-token-")?;
    assert_eq!(tokens.len(), 1, "tokens: {tokens:?}");
    let requests = created(suite, before, "certificatesigningrequests", "nodejoin-client-")?;
    assert_eq!(requests.len(), 1, "client certificate requests: {requests:?}");
    assert_eq!(suite.join_tokens()?, Vec::<String>::new());
    Ok(())
}

/// Two replicas: one works, and when it is killed the other one takes over where it was.
pub fn another_replica_takes_over(suite: &Suite) -> Result<(), Failed> {
    let (name, other) = ("replicas-1", "controller-2");
    let operator = suite.operator();
    // Both run in one network namespace here, so the second one serves its probes elsewhere.
    operator.start_controller(other, &["--health-address=127.0.0.1:0", "--metrics-address=127.0.0.1:0"])?;
    let machine = suite.machine(name)?;
    suite.announcement(machine.name())?;
    let before = audit_lines(suite)?.len();
    suite.request(name, &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    suite.wait_for(name, ConditionType::CredentialIssued, "True", Reason::TokenIssued)?;
    suite.lab().kill_process(CONTROLLER)?;
    suite.wait_until_joined(name)?;
    suite.wait_for(name, ConditionType::CredentialIssued, "True", Reason::TokenRemoved)?;
    let tokens = created(suite, before, "secrets", "bootstrap-token-")?;
    assert_eq!(tokens.len(), 1, "tokens: {tokens:?}");
    // The first one comes back as a standby, and leads again when the other one goes in good order.
    operator.start_controller(CONTROLLER, &[])?;
    suite.lab().kill_process(other)?;
    Ok(())
}

/// The API server goes away and comes back: every watch of controller and agent breaks, and both go on by themselves.
pub fn an_api_server_that_restarts_is_survived(suite: &Suite) -> Result<(), Failed> {
    let name = "outage-1";
    let machine = suite.machine(name)?;
    suite.announcement(name)?;
    let api_server = "kube-apiserver";
    suite.lab().kill_process(api_server)?;
    suite.lab().start_process(api_server, &[])?;
    suite.lab().wait_for_api_server()?;
    // An API server that says it is ready may still answer "storage is (re)initializing" for custom resources.
    wait_until("requests to be listed again", Duration::from_secs(30), || {
        suite.lab().kubectl_output(&["get", "njr"]).map(drop).map_err(|failure| failure.to_string())
    })?;
    suite.request(name, &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    suite.wait_until_joined(name)?;
    assert!(suite.lab().process_id(CONTROLLER).is_ok(), "the controller ended");
    let restarts = machine.run(&["systemctl", "show", "--property=NRestarts", "--value", "join-agent.service"])?;
    assert_eq!(restarts.stdout.trim(), "0", "the agent was restarted");
    Ok(())
}

fn is_joined(suite: &Suite, name: &str) -> Result<bool, Failed> {
    let request = suite.block_on(suite.requests_api().get(name))?;
    let ready = condition_of(&request, ConditionType::Ready).is_some_and(|(status, _)| status == "True");
    let removed = condition_of(&request, ConditionType::CredentialIssued)
        .is_some_and(|(_, reason)| reason == Reason::TokenRemoved.as_str());
    Ok(ready && removed)
}

/// The names of the objects that were created since, with the audit log as the witness: what the API server answered
/// with 201.
fn created(suite: &Suite, since: usize, resource: &str, prefix: &str) -> Result<Vec<String>, Failed> {
    let lines = audit_lines(suite)?;
    let events = lines[since..].iter().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    Ok(events
        .filter(|event| event["verb"] == "create" && event["responseStatus"]["code"] == 201)
        .filter(|event| event["objectRef"]["resource"] == resource)
        .filter_map(|event| event["objectRef"]["name"].as_str().map(str::to_owned))
        .filter(|name| name.starts_with(prefix))
        .collect())
}

fn audit_lines(suite: &Suite) -> Result<Vec<String>, Failed> {
    let log = suite.lab().layout().control_plane_etc().join("audit.log");
    Ok(std::fs::read_to_string(log)?.lines().map(str::to_owned).collect())
}

/// An agent that is killed at each stage of the join, and started again by systemd, ends where an undisturbed one ends.
pub fn agent_at_each_stage(suite: &Suite) -> Result<(), Failed> {
    let name = "crash-2";
    let machine = suite.bare_machine(name)?;
    let before = audit_lines(suite)?.len();
    suite.operator().install_agent(&machine, suite.enrollment())?;
    suite.announcement(name)?;
    let kill = || machine.run(&["systemctl", "kill", "--signal=KILL", "join-agent.service"]).map(drop);
    kill()?;
    suite.request(name, &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    // What appears on the machine, or of it in the cluster, in the order of a join.
    let asked = || {
        let lines = audit_lines(suite).unwrap_or_default();
        lines[before..].iter().any(|line| line.contains("nodejoin-client-") && line.contains("\"verb\":\"create\""))
    };
    let exists = |path: &str| machine.path(path).is_ok_and(|path| path.symlink_metadata().is_ok());
    let stages: [(&str, &dyn Fn() -> bool); 4] = [
        ("the certificate request", &asked),
        ("the certificate", &|| exists("/var/lib/kubelet/pki/kubelet-client-current.pem")),
        ("the membership", &|| exists("/var/lib/join-agent/membership.json")),
        ("the kubeconfig", &|| exists("/etc/kubernetes/kubelet.conf")),
    ];
    for (what, is_there) in stages {
        wait_until(what, Duration::from_mins(1), || if is_there() { Ok(()) } else { Err("not there".to_owned()) })?;
        kill()?;
    }
    suite.wait_until_joined(name)?;
    suite.wait_for(name, ConditionType::CredentialIssued, "True", Reason::TokenRemoved)?;
    let announcements = created(suite, before, "certificatesigningrequests", "nodejoin-machine-crash-2-")?;
    assert_eq!(announcements.len(), 1, "the machine had several identities: {announcements:?}");
    let requests = created(suite, before, "certificatesigningrequests", "nodejoin-client-")?;
    assert_eq!(requests.len(), 1, "client certificate requests: {requests:?}");
    let tokens = created(suite, before, "secrets", "bootstrap-token-")?;
    assert_eq!(tokens.len(), 1, "tokens: {tokens:?}");
    Ok(())
}

/// An agent that is killed after each single write to the machine, and started again by systemd, ends where an undisturbed
/// one ends: it goes on by its journal.
pub fn agent_after_each_write(suite: &Suite) -> Result<(), Failed> {
    let name = "crash-3";
    let machine = suite.bare_machine(name)?;
    let before = audit_lines(suite)?.len();
    suite.operator().prepare_agent(&machine, &join_e2e::operator::agent_configuration(name, suite.enrollment()))?;
    let drop_in = machine.path("/etc/systemd/system/join-agent.service.d/crash.conf")?;
    std::fs::create_dir_all(drop_in.parent().unwrap_or(&drop_in))?;
    std::fs::write(&drop_in, "[Service]\nEnvironment=JOIN_AGENT_CRASH_AFTER_WRITES=1\nRestartSec=100ms\n")?;
    machine.run(&["systemctl", "daemon-reload"])?;
    suite.request(name, &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    machine.run(&["systemctl", "start", "join-agent.service"])?;
    suite.wait_until_joined(name)?;
    suite.wait_for(name, ConditionType::CredentialIssued, "True", Reason::TokenRemoved)?;
    wait_until("the agent to be the node's", Duration::from_mins(1), || {
        let said = suite.operator().agent_status(&machine);
        if said.contains("Joined") { Ok(()) } else { Err(said) }
    })?;
    let restarts = machine.run(&["systemctl", "show", "--property=NRestarts", "--value", "join-agent.service"])?;
    let kills: u32 = restarts.stdout.trim().parse()?;
    println!("converged after {kills} kills");
    assert!(kills > 8, "only {kills} writes were interrupted: the switch does not work");

    let announcements = created(suite, before, "certificatesigningrequests", "nodejoin-machine-crash-3-")?;
    assert_eq!(announcements.len(), 1, "the machine had several identities: {announcements:?}");
    let requests = created(suite, before, "certificatesigningrequests", "nodejoin-client-")?;
    assert_eq!(requests.len(), 1, "client certificate requests: {requests:?}");
    let tokens = created(suite, before, "secrets", "bootstrap-token-")?;
    assert_eq!(tokens.len(), 1, "tokens: {tokens:?}");
    let staged = ["find", "/etc/kubernetes", "/var/lib/kubelet", "/var/lib/join-agent", "-name", ".*.join-agent"];
    assert_eq!(machine.run(&staged)?.stdout, "", "writes that were interrupted left something");
    let pems = ["find", "/var/lib/kubelet/pki", "-name", "kubelet-client-2*.pem"];
    assert_eq!(machine.run(&pems)?.stdout.lines().count(), 1, "the certificate was written more than once");
    Ok(())
}
