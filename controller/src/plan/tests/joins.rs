//! Joins that go well, stage by stage.

use join_crds::vocabulary::{ConditionType, Reason};
use serde_json::json;

use super::model::{Machine, Model, NODE, START};
use crate::plan::{Published, next_wake};

#[test]
fn a_sealed_join_goes_from_the_announcement_to_ready() {
    let mut model = Model::new(&json!({
        "nodeRegistration": {
            "labels": { "node-role.kubernetes.io/worker": "" },
            "taints": [{ "key": "startup", "effect": "NoSchedule" }],
        },
    }));
    assert_eq!(model.visit(), [""; 0]);
    assert_eq!(model.summary(), (Reason::WaitingForMachine, false));
    assert!(
        model
            .request
            .status
            .as_ref()
            .unwrap()
            .conditions
            .iter()
            .all(|condition| condition.observed_generation == Some(1))
    );

    let machine = Machine::new();
    model.announce(&machine);
    assert_eq!(model.visit(), ["Mint", "CreateToken", "Sign", "Seal"]);
    assert_eq!(model.summary(), (Reason::WaitingForAgent, false));
    let status = model.request.status.clone().unwrap();
    assert_eq!(status.machine.unwrap().public_key_hash, machine.pin());
    assert_eq!(status.credential.unwrap().token_id, model.token_id());
    assert_eq!(status.sealed_credentials.unwrap().generation, 1);
    assert_eq!(model.visit(), [""; 0]);

    let csr = model.ask(&machine.key, NODE);
    assert_eq!(model.visit(), ["Choose", "Approve"]);
    assert_eq!(model.approved, [csr]);
    assert_eq!(model.summary(), (Reason::WaitingForNode, false));
    assert_eq!(model.condition(ConditionType::ClientCertificateIssued), ("True".to_owned(), Reason::CertificateIssued));

    model.now += 3;
    model.register("node-uid");
    assert_eq!(model.visit(), ["EquipLabels", "EquipTaints", "DeleteToken", "NoteNode"]);
    assert_eq!(model.summary(), (Reason::NodeNotReady, false));
    assert!(model.tokens.is_empty());
    let status = model.request.status.clone().unwrap();
    assert_eq!((status.credential, status.sealed_credentials), (None, None));
    assert_eq!(model.condition(ConditionType::CredentialIssued), ("True".to_owned(), Reason::TokenRemoved));
    assert_eq!(model.condition(ConditionType::ServingCertificateIssued), ("False".to_owned(), Reason::NotRequested));

    assert!(model.is_signed());
    model.now += 10;
    assert_eq!(model.visit(), ["Unsign"]);
    model.become_ready();
    assert_eq!(model.visit(), [""; 0]);
    assert_eq!(model.summary(), (Reason::Joined, false));
    assert_eq!(model.condition(ConditionType::Ready).0, "True");
}

#[test]
fn a_join_by_command_takes_the_first_key_that_comes() {
    let mut model = Model::new(&json!({ "delivery": "Token" }));
    assert_eq!(model.visit(), ["Mint", "CreateToken", "Sign", "WriteCommand"]);
    assert_eq!(model.summary(), (Reason::WaitingForCertificateRequest, false));
    let (first, second) = (Machine::new(), Machine::new());
    let csr = model.ask(&first.key, NODE);
    assert_eq!(model.visit(), ["Choose", "Approve"]);
    assert_eq!(model.condition(ConditionType::MachineBound), ("True".to_owned(), Reason::MachineKeyFirstUsed));
    model.ask(&second.key, NODE);
    assert_eq!(model.visit(), ["Deny"]);
    assert_eq!(model.approved, [csr]);
    model.register("node-uid");
    assert_eq!(model.visit(), ["DeleteToken", "DeleteCommand", "NoteNode"]);
}

#[test]
fn a_token_is_made_only_when_the_machine_is_there_and_cluster_info_can_be_used() {
    let mut model = Model::new(&json!({}));
    model.announce(&Machine::new());
    model.published = Published::Unusable("no kubeconfig".to_owned());
    assert_eq!(model.visit(), [""; 0]);
    assert_eq!(model.summary(), (Reason::ClusterInfoUnusable, true));
    model.published = Published::Missing;
    model.settings.can_publish = false;
    assert_eq!(model.visit(), [""; 0]);
    assert_eq!(model.summary(), (Reason::ClusterInfoUnusable, true));
    model.settings.can_publish = true;
    assert_eq!(model.visit(), ["Publish", "Mint", "CreateToken", "Sign", "Seal"]);
    assert_eq!(model.summary(), (Reason::WaitingForAgent, false));
}

#[test]
fn joins_wait_while_too_many_are_under_way() {
    let mut model = Model::new(&json!({}));
    model.announce(&Machine::new());
    model.queue_full = true;
    assert_eq!(model.visit(), [""; 0]);
    assert_eq!(model.summary(), (Reason::Queued, false));
    assert_eq!(model.observe(next_wake), 5);
    model.queue_full = false;
    assert_eq!(model.visit()[0], "Mint");
}

#[test]
fn a_signature_that_somebody_took_out_is_put_back() {
    let mut model = Model::new(&json!({}));
    model.announce(&Machine::new());
    model.visit();
    model.lose_signatures();
    assert_eq!(model.visit(), ["Sign"]);
}

#[test]
fn a_new_generation_is_sealed_anew() {
    let mut model = Model::new(&json!({}));
    model.announce(&Machine::new());
    model.visit();
    model.request.metadata.generation = Some(2);
    assert_eq!(model.visit(), ["Seal"]);
    assert_eq!(model.request.status.as_ref().unwrap().sealed_credentials.as_ref().unwrap().generation, 2);
    assert_eq!(model.visit(), [""; 0]);
}

#[test]
fn a_machine_that_lost_its_sealing_key_is_sealed_to_its_new_one() {
    let mut model = Model::new(&json!({}));
    let machine = Machine::new();
    model.announce(&machine);
    model.visit();
    model.announcements.clear();
    model.now += 5;
    let reinstalled = Machine { key: machine.key, sealing: Machine::new().sealing };
    model.announce(&reinstalled);
    let first = model.token_id();
    assert_eq!(model.visit(), ["DeleteToken", "Unsign", "Mint", "CreateToken", "Sign", "Seal"]);
    assert_eq!(model.tokens, [model.token_id()]);
    assert_ne!(model.token_id(), first);
    let bound = model.record.as_ref().unwrap().machine.clone().unwrap();
    assert_eq!(bound.sealing_key, reinstalled.sealing.public());
}

#[test]
fn a_token_that_ended_unused_is_followed_by_another() {
    let mut model = Model::new(&json!({ "tokenTTLSeconds": 300 }));
    model.announce(&Machine::new());
    model.visit();
    let first = model.token_id();
    assert_eq!(model.observe(next_wake), 301);
    model.now += 300;
    assert_eq!(model.visit(), ["DeleteToken", "Unsign", "Mint", "CreateToken", "Sign", "Seal"]);
    assert_ne!(model.token_id(), first);
    assert_eq!(model.tokens, [model.token_id()]);
    assert_eq!(model.record.as_ref().unwrap().first_seen, START);
}

#[test]
fn after_the_deadline_the_token_goes_and_none_follows() {
    let mut model = Model::new(&json!({ "tokenTTLSeconds": 900, "deadlineSeconds": 600 }));
    model.announce(&Machine::new());
    model.visit();
    assert_eq!(model.observe(next_wake), 600);
    model.now += 601;
    assert_eq!(model.visit(), ["DeleteToken", "Unsign"]);
    assert_eq!(model.summary(), (Reason::DeadlineExceeded, true));
    assert!(model.tokens.is_empty());
    // An admin gives it more time.
    model.request.spec.deadline_seconds = 3600;
    model.request.metadata.generation = Some(2);
    assert_eq!(model.visit(), ["CreateToken", "Sign", "Seal"]);
    assert_eq!(model.summary(), (Reason::WaitingForAgent, false));
}

#[test]
fn a_node_that_was_ready_once_is_never_past_its_deadline() {
    let mut model = Model::new(&json!({ "deadlineSeconds": 600 }));
    let machine = Machine::new();
    model.announce(&machine);
    model.visit();
    model.join(&machine);
    model.node.as_mut().unwrap().ready = false;
    model.now += 10_000;
    model.visit();
    assert_eq!(model.summary(), (Reason::NodeNotReady, false));
}

#[test]
fn a_node_that_is_never_ready_stalls() {
    let mut model = Model::new(&json!({ "deadlineSeconds": 600 }));
    let machine = Machine::new();
    model.announce(&machine);
    model.visit();
    model.ask(&machine.key, NODE);
    model.visit();
    model.register("node-uid");
    model.visit();
    model.now += 601;
    model.visit();
    assert_eq!(model.summary(), (Reason::DeadlineExceeded, true));
    model.become_ready();
    model.visit();
    assert_eq!(model.summary(), (Reason::Joined, false));
}

#[test]
fn labels_are_kept_and_taints_are_put_on_once() {
    let mut model = Model::new(&json!({
        "nodeRegistration": { "labels": { "zone": "a" }, "taints": [{ "key": "startup", "effect": "NoSchedule" }] },
    }));
    let machine = Machine::new();
    model.announce(&machine);
    model.visit();
    model.ask(&machine.key, NODE);
    model.visit();
    model.register("node-uid");
    model.visit();
    let node = model.node.as_mut().unwrap();
    node.taints.clear();
    node.labels.clear();
    assert_eq!(model.visit(), ["EquipLabels"]);
    // A label that is taken out of the spec is taken off the Node, once.
    model.request.spec.node_registration.labels.clear();
    model.request.metadata.generation = Some(2);
    assert_eq!(model.visit(), ["EquipLabels"]);
    assert_eq!(model.visit(), [""; 0]);
}

#[test]
fn a_changed_certificate_authority_is_sealed_anew_under_another_token() {
    let mut model = Model::new(&json!({}));
    model.announce(&Machine::new());
    model.visit();
    let old = model.token_id();
    model.change_certificate_authority();
    assert_eq!(model.visit(), ["DeleteToken", "Unsign", "Mint", "CreateToken", "Sign", "Seal"]);
    assert_ne!(model.token_id(), old);
    assert_eq!(model.tokens, [model.token_id()]);
    assert_eq!(model.request.status.as_ref().unwrap().credential.as_ref().unwrap().token_id, model.token_id());
    assert_eq!(model.visit(), [""; 0]);
    model.restart();
    assert_eq!(model.visit(), ["CreateToken"], "a restart makes no other token");
}

#[test]
fn other_words_for_the_same_cluster_need_a_signature_alone() {
    let mut model = Model::new(&json!({}));
    model.announce(&Machine::new());
    model.visit();
    model.reword_cluster_info();
    assert_eq!(model.visit(), ["Sign"]);
}

#[test]
fn a_machine_that_has_asked_for_its_certificate_keeps_its_token() {
    let (mut model, machine) = (Model::new(&json!({})), Machine::new());
    model.announce(&machine);
    model.visit();
    model.signer_works = false;
    model.ask(&machine.key, NODE);
    model.visit();
    let token = model.token_id();
    model.change_certificate_authority();
    assert_eq!(model.visit(), ["Sign"]);
    assert_eq!(model.token_id(), token);
}

/// After an interruption the Node can be seen before the certificate with which it was made.
#[test]
fn a_node_that_is_seen_before_its_certificate_is_nobody_elses() {
    let machine = Machine::new();
    let mut model = Model::new(&json!({ "machine": { "publicKeyHash": machine.pin() } }));
    model.announce(&machine);
    model.visit();
    model.signer_works = false;
    let csr = model.ask(&machine.key, NODE);
    model.visit();
    model.register("node-uid");
    model.become_ready();
    assert_eq!(model.visit(), [""; 0]);
    assert_eq!(model.summary(), (Reason::Joining, false));
    assert_eq!(model.condition(ConditionType::NodeRegistered).1, Reason::Progressing);
    model.sign(&csr);
    model.visit();
    assert_eq!(model.summary(), (Reason::Joined, false));
}
