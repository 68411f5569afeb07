//! Requests and certificate requests that wait, are denied, change or end, and names that others have.

use std::time::{Duration, Instant};

use join_crds::vocabulary::{SIGNER_KUBELET_CLIENT, client_csr_name, join_command_secret_name};
use join_crds::{ConditionType, NodeJoinRequest, Reason};
use join_e2e::lab::{Machine, wait_until};
use join_e2e::operator::{NAMESPACE, agent_configuration};
use join_e2e::suite::csr;
use join_e2e::suite::joining::{CONTROLLER, Suite};
use join_trust::machine_key::MachineKey;
use join_trust::names::NodeName;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{Node, Secret};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use libtest_mimic::Failed;
use serde_json::{Value, json};

use super::everywhere::{self, Failure};

const KCM: &str = "kube-controller-manager";
const AGENT: &str = "join-agent.service";

fn first_use() -> Value {
    json!({"role": "Worker", "machine": {"trust": "FirstUse"}})
}

/// Keeps a machine from asking for its certificate, or no longer does.
fn forward(machine: &Machine<'_>, forwards: bool) -> Result<(), Failed> {
    machine.run(&["sysctl", "-w", &format!("net.ipv4.ip_forward={}", u8::from(forwards))])?;
    Ok(())
}

fn delete_request(suite: &Suite, name: &str) -> Result<(), Failed> {
    suite.block_on(suite.requests_api().delete(name, &DeleteParams::default()))?;
    Ok(())
}

fn wait_until_gone(suite: &Suite, name: &str) -> Result<(), Failed> {
    Ok(wait_until("the request to be gone", Duration::from_mins(1), || {
        match suite.block_on(suite.requests_api().get_opt(name)) {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })?)
}

/// The certificate request that a machine makes with its token.
fn client_request(suite: &Suite, name: &str) -> Result<String, Failed> {
    let request = suite.block_on(suite.requests_api().get(name))?;
    let token = request.status.and_then(|status| status.credential).ok_or("no credential")?.token_id;
    Ok(client_csr_name(&token))
}

/// Without a request, then without a controller, then denied by an administrator while nobody looks.
pub fn what_nobody_but_the_machine_can_tell_is_told_by_the_machine(suite: &Suite) -> Result<(), Failed> {
    let machine = suite.bare_machine("silent-1")?;
    let name = machine.name();
    forward(&machine, false)?;
    let began = Instant::now();
    suite.operator().install_agent(&machine, suite.enrollment())?;
    let alone = |seen, names: &'static [&'static str]| Failure {
        seen,
        condition: None,
        machine: Some(&machine),
        event: None,
        names,
    };
    let absent = alone("there is no request", &["create the NodeJoinRequest silent-1"]);
    everywhere::find(suite, name, began, &absent)?;
    // Nobody's fault, and so no warning.
    let journal = machine.journal(AGENT)?;
    let told = journal.lines().find(|line| line.contains("reason=RequestAbsent")).unwrap_or_default();
    assert!(told.contains(" INFO ") && !told.contains(" WARN "), "{told}");
    suite.request(name, &first_use())?;
    suite.wait_for(name, ConditionType::Ready, "False", Reason::PreflightFailed)?;

    suite.lab().kill_process(CONTROLLER)?;
    let silent = alone("the controller does not run", &["get pods", "8 s"]);
    let outcome = without_a_controller(suite, &machine, &silent);
    let began = Instant::now();
    suite.operator().start_controller(CONTROLLER, &[])?;
    outcome?;
    let denied = Failure {
        seen: "a person denied the certificate request",
        condition: Some(ConditionType::ClientCertificateIssued),
        machine: Some(&machine),
        event: Some("Stalled"),
        names: &["nodejoin-client-", "KubectlDeny"],
    };
    everywhere::find(suite, name, began, &denied)
}

fn without_a_controller(suite: &Suite, machine: &Machine<'_>, silent: &Failure<'_>) -> Result<(), Failed> {
    let name = machine.name();
    forward(machine, true)?;
    let began = Instant::now();
    machine.run(&["systemctl", "restart", AGENT])?;
    everywhere::find(suite, name, began, silent)?;
    let shown = everywhere::njr_status(suite, name)?;
    assert!(shown.contains("ControllerSilent"), "{shown}");
    suite.operator().kubectl(&["certificate", "deny", &client_request(suite, name)?])?;
    Ok(())
}

/// A deletion that somebody holds up, and a deadline that passes.
pub fn a_request_that_is_deleted_or_late_says_so(suite: &Suite) -> Result<(), Failed> {
    let machine = suite.bare_machine("late-1")?;
    let name = machine.name();
    forward(&machine, false)?;
    suite.operator().install_agent(&machine, suite.enrollment())?;
    suite.request(name, &first_use())?;
    suite.wait_for(name, ConditionType::Ready, "False", Reason::PreflightFailed)?;
    let hold = |finalizers: Value| {
        let patch = Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
        suite.block_on(suite.requests_api().patch(name, &PatchParams::default(), &patch))
    };
    hold(json!(["example.com/hold"]))?;
    let began = Instant::now();
    delete_request(suite, name)?;
    let deleted = Failure {
        seen: "the request is being deleted",
        condition: None,
        machine: Some(&machine),
        event: None,
        names: &["the NodeJoinRequest late-1 is being deleted"],
    };
    let outcome = everywhere::find(suite, name, began, &deleted);
    hold(Value::Null)?;
    outcome?;
    wait_until_gone(suite, name)?;

    suite.request(name, &first_use())?;
    suite.wait_for(name, ConditionType::Ready, "False", Reason::PreflightFailed)?;
    // Two hours later, by the clock of the one who judges.
    suite.lab().kill_process(CONTROLLER)?;
    let began = Instant::now();
    suite.operator().restart_controller_later(CONTROLLER, "+2h")?;
    let late = Failure {
        seen: "the request's time has passed",
        condition: Some(ConditionType::Ready),
        machine: Some(&machine),
        event: Some("Stalled"),
        names: &["not Ready within 3600 s of the machine's appearance"],
    };
    let outcome = everywhere::find(suite, name, began, &late);
    suite.lab().kill_process(CONTROLLER)?;
    suite.operator().restart_controller(CONTROLLER, None)?;
    outcome
}

/// Waits for a rule, breaks one, is changed under way, deleted by somebody, and signed by nobody.
pub fn each_fate_of_a_certificate_request_has_its_reason(suite: &Suite) -> Result<(), Failed> {
    waits_for_a_rule(suite)?;
    breaks_a_rule(suite)?;
    suite.lab().kill_process(KCM)?;
    suite.lab().start_process(KCM, &["--controllers=*,bootstrapsigner,tokencleaner,-csrsigning"])?;
    let machine = suite.machine("fates-1")?;
    let outcome = without_a_signer(suite, &machine);
    suite.lab().kill_process(KCM)?;
    suite.lab().start_process(KCM, &[])?;
    outcome?;
    suite.wait_until_joined(machine.name())?;
    Ok(())
}

fn waits_for_a_rule(suite: &Suite) -> Result<(), Failed> {
    let machine = suite.bare_machine("waits-1")?;
    let name = machine.name();
    forward(&machine, false)?;
    suite.operator().install_agent(&machine, suite.enrollment())?;
    suite.request(name, &first_use())?;
    suite.wait_for(name, ConditionType::Ready, "False", Reason::PreflightFailed)?;
    // It has its token, and then somebody else has its name.
    let nodes: Api<Node> = Api::all(suite.client());
    let node: Node = serde_json::from_value(json!({"metadata": {"name": name}}))?;
    suite.block_on(nodes.create(&PostParams::default(), &node))?;
    forward(&machine, true)?;
    let began = Instant::now();
    machine.run(&["systemctl", "restart", AGENT])?;
    let waits = Failure {
        seen: "the certificate request waits for what a rule needs",
        condition: Some(ConditionType::ClientCertificateIssued),
        machine: Some(&machine),
        event: Some("CertificateRequestWaiting"),
        names: &["nodejoin-client-", "NodeAbsent"],
    };
    everywhere::find(suite, name, began, &waits)?;
    suite.block_on(nodes.delete(name, &DeleteParams::default()))?;
    suite.wait_until_joined(name)?;
    Ok(())
}

/// Whoever has the token that was made for one name asks for another one.
fn breaks_a_rule(suite: &Suite) -> Result<(), Failed> {
    let name = "rule-1";
    suite.request(name, &json!({"role": "Worker", "machine": {"trust": "FirstUse"}, "delivery": "Token"}))?;
    suite.wait_for(name, ConditionType::CredentialIssued, "True", Reason::TokenIssued)?;
    let secrets: Api<Secret> = Api::namespaced(suite.client(), NAMESPACE);
    let secret = suite.block_on(secrets.get(&join_command_secret_name(name)))?;
    let token = secret.data.unwrap_or_default().remove("token").ok_or("no token in the Secret")?;
    let holder = suite.client_with_token(&String::from_utf8(token.0)?)?;
    let request = MachineKey::generate()?.client_csr(&NodeName::parse("rule-2")?)?;
    let usages = ["digital signature", "client auth"];
    let object = csr("breaks-a-rule", SIGNER_KUBELET_CLIENT, &usages, request.into_bytes());
    let began = Instant::now();
    let csrs: Api<CertificateSigningRequest> = Api::all(holder);
    suite.block_on(csrs.create(&PostParams::default(), &object))?;
    let denied = Failure {
        seen: "the certificate request breaks a rule",
        condition: Some(ConditionType::ClientCertificateIssued),
        machine: None,
        event: Some("CertificateDenied"),
        names: &["breaks-a-rule", "TokenNode"],
    };
    everywhere::find(suite, name, began, &denied)
}

fn without_a_signer(suite: &Suite, machine: &Machine<'_>) -> Result<(), Failed> {
    let name = machine.name();
    let approved = Instant::now();
    suite.request(name, &first_use())?;
    let csrs: Api<CertificateSigningRequest> = Api::all(suite.client());
    let is_waiting = |request: &NodeJoinRequest| {
        let agent = request.status.as_ref().and_then(|status| status.agent.as_ref());
        agent.is_some_and(|agent| agent.step == join_crds::AgentStep::WaitingForCertificate)
    };
    suite.wait(&suite.requests_api(), name, "a machine that waits for its certificate", is_waiting)?;

    let began = Instant::now();
    let patch = Patch::Merge(json!({"spec": {"deadlineSeconds": 3601}}));
    suite.block_on(suite.requests_api().patch(name, &PatchParams::default(), &patch))?;
    let changed = Failure {
        seen: "the request was changed while it was carried out",
        condition: None,
        machine: Some(machine),
        event: Some("RequestChanged"),
        names: &["the request was changed"],
    };
    everywhere::find(suite, name, began, &changed)?;

    let unsigned = Failure {
        seen: "nobody signs the certificate",
        condition: Some(ConditionType::ClientCertificateIssued),
        machine: Some(machine),
        event: Some("SignerMissing"),
        names: &["csrsigning", "--cluster-signing-cert-file"],
    };
    everywhere::find(suite, name, approved, &unsigned)?;

    let asked = client_request(suite, name)?;
    let began = Instant::now();
    suite.block_on(csrs.delete(&asked, &DeleteParams::default()))?;
    let gone = Failure {
        seen: "somebody deleted the certificate request",
        condition: Some(ConditionType::ClientCertificateIssued),
        machine: Some(machine),
        event: Some("AgentFailed"),
        names: &[&asked, "was deleted"],
    };
    everywhere::find(suite, name, began, &gone)
}

/// Two machines of one name, and another machine than the one that was meant.
pub fn machines_that_claim_one_name_are_told(suite: &Suite) -> Result<(), Failed> {
    let machine = suite.machine("claimed-1")?;
    let name = machine.name();
    let other = suite.bare_machine("claimed-2")?;
    suite.operator().prepare_agent(&other, &agent_configuration(name, suite.enrollment()))?;
    other.run(&["systemctl", "start", AGENT])?;
    for one in [&machine, &other] {
        wait_until("the machine to be announced", Duration::from_mins(1), || {
            let said = suite.operator().agent_status(one);
            if said.contains("reason:   RequestAbsent") { Ok(()) } else { Err(said) }
        })?;
    }
    let began = Instant::now();
    suite.request(name, &first_use())?;
    let conflict = Failure {
        seen: "two machines have announced one name",
        condition: Some(ConditionType::MachineBound),
        machine: Some(&machine),
        event: Some("MachineRefused"),
        names: &["2 machines have announced themselves as claimed-1", "sha256:"],
    };
    everywhere::find(suite, name, began, &conflict)?;
    delete_request(suite, name)?;
    wait_until_gone(suite, name)?;

    let pinned = format!("sha256:{}", "0".repeat(64));
    let began = Instant::now();
    suite.request(name, &json!({"role": "Worker", "machine": {"publicKeyHash": pinned}}))?;
    let mismatch = Failure {
        seen: "another machine than the pinned one has announced the name",
        condition: Some(ConditionType::MachineBound),
        machine: Some(&machine),
        event: Some("MachineRefused"),
        names: &[&pinned],
    };
    everywhere::find(suite, name, began, &mismatch)?;
    assert_eq!(suite.join_tokens()?, Vec::<String>::new());
    Ok(())
}

/// A Node that has the name already is refused before any token is made, and the join goes on by itself once it is gone.
pub fn a_node_of_the_same_name_is_told(suite: &Suite) -> Result<(), Failed> {
    let machine = suite.machine("taken-1")?;
    let name = machine.name();
    let nodes: Api<Node> = Api::all(suite.client());
    let node: Node = serde_json::from_value(json!({"metadata": {"name": name}}))?;
    suite.block_on(nodes.create(&PostParams::default(), &node))?;
    let ready = json!([{
        "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
        "lastHeartbeatTime": k8s_openapi::jiff::Timestamp::now(),
    }]);
    let patch = Patch::Merge(json!({"status": {"conditions": ready}}));
    suite.block_on(nodes.patch_status(name, &PatchParams::default(), &patch))?;
    let began = Instant::now();
    suite.request(name, &first_use())?;
    let exists = Failure {
        seen: "a Ready Node has the name",
        condition: Some(ConditionType::Ready),
        machine: Some(&machine),
        event: Some("Stalled"),
        names: &["taken-1", "did not come from this request", "kubectl delete node taken-1"],
    };
    everywhere::find(suite, name, began, &exists)?;
    assert_eq!(suite.join_tokens()?, Vec::<String>::new());

    suite.block_on(nodes.delete(name, &DeleteParams::default()))?;
    suite.wait_until_joined(name)?;
    Ok(())
}
