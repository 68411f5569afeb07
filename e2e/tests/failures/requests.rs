//! Requests and certificate requests that wait, are denied, or meet a Node of the same name.

use join_crds::{ConditionType, Reason};
use join_e2e::suite::joining::{CONTROLLER, Suite};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use libtest_mimic::Failed;

use super::everywhere::{self, Failure};

/// Without a request, then without a controller, then denied by an administrator while nobody looks.
pub fn what_nobody_but_the_machine_can_tell_is_told_by_the_machine(suite: &Suite) -> Result<(), Failed> {
    let machine = suite.bare_machine("silent-1")?;
    let name = machine.name();
    machine.run(&["sysctl", "-w", "net.ipv4.ip_forward=0"])?;
    suite.operator().install_agent(&machine, suite.enrollment())?;
    let alone = |reason, names: &'static [&'static str]| Failure {
        reason,
        condition: None,
        on_machine: true,
        event: None,
        names,
    };
    everywhere::find(suite, &machine, &alone(Reason::RequestAbsent, &["create the NodeJoinRequest silent-1"]))?;
    suite.request(name, &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    suite.wait_for(name, ConditionType::Ready, "False", Reason::PreflightFailed)?;

    suite.lab().kill_process(CONTROLLER)?;
    let outcome = without_a_controller(suite, &machine, &alone(Reason::ControllerSilent, &["get pods", "8 s"]));
    suite.operator().start_controller(CONTROLLER, &[])?;
    outcome?;
    let denied = Failure {
        reason: Reason::CertificateRequestDenied,
        condition: Some(ConditionType::ClientCertificateIssued),
        on_machine: true,
        event: Some("Stalled"),
        names: &["nodejoin-client-", "KubectlDeny"],
    };
    everywhere::find(suite, &machine, &denied)
}

fn without_a_controller(
    suite: &Suite,
    machine: &join_e2e::lab::Machine<'_>,
    silent: &Failure<'_>,
) -> Result<(), Failed> {
    machine.run(&["sysctl", "-w", "net.ipv4.ip_forward=1"])?;
    machine.run(&["systemctl", "restart", "join-agent.service"])?;
    everywhere::find(suite, machine, silent)?;
    let shown = everywhere::njr_status(suite, machine.name())?;
    assert!(shown.contains("ControllerSilent"), "{shown}");
    let request = suite.block_on(suite.requests_api().get(machine.name()))?;
    let token = request.status.and_then(|status| status.credential).ok_or("no credential")?.token_id;
    let csr = join_crds::vocabulary::client_csr_name(&token);
    suite.operator().kubectl(&["certificate", "deny", &csr])?;
    Ok(())
}

/// A Node that has the name already is refused before any token is made, and the join goes on by itself once it is gone.
pub fn a_node_of_the_same_name_is_told(suite: &Suite) -> Result<(), Failed> {
    let machine = suite.machine("taken-1")?;
    let name = machine.name();
    let nodes: Api<Node> = Api::all(suite.client());
    let node: Node = serde_json::from_value(serde_json::json!({"metadata": {"name": name}}))?;
    suite.block_on(nodes.create(&PostParams::default(), &node))?;
    suite.request(name, &serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    let exists = Failure {
        reason: Reason::NodeAlreadyExists,
        condition: Some(ConditionType::Ready),
        on_machine: false,
        event: Some("Stalled"),
        names: &["taken-1", "did not come from this request"],
    };
    everywhere::find(suite, &machine, &exists)?;
    assert_eq!(suite.join_tokens()?, Vec::<String>::new());

    suite.block_on(nodes.delete(name, &DeleteParams::default()))?;
    suite.wait_until_joined(name)?;
    Ok(())
}
