//! Control planes: nothing is made without the key to the certificates that they share.

use join_crds::spec::{CONTROL_PLANE_ROLE, EXCLUDE_FROM_LOAD_BALANCERS};
use join_crds::vocabulary::{ConditionType, Reason};
use serde_json::json;

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

#[test]
fn what_holds_up_a_control_plane_after_its_kubelet_is_told() {
    let (mut model, machine) = asked();
    model.visit();
    model.ask(&machine.key, NODE);
    model.visit();
    model.says(&json!({ "step": "StartingControlPlane", "reason": "EtcdNotJoined", "message": "too many learners" }));
    model.visit();
    assert_eq!(model.summary(), (Reason::EtcdNotJoined, false));
}
