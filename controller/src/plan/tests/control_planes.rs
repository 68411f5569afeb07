//! Control planes: nothing is made without the key to the certificates that they share.

use join_crds::conditions;
use join_crds::spec::{CONTROL_PLANE_ROLE, EXCLUDE_FROM_LOAD_BALANCERS};
use join_crds::vocabulary::{ConditionType, Reason};
use rstest::rstest;
use serde_json::{Value, json};

use super::model::{Machine, Model, NODE};

fn asked() -> (Model, Machine) {
    let machine = Machine::new();
    let mut model = Model::new(&json!({
        "role": "ControlPlane",
        "machine": { "publicKeyHash": machine.pin() },
        "controlPlane": { "certificateKeySecret": "certificate-key" },
    }));
    model.announce(&machine);
    (model, machine)
}

#[test]
fn a_control_plane_joins_as_a_worker_does() {
    let (mut model, machine) = asked();
    assert_eq!(model.visit(), ["LookForCertificateKey", "Mint", "CreateToken", "Sign", "Seal"]);
    let uid = model.ask(&machine.key, NODE);
    model.visit();
    assert_eq!(model.approved, [uid]);
    model.register("node-uid");
    model.become_ready();
    model.visit();
    assert_eq!(model.summary(), (Reason::Joining, false));
    model.says(&json!({ "step": "Joined" }));
    model.visit();
    assert_eq!(model.summary(), (Reason::Joined, false));
    let node = model.node.as_ref().unwrap();
    assert_eq!(node.labels.keys().collect::<Vec<_>>(), [CONTROL_PLANE_ROLE, EXCLUDE_FROM_LOAD_BALANCERS]);
    assert_eq!(node.taints.iter().map(|taint| taint.key.as_str()).collect::<Vec<_>>(), [CONTROL_PLANE_ROLE]);
}

#[test]
fn no_token_is_made_without_a_certificate_key_and_one_that_comes_is_seen() {
    let (mut model, _) = asked();
    model.certificate_key = Err("Secret certificate-key does not exist".to_owned());
    assert_eq!(model.visit(), ["LookForCertificateKey"]);
    assert_eq!(model.summary(), (Reason::CertificateKeyMissing, false));
    assert!(model.tokens.is_empty());
    assert_eq!(model.observe(crate::plan::next_wake), 10);
    model.now += 9;
    model.certificate_key = Ok("hash".to_owned());
    assert_eq!(model.visit(), [""; 0]);
    model.now += 1;
    assert_eq!(model.visit()[..2], ["LookForCertificateKey", "Mint"]);
}

#[test]
fn another_certificate_key_ends_the_token_with_which_the_old_one_was_sealed() {
    let (mut model, machine) = asked();
    model.visit();
    let first = model.token_id();
    model.now += 10;
    assert_eq!(model.visit(), ["LookForCertificateKey"], "the same key changes nothing");
    // While there is none the machine is left with what it has.
    model.certificate_key = Err("Secret certificate-key does not exist".to_owned());
    model.now += 10;
    assert_eq!(model.visit(), ["LookForCertificateKey"]);
    assert_eq!(model.condition(ConditionType::CredentialIssued).1, Reason::TokenIssued);
    model.certificate_key = Ok("another".to_owned());
    model.now += 10;
    let steps = model.visit();
    assert_eq!(steps, ["LookForCertificateKey", "DeleteToken", "Unsign", "Mint", "CreateToken", "Sign", "Seal"]);
    assert_ne!(model.token_id(), first);
    // Once the machine has asked for its certificate it has used the key.
    model.ask(&machine.key, NODE);
    model.visit();
    model.certificate_key = Ok("a third".to_owned());
    model.now += 10;
    assert_eq!(model.visit(), [""; 0]);
}

#[test]
fn a_controller_that_starts_again_looks_again_and_goes_on_with_the_same_token() {
    let (mut model, _) = asked();
    model.visit();
    let token = model.token_id();
    model.restart();
    assert!(model.visit().starts_with(&["LookForCertificateKey", "CreateToken"]));
    assert_eq!(model.token_id(), token);
}

/// A control plane whose Node is not there yet.
fn certified() -> Model {
    let (mut model, machine) = asked();
    model.visit();
    model.ask(&machine.key, NODE);
    model.visit();
    model
}

/// A control plane whose Node is there and Ready, and whose agent has not said anything yet.
fn registered() -> Model {
    let mut model = certified();
    model.register("node-uid");
    model.become_ready();
    model.visit();
    model
}

fn message(model: &Model, condition_type: ConditionType) -> String {
    let conditions = &model.request.status.as_ref().unwrap().conditions;
    conditions::get(conditions, condition_type).unwrap().message.clone()
}

fn first_ready(model: &Model) -> bool {
    model.request.status.as_ref().unwrap().node.as_ref().unwrap().first_ready.is_some()
}

#[test]
fn what_holds_up_a_control_plane_after_its_kubelet_is_told() {
    let mut model = certified();
    model.says(&json!({ "step": "StartingControlPlane", "reason": "EtcdNotJoined", "message": "too many learners" }));
    model.visit();
    assert_eq!(model.summary(), (Reason::EtcdNotJoined, false));
}

#[rstest]
#[case::at_work(json!({ "step": "StartingControlPlane", "message": "joining etcd" }), "StartingControlPlane: joining etcd")]
#[case::without_words(json!({ "step": "StartingControlPlane" }), "StartingControlPlane")]
#[case::failed(json!({ "step": "Failed", "reason": "AccessDenied", "message": "of kubeadm-config" }), "Failed: of kubeadm-config")]
fn what_a_control_plane_does_before_its_node_is_there_is_told(#[case] agent: Value, #[case] expected: &str) {
    let mut model = certified();
    model.says(&agent);
    model.visit();
    for condition_type in [ConditionType::NodeRegistered, ConditionType::Ready] {
        assert_eq!(model.condition(condition_type), ("False".to_owned(), Reason::WaitingForNode));
        let message = message(&model, condition_type);
        assert!(message.ends_with(&format!("the agent is at step {expected}")), "{message}");
    }
}

/// The Node is there and Ready as soon as API server and kubelet are, whatever else of the control plane does not work.
#[rstest]
#[case::unhealthy(json!({ "step": "StartingControlPlane", "reason": "ControlPlaneNotHealthy", "message": "m" }), Reason::ControlPlaneNotHealthy, "m")]
#[case::gave_up(json!({ "step": "Failed", "reason": "ControlPlaneNotHealthy", "message": "m" }), Reason::ControlPlaneNotHealthy, "m")]
#[case::etcd(json!({ "step": "StartingControlPlane", "reason": "EtcdNotJoined", "message": "m" }), Reason::EtcdNotJoined, "m")]
#[case::full(json!({ "step": "Failed", "reason": "MachineNotWritable", "message": "m" }), Reason::MachineNotWritable, "m")]
#[case::of_a_call(json!({ "step": "Failed", "reason": "AccessDenied", "message": "m" }), Reason::AccessDenied, "m")]
#[case::of_the_machine_alone(json!({ "step": "Failed", "reason": "ControllerSilent", "message": "m" }), Reason::AgentFailed, "m")]
#[case::not_an_agents(json!({ "step": "Failed", "reason": "NodeDeleted", "message": "m" }), Reason::AgentFailed, "m")]
#[case::otherwise(json!({ "step": "Failed", "message": "m" }), Reason::AgentFailed, "m")]
#[case::at_work(json!({ "step": "StartingControlPlane", "message": "m" }), Reason::Joining, "the Node is registered; the agent is at step StartingControlPlane: m")]
#[case::says_so_too_early(json!({ "step": "Verifying" }), Reason::Joining, "the Node is registered; the agent is at step Verifying")]
#[case::silent(
    Value::Null,
    Reason::Joining,
    "the Node is registered, and the machine has not said yet that its control plane works"
)]
fn what_holds_up_a_control_plane_whose_node_is_there_is_told(
    #[case] agent: Value,
    #[case] expected: Reason,
    #[case] expected_message: &str,
    #[values(true, false)] node_is_ready: bool,
) {
    let mut model = registered();
    model.node.as_mut().unwrap().ready = node_is_ready;
    if agent.is_object() {
        model.says(&agent);
    }
    model.restart();
    model.visit();
    assert_eq!(model.condition(ConditionType::NodeRegistered).0, "True");
    assert_eq!(model.condition(ConditionType::Ready), ("False".to_owned(), expected));
    assert_eq!(message(&model, ConditionType::Ready), expected_message);
    assert!(!first_ready(&model));
    // It does not wait for ever.
    let seconds = i64::from(model.request.spec.deadline_seconds);
    model.now = model.record.as_ref().unwrap().first_seen + seconds + 1;
    model.visit();
    assert_eq!(model.summary(), (Reason::DeadlineExceeded, true));
    assert!(message(&model, ConditionType::Stalled).ends_with(&format!("waited for {expected}: {expected_message}")));
    // Nor is it too late for it.
    model.become_ready();
    model.says(&json!({ "step": "Joined" }));
    model.visit();
    assert_eq!(model.summary(), (Reason::Joined, false));
    assert!(first_ready(&model));
}

#[test]
fn a_control_plane_that_has_joined_is_what_its_node_is() {
    let mut model = registered();
    model.says(&json!({ "step": "Joined" }));
    model.node.as_mut().unwrap().ready = false;
    model.visit();
    assert_eq!(model.summary(), (Reason::NodeNotReady, false));
    model.become_ready();
    model.visit();
    // From here on its agent may be gone, or say what it likes.
    model.says(&json!({ "step": "Failed", "reason": "ControlPlaneNotHealthy", "message": "m" }));
    model.restart();
    model.visit();
    assert_eq!(model.summary(), (Reason::Joined, false));
    model.node.as_mut().unwrap().ready = false;
    model.visit();
    assert_eq!(model.summary(), (Reason::NodeNotReady, false));
}

/// A control plane that joined by an earlier request need not have an agent any more.
#[test]
fn a_control_plane_of_an_earlier_request_is_whole_unless_its_agent_says_otherwise() {
    let (mut model, machine) = asked();
    model.visit();
    model.join(&machine);
    model.former = Some(model.record.take().unwrap().kept());
    model.request.metadata.uid = Some("another".to_owned());
    model.request.status = None;
    model.csrs.clear();
    model.restart();
    assert_eq!(model.visit(), ["Adopt"]);
    assert_eq!(model.summary(), (Reason::Joined, false));
    model.request.status.as_mut().unwrap().node = None;
    model.says(&json!({ "step": "StartingControlPlane", "message": "m" }));
    model.visit();
    assert_eq!(model.summary(), (Reason::Joining, false));
}
