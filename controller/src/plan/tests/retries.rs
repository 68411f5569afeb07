//! Another try that a person asks for: when it is made, what it begins with, and that each value asks once.

use join_crds::vocabulary::{ANNOTATION_RETRY, ConditionType, Reason};
use rstest::rstest;
use serde_json::json;

use super::model::{Machine, Model, NODE, START};
use crate::plan::retry::who_asked;

fn ask(model: &mut Model, value: &str) {
    let annotations = model.request.metadata.annotations.get_or_insert_default();
    annotations.insert(ANNOTATION_RETRY.to_owned(), value.to_owned());
}

/// A model with a bound machine, and what makes it fail.
fn failed(how: &str) -> (Model, Machine) {
    let mut model = Model::new(&json!({ "deadlineSeconds": 3600, "tokenTTLSeconds": 7200 }));
    let machine = Machine::new();
    model.announce(&machine);
    model.visit();
    match how {
        "late" => {}
        "denied" => drop(model.ask(&Machine::new().key, NODE)),
        "issued" | "fetched" => drop(model.ask(&machine.key, NODE)),
        other => unreachable!("{other}"),
    }
    model.visit();
    if how == "fetched" {
        model.register("node-uid");
        model.visit();
    }
    if how != "denied" {
        model.now = START + 3601;
        model.visit();
    }
    (model, machine)
}

#[rstest]
#[case::late("late", Reason::DeadlineExceeded, &["Retry", "Mint", "CreateToken", "Sign", "Seal"], false)]
#[case::denied("denied", Reason::CertificateRequestDenied, &["Retry", "DeleteToken", "Unsign", "Mint", "CreateToken", "Sign", "Seal"], false)]
#[case::issued("issued", Reason::DeadlineExceeded, &["Retry", "CreateToken", "Sign"], true)]
fn another_try_has_one_token(
    #[case] how: &str,
    #[case] reason: Reason,
    #[case] steps: &[&str],
    #[case] same_token: bool,
) {
    let (mut model, machine) = failed(how);
    assert_eq!(model.condition(ConditionType::Stalled), ("True".to_owned(), reason));
    let old = model.token_id();
    ask(&mut model, "1");
    assert_eq!(model.visit(), steps);
    assert_eq!(model.token_id() == old, same_token);
    assert_eq!(model.tokens, [model.token_id()], "more or other tokens than the newest");
    assert!(!model.summary().1, "still stalled: {:?}", model.summary());
    let answer = model.request.status.as_ref().unwrap().retry.clone().unwrap();
    assert_eq!((answer.value.as_str(), answer.time.unwrap().0.as_second()), ("1", model.now));
    // The same value again asks for nothing, also of another process.
    model.restart();
    assert!(!model.visit().contains(&"Retry"));
    if !same_token {
        model.now += 1;
        model.ask(&machine.key, NODE);
        assert_eq!(model.visit(), ["Choose", "Approve"]);
    }
    model.register("node-uid");
    model.become_ready();
    model.visit();
    assert_eq!(model.summary(), (Reason::Joined, false));
    assert!(model.tokens.is_empty());
}

#[test]
fn a_node_that_is_there_gets_its_time_anew_and_no_token() {
    let (mut model, _machine) = failed("fetched");
    assert_eq!(model.summary(), (Reason::DeadlineExceeded, true));
    ask(&mut model, "1");
    assert_eq!(model.visit(), ["Retry"]);
    assert_eq!(model.summary(), (Reason::NodeNotReady, false));
    model.now += 3601;
    model.visit();
    assert_eq!(model.summary(), (Reason::DeadlineExceeded, true), "the new deadline passes as well");
    ask(&mut model, "2");
    assert_eq!(model.visit(), ["Retry"]);
    assert!(model.tokens.is_empty());
}

#[test]
fn the_certificate_request_of_the_old_token_is_left_to_its_rule() {
    let (mut model, _machine) = failed("denied");
    let old = model.csrs.len();
    ask(&mut model, "1");
    model.visit();
    assert_eq!(model.csrs.len(), old);
    assert!(model.csrs[0].request.denied && model.approved.is_empty());
}

#[test]
fn where_nothing_has_failed_the_value_is_noted_and_does_nothing_later() {
    let mut model = Model::new(&json!({}));
    let machine = Machine::new();
    // Before there is a record the first try is the answer.
    ask(&mut model, "from a manifest");
    model.announce(&machine);
    assert_eq!(model.visit(), ["Mint", "CreateToken", "Sign", "Seal"]);
    assert_eq!(model.record.as_ref().unwrap().retry.as_deref(), Some("from a manifest"));
    ask(&mut model, "too early");
    assert_eq!(model.visit(), ["IgnoreRetry"]);
    let answer = model.request.status.as_ref().unwrap().retry.clone().unwrap();
    assert_eq!((answer.value.as_str(), answer.time), ("too early", None));
    model.now = START + 3601;
    let steps = model.visit();
    assert!(!steps.contains(&"Retry"), "{steps:?}");
    assert_eq!(model.summary(), (Reason::DeadlineExceeded, true));
}

#[test]
fn what_a_token_for_any_machine_was_used_for_is_not_tried_again() {
    let mut model = Model::new(&json!({ "delivery": "Token" }));
    model.signer_works = false;
    model.visit();
    model.ask(&Machine::new().key, NODE);
    model.visit();
    model.now = START + 3601;
    model.visit();
    assert_eq!(model.summary(), (Reason::DeadlineExceeded, true));
    ask(&mut model, "1");
    assert_eq!(model.visit(), ["IgnoreRetry"]);
    assert_eq!(model.approved.len(), 1);
}

#[rstest]
#[case::gone(false, Reason::NodeDeleted)]
#[case::replaced(true, Reason::NodeIdentityMismatch)]
fn what_needs_another_request_is_not_tried_again(#[case] another: bool, #[case] reason: Reason) {
    let (mut model, machine) = failed("late");
    ask(&mut model, "1");
    model.visit();
    model.now += 1;
    model.join(&machine);
    model.node = None;
    if another {
        model.register("another");
    }
    model.now += 20;
    model.visit();
    assert_eq!(model.summary(), (reason, true));
    ask(&mut model, "2");
    assert_eq!(model.visit(), ["IgnoreRetry"]);
}

#[test]
fn a_request_that_is_being_deleted_is_not_tried_again() {
    let (mut model, _machine) = failed("late");
    model.request.metadata.deletion_timestamp = Some(crate::plan::status::time(model.now));
    ask(&mut model, "1");
    let steps = model.visit();
    assert!(!steps.contains(&"Retry") && !steps.contains(&"Mint"), "{steps:?}");
}

#[test]
fn who_asked_is_the_program_that_wrote_the_annotation() {
    let mut model = Model::new(&json!({}));
    assert_eq!(who_asked(&model.request), None);
    let entry = |manager: &str, fields: serde_json::Value| json!({"manager": manager, "operation": "Update", "fieldsV1": fields});
    model.request.metadata.managed_fields = serde_json::from_value(json!([
        entry("helm", json!({"f:spec": {"f:role": {}}})),
        entry("kubectl-njr", json!({"f:metadata": {"f:annotations": {"f:nodejoin.dev/retry": {}}}})),
        entry("other", json!({"f:metadata": {"f:annotations": {"f:other": {}}}})),
    ]))
    .unwrap();
    assert_eq!(who_asked(&model.request), Some("kubectl-njr"));
}
