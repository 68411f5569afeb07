//! `doctor`: good, and each weakness with what mends it.

use rstest::rstest;
use serde_json::json;

use super::scene::{ago, binding, component, good, group, object, token};
use crate::cluster::facts::{Facts, Look};
use crate::cluster::fix::{FIXABLE, FixError, Step, plan};
use crate::cluster::{doctor, ids};
use crate::{Finding, Format, Verdict};

fn list<T>(look: &mut Look<Vec<T>>) -> &mut Vec<T> {
    match look {
        Look::Found(list) => list,
        _ => panic!("not there"),
    }
}

fn bind(facts: &mut Facts, role: &str, subject: serde_json::Value) {
    list(&mut facts.cluster_role_bindings).push(object(binding("added", role, subject)));
}

fn user(name: &str) -> serde_json::Value {
    json!({"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"})
}

#[test]
fn a_good_cluster_has_no_weakness_and_nothing_to_mend() {
    let report = doctor(&good());
    let told: Vec<&Finding> = report.checks.iter().filter(|finding| finding.verdict != Verdict::Passed).collect();
    assert_eq!(told, Vec::<&Finding>::new());
    assert_eq!(report.checks.len(), 12);
    for id in FIXABLE {
        assert_eq!(plan(&good(), id).unwrap(), [], "{id}");
    }
}

type Spoil = fn(&mut Facts);

#[rstest]
#[case(ids::AUTO_APPROVE_BOOTSTRAP, Verdict::Warning, "added for Group system:bootstrappers:kubeadm:default-node-token",
    |f: &mut Facts| bind(f, "nodeclient", group("system:bootstrappers:kubeadm:default-node-token")))]
#[case(ids::RENEWAL_APPROVAL, Verdict::Warning, "no binding",
    |f: &mut Facts| list(&mut f.cluster_role_bindings).retain(|binding| binding.metadata.name.as_deref() != Some("rotation")))]
#[case(ids::UNEXPIRING_TOKENS, Verdict::Failed, "valid for ever: bootstrap-token-abcdef", |f: &mut Facts| list(&mut f.tokens)[0].expires = None)]
#[case(ids::LONG_LIVED_TOKENS, Verdict::Warning, "the longest for 30d", |f: &mut Facts| list(&mut f.tokens)[0].expires = Some(ago(-30 * 86_400)))]
#[case(ids::UNBOUND_TOKENS, Verdict::Warning, "may ask to become any node",
    |f: &mut Facts| list(&mut f.tokens)[0].groups = vec!["system:bootstrappers:kubeadm:default-node-token".to_owned()])]
#[case(ids::UNBOUND_TOKENS, Verdict::Warning, "bootstrap-token-fedcba", |f: &mut Facts| list(&mut f.tokens)[1].request_uid = None)]
#[case(ids::BOOTSTRAPPERS_BINDINGS, Verdict::Failed, "lets Group system:bootstrappers get,list secrets",
    |f: &mut Facts| bind(f, "secret-reader", group("system:bootstrappers")))]
#[case(ids::BOOTSTRAPPERS_BINDINGS, Verdict::Failed, "lets Group system:bootstrappers:nodejoin:enroll * *",
    |f: &mut Facts| bind(f, "cluster-admin", group("system:bootstrappers:nodejoin:enroll")))]
#[case(ids::ANONYMOUS_RIGHTS, Verdict::Failed, "lets User system:anonymous get,list secrets", |f: &mut Facts| bind(f, "secret-reader", user("system:anonymous")))]
#[case(ids::ANONYMOUS_RIGHTS, Verdict::Failed, "Group system:unauthenticated", |f: &mut Facts| bind(f, "cluster-admin", group("system:unauthenticated")))]
#[case(ids::NODE_RESTRICTION, Verdict::Failed, "runs without",
    |f: &mut Facts| list(&mut f.components)[0] = object(component("kube-apiserver", &["--enable-admission-plugins=PodSecurity"])))]
#[case(ids::POLICY_BINDINGS, Verdict::Failed, "nothing enforces", |f: &mut Facts| list(&mut f.policy_bindings).clear())]
fn each_weakness_is_told_by_one_check_and_mended_by_its_steps(
    #[case] id: &str,
    #[case] verdict: Verdict,
    #[case] observed: &str,
    #[case] spoil: Spoil,
) {
    let mut facts = good();
    spoil(&mut facts);
    let report = doctor(&facts);
    let told: Vec<&Finding> =
        report.checks.iter().filter(|finding| finding.verdict != Verdict::Passed && finding.id == id).collect();
    let all = report.render(Format::Short);
    assert_eq!(told.iter().map(|finding| finding.verdict).collect::<Vec<_>>(), [verdict], "{all}");
    assert!(told[0].observed.contains(observed), "{:?} lacks {observed:?}", told[0].observed);
    if FIXABLE.contains(&id) {
        let steps = plan(&facts, id).unwrap();
        assert!(!steps.is_empty());
        for step in steps {
            carry_out(&mut facts, step);
        }
        let mended = doctor(&facts);
        assert!(
            mended.checks.iter().all(|finding| finding.verdict == Verdict::Passed),
            "{}",
            mended.render(Format::Short)
        );
        assert!(told[0].remedy.as_ref().unwrap().contains(&format!("kubectl njr doctor --fix {id}")));
    } else {
        assert!(matches!(plan(&facts, id), Err(FixError::NotFixable { .. })));
    }
}

/// What the API server would make of a step.
fn carry_out(facts: &mut Facts, step: Step) {
    match step {
        Step::RemoveBinding(gone) => list(&mut facts.cluster_role_bindings)
            .retain(|binding| binding.metadata.uid.as_deref() != Some(gone.uid.as_str())),
        Step::RemoveToken { uid, .. } => list(&mut facts.tokens).retain(|token| token.uid != uid),
        Step::AddRenewal(mut binding) => {
            // The scene's role of that content has a shorter name.
            "selfnodeclient".clone_into(&mut binding.role_ref.name);
            list(&mut facts.cluster_role_bindings).push(*binding);
        }
        Step::AddPolicyBinding(binding) => list(&mut facts.policy_bindings).push(*binding),
    }
}

#[test]
fn automatic_approval_of_our_own_tokens_is_an_error_not_a_warning() {
    let mut facts = good();
    bind(&mut facts, "nodeclient", group("system:bootstrappers"));
    let report = doctor(&facts);
    let told = report.checks.iter().find(|finding| finding.id == ids::AUTO_APPROVE_BOOTSTRAP).unwrap();
    assert_eq!(told.verdict, Verdict::Failed);
    assert!(told.observed.contains("join-operator's own tokens are among them"));
}

#[test]
fn what_cannot_be_seen_is_not_mended_blindly() {
    let mut facts = good();
    facts.tokens = Look::Forbidden("not allowed to list bootstrap tokens".to_owned());
    facts.roles = Look::Forbidden("not allowed to list Roles".to_owned());
    facts.policy_bindings = Look::Failed("cannot list".to_owned());
    for id in FIXABLE {
        assert!(matches!(plan(&facts, id), Err(FixError::Unseen { .. })), "{id}");
    }
}

#[test]
fn bindings_of_policies_that_are_missing_are_not_made() {
    let mut facts = good();
    list(&mut facts.policies).clear();
    list(&mut facts.policy_bindings).clear();
    assert!(matches!(plan(&facts, ids::POLICY_BINDINGS), Err(FixError::PoliciesMissing { .. })));
    let report = doctor(&facts);
    let told = report.checks.iter().find(|finding| finding.id == ids::POLICY_BINDINGS).unwrap();
    assert!(told.remedy.as_ref().unwrap().starts_with("helm upgrade --install"));
}

#[rstest]
#[case((1, 31, 11), Some("CVE-2025-5187"))]
#[case((1, 31, 12), None)]
#[case((1, 32, 5), Some("CVE-2025-5187 and CVE-2025-4563"))]
#[case((1, 32, 7), Some("CVE-2025-5187"))]
#[case((1, 33, 4), None)]
#[case((1, 30, 99), Some("CVE-2025-5187"))]
#[case((1, 37, 0), None)]
fn holes_in_node_restriction_are_known_by_version(#[case] number: (u32, u32, u32), #[case] expected: Option<&str>) {
    let mut facts = good();
    let Look::Found(server) = &mut facts.server else { panic!() };
    server.number = Some(number);
    let report = doctor(&facts);
    let told = report.checks.iter().find(|finding| finding.id == ids::NODE_RESTRICTION).unwrap();
    match expected {
        Some(holes) => assert!(told.observed.ends_with(&format!("has {holes}")), "{}", told.observed),
        None => assert_eq!(told.verdict, Verdict::Passed),
    }
}

#[test]
fn a_plan_is_shown_in_words() {
    let mut facts = good();
    bind(&mut facts, "nodeclient", group("system:bootstrappers"));
    list(&mut facts.tokens).push(crate::cluster::facts::Token { expires: None, ..token("zzzzzz") });
    let shown = |id| plan(&facts, id).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(shown(ids::AUTO_APPROVE_BOOTSTRAP), ["delete ClusterRoleBinding added"]);
    assert_eq!(shown(ids::UNEXPIRING_TOKENS), ["delete Secret kube-system/bootstrap-token-zzzzzz"]);
}
