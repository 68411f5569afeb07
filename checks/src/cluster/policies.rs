//! The admission policies: there, enforced, and those of this version.
//!
//! What they must say is kept in `policies.json`, made from the chart by a test. It is written for the default
//! namespace; its name, and the controller's user name, are
//! changed for another one.

use std::collections::BTreeMap;

use join_crds::vocabulary::{DEFAULT_NAMESPACE, SERVICE_ACCOUNT_CONTROLLER};
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::facts::{Facts, Look};
use super::shell::{some_of, word};
use super::{ids, installed};
use crate::Finding;

/// The specifications of the chart's policies and of their bindings, by name.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Expected {
    pub(super) policies: BTreeMap<String, Value>,
    pub(super) bindings: BTreeMap<String, Value>,
}

/// The text that [`Expected`] is read from.
pub(super) const EXPECTED_JSON: &str = include_str!("policies.json");

/// What the policies must say where the operator lives in this namespace.
pub(super) fn expected(namespace: &str) -> Result<Expected, serde_json::Error> {
    let user = |namespace: &str| format!("system:serviceaccount:{namespace}:{SERVICE_ACCOUNT_CONTROLLER}");
    let literal = |namespace: &str| format!("\"'{namespace}'\"");
    let text = EXPECTED_JSON.replace(&user(DEFAULT_NAMESPACE), &user(namespace));
    serde_json::from_str(&text.replace(&literal(DEFAULT_NAMESPACE), &literal(namespace)))
}

pub(super) fn policies(facts: &Facts) -> Finding {
    const EXPECTED: &str = "the admission policies are there, and are this version's";
    let installed_ones = match &facts.policies {
        Look::Found(policies) => policies,
        other => return Finding::skipped(ids::POLICIES, EXPECTED, other.obstacle().unwrap_or_default()),
    };
    let expected = match expected(&facts.namespace) {
        Ok(expected) => expected,
        Err(error) => return Finding::skipped(ids::POLICIES, EXPECTED, error.to_string()),
    };
    let faults = policy_faults(&expected, installed_ones);
    if faults.is_empty() {
        return Finding::passed(ids::POLICIES, EXPECTED, format!("{} policies", expected.policies.len()));
    }
    match elsewhere(&facts.namespace, installed_ones) {
        Some(other) => Finding::failed(
            ids::POLICIES,
            EXPECTED,
            format!("they name the controller of namespace {other}, not of {}", facts.namespace),
            format!("kubectl njr check --namespace {}", word(&other)),
        ),
        None => Finding::failed(ids::POLICIES, EXPECTED, faults.join("; "), installed::install(&facts.namespace)),
    }
}

fn policy_faults(expected: &Expected, installed_ones: &[ValidatingAdmissionPolicy]) -> Vec<String> {
    let fault = |(name, spec): (&String, &Value)| {
        let found = installed_ones.iter().find(|policy| policy.metadata.name.as_ref() == Some(name));
        found.map_or_else(|| Some(format!("{name} is missing")), |policy| policy_fault(name, spec, policy))
    };
    expected.policies.iter().filter_map(fault).collect()
}

/// The namespace that the policies are made for, when that is another one and nothing else is wrong with them. Looked at
/// from the wrong namespace they would all seem to be changed.
fn elsewhere(namespace: &str, installed_ones: &[ValidatingAdmissionPolicy]) -> Option<String> {
    let expressions = installed_ones.iter().filter_map(|policy| policy.spec.as_ref()).flat_map(|spec| {
        let conditions = spec.match_conditions.iter().flatten().map(|one| &one.expression);
        conditions.chain(spec.validations.iter().flatten().map(|one| &one.expression))
    });
    let suffix = format!(":{SERVICE_ACCOUNT_CONTROLLER}");
    let named = expressions.flat_map(|text| text.split(['\'', '"'])).find_map(|literal| {
        let user = literal.strip_prefix("system:serviceaccount:")?.strip_suffix(&suffix)?;
        (user != namespace).then(|| user.to_owned())
    })?;
    let is_right = expected(&named).is_ok_and(|expected| policy_faults(&expected, installed_ones).is_empty());
    is_right.then_some(named)
}

fn policy_fault(name: &str, wanted: &Value, policy: &ValidatingAdmissionPolicy) -> Option<String> {
    let found = serde_json::to_value(&policy.spec).unwrap_or_default();
    if let Some(difference) = difference(wanted, &found, "spec") {
        return Some(format!("{name} was changed: {difference}"));
    }
    let checking = policy.status.as_ref().and_then(|status| status.type_checking.as_ref());
    let warnings = checking.and_then(|checking| checking.expression_warnings.as_ref())?;
    let first = warnings.first()?;
    Some(format!("{name} does not fit this API server: {}: {}", first.field_ref, first.warning))
}

pub(super) fn bindings(facts: &Facts) -> Finding {
    const EXPECTED: &str = "each admission policy is enforced everywhere";
    let installed_ones = match &facts.policy_bindings {
        Look::Found(bindings) => bindings,
        other => return Finding::skipped(ids::POLICY_BINDINGS, EXPECTED, other.obstacle().unwrap_or_default()),
    };
    let (mut missing, mut faults) = match binding_faults(&facts.namespace, installed_ones) {
        Ok(faults) => faults,
        Err(error) => return Finding::skipped(ids::POLICY_BINDINGS, EXPECTED, error.to_string()),
    };
    // A binding of a policy that is missing, too, would enforce nothing.
    let remedy = if missing.iter().any(|name| is_installed(facts, name)) {
        format!("kubectl njr doctor --fix {}", ids::POLICY_BINDINGS)
    } else {
        installed::install(&facts.namespace)
    };
    missing.extend(optional_without_binding(facts, installed_ones));
    if !missing.is_empty() {
        faults.insert(0, format!("nothing enforces {}", some_of(&missing)));
    }
    if faults.is_empty() {
        return Finding::passed(ids::POLICY_BINDINGS, EXPECTED, "each denies what its policy forbids");
    }
    Finding::failed(ids::POLICY_BINDINGS, EXPECTED, faults.join("; "), remedy)
}

/// Whether a policy of this name is there.
pub(super) fn is_installed(facts: &Facts, name: &str) -> bool {
    facts.policies.found().is_some_and(|all| all.iter().any(|policy| policy.metadata.name.as_deref() == Some(name)))
}

/// Policies that the chart installs or not, as its values say, and that nothing enforces.
fn optional_without_binding<'a>(
    facts: &'a Facts,
    bindings: &'a [ValidatingAdmissionPolicyBinding],
) -> impl Iterator<Item = String> + 'a {
    const OURS: &str = "nodejoin-";
    let denies = |name: &str| {
        bindings.iter().filter_map(|binding| binding.spec.as_ref()).any(|spec| {
            spec.policy_name.as_deref() == Some(name)
                && spec.validation_actions.iter().flatten().any(|action| action == "Deny")
        })
    };
    let is_known = |name: &str| expected(&facts.namespace).is_ok_and(|expected| expected.policies.contains_key(name));
    let names = facts.policies.found().into_iter().flatten().filter_map(|policy| policy.metadata.name.clone());
    names.filter(move |name| name.starts_with(OURS) && !is_known(name) && !denies(name))
}

/// The bindings that are missing, and what is wrong with the others.
pub(super) fn binding_faults(
    namespace: &str,
    installed_ones: &[ValidatingAdmissionPolicyBinding],
) -> Result<(Vec<String>, Vec<String>), serde_json::Error> {
    let (mut missing, mut faults) = (Vec::new(), Vec::new());
    let expected = expected(namespace)?;
    for (name, wanted) in expected.bindings {
        let Some(binding) = installed_ones.iter().find(|binding| binding.metadata.name.as_ref() == Some(&name)) else {
            missing.push(name);
            continue;
        };
        let found = serde_json::to_value(&binding.spec).unwrap_or_default();
        if let Some(difference) = difference(&wanted, &found, "spec") {
            faults.push(format!("{name} was changed: {difference}"));
        }
    }
    Ok((missing, faults))
}

/// The first place at which two JSON values part, if they do. What the API server adds by itself does not count.
pub(super) fn difference(wanted: &Value, found: &Value, path: &str) -> Option<String> {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => {
            let changed = wanted.iter().find_map(|(key, value)| {
                let path = format!("{path}.{key}");
                match found.get(key) {
                    None => Some(format!("{path} is missing")),
                    // The chart can have what is denied told to the audit log, too.
                    Some(Value::Array(actions)) if key == "validationActions" => {
                        let denies = actions.iter().any(|action| action == "Deny");
                        (!denies).then(|| format!("{path} lacks Deny"))
                    }
                    Some(found) => difference(value, found, &path),
                }
            });
            changed.or_else(|| {
                let added = found.iter().find(|(key, value)| !wanted.contains_key(*key) && !is_default(key, value));
                added.map(|(key, _)| format!("{path}.{key} was added"))
            })
        }
        (Value::Array(wanted), Value::Array(found)) => {
            if wanted.len() != found.len() {
                return Some(format!("{path} has {} items, expected {}", found.len(), wanted.len()));
            }
            let pairs = wanted.iter().zip(found).enumerate();
            pairs
                .into_iter()
                .find_map(|(index, (wanted, found))| difference(wanted, found, &format!("{path}[{index}]")))
        }
        _ if wanted == found => None,
        _ => Some(format!("{path} differs")),
    }
}

/// Defaults of the API server for what the chart leaves out.
fn is_default(key: &str, value: &Value) -> bool {
    match (key, value) {
        ("namespaceSelector" | "objectSelector", Value::Object(selector)) => selector.is_empty(),
        ("matchPolicy", Value::String(policy)) => policy == "Equivalent",
        ("scope", Value::String(scope)) => scope == "*",
        _ => value.is_null(),
    }
}
