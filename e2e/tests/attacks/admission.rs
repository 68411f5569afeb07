//! Each validation of each admission policy is taken out of the cluster in turn, and what it stops then passes: no
//! validation is there for nothing, and none is believed to be tested that is not.
//!
//! What RBAC would stop as well is let through by RBAC here, so that the policies stand alone.

mod attempts;

use std::collections::BTreeMap;

use join_crds::{ConditionType, Reason, vocabulary};
use join_e2e::lab::wait_until;
use join_e2e::suite::joining::{PATIENCE, Suite};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use libtest_mimic::Failed;
use serde_json::{Value, json};

use attempts::{Attempt, attempts};

/// Requests of two machines, and objects that are decided or changed.
const OWN: &str = "admission-own";
const OTHER: &str = "admission-other";

pub fn each_validation_is_missed_when_it_is_removed(suite: &Suite) -> Result<(), Failed> {
    for name in [OWN, OTHER] {
        let spec = json!({"role": "Worker", "machine": {"trust": "FirstUse"}, "delivery": "Token"});
        suite.request(name, &spec)?;
        suite.wait_for(name, ConditionType::CredentialIssued, "True", Reason::TokenIssued)?;
    }
    let attempts = attempts()?;
    let policies = policies(suite)?;
    every_validation_is_tried(&policies, &attempts)?;
    let granted = attempts::grant(suite)?;
    let objects = attempts::objects(suite)?;
    let outcome = remove_in_turn(suite, &policies, &attempts);
    for object in granted.iter().chain(&objects) {
        suite.operator().kubectl(&object.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    outcome
}

/// The policies of the chart, by name.
fn policies(suite: &Suite) -> Result<BTreeMap<String, ValidatingAdmissionPolicy>, Failed> {
    let api: Api<ValidatingAdmissionPolicy> = Api::all(suite.client());
    let list = suite.block_on(api.list(&ListParams::default()))?.items;
    let named = list.into_iter().filter_map(|policy| Some((policy.metadata.name.clone()?, policy)));
    Ok(named.filter(|(name, _)| name.starts_with("nodejoin-")).collect())
}

fn count(policy: &ValidatingAdmissionPolicy) -> usize {
    policy.spec.as_ref().and_then(|spec| spec.validations.as_ref()).map_or(0, Vec::len)
}

/// One attempt for each validation, in their order; a new validation needs one.
fn every_validation_is_tried(
    policies: &BTreeMap<String, ValidatingAdmissionPolicy>,
    attempts: &[Attempt],
) -> Result<(), Failed> {
    let there: BTreeMap<&str, usize> = policies.iter().map(|(name, policy)| (name.as_str(), count(policy))).collect();
    let mut tried: BTreeMap<&str, usize> = BTreeMap::new();
    for attempt in attempts {
        *tried.entry(attempt.policy).or_default() += 1;
    }
    if there == tried {
        return Ok(());
    }
    Err(format!("validations of each policy: {there:?}, tried: {tried:?}").into())
}

/// The first validation of every policy at once, then the second of each, and so on: the policies are about different
/// things, and the API server takes a second to see a change.
fn remove_in_turn(
    suite: &Suite,
    policies: &BTreeMap<String, ValidatingAdmissionPolicy>,
    attempts: &[Attempt],
) -> Result<(), Failed> {
    let mut clients = Clients::default();
    for attempt in attempts {
        let said = clients.of(suite, attempt).and_then(|client| outcome(suite, &client, attempt))?;
        let refused = said.err().ok_or_else(|| format!("{attempt}: it passes with all validations there"))?;
        assert!(is_refused_by(attempt.policy, &refused), "{attempt}: {refused}");
    }
    let longest = policies.values().map(count).max().unwrap_or_default();
    for index in 0..longest {
        let concerned: Vec<_> = policies.iter().filter(|(_, policy)| count(policy) > index).collect();
        for (name, policy) in &concerned {
            let mut without = (*policy).clone();
            let validations = without.spec.as_mut().and_then(|spec| spec.validations.as_mut());
            let validation = &mut validations.ok_or_else(|| format!("{name} has no validations"))?[index];
            "true".clone_into(&mut validation.expression);
            replace(suite, name, &without)?;
        }
        for (name, _) in &concerned {
            let attempt = attempts.iter().filter(|attempt| attempt.policy == *name).nth(index);
            let attempt = attempt.ok_or_else(|| format!("validation {index} of {name} is not tried"))?;
            let client = clients.of(suite, attempt)?;
            wait_until(&format!("{attempt}, without validation {index}, to pass"), PATIENCE, || {
                outcome(suite, &client, attempt).map_err(|failure| format!("{failure:?}"))?
            })?;
        }
        for (name, policy) in &concerned {
            replace(suite, name, policy)?;
        }
        for (name, _) in &concerned {
            let attempt = attempts.iter().filter(|attempt| attempt.policy == *name).nth(index);
            let attempt = attempt.ok_or_else(|| format!("validation {index} of {name} is not tried"))?;
            let client = clients.of(suite, attempt)?;
            wait_until(&format!("{attempt}, with validation {index} again, to be refused"), PATIENCE, || {
                let said = outcome(suite, &client, attempt).map_err(|failure| format!("{failure:?}"))?;
                said.err().map(drop).ok_or_else(|| "it passes".to_owned())
            })?;
        }
    }
    Ok(())
}

/// Writes the specification of a policy over what is there now.
fn replace(suite: &Suite, name: &str, policy: &ValidatingAdmissionPolicy) -> Result<(), Failed> {
    let api: Api<ValidatingAdmissionPolicy> = Api::all(suite.client());
    let mut now = suite.block_on(api.get(name))?;
    now.spec.clone_from(&policy.spec);
    suite.block_on(api.replace(name, &PostParams::default(), &now))?;
    Ok(())
}

/// One client for each identity.
#[derive(Default)]
struct Clients(BTreeMap<String, Client>);

impl Clients {
    fn of(&mut self, suite: &Suite, attempt: &Attempt) -> Result<Client, Failed> {
        let (user, groups) = &attempt.by;
        let key = format!("{user} {groups:?}");
        if let Some(client) = self.0.get(&key) {
            return Ok(client.clone());
        }
        let client = suite.block_on(suite.lab().client_as(user, groups))?;
        self.0.insert(key, client.clone());
        Ok(client)
    }
}

/// What the API server says of an attempt. Nothing is changed by it.
fn outcome(suite: &Suite, client: &Client, attempt: &Attempt) -> Result<Result<(), String>, Failed> {
    let kind = if attempt.method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = http::Request::builder()
        .method(attempt.method)
        .uri(format!("{}?dryRun=All", attempt.path))
        .header(http::header::CONTENT_TYPE, kind)
        .body(attempt.body.to_string().into_bytes())?;
    match suite.block_on(client.request::<Value>(request)) {
        Ok(_) => Ok(Ok(())),
        Err(kube::Error::Api(status)) => Ok(Err(status.message.clone())),
        Err(failure) => Err(failure.into()),
    }
}

fn is_refused_by(policy: &str, refusal: &str) -> bool {
    refusal.contains(&format!("ValidatingAdmissionPolicy '{policy}'"))
}

/// The controller's user.
fn controller() -> String {
    format!("system:serviceaccount:{}:{}", join_e2e::operator::NAMESPACE, vocabulary::SERVICE_ACCOUNT_CONTROLLER)
}
