//! A Node that is in the way: refused with the keys of both machines, or replaced.

use std::collections::BTreeSet;

use join_crds::vocabulary::{ConditionType, Reason};
use join_trust::names::NodeName;
use join_trust::pin::PublicKeyPin;
use join_trust::sealing::SealingKey;
use rstest::rstest;
use serde_json::{Value, json};

use super::model::{Machine, Model, NODE};
use crate::record::{self, Chosen, Record};

const OLD: &str = "0b5c3f6e-0000-4000-8000-00000000000a";

/// A request for a machine, beside a Node that is there.
fn beside(machine: &Machine, replaces: Option<&str>) -> Model {
    let spec = json!({ "machine": { "publicKeyHash": machine.pin() }, "replacesNodeUID": replaces });
    let mut model = Model::new(&spec);
    model.register(OLD);
    model
}

/// What the controller knows of the Node that is there: the request that is gone was for a machine of this key.
fn former(key: PublicKeyPin) -> Record {
    let chosen = Chosen {
        name: "nodejoin-client-abcdef".to_owned(),
        uid: "u".to_owned(),
        public_key: key,
        created_at: 1,
        issued: true,
    };
    let record = Record::new("another-request", NodeName::parse(NODE).unwrap(), 1);
    let sealing_key = SealingKey::generate().unwrap().public();
    let addresses = BTreeSet::from([[192, 0, 2, 17].into()]);
    let machine =
        record::Machine { public_key: key, sealing_key, announcement: "nodejoin-machine-a".to_owned(), addresses };
    Record { machine: Some(machine), chosen: Some(chosen), node_uid: Some(OLD.to_owned()), ..record }
}

fn message(model: &Model) -> String {
    let conditions = &model.request.status.as_ref().unwrap().conditions;
    join_crds::conditions::get(conditions, ConditionType::NodeRegistered).unwrap().message.clone()
}

#[rstest]
#[case::known(true)]
#[case::unknown(false)]
fn another_machines_node_is_refused_with_both_keys_and_the_command(#[case] known: bool) {
    let machine = Machine::new();
    let mut model = beside(&machine, None);
    let old = PublicKeyPin::of_spki(b"old");
    model.former = known.then(|| former(old));
    model.announce(&machine);
    assert_eq!(model.visit(), [""; 0]);
    assert_eq!(model.summary(), (Reason::NodeAlreadyExists, true));
    let said = message(&model);
    for expected in [
        machine.pin(),
        format!(r#"kubectl patch njr {NODE} --type=merge -p '{{"spec":{{"replacesNodeUID":"{OLD}"}}}}'"#),
    ] {
        assert!(said.contains(&expected), "{expected:?} is not in {said:?}");
    }
    assert_eq!(said.contains(&old.to_string()), known, "{said}");
    assert_eq!(said.contains("not known"), !known, "{said}");
    model.node = None;
    assert_eq!(model.visit()[0], "Mint");
}

#[test]
fn a_node_makes_room_once_the_machine_is_there_and_no_sooner() {
    let machine = Machine::new();
    let mut model = beside(&machine, Some(OLD));
    model.former = Some(former(PublicKeyPin::of_spki(b"old")));
    assert_eq!(model.visit(), [""; 0]);
    assert_eq!(model.summary(), (Reason::NodeAlreadyExists, false));
    model.announce(&Machine::new());
    assert_eq!(model.visit(), [""; 0], "that is another machine");
    model.announce(&machine);
    assert_eq!(model.visit(), ["Displace", "Mint", "CreateToken", "Sign", "Seal"]);
    // The old machine's kubelet makes its Node once more: that is not the one that was named.
    model.register("another-uid");
    assert_eq!(model.visit(), [""; 0]);
    assert_eq!(model.summary(), (Reason::NodeAlreadyExists, true));
    model.node = None;
    model.now += 1;
    model.join(&machine);
    assert_eq!(model.summary(), (Reason::Joined, false));
}

/// Whatever a request names, a Node that may be its machine's own stays.
#[test]
fn the_machines_own_node_is_never_deleted() {
    let machine = Machine::new();
    let mut model = beside(&machine, Some("node-uid"));
    model.node = None;
    model.announce(&machine);
    model.visit();
    model.join(&machine);
    assert_eq!(model.summary(), (Reason::Joined, false));
    model.register(OLD);
    model.request.spec.replaces_node_uid = Some(OLD.to_owned());
    assert_eq!(model.visit(), [""; 0]);
    assert_eq!(model.summary(), (Reason::NodeIdentityMismatch, true));
}

#[test]
fn a_machine_that_is_the_node_itself_joins_anew_when_the_request_names_its_node() {
    let machine = Machine::new();
    let mut model = beside(&machine, Some(OLD));
    model.former = Some(former(machine.key.pin()));
    assert_eq!(model.visit(), ["Displace"]);
    assert_eq!(model.summary(), (Reason::WaitingForMachine, false));
}

/// A request that was deleted and made again goes on with its machine's Node: nothing is made, asked for or issued.
#[test]
fn a_request_made_again_adopts_the_node_of_its_machine() {
    let machine = Machine::new();
    let mut model = beside(&machine, None);
    model.former = Some(former(machine.key.pin()));
    assert_eq!(model.visit(), ["Adopt"]);
    assert_eq!(model.summary(), (Reason::NodeNotReady, false));
    assert_eq!(model.condition(ConditionType::CredentialIssued), ("True".to_owned(), Reason::NodeAdopted));
    assert_eq!(model.condition(ConditionType::ClientCertificateIssued).1, Reason::CertificateIssued);
    assert_eq!(model.condition(ConditionType::NodeRegistered).1, Reason::NodeRegistered);
    let status = model.request.status.clone().unwrap();
    assert_eq!(status.machine.map(|machine| machine.public_key_hash), Some(machine.pin()));
    assert_eq!((status.credential, status.sealed_credentials), (None, None));
    // A controller that starts again, and a machine that announces itself again, change nothing.
    model.restart();
    model.announce(&machine);
    model.become_ready();
    assert_eq!(model.visit(), [""; 0]);
    assert_eq!(model.summary(), (Reason::Joined, false));
    assert!(model.tokens.is_empty() && model.approved.is_empty());
    // Its Node is this request's from then on.
    model.node = None;
    model.visit();
    assert_eq!(model.summary(), (Reason::NodeDeleted, true));
}

/// Only the machine's own Node is adopted, and only if the request says beforehand which machine that is.
#[rstest]
#[case::another_key(json!({}), |former: &mut Record| {
    former.chosen.as_mut().unwrap().public_key = PublicKeyPin::of_spki(b"another");
})]
#[case::of_another_node(json!({}), |former: &mut Record| former.node_uid = Some("another".to_owned()))]
#[case::not_issued(json!({}), |former: &mut Record| former.chosen.as_mut().unwrap().issued = false)]
#[case::nothing_chosen(json!({}), |former: &mut Record| former.chosen = None)]
#[case::joined_by_kubeadm(json!({}), |former: &mut Record| former.machine = None)]
#[case::first_use(json!({ "machine": { "trust": "FirstUse" } }), |_: &mut Record| {})]
#[case::for_kubeadm(json!({ "machine": { "trust": "FirstUse" }, "delivery": "Token" }), |_: &mut Record| {})]
fn no_other_node_is_adopted(#[case] spec: Value, #[case] change: impl FnOnce(&mut Record)) {
    let machine = Machine::new();
    let mut spec = spec;
    if spec.get("machine").is_none() {
        spec["machine"] = json!({ "publicKeyHash": machine.pin() });
    }
    let mut model = Model::new(&spec);
    model.register(OLD);
    let mut record = former(machine.key.pin());
    change(&mut record);
    model.former = Some(record);
    model.announce(&machine);
    assert_eq!(model.visit(), [""; 0]);
    assert_eq!(model.summary(), (Reason::NodeAlreadyExists, true));
}

/// The API server refuses such requests; one that is there all the same costs no Node.
#[rstest]
#[case::first_use(json!({ "machine": { "trust": "FirstUse" } }))]
#[case::kubeadm(json!({ "machine": { "trust": "FirstUse" }, "delivery": "Token" }))]
fn where_the_machine_is_not_known_beforehand_nothing_is_replaced(#[case] spec: Value) {
    let mut model = Model::new(&spec);
    model.request.spec.replaces_node_uid = Some(OLD.to_owned());
    model.register(OLD);
    model.announce(&Machine::new());
    assert_eq!(model.visit(), [""; 0]);
    assert!(model.node.is_some());
    assert_eq!(model.summary(), (Reason::NodeAlreadyExists, true));
    assert!(message(&model).contains(&format!("kubectl delete node {NODE}")), "{}", message(&model));
}
