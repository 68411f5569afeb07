//! What this crate knows of the admission policies is what the chart installs.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::scene;
use crate::cluster::facts::Look;
use crate::cluster::policies::{EXPECTED_JSON, Expected, difference};
use crate::cluster::{Scope, check, ids};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The few templates that the policies use, without Helm. Another one makes the test fail.
fn render() -> String {
    let helpers = read("charts/join-operator/templates/_helpers.tpl");
    let body = |name: &str| {
        let start = format!("{{{{- define \"{name}\" -}}}}\n");
        let (_, rest) = helpers.split_once(&start).unwrap();
        rest.split_once("\n{{- end }}").unwrap().0.to_owned()
    };
    let variables: Vec<String> = body("join-operator.tokenVariables").lines().map(|line| format!("  {line}")).collect();
    let page = read("charts/join-operator/templates/policies.yaml");
    // What follows is installed or not as the values say, and is not compared.
    let page = page.split("{{- if .Values.roles.create }}").next().unwrap();
    let lines: Vec<String> = page
        .lines()
        .filter(|line| !line.trim_start().starts_with("{{- include \"join-operator.labels\""))
        .map(|line| {
            line.replace("{{ include \"join-operator.user\" . }}", "system:serviceaccount:join-system:join-controller")
                .replace("{{ .Release.Namespace }}", "join-system")
                .replace("{{ include \"join-operator.validationActions\" . }}", "[Deny]")
                .replace("  {{- include \"join-operator.tokenVariables\" . | nindent 2 }}", &variables.join("\n"))
        })
        .collect();
    let page = lines.join("\n");
    assert!(!page.contains("{{"), "a template that this test does not know:\n{page}");
    page
}

#[test]
fn the_expected_policies_are_the_charts() {
    let mut wanted = Expected { policies: BTreeMap::new(), bindings: BTreeMap::new() };
    for document in serde_saphyr::from_multiple::<Value>(&render()).unwrap() {
        let name = document["metadata"]["name"].as_str().unwrap().to_owned();
        let of_kind = match document["kind"].as_str().unwrap() {
            "ValidatingAdmissionPolicy" => &mut wanted.policies,
            "ValidatingAdmissionPolicyBinding" => &mut wanted.bindings,
            other => panic!("{other}"),
        };
        of_kind.insert(name, document["spec"].clone());
    }
    assert!(wanted.policies.len() >= 4 && wanted.policies.keys().eq(wanted.bindings.keys()));
    let text = serde_json::to_string_pretty(&wanted).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/cluster/policies.json"), &text).unwrap();
    } else {
        assert_eq!(EXPECTED_JSON, text, "run the test again with UPDATE=1");
    }
}

/// The logs that a remedy names are those of the chart's pods: a label that no pod has would show none, and no error.
#[test]
fn the_pods_that_a_remedy_names_are_the_charts() {
    let mut facts = scene::good();
    facts.controller_lease = Look::Absent;
    let report = check(&facts, Scope::Installed);
    let finding = report.checks.iter().find(|finding| finding.id == ids::CONTROLLER_LEASE).unwrap();
    let (_, label) = finding.remedy.as_deref().unwrap().rsplit_once("-l ").unwrap();
    let label = label.replace('=', ": ");
    let helpers = read("charts/join-operator/templates/_helpers.tpl");
    assert!(helpers.contains(&format!("selectorLabels\" -}}}}\n{label}\n")), "no pod of the chart has {label}");
}

#[test]
fn what_the_api_server_adds_is_no_difference_and_everything_else_is() {
    let wanted = json!({"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [{"resources": ["a"]}]}});
    let stored = json!({"failurePolicy": "Fail", "matchConstraints": {
        "matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {},
        "resourceRules": [{"resources": ["a"], "scope": "*"}]}});
    assert_eq!(difference(&wanted, &stored, "spec"), None);
    for (pointer, value, expected) in [
        ("/failurePolicy", json!("Ignore"), "spec.failurePolicy differs"),
        (
            "/matchConstraints/namespaceSelector",
            json!({"matchLabels": {"a": "b"}}),
            "spec.matchConstraints.namespaceSelector was added",
        ),
        (
            "/matchConstraints/resourceRules/0/scope",
            json!("Cluster"),
            "spec.matchConstraints.resourceRules[0].scope was added",
        ),
        ("/matchConstraints/resourceRules", json!([]), "spec.matchConstraints.resourceRules has 0 items, expected 1"),
    ] {
        let mut changed = stored.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        assert_eq!(difference(&wanted, &changed, "spec").as_deref(), Some(expected));
    }
    let mut without = stored;
    without.as_object_mut().unwrap().remove("failurePolicy");
    assert_eq!(difference(&wanted, &without, "spec").as_deref(), Some("spec.failurePolicy is missing"));
    let (deny, both) = (json!({"validationActions": ["Deny"]}), json!({"validationActions": ["Deny", "Audit"]}));
    assert_eq!(difference(&deny, &both, "spec"), None);
    let audit = json!({"validationActions": ["Audit"]});
    assert_eq!(difference(&deny, &audit, "spec").as_deref(), Some("spec.validationActions lacks Deny"));
}
