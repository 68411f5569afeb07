//! Deletions: what drains, what is waited for, and what lets a request go.

use join_crds::spec::Removal;
use join_crds::status::AgentStep;
use join_crds::vocabulary::Reason;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::model::{Machine, Model, NODE};
use crate::plan::{Fate, Left, Pod, Why, fate, is_given_up, next_wake};

fn joined(spec: &serde_json::Value) -> Model {
    let mut model = Model::new(spec);
    let machine = Machine::new();
    model.announce(&machine);
    model.visit();
    model.join(&machine);
    model.now += 20;
    model.visit();
    model
}

fn delete(model: &mut Model) {
    model.request.metadata.deletion_timestamp = Some(crate::plan::status::time(model.now));
}

fn agent_answers(model: &mut Model) {
    let agent = json!({"step": AgentStep::Leaving, "since": "2026-01-01T00:00:00Z"});
    model.request.status.as_mut().unwrap().agent = Some(serde_json::from_value(agent).unwrap());
}

fn message(model: &Model) -> String {
    let conditions = &model.request.status.as_ref().unwrap().conditions;
    let ready = join_crds::conditions::get(conditions, join_crds::ConditionType::Ready);
    ready.unwrap().message.clone()
}

fn left(pod: &str, why: Why) -> Left {
    Left { pod: pod.to_owned(), why }
}

#[rstest]
#[case::mirror(Pod { is_mirror: true, ..Pod::default() }, Fate::Stays)]
#[case::daemon(Pod { controller: Some("DaemonSet".to_owned()), ..Pod::default() }, Fate::Stays)]
#[case::ending_daemon(Pod { controller: Some("DaemonSet".to_owned()), ends_at: Some(1), ..Pod::default() }, Fate::Stays)]
#[case::finished_daemon(Pod { controller: Some("DaemonSet".to_owned()), is_finished: true, ..Pod::default() }, Fate::Evict)]
#[case::replicated(Pod { controller: Some("ReplicaSet".to_owned()), ..Pod::default() }, Fate::Evict)]
#[case::finished(Pod { is_finished: true, ..Pod::default() }, Fate::Evict)]
#[case::ending(Pod { ends_at: Some(1), ..Pod::default() }, Fate::Ends)]
#[case::alone(Pod::default(), Fate::Unmanaged)]
fn fates_are_those_of_kubectl_drain(#[case] pod: Pod, #[case] expected: Fate) {
    assert_eq!(fate(&pod), expected);
}

#[rstest]
#[case(false, Some(0), 61, true)]
#[case(false, Some(0), 60, false)]
#[case(false, None, 1000, false)]
#[case(true, Some(0), 1000, false)]
fn pods_of_a_silent_kubelet_are_given_up(
    #[case] ready: bool,
    #[case] ends_at: Option<i64>,
    #[case] now: i64,
    #[case] expected: bool,
) {
    assert_eq!(is_given_up(&Pod { ends_at, ..Pod::default() }, ready, now), expected);
}

#[test]
fn a_node_is_drained_told_deleted_and_let_go() {
    let mut model = joined(&json!({ "removal": "Drain" }));
    assert!(model.request.metadata.finalizers.is_some());
    model.pods_left = vec![left("default/a", Why::Ends)];
    delete(&mut model);
    assert_eq!(model.visit(), ["Cordon", "Drain"]);
    assert_eq!(model.summary(), (Reason::Draining, false));
    assert!(message(&model).contains("default/a"));
    assert_eq!(model.observe(next_wake), 3);
    assert_eq!(model.visit(), [""; 0], "not before its time");
    model.pods_left.clear();
    model.now += 3;
    assert_eq!(model.visit(), ["Drain", "NoteDrained"]);
    assert_eq!(model.summary(), (Reason::CleaningMachine, false));
    assert!(model.node.is_some(), "the machine has not answered");
    agent_answers(&mut model);
    assert_eq!(model.visit(), ["DeleteNode", "Release"]);
    assert!(model.node.is_none() && model.request.metadata.finalizers.is_none());
}

#[test]
fn a_pod_that_stays_is_named_until_it_goes() {
    let mut model = joined(&json!({ "removal": "Drain" }));
    delete(&mut model);
    let budget = "Cannot evict pod as it would violate the pod's disruption budget. The disruption budget web needs 1";
    model.pods_left = vec![left("default/web", Why::Refused(budget.to_owned())), left("default/a", Why::Ends)];
    model.visit();
    assert_eq!(model.summary(), (Reason::DrainBlocked, false));
    assert!(message(&model).contains("default/web: Cannot evict") && !message(&model).contains("default/a"));
    // What only a person can end is Stalled.
    model.pods_left = vec![left("default/alone", Why::Unmanaged)];
    model.now += 3;
    model.visit();
    assert_eq!(model.summary(), (Reason::DrainBlocked, true));
    assert!(message(&model).contains("default/alone") && message(&model).contains("kubectl delete pod"));
    model.pods_left.clear();
    model.now += 3;
    assert_eq!(model.visit(), ["Drain", "NoteDrained"]);
}

#[test]
fn a_machine_that_is_off_is_waited_for_and_then_given_up() {
    let mut model = joined(&json!({ "removal": "Drain" }));
    delete(&mut model);
    model.visit();
    assert_eq!(model.summary(), (Reason::CleaningMachine, false));
    assert!(message(&model).contains("is deleted without it"), "{}", message(&model));
    assert_eq!(model.observe(next_wake), 3);
    model.now += 299;
    assert_eq!(model.visit(), [""; 0]);
    // Also for another process, which remembers nothing.
    model.restart();
    model.now += 2;
    let mut steps = Vec::new();
    while let Some(step) = model.observe(crate::plan::next_step) {
        model.perform(&step);
        steps.push(step);
    }
    assert_eq!(steps, [crate::plan::Step::DeleteNode, crate::plan::Step::Release { uncleaned: true }]);
}

#[rstest]
#[case::at_once(false)]
#[case::while_it_drains(true)]
fn retain_leaves_the_node_alone(#[case] later: bool) {
    let mut model = joined(&json!({ "removal": if later { "Drain" } else { "Retain" } }));
    model.pods_left = vec![left("default/alone", Why::Unmanaged)];
    delete(&mut model);
    let steps = model.visit();
    if later {
        assert_eq!(steps, ["Cordon", "Drain"]);
        model.request.spec.removal = Removal::Retain;
        assert_eq!(model.visit(), ["Release"]);
    } else {
        assert_eq!(steps, [""; 0]);
    }
    assert!(model.node.is_some() && model.request.metadata.finalizers.is_none());
}

#[test]
fn the_finalizer_follows_the_specification() {
    let mut model = Model::new(&json!({ "removal": "Drain" }));
    assert_eq!(model.visit(), ["Hold"], "before anything is done");
    model.request.spec.removal = Removal::Retain;
    assert_eq!(model.visit(), ["Release"]);
    model.request.spec.removal = Removal::Drain;
    assert_eq!(model.visit(), ["Hold"]);
    delete(&mut model);
    assert_eq!(model.visit(), ["Release"], "nothing has joined");
}

#[test]
fn a_node_that_is_gone_or_another_is_left_and_the_machine_is_told() {
    for another in [false, true] {
        let mut model = joined(&json!({ "removal": "Drain" }));
        model.node = None;
        if another {
            model.register("another");
        }
        delete(&mut model);
        assert_eq!(model.visit(), ["NoteDrained"]);
        assert_eq!(model.summary().0, Reason::CleaningMachine);
        agent_answers(&mut model);
        assert_eq!(model.visit(), ["Release"]);
        assert_eq!(model.node.is_some(), another);
    }
}

#[test]
fn a_machine_of_kubeadm_has_nobody_to_answer() {
    let mut model = Model::new(&json!({ "delivery": "Token", "removal": "Drain" }));
    model.visit();
    model.ask(&Machine::new().key, NODE);
    model.visit();
    model.register("node-uid");
    model.become_ready();
    model.visit();
    delete(&mut model);
    assert_eq!(model.visit(), ["Cordon", "Drain", "NoteDrained", "DeleteNode", "Release"]);
}

proptest! {
    /// Wherever the controller dies, a deletion ends with no Node and no finalizer.
    #[test]
    fn a_removal_converges(turns in proptest::collection::vec(any::<bool>(), 0..24)) {
        let mut model = joined(&json!({ "removal": "Drain" }));
        let mut turns = turns.into_iter();
        delete(&mut model);
        for _ in 0..64 {
            if model.step().is_none() {
                if model.request.metadata.finalizers.is_none() {
                    break;
                }
                model.write_status();
                if model.summary().0 == Reason::CleaningMachine {
                    agent_answers(&mut model);
                }
            }
            if turns.next().unwrap_or(false) {
                model.restart();
            }
        }
        prop_assert!(model.node.is_none() && model.request.metadata.finalizers.is_none());
    }
}
