//! What is refused, and what stalls.

use join_crds::vocabulary::{ConditionType, Reason};
use rstest::rstest;
use serde_json::{Value, json};

use super::model::{Machine, Model, NODE};

/// A model whose machine has been bound and has its token.
fn bound(spec: &Value) -> (Model, Machine) {
    let mut model = Model::new(spec);
    let machine = Machine::new();
    model.announce(&machine);
    model.visit();
    (model, machine)
}

#[test]
fn a_machine_without_the_pinned_key_gets_no_token() {
    let right = Machine::new();
    let mut model = Model::new(&json!({ "machine": { "trust": "Pinned", "publicKeyHash": right.pin() } }));
    model.announce(&Machine::new());
    assert_eq!(model.visit(), [""; 0]);
    assert_eq!(model.summary(), (Reason::MachineKeyMismatch, false));
    model.announce(&right);
    assert_eq!(model.visit()[0], "Mint");
    assert_eq!(model.condition(ConditionType::MachineBound), ("True".to_owned(), Reason::MachineKeyPinned));
    assert_eq!(model.request.status.as_ref().unwrap().machine.as_ref().unwrap().public_key_hash, right.pin());
}

#[test]
fn two_machines_of_one_name_are_a_conflict_until_one_is_gone() {
    let mut model = Model::new(&json!({}));
    model.announce(&Machine::new());
    model.announce(&Machine::new());
    assert_eq!(model.visit(), [""; 0]);
    assert_eq!(model.summary(), (Reason::MachineConflict, true));
    model.announcements.pop();
    assert_eq!(model.visit()[0], "Mint");
}

#[test]
fn a_second_machine_that_comes_after_the_binding_changes_nothing() {
    let (mut model, machine) = bound(&json!({}));
    model.announce(&Machine::new());
    assert_eq!(model.visit(), [""; 0]);
    assert_eq!(model.request.status.as_ref().unwrap().machine.as_ref().unwrap().public_key_hash, machine.pin());
}

#[test]
fn another_key_than_the_bound_one_is_denied_and_the_bound_one_still_joins() {
    let (mut model, machine) = bound(&json!({}));
    model.ask(&Machine::new().key, NODE);
    assert_eq!(model.visit(), ["Deny"]);
    assert_eq!(model.summary(), (Reason::CertificateRequestDenied, true));
    model.now += 1;
    let right = model.ask(&machine.key, NODE);
    assert_eq!(model.visit(), ["Choose", "Approve"]);
    assert_eq!(model.approved, [right]);
}

#[test]
fn another_name_than_the_tokens_is_denied() {
    let (mut model, machine) = bound(&json!({}));
    model.ask(&machine.key, "worker-8");
    assert_eq!(model.visit(), ["Deny"]);
    assert!(model.approved.is_empty());
}

#[test]
fn a_second_request_is_denied_even_with_the_same_key() {
    let (mut model, machine) = bound(&json!({}));
    let first = model.ask(&machine.key, NODE);
    model.visit();
    model.now += 1;
    model.ask(&machine.key, NODE);
    assert_eq!(model.visit(), ["Deny"]);
    assert_eq!(model.approved, [first]);
}

#[test]
fn a_missing_signer_is_named_after_its_time() {
    let (mut model, machine) = bound(&json!({}));
    model.signer_works = false;
    let csr = model.ask(&machine.key, NODE);
    model.visit();
    assert_eq!(model.summary(), (Reason::Joining, false));
    model.now += 31;
    model.visit();
    assert_eq!(model.summary(), (Reason::SignerMissing, false));
    model.sign(&csr);
    model.visit();
    assert_eq!(model.summary(), (Reason::WaitingForNode, false));
}

#[rstest]
#[case(true)]
#[case(false)]
fn a_chosen_request_that_failed_makes_room_for_another(#[case] removed: bool) {
    let (mut model, machine) = bound(&json!({}));
    model.signer_works = false;
    let first = model.ask(&machine.key, NODE);
    model.visit();
    if removed {
        model.csrs.clear();
    } else {
        model.change_csr(&first, |csr| csr.request.failed = true);
    }
    model.now += 1;
    assert_eq!(model.visit(), ["Unchoose"]);
    model.signer_works = true;
    let second = model.ask(&machine.key, NODE);
    assert_eq!(model.visit(), ["Choose", "Approve"]);
    assert_eq!(model.approved, [first, second]);
}

#[test]
fn without_a_bound_key_the_first_request_stays_the_only_one() {
    let mut model = Model::new(&json!({ "delivery": "Token" }));
    model.visit();
    let first = model.ask(&Machine::new().key, NODE);
    model.visit();
    model.csrs.clear();
    model.now += 1;
    model.ask(&Machine::new().key, NODE);
    assert_eq!(model.visit(), ["Deny"]);
    assert_eq!(model.approved, [first]);
}

#[test]
fn an_issued_request_is_noted_before_it_can_be_cleaned_away() {
    let (mut model, machine) = bound(&json!({}));
    let first = model.ask(&machine.key, NODE);
    model.visit();
    model.now += 60;
    assert_eq!(model.visit(), ["NoteIssued"]);
    model.csrs.clear();
    model.ask(&machine.key, NODE);
    assert_eq!(model.visit(), ["Deny"]);
    assert_eq!(model.approved, [first]);
}

#[test]
fn a_node_that_was_there_before_is_in_the_way() {
    let mut model = Model::new(&json!({}));
    model.register("old");
    model.announce(&Machine::new());
    assert_eq!(model.visit(), [""; 0]);
    assert_eq!(model.summary(), (Reason::NodeAlreadyExists, true));
    model.node = None;
    assert_eq!(model.visit()[0], "Mint");
}

#[test]
fn a_node_that_appears_before_the_certificate_is_not_ours() {
    let (mut model, machine) = bound(&json!({}));
    model.register("stranger");
    model.now += 1;
    model.ask(&machine.key, NODE);
    assert_eq!(model.visit(), [""; 0]);
    assert_eq!(model.summary(), (Reason::NodeAlreadyExists, true));
    assert_eq!(model.tokens.len(), 1);
    assert!(model.approved.is_empty());
}

#[test]
fn a_joined_node_that_goes_or_is_replaced_is_told_of() {
    let (mut model, machine) = bound(&json!({}));
    model.join(&machine);
    model.node = None;
    model.now += 20;
    model.visit();
    assert_eq!(model.summary(), (Reason::NodeDeleted, true));
    model.register("another");
    assert_eq!(model.visit(), [""; 0]);
    assert_eq!(model.summary(), (Reason::NodeIdentityMismatch, true));
}

#[test]
fn the_token_of_a_request_that_is_being_deleted_goes_and_opens_nothing() {
    let (mut model, machine) = bound(&json!({}));
    model.ask(&machine.key, NODE);
    model.request.metadata.deletion_timestamp = Some(crate::plan::status::time(model.now));
    assert_eq!(model.visit(), ["Deny", "DeleteToken", "Unsign"]);
    assert!(model.tokens.is_empty() && model.approved.is_empty());
}

#[test]
fn nothing_is_begun_for_a_request_that_is_being_deleted() {
    let mut model = Model::new(&json!({}));
    model.announce(&Machine::new());
    model.request.metadata.deletion_timestamp = Some(crate::plan::status::time(model.now));
    assert_eq!(model.visit(), [""; 0]);
}

/// The machine has its certificate, and what its agent says of the kubelet is told, as far as an agent may.
#[rstest]
#[case::ends(json!({"step": "StartingKubelet", "reason": "KubeletNotStarted", "message": "unknown flag"}), Reason::KubeletNotStarted)]
#[case::unhealthy(json!({"step": "StartingKubelet", "reason": "KubeletUnhealthy", "message": "refused"}), Reason::KubeletUnhealthy)]
#[case::gave_up(json!({"step": "Failed", "reason": "KubeletNotStarted", "message": "unknown flag"}), Reason::KubeletNotStarted)]
#[case::full(json!({"step": "Failed", "reason": "MachineNotWritable", "message": "no space"}), Reason::MachineNotWritable)]
#[case::otherwise(json!({"step": "Failed", "message": "no bus"}), Reason::AgentFailed)]
#[case::not_an_agents(json!({"step": "Failed", "reason": "NodeIdentityMismatch", "message": "no bus"}), Reason::AgentFailed)]
#[case::of_the_machine_alone(json!({"step": "StartingKubelet", "reason": "ControllerSilent", "message": "?"}), Reason::WaitingForNode)]
#[case::went_on(json!({"step": "Joined"}), Reason::WaitingForNode)]
#[case::before(json!({"step": "Failed", "checks": [{"name": "CRI", "result": "Failed"}]}), Reason::WaitingForNode)]
fn what_the_agent_says_of_the_kubelet_is_told(#[case] agent: Value, #[case] expected: Reason) {
    let (mut model, machine) = bound(&json!({}));
    model.ask(&machine.key, NODE);
    model.visit();
    model.says(&agent);
    model.visit();
    assert_eq!(model.summary(), (expected, false));
    assert_eq!(model.condition(ConditionType::NodeRegistered), ("False".to_owned(), expected));
    // Whatever it said, the Node is what counts.
    model.register("node-uid");
    model.become_ready();
    model.visit();
    assert_eq!(model.summary(), (Reason::Joined, false));
}

#[test]
fn a_machine_that_cannot_be_written_is_told_before_the_certificate_too() {
    let (mut model, _) = bound(&json!({}));
    model.says(&json!({"step": "Failed", "reason": "MachineNotWritable", "message": "no space"}));
    model.visit();
    assert_eq!(model.summary(), (Reason::MachineNotWritable, false));
}

#[rstest]
#[case::allowed(json!(["192.0.2.17"]), Reason::NodeRegistered)]
#[case::one_of_two(json!(["192.0.2.18", "192.0.2.17"]), Reason::NodeRegistered)]
#[case::any(json!([]), Reason::NodeRegistered)]
#[case::another(json!(["192.0.2.18"]), Reason::NodeAddressMismatch)]
fn a_node_with_another_address_than_asked_is_told(#[case] addresses: Value, #[case] expected: Reason) {
    let (mut model, machine) = bound(&json!({ "addresses": addresses }));
    model.join(&machine);
    assert_eq!(model.condition(ConditionType::NodeRegistered), ("True".to_owned(), expected));
    // It is the node all the same.
    assert_eq!(model.summary(), (Reason::Joined, false));
}
