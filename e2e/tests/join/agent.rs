//! What the agent makes of a request that goes away under its hands, and of a machine that starts anew.

use std::time::Duration;

use join_e2e::lab::{Machine, wait_until};
use kube::api::DeleteParams;
use libtest_mimic::Failed;

use join_e2e::suite::joining::Suite;

const PATIENCE: Duration = Duration::from_mins(1);

/// A request that is deleted while its certificate is waited for leaves nothing on the machine; the next one is carried
/// out with the same key.
pub fn a_withdrawn_request_leaves_nothing(suite: &Suite) -> Result<(), Failed> {
    let kcm = "kube-controller-manager";
    let machine = suite.machine("withdrawn-1")?;
    suite.announcement(machine.name())?;
    // Nobody signs now.
    suite.lab().kill_process(kcm)?;
    let outcome = withdraw(suite, &machine);
    suite.lab().start_process(kcm, &[])?;
    outcome?;
    suite.request(machine.name(), &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    suite.wait_until_joined(machine.name())?;
    Ok(())
}

fn withdraw(suite: &Suite, machine: &Machine<'_>) -> Result<(), Failed> {
    let name = machine.name();
    suite.request(name, &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    until_the_agent_says(suite, machine, "waiting for certificate request nodejoin-client-")?;
    suite.block_on(suite.requests_api().delete(name, &DeleteParams::default()))?;
    until_the_agent_says(suite, machine, &format!("waiting for somebody to create the NodeJoinRequest {name}"))?;
    wait_until("the request to be gone", PATIENCE, || match suite.block_on(suite.requests_api().get_opt(name)) {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    for path in ["/etc/kubernetes/kubelet.conf", "/etc/kubernetes/pki/ca.crt", "/var/lib/kubelet/config.yaml"] {
        assert!(!machine.path(path)?.exists(), "{path} was written");
    }
    Ok(())
}

/// A machine that starts anew is the node again, although nothing but the agent starts its kubelet.
pub fn a_reboot_is_survived(suite: &Suite) -> Result<(), Failed> {
    let machine = suite.machine("reboot-1")?;
    suite.request(machine.name(), &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    suite.wait_until_joined(machine.name())?;
    machine.reboot()?;
    // The lab's target wants neither the agent nor the kubelet.
    machine.run(&["systemctl", "start", "join-agent.service"])?;
    wait_until("the kubelet to run", PATIENCE, || {
        machine.run(&["systemctl", "is-active", "kubelet.service"]).map(drop).map_err(|failure| failure.to_string())
    })?;
    until_the_agent_says(suite, &machine, "this machine is the node reboot-1")
}

fn until_the_agent_says(suite: &Suite, machine: &Machine<'_>, expected: &str) -> Result<(), Failed> {
    wait_until(&format!("the agent to say {expected:?}"), PATIENCE, || {
        let said = suite.operator().agent_status(machine);
        if said.contains(expected) { Ok(()) } else { Err(said) }
    })?;
    Ok(())
}
