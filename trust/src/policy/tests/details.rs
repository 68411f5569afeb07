//! What a decision says to people, and the figures that it uses when nobody has changed them.

use rstest::rstest;

use super::scene::{NODE_UID, Scene};
use crate::pin::PublicKeyPin;
use crate::policy::{Accounting, Decision, KeyBinding, Settings};

/// The detail of the finding that decides.
fn detail(scene: &Scene) -> String {
    match scene.decide() {
        Decision::Deny(finding) | Decision::Wait(finding) | Decision::NotOurs(finding) => finding.detail,
        Decision::Approve(approval) => panic!("{approval:?}"),
    }
}

#[test]
fn the_newer_request_is_named() {
    let mut scene = Scene::client();
    scene.superseded_by = Some("csr-newer".to_owned());
    assert_eq!(detail(&scene), "the same requester has asked again with \"csr-newer\"");
}

#[rstest]
#[case::same(true, "for the same key")]
#[case::other(false, "for another key")]
fn a_second_certificate_says_whose_the_first_is(#[case] same: bool, #[case] expected: &str) {
    let mut scene = Scene::client();
    let public_key = if same { scene.forge.pin() } else { PublicKeyPin::of_spki(b"another key") };
    scene.record().key = KeyBinding::FirstUse;
    scene.record().approved = Some(Accounting { csr_uid: "another".to_owned(), public_key, issued: true });
    assert!(detail(&scene).contains(expected), "{}", detail(&scene));
}

#[test]
fn both_uids_of_a_replaced_node_are_named() {
    let mut scene = Scene::serving();
    scene.node_uid = Some("another".to_owned());
    assert_eq!(detail(&scene), format!("the Node has UID another, the one that joined had {NODE_UID}"));
}

#[test]
fn the_figures_are_those_of_the_documentation() {
    let Settings { clock_skew_seconds, maximum_validity_seconds, maximum_serving_age_seconds } = Settings::default();
    let figures = (clock_skew_seconds, maximum_validity_seconds, maximum_serving_age_seconds);
    assert_eq!(figures, (10, 31_536_000, 3600));
}
