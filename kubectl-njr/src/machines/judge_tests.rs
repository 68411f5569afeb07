use join_crds::status::BoundMachine;
use join_crds::{Machine as SpecMachine, NodeJoinRequestStatus};
use join_trust::announcement::AnnouncementError;
use join_trust::names::NodeName;
use join_trust::sealing::SealingPublicKey;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rstest::rstest;

use super::*;

pub(crate) fn pin(seed: &str) -> PublicKeyPin {
    PublicKeyPin::of_spki(seed.as_bytes())
}

pub(crate) fn announced(name: &str, key: &str, created: i64) -> Announced {
    Announced {
        object: format!("nodejoin-machine-{name}-{created}"),
        created: Some(Timestamp::from_second(created).unwrap()),
        requested_by: "system:bootstrap:abcdef".to_owned(),
        content: Ok(Announcement {
            node_name: NodeName::parse(name).unwrap(),
            public_key_hash: pin(key),
            addresses: vec!["192.0.2.17".parse().unwrap()],
            sealing_key: SealingPublicKey::from_bytes(&[9; 32]).unwrap(),
        }),
    }
}

fn request(name: &str, machine: SpecMachine, bound: Option<&str>) -> NodeJoinRequest {
    let spec = serde_json::json!({"machine": serde_json::to_value(machine).unwrap()});
    let mut request = NodeJoinRequest::new(name, serde_json::from_value(spec).unwrap());
    request.status = bound.map(|key| NodeJoinRequestStatus {
        machine: Some(BoundMachine {
            public_key_hash: pin(key).to_string(),
            announcement: None,
            first_seen: Time(Timestamp::UNIX_EPOCH),
        }),
        ..NodeJoinRequestStatus::default()
    });
    request
}

fn pinned(key: &str) -> SpecMachine {
    SpecMachine { public_key_hash: Some(pin(key).to_string()), trust: Trust::Pinned }
}

const FIRST_USE: SpecMachine = SpecMachine { public_key_hash: None, trust: Trust::FirstUse };

#[rstest]
#[case::nobody_asked(&["a"], None, false, &[Status::New])]
#[case::two_keys(&["a", "b"], None, false, &[Status::KeyConflict, Status::KeyConflict])]
#[case::a_node_is_there(&["a"], None, true, &[Status::NodeExists])]
#[case::pinned(&["a"], Some(request("w", pinned("a"), None)), false, &[Status::Accepted])]
#[case::pinned_and_joined(&["a"], Some(request("w", pinned("a"), Some("a"))), true, &[Status::Accepted])]
#[case::another_is_pinned(&["a", "b"], Some(request("w", pinned("a"), None)), false, &[Status::Accepted, Status::NotExpected])]
#[case::first_use(&["a"], Some(request("w", FIRST_USE, None)), false, &[Status::Expected])]
#[case::first_use_of_two(&["a", "b"], Some(request("w", FIRST_USE, None)), false, &[Status::KeyConflict, Status::KeyConflict])]
#[case::first_use_bound(&["a", "b"], Some(request("w", FIRST_USE, Some("b"))), false, &[Status::NotExpected, Status::Accepted])]
fn announcements_are_judged(
    #[case] keys: &[&str],
    #[case] request: Option<NodeJoinRequest>,
    #[case] is_node: bool,
    #[case] expected: &[Status],
) {
    let announced: Vec<_> = keys.iter().zip(1..).map(|(key, time)| announced("w", key, time)).collect();
    let nodes = is_node.then(|| "w".to_owned()).into_iter().collect();
    let requests: Vec<_> = request.into_iter().collect();
    let machines = judge(&announced, &requests, Some(&nodes));
    assert_eq!(machines.iter().map(|machine| machine.status).collect::<Vec<_>>(), expected);
}

#[test]
fn a_request_for_stock_kubeadm_expects_no_agent() {
    let mut request = request("w", FIRST_USE, None);
    request.spec.delivery = Delivery::Token;
    let machines = judge(&[announced("w", "a", 1)], &[request], None);
    assert_eq!(machines[0].status, Status::NotExpected);
}

#[test]
fn one_machine_that_announced_itself_twice_is_one() {
    let machines = judge(&[announced("w", "a", 7), announced("w", "a", 3)], &[], None);
    assert_eq!(machines.len(), 1);
    assert_eq!((machines[0].status, machines[0].announcement.as_str()), (Status::New, "nodejoin-machine-w-3"));
}

#[test]
fn what_does_not_hold_is_shown_without_a_name_and_counts_for_nothing() {
    let mut invalid = announced("w", "b", 1);
    invalid.content = Err(AnnouncementError::NoSealingKey);
    let machines = judge(&[invalid, announced("w", "a", 2)], &[], None);
    assert_eq!(machines.iter().map(|machine| machine.status).collect::<Vec<_>>(), [Status::New, Status::Invalid]);
    assert_eq!((&machines[1].name, machines[1].public_key_hash), (&None, None));
    assert!(machines[1].message.contains("no sealing key"), "{}", machines[1].message);
}
