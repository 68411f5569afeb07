//! What the chart installs, as far as it is no admission policy.

use join_crds::vocabulary::{GROUP, PLURAL, VERSION};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use super::facts::{Facts, Look};
use super::freshness::{Held, held, span};
use super::ids;
use super::rights::{Right, too_much_for_the_controller};
use super::shell::word;
use crate::Finding;

/// Puts back what belongs to the chart.
pub(super) fn install(namespace: &str) -> String {
    format!(
        "helm upgrade --install join-operator charts/join-operator --namespace {} --create-namespace",
        word(namespace)
    )
}

/// The type of requests. With an administrator's rights its schema is compared with this program's.
pub(super) fn crd(facts: &Facts) -> Finding {
    let expected = format!("{PLURAL}.{GROUP} is served as {VERSION} with this version's schema");
    let failed = |observed: String| Finding::failed(ids::CRD, expected.clone(), observed, install(&facts.namespace));
    match &facts.served {
        Look::Found(()) => {}
        Look::Absent => return failed(format!("the API server knows no {PLURAL}.{GROUP}/{VERSION}")),
        Look::Failed(why) => return failed(why.clone()),
        other => return Finding::skipped(ids::CRD, expected, other.obstacle().unwrap_or_default()),
    }
    let Some(crd) = facts.crd.found() else {
        return Finding::passed(ids::CRD, expected, "requests can be listed; the schema is not looked at");
    };
    match schema_difference(crd) {
        Ok(None) => Finding::passed(ids::CRD, expected, "served, with this version's schema"),
        Ok(Some(difference)) => failed(format!("it is another version's: {difference}")).as_warning(),
        Err(error) => Finding::skipped(ids::CRD, expected, error),
    }
}

/// Where the schema in the cluster and the one of this program part.
fn schema_difference(installed: &CustomResourceDefinition) -> Result<Option<String>, String> {
    let ours = join_crds::generate::crd().map_err(|error| error.to_string())?;
    let schema = |crd: &CustomResourceDefinition| {
        let version = crd.spec.versions.iter().find(|version| version.name == VERSION)?;
        serde_json::to_value(version.schema.as_ref()?.open_api_v3_schema.as_ref()?).ok()
    };
    let (Some(wanted), Some(found)) = (schema(&ours), schema(installed)) else {
        return Ok(Some(format!("it has no version {VERSION} with a schema")));
    };
    Ok(super::policies::difference(&wanted, &found, "schema"))
}

pub(super) fn lease(facts: &Facts) -> Finding {
    const EXPECTED: &str = "a join-controller holds its lease";
    let pods = format!(
        "kubectl -n {0} get pods; then kubectl -n {0} logs -l app.kubernetes.io/name=join-controller",
        word(&facts.namespace)
    );
    let failed = |observed: String| Finding::failed(ids::CONTROLLER_LEASE, EXPECTED, observed, pods.clone());
    match &facts.controller_lease {
        Look::Found(lease) => match held(lease, facts.now) {
            Held::Fresh(holder, age) => {
                Finding::passed(ids::CONTROLLER_LEASE, EXPECTED, format!("{holder} renewed it {} ago", span(age)))
            }
            Held::Stale(holder, age) => {
                failed(format!("it was last renewed {} ago, by {holder}: no controller works", span(age)))
            }
            Held::Free => failed("nobody holds it: the controller was stopped".to_owned()),
        },
        Look::Absent => failed(format!("there is none in namespace {}: no controller has run yet", facts.namespace)),
        other => Finding::skipped(ids::CONTROLLER_LEASE, EXPECTED, other.obstacle().unwrap_or_default()),
    }
}

pub(super) fn deployment(facts: &Facts) -> Finding {
    const EXPECTED: &str = "the controller's Deployment has all its replicas available";
    let deployment = match &facts.deployment {
        Look::Found(deployment) => deployment,
        Look::Absent => {
            let why = format!(
                "namespace {} has no Deployment with an image of join-controller: it runs elsewhere, if it does",
                facts.namespace
            );
            return Finding::skipped(ids::CONTROLLER_DEPLOYMENT, EXPECTED, why);
        }
        other => return Finding::skipped(ids::CONTROLLER_DEPLOYMENT, EXPECTED, other.obstacle().unwrap_or_default()),
    };
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let available = deployment.status.as_ref().and_then(|status| status.available_replicas).unwrap_or_default();
    let name = deployment.metadata.name.as_deref().unwrap_or_default();
    let observed = format!("{name}: {available} of {wanted} available{}", reasons(deployment));
    let remedy = format!("kubectl -n {} describe deployment {}", word(&facts.namespace), word(name));
    if wanted == 0 {
        let why = format!("{name} is scaled to none: the controller runs elsewhere, if it does");
        return Finding::skipped(ids::CONTROLLER_DEPLOYMENT, EXPECTED, why);
    }
    if available >= wanted {
        return Finding::passed(ids::CONTROLLER_DEPLOYMENT, EXPECTED, observed);
    }
    let finding = Finding::failed(ids::CONTROLLER_DEPLOYMENT, EXPECTED, observed, remedy);
    if available > 0 { finding.as_warning() } else { finding }
}

/// What a Deployment says of itself where it is not well.
fn reasons(deployment: &Deployment) -> String {
    let conditions = deployment.status.as_ref().and_then(|status| status.conditions.as_ref());
    let bad = conditions.into_iter().flatten().filter(|condition| match condition.type_.as_str() {
        "ReplicaFailure" => condition.status == "True",
        _ => condition.status == "False",
    });
    let messages = bad.filter_map(|condition| condition.message.as_deref());
    messages.fold(String::new(), |text, message| text + "; " + message)
}

/// The rights of whoever runs the check.
pub(super) fn own_rights(facts: &Facts, is_controller: bool) -> Finding {
    const EXPECTED: &str = "whoever runs this may do what it takes";
    let unwanted = if is_controller { too_much_for_the_controller() } else { Vec::new() };
    if let Some((_, look)) = facts.rights.iter().find(|(_, look)| look.found().is_none()) {
        return Finding::skipped(
            ids::OWN_RIGHTS,
            EXPECTED,
            look.obstacle().unwrap_or("the API server has no access reviews"),
        );
    }
    let names = |is_unwanted: bool, allowed: bool| -> Vec<String> {
        let of_kind = |(right, look): &&(Right, Look<bool>)| {
            unwanted.contains(right) == is_unwanted && *look == Look::Found(allowed)
        };
        facts.rights.iter().filter(of_kind).map(|(right, _)| right.to_string()).collect()
    };
    let (missing, excess) = (names(false, false), names(true, true));
    if let Some(first) = missing.first() {
        let remedy = if is_controller {
            install(&facts.namespace)
        } else {
            format!("ask somebody who has the right, or for a role that has it: kubectl auth can-i {}", can_i(first))
        };
        return Finding::failed(ids::OWN_RIGHTS, EXPECTED, format!("may not: {}", missing.join(", ")), remedy);
    }
    if !excess.is_empty() {
        return Finding::failed(
            ids::OWN_RIGHTS,
            "the controller has the rights that it needs, and no more",
            format!("may, and must not: {}", excess.join(", ")),
            "remove the bindings that give it more than the chart does: kubectl njr doctor lists them",
        )
        .as_warning();
    }
    Finding::passed(
        ids::OWN_RIGHTS,
        EXPECTED,
        format!("each of {} rights is there", facts.rights.len() - unwanted.len()),
    )
}

/// `create secrets in kube-system` as arguments of `kubectl auth can-i`.
fn can_i(right: &str) -> String {
    match right.split_once(" in ") {
        Some((what, namespace)) => format!("{what} --namespace {namespace}"),
        None => right.to_owned(),
    }
}
