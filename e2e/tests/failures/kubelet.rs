//! A machine that has its certificate, and a kubelet that is not well; and a Node that is not as it was asked for.

use std::fs;
use std::time::Instant;

use join_crds::{ConditionType, Reason};
use join_e2e::suite::joining::Suite;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use libtest_mimic::Failed;

use super::everywhere::{self, Failure};

const NETWORK: &str = "/etc/cni/net.d/10-lab.conflist";
const DROP_IN: &str = "/etc/systemd/system/kubelet.service.d/99-broken.conf";

/// One join that meets them one after the other, and goes on by itself whenever one is mended: a kubelet that ends at once,
/// one that runs and does not answer, a Node without a network, and an address that was not asked for.
pub fn each_trouble_of_a_kubelet_is_told_until_it_is_mended(suite: &Suite) -> Result<(), Failed> {
    let machine = suite.bare_machine("kubelet-1")?;
    let name = machine.name();
    let (network, away) = (machine.path(NETWORK)?, machine.path("/root/10-lab.conflist")?);
    fs::rename(&network, &away)?;
    machine.run(&["systemctl", "restart", "containerd.service"])?;
    // The kubelet's own mistake, with something in it that must not be repeated.
    let token = "abcdef.0123456789abcdef";
    fs::write(machine.path("/etc/default/kubelet")?, format!("KUBELET_EXTRA_ARGS=--nonsense={token}\n"))?;
    suite.operator().install_agent(&machine, suite.enrollment())?;
    let spec = serde_json::json!({
        "role": "Worker", "machine": {"trust": "FirstUse"}, "addresses": ["192.0.2.99"],
    });
    suite.request(name, &spec)?;

    let of_kubelet = |seen: &'static str, event: &'static str, names: &'static [&'static str]| Failure {
        seen,
        condition: Some(ConditionType::NodeRegistered),
        machine: Some(&machine),
        event: Some(event),
        names,
    };
    // The agent and the rest of the join have their own time.
    suite.wait_for(name, ConditionType::ClientCertificateIssued, "True", Reason::CertificateIssued)?;
    let began = Instant::now();
    let names = &["kubelet.service ended", "unknown flag", "--nonsense"];
    let ends = of_kubelet("the kubelet ends again and again", "KubeletNotStarted", names);
    everywhere::find(suite, name, began, &ends)?;
    let request = suite.block_on(suite.requests_api().get(name))?;
    assert!(!serde_json::to_string(&request)?.contains(token), "the token is in the request");
    let said = suite.operator().agent_status(&machine);
    assert!(!said.contains(token), "{said}");

    fs::remove_file(machine.path("/etc/default/kubelet")?)?;
    fs::write(machine.path(DROP_IN)?, "[Service]\nExecStart=\nExecStart=/bin/sleep infinity\n")?;
    let began = Instant::now();
    restart_kubelet(&machine)?;
    let names = &["kubelet.service runs", "10248/healthz", "refused"];
    let unhealthy = of_kubelet("the kubelet runs and is not healthy", "KubeletUnhealthy", names);
    everywhere::find(suite, name, began, &unhealthy)?;

    fs::remove_file(machine.path(DROP_IN)?)?;
    restart_kubelet(&machine)?;
    suite.wait(&Api::<Node>::all(suite.client()), name, "there", |_| true)?;
    let began = Instant::now();
    let address = machine.address().to_string();
    let other_address = Failure {
        seen: "the Node has an address that was not asked for",
        condition: Some(ConditionType::NodeRegistered),
        machine: Some(&machine),
        event: Some("NodeAddressMismatch"),
        names: &[&address, "192.0.2.99", "node-ip"],
    };
    everywhere::find(suite, name, began, &other_address)?;
    let not_ready = Failure {
        seen: "the Node is not Ready, for example without a network plugin",
        condition: Some(ConditionType::Ready),
        machine: Some(&machine),
        event: Some("NodeNotReady"),
        names: &["KubeletNotReady", "NetworkPluginNotReady"],
    };
    everywhere::find(suite, name, began, &not_ready)?;

    fs::rename(&away, &network)?;
    machine.run(&["systemctl", "restart", "containerd.service"])?;
    suite.wait_until_joined(name)?;
    let said = suite.operator().agent_status(&machine);
    assert!(!said.contains("Kubelet"), "{said}");
    Ok(())
}

fn restart_kubelet(machine: &join_e2e::lab::Machine<'_>) -> Result<(), Failed> {
    machine.run(&["systemctl", "daemon-reload"])?;
    machine.run(&["systemctl", "restart", "kubelet.service"])?;
    Ok(())
}
