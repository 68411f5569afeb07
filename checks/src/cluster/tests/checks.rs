//! `check`: good, before the installation, and each way of being wrong.

use k8s_openapi::api::core::v1::ConfigMap;
use rstest::rstest;
use serde_json::json;

use super::scene::{account, ago, binding, component, good, group, kubelet_request, lease, object, with_available};
use crate::cluster::facts::{Facts, Look, RecordSeen, Signature};
use crate::cluster::rights::{controller, too_much_for_the_controller};
use crate::cluster::{Scope, check, ids};
use crate::{Finding, Format, Verdict};

fn map(facts: &mut Facts) -> &mut ConfigMap {
    match &mut facts.cluster_info {
        Look::Found(map) => map,
        other => panic!("{other:?}"),
    }
}

fn list<T>(look: &mut Look<Vec<T>>) -> &mut Vec<T> {
    match look {
        Look::Found(list) => list,
        _ => panic!("not there"),
    }
}

#[test]
fn a_good_cluster_passes_every_check() {
    let report = check(&good(), Scope::Installed);
    assert_eq!(report.render(Format::Short), "");
    let skipped: Vec<&Finding> = report.checks.iter().filter(|finding| finding.verdict != Verdict::Passed).collect();
    assert_eq!(skipped, Vec::<&Finding>::new());
    assert_eq!(report.checks.len(), 19);
}

#[test]
fn a_record_that_is_kept_for_a_node_is_nothing_left_over() {
    let mut facts = good();
    add_record(&mut facts);
    let kept = |record: &mut RecordSeen| record.of_node = true;
    list(&mut facts.records).iter_mut().for_each(kept);
    let report = check(&facts, Scope::Installed);
    assert_eq!(report.render(Format::Short), "");
}

#[test]
fn before_the_installation_nothing_of_the_operator_is_expected() {
    let mut facts = good();
    facts.policies = Look::Found(Vec::new());
    facts.served = Look::Absent;
    facts.controller_lease = Look::Absent;
    let report = check(&facts, Scope::BeforeInstallation);
    assert!(report.is_good(), "{}", report.render(Format::Table));
    assert!(report.checks.iter().all(|finding| finding.id != ids::CRD));
}

#[test]
fn when_nobody_answers_that_is_all_there_is_to_say() {
    let facts = Facts { server: Look::Failed("GET /version: connection refused".to_owned()), ..good() };
    let report = check(&facts, Scope::Installed);
    assert!(!report.is_good());
    assert_eq!(report.checks.iter().map(|finding| finding.section).collect::<Vec<_>>(), [ids::API_REACHABLE]);
}

/// Spoils one thing; the check of this name must be the only one that says so.
type Spoil = fn(&mut Facts);

#[rstest]
#[case(ids::API_VERSION, Verdict::Failed, "older", |f: &mut Facts| set_version(f, "v1.34.9", 34))]
#[case(ids::API_VERSION, Verdict::Warning, "newer", |f: &mut Facts| set_version(f, "v1.38.0", 38))]
#[case(ids::CLOCK_SKEW, Verdict::Warning, "5m before", |f: &mut Facts| skew(f, 300))]
#[case(ids::CLOCK_SKEW, Verdict::Warning, "2m behind", |f: &mut Facts| skew(f, -120))]
#[case(ids::OWN_RIGHTS, Verdict::Failed, "may not: get nodejoinrequests.nodejoin.dev", |f: &mut Facts| f.rights[0].1 = Look::Found(false))]
#[case(ids::CLUSTER_INFO, Verdict::Failed, "no kubeconfig", |f: &mut Facts| map(f).data = None)]
#[case(ids::CLUSTER_INFO, Verdict::Failed, "another cluster's", |f: &mut Facts| f.trusted = vec![join_trust::pin::PublicKeyPin::of_spki(b"x")])]
#[case(ids::CLUSTER_INFO_ANONYMOUS, Verdict::Failed, "no Role", |f: &mut Facts| f.anonymous = Look::Found(403))]
#[case(ids::CLUSTER_INFO_ANONYMOUS, Verdict::Failed, "everybody without", |f: &mut Facts| f.anonymous = Look::Found(401))]
#[case(ids::CLUSTER_INFO_ANONYMOUS, Verdict::Failed, "502", |f: &mut Facts| f.anonymous = Look::Found(502))]
#[case(ids::CLUSTER_INFO_SIGNATURES, Verdict::Failed, "abcdef (missing)", |f: &mut Facts| list(&mut f.tokens)[0].signature = Signature::Missing)]
#[case(ids::CLUSTER_INFO_SIGNATURES, Verdict::Failed, "abcdef (wrong)", |f: &mut Facts| list(&mut f.tokens)[0].signature = Signature::Wrong)]
#[case(ids::SIGNER, Verdict::Failed, "unsigned-1 (for 10m)", |f: &mut Facts| add_request(f, kubelet_request("unsigned-1", 700, Some(600), false)))]
#[case(ids::SIGNER, Verdict::Failed, "last renewed 10m ago", |f: &mut Facts| f.manager_lease = Look::Found(object(lease("cp_1", 600))))]
#[case(ids::SIGNER, Verdict::Failed, "csrsigning controller off", |f: &mut Facts| set_manager(f, &["--controllers=*,-csrsigning", "--cluster-signing-cert-file=x"]))]
#[case(ids::SIGNER, Verdict::Failed, "without --cluster-signing-cert-file", |f: &mut Facts| set_manager(f, &["--leader-elect=true"]))]
#[case(ids::BOOTSTRAP_AUTHENTICATION, Verdict::Failed, "without that flag", |f: &mut Facts| list(&mut f.components)[0] = object(component("kube-apiserver", &["--enable-admission-plugins=NodeRestriction"])))]
#[case(ids::CRD, Verdict::Failed, "knows no nodejoinrequests", |f: &mut Facts| f.served = Look::Absent)]
#[case(ids::CRD, Verdict::Warning, "another version's: schema", change_crd)]
#[case(ids::POLICIES, Verdict::Failed, "nodejoin-approvals is missing", |f: &mut Facts| drop(list(&mut f.policies).remove(0)))]
#[case(ids::POLICIES, Verdict::Failed, "failurePolicy differs", |f: &mut Facts| list(&mut f.policies)[0].spec.as_mut().unwrap().failure_policy = Some("Ignore".to_owned()))]
#[case(ids::POLICY_BINDINGS, Verdict::Failed, "nothing enforces nodejoin-approvals", |f: &mut Facts| drop(list(&mut f.policy_bindings).remove(0)))]
#[case(ids::POLICY_BINDINGS, Verdict::Failed, "nothing enforces nodejoin-enrollment", add_policy)]
#[case(ids::POLICY_BINDINGS, Verdict::Failed, "lacks Deny", |f: &mut Facts| list(&mut f.policy_bindings)[0].spec.as_mut().unwrap().validation_actions = Some(vec!["Audit".to_owned()]))]
#[case(ids::CONTROLLER_DEPLOYMENT, Verdict::Failed, "0 of 2 available; Deployment does not", |f: &mut Facts| with_available(f, 0))]
#[case(ids::CONTROLLER_DEPLOYMENT, Verdict::Warning, "1 of 2 available", |f: &mut Facts| with_available(f, 1))]
#[case(ids::CONTROLLER_LEASE, Verdict::Failed, "no controller has run yet", |f: &mut Facts| f.controller_lease = Look::Absent)]
#[case(ids::CONTROLLER_LEASE, Verdict::Failed, "last renewed 5m ago", |f: &mut Facts| f.controller_lease = Look::Found(object(lease("c", 300))))]
#[case(ids::CONTROLLER_LEASE, Verdict::Failed, "nobody holds it", |f: &mut Facts| f.controller_lease = Look::Found(object(lease("", 1))))]
#[case(ids::LEFTOVER_TOKENS, Verdict::Warning, "ended long ago: bootstrap-token-abcdef", |f: &mut Facts| list(&mut f.tokens)[0].expires = Some(ago(900)))]
#[case(ids::LEFTOVER_TOKENS, Verdict::Warning, "of no request: bootstrap-token-fedcba", |f: &mut Facts| list(&mut f.tokens)[1].request_uid = Some("gone".to_owned()))]
#[case(ids::LEFTOVER_SIGNATURES, Verdict::Warning, "jws-kubeconfig-zzzzzz", |f: &mut Facts| drop(map(f).data.as_mut().unwrap().insert("jws-kubeconfig-zzzzzz".to_owned(), "x".to_owned())))]
#[case(ids::LEFTOVER_CERTIFICATE_REQUESTS, Verdict::Warning, "old-1 (for 2h)", |f: &mut Facts| add_request(f, kubelet_request("old-1", 7200, None, false)))]
#[case(ids::LEFTOVER_RECORDS, Verdict::Warning, "njr-gone", add_record)]
#[case(ids::OTHER_APPROVERS, Verdict::Warning, "ServiceAccount kube-system/kubelet-csr-approver", |f: &mut Facts| bind(f, "approver", account("kube-system", "kubelet-csr-approver")))]
#[case(ids::OTHER_APPROVERS, Verdict::Failed, "no key is compared", |f: &mut Facts| bind(f, "nodeclient", group("system:bootstrappers")))]
fn one_fault_is_told_by_one_check(
    #[case] id: &str,
    #[case] verdict: Verdict,
    #[case] observed: &str,
    #[case] spoil: Spoil,
) {
    let mut facts = good();
    spoil(&mut facts);
    let report = check(&facts, Scope::Installed);
    let told: Vec<&Finding> = report.checks.iter().filter(|finding| finding.verdict != Verdict::Passed).collect();
    assert_eq!(
        told.iter().map(|finding| (finding.section, finding.verdict)).collect::<Vec<_>>(),
        [(id, verdict)],
        "{told:#?}"
    );
    assert!(told[0].observed.contains(observed), "{:?} lacks {observed:?}", told[0].observed);
    assert!(told[0].remedy.as_ref().is_some_and(|remedy| !remedy.is_empty() && !remedy.contains('\n')));
}

#[test]
fn policies_of_another_namespace_are_told_as_that_and_not_as_changed() {
    let finding = |facts: &Facts| {
        let report = check(facts, Scope::Installed);
        report.checks.into_iter().find(|finding| finding.id == ids::POLICIES).unwrap()
    };
    let mut facts = good();
    facts.namespace = "wrong".to_owned();
    let told = finding(&facts);
    assert_eq!(told.verdict, Verdict::Failed);
    assert_eq!(told.observed, "they name the controller of namespace join-system, not of wrong");
    assert_eq!(told.remedy.as_deref(), Some("kubectl njr check --namespace join-system"));
    // With a fault of their own, that is what matters.
    list(&mut facts.policies)[0].spec.as_mut().unwrap().failure_policy = Some("Ignore".to_owned());
    let told = finding(&facts);
    assert!(told.observed.contains("was changed"), "{told:#?}");
    assert!(told.remedy.unwrap().starts_with("helm upgrade"));
}

fn set_version(facts: &mut Facts, version: &str, minor: u32) {
    let Look::Found(server) = &mut facts.server else { panic!() };
    version.clone_into(&mut server.version);
    server.number = Some((1, minor, 0));
}

fn skew(facts: &mut Facts, seconds: i64) {
    let Look::Found(server) = &mut facts.server else { panic!() };
    server.skew_seconds = Some(seconds);
}

fn add_request(facts: &mut Facts, request: serde_json::Value) {
    list(&mut facts.certificate_requests).push(object(request));
}

fn set_manager(facts: &mut Facts, flags: &[&str]) {
    list(&mut facts.components)[1] = object(component("kube-controller-manager", flags));
}

fn add_record(facts: &mut Facts) {
    list(&mut facts.records).push(RecordSeen {
        name: "njr-gone".to_owned(),
        request_uid: "gone".to_owned(),
        of_node: false,
        created: Some(ago(3600)),
    });
}

fn bind(facts: &mut Facts, to: &str, subject: serde_json::Value) {
    list(&mut facts.cluster_role_bindings).push(object(binding("added", to, subject)));
}

/// A policy that the chart has only with some values, without its binding.
fn add_policy(facts: &mut Facts) {
    list(&mut facts.policies).push(object(json!({"metadata": {"name": "nodejoin-enrollment"}, "spec": {}})));
}

fn change_crd(facts: &mut Facts) {
    let Look::Found(crd) = &mut facts.crd else { panic!() };
    let mut value = serde_json::to_value(&*crd).unwrap();
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/tokenTTLSeconds/maximum";
    *value.pointer_mut(spec).unwrap() = json!(1_000_000);
    **crd = object(value);
}

#[test]
fn what_may_not_be_read_is_skipped_and_says_which_right_was_missing() {
    let mut facts = good();
    facts.tokens = Look::Forbidden("not allowed to list bootstrap tokens".to_owned());
    facts.roles = Look::Forbidden("not allowed to list Roles".to_owned());
    facts.policies = Look::Forbidden("not allowed to list admission policies".to_owned());
    let report = check(&facts, Scope::Installed);
    assert!(report.is_good());
    let skipped: Vec<(&str, &str)> = report
        .checks
        .iter()
        .filter(|finding| finding.verdict == Verdict::Skipped)
        .map(|finding| (finding.section, finding.observed.as_str()))
        .collect();
    assert_eq!(
        skipped,
        [
            (ids::CLUSTER_INFO_SIGNATURES, "not allowed to list bootstrap tokens"),
            (ids::OTHER_APPROVERS, "not allowed to list Roles"),
            (ids::POLICIES, "not allowed to list admission policies"),
            (ids::LEFTOVER_TOKENS, "not allowed to list bootstrap tokens"),
            (ids::LEFTOVER_SIGNATURES, "not allowed to list bootstrap tokens"),
        ]
    );
}

#[test]
fn a_controller_that_may_too_much_is_warned_of() {
    let needed = controller("join-system").into_iter().map(|right| (right, Look::Found(true)));
    let excess = too_much_for_the_controller();
    let rights = |first: bool| {
        let excess = excess.iter().cloned().enumerate().map(|(at, right)| (right, Look::Found(first && at == 0)));
        needed.clone().chain(excess.collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    let finding = |rights| {
        let facts = Facts { rights, ..good() };
        check(&facts, Scope::Controller).checks.into_iter().find(|finding| finding.id == ids::OWN_RIGHTS).unwrap()
    };
    assert_eq!(finding(rights(false)).verdict, Verdict::Passed);
    let told = finding(rights(true));
    assert_eq!(
        (told.verdict, told.observed.as_str()),
        (Verdict::Warning, "may, and must not: get secrets in kube-system")
    );
}

#[test]
fn a_token_that_was_just_made_may_still_be_without_a_signature() {
    let mut facts = good();
    list(&mut facts.tokens)[0].signature = Signature::Missing;
    list(&mut facts.tokens)[0].created = Some(ago(5));
    assert!(check(&facts, Scope::Installed).is_good());
}

#[test]
fn names_of_others_are_quoted_in_commands() {
    let mut facts = good();
    let name = "x; rm -rf $HOME";
    list(&mut facts.cluster_role_bindings).push(object(binding(name, "nodeclient", group("system:bootstrappers"))));
    let report = check(&facts, Scope::Installed);
    let told = report.checks.iter().find(|finding| finding.id == ids::OTHER_APPROVERS).unwrap();
    assert_eq!(told.remedy.as_deref(), Some("kubectl delete clusterrolebinding 'x; rm -rf $HOME'"));
}
