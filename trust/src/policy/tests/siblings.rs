//! Which of several requests of one requester counts.

use super::scene::{NOW, Scene};
use crate::names::CLIENT_SIGNER;
use crate::policy::{Accounting, CertificateRequest, Decision, KeyBinding, Rule, decide, superseded_by};
use crate::test_support::{Forge, printable};

/// The scene's request and another one of the same kubelet, made later with a key of its own.
fn older_and_newer() -> (Scene, CertificateRequest, CertificateRequest) {
    let mut scene = Scene::serving();
    scene.csr.created_at = NOW - 60;
    let older = scene.csr();
    let mut forge = Forge::kubelet("worker-7");
    forge.names = scene.forge.names.clone();
    let newer = CertificateRequest {
        name: "csr-newer".to_owned(),
        uid: "newer".to_owned(),
        created_at: NOW - 30,
        request: forge.pem(),
        ..older.clone()
    };
    (scene, older, newer)
}

#[test]
fn the_newer_good_request_takes_the_older_ones_place() {
    let (scene, older, newer) = older_and_newer();
    let all = [older.clone(), newer.clone()];
    assert_eq!(superseded_by(&older, &all, &scene.context()), Some("csr-newer"));
    assert_eq!(superseded_by(&newer, &all, &scene.context()), None);
    assert_eq!(superseded_by(&older, &[], &scene.context()), None);
}

/// A request for another name is not asked for again by it, and is judged by itself.
#[test]
fn a_good_request_does_not_take_the_place_of_one_for_another_name() {
    let (scene, older, newer) = older_and_newer();
    let older = CertificateRequest { request: Forge::kubelet("worker-8").pem(), ..older };
    assert_eq!(superseded_by(&older, [&newer], &scene.context()), None);
}

#[test]
fn requests_of_the_same_second_have_one_winner() {
    let (scene, older, newer) = older_and_newer();
    let newer = CertificateRequest { created_at: older.created_at, ..newer };
    let all = [older.clone(), newer.clone()];
    let losers = [&older, &newer].into_iter().filter(|csr| superseded_by(csr, &all, &scene.context()).is_some());
    assert_eq!(losers.count(), 1);
}

#[test]
fn the_newest_of_three_is_named() {
    let (scene, older, newer) = older_and_newer();
    let newest = CertificateRequest {
        name: "csr-newest".to_owned(),
        uid: "newest".to_owned(),
        created_at: NOW,
        ..newer.clone()
    };
    let all = [newest, newer, older.clone()];
    assert_eq!(superseded_by(&older, &all, &scene.context()), Some("csr-newest"));
}

#[test]
fn a_bad_request_displaces_nothing() {
    let (scene, older, newer) = older_and_newer();
    let none = |other: CertificateRequest| assert_eq!(superseded_by(&older, [&other], &scene.context()), None);
    none(CertificateRequest { approved: true, ..newer.clone() });
    none(CertificateRequest { denied: true, ..newer.clone() });
    none(CertificateRequest { username: "system:node:worker-8".to_owned(), ..newer.clone() });
    none(CertificateRequest { signer_name: CLIENT_SIGNER.to_owned(), ..newer.clone() });
    none(CertificateRequest { usages: Vec::new(), ..newer.clone() });
    none(CertificateRequest { request: b"x".to_vec(), ..newer.clone() });
    let mut other_name = Forge::kubelet("worker-8");
    other_name.names = scene.forge.names.clone();
    none(CertificateRequest { request: other_name.pem(), ..newer.clone() });
    let mut two_organisations = Forge::kubelet("worker-7");
    two_organisations.names = scene.forge.names.clone();
    let organisation = (two_organisations.subject[0][0].0, printable("system:masters"));
    two_organisations.subject.push(vec![organisation]);
    none(CertificateRequest { request: two_organisations.pem(), ..newer });
}

#[test]
fn a_thief_cannot_displace_the_pinned_key() {
    let mut scene = Scene::client();
    let real = scene.csr();
    let thief = CertificateRequest {
        name: "thief".to_owned(),
        uid: "thief".to_owned(),
        created_at: real.created_at + 1,
        request: Forge::kubelet("worker-7").pem(),
        ..real.clone()
    };
    assert_eq!(superseded_by(&real, [&thief], &scene.context()), None);
    scene.record().key = KeyBinding::FirstUse;
    assert_eq!(superseded_by(&real, [&thief], &scene.context()), Some("thief"), "without a pin nobody can tell");
}

#[test]
fn a_chosen_request_stands_whatever_comes_later() {
    let mut scene = Scene::client();
    scene.record().key = KeyBinding::FirstUse;
    let first = scene.csr();
    let later = CertificateRequest {
        name: "later".to_owned(),
        uid: "later".to_owned(),
        created_at: first.created_at + 1,
        request: Forge::kubelet("worker-7").pem(),
        ..first.clone()
    };
    let public_key = scene.forge.pin();
    scene.record().approved = Some(Accounting { csr_uid: first.uid.clone(), public_key, issued: false });
    assert_eq!(superseded_by(&first, [&later], &scene.context()), None);
    let Decision::Wait(finding) = decide(&later, &scene.context()) else { panic!("{later:?}") };
    assert_eq!(finding.rule, Rule::CertificatePending);
}

#[test]
fn a_request_that_only_waits_still_takes_the_place() {
    let (mut scene, older, newer) = older_and_newer();
    scene.approved_addresses.clear();
    assert_eq!(superseded_by(&older, [&newer], &scene.context()), Some("csr-newer"));
}
