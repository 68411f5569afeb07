//! Values that the chart takes, and those that it refuses.

use std::fs;

use join_e2e::chart;
use join_e2e::helm;
use join_e2e::operator::NAMESPACE;
use jsonschema::Validator;
use libtest_mimic::Failed;
use serde_json::{Value, json};

use super::golden::SETS;
use super::render::{Helm, values};

pub fn lint_finds_nothing(helm: &Helm) -> Result<(), Failed> {
    for set in SETS {
        let said = helm.lint(&values(set)?)?;
        assert!(said.contains("0 chart(s) failed"), "{set}: {said}");
        assert!(!said.contains("[WARNING]") && !said.contains("[ERROR]"), "{set}: {said}");
    }
    Ok(())
}

fn schema() -> Result<Value, Failed> {
    Ok(serde_json::from_str(&fs::read_to_string(helm::chart().join("values.schema.json"))?)?)
}

fn validator() -> Result<Validator, Failed> {
    jsonschema::draft7::new(&schema()?).map_err(|failure| failure.to_string().into())
}

/// One value of the schema: where, and what it may be.
struct Leaf {
    keys: Vec<String>,
    schema: Value,
}

impl Leaf {
    fn path(&self) -> String {
        self.keys.join(".")
    }

    /// Values in which only this one is set.
    fn set(&self, value: Value) -> Value {
        self.keys.iter().rev().fold(value, |inside, key| json!({ key: inside }))
    }
}

/// Everything in the schema that is not only a group of others, and the groups.
fn parts(schema: &Value, keys: &[String], leaves: &mut Vec<Leaf>, groups: &mut Vec<Vec<String>>) {
    match schema["properties"].as_object() {
        Some(properties) => {
            groups.push(keys.to_vec());
            for (key, schema) in properties {
                parts(schema, &[keys, std::slice::from_ref(key)].concat(), leaves, groups);
            }
        }
        None => leaves.push(Leaf { keys: keys.to_vec(), schema: schema.clone() }),
    }
}

fn all_parts() -> Result<(Vec<Leaf>, Vec<Vec<String>>), Failed> {
    let (mut leaves, mut groups) = (Vec::new(), Vec::new());
    parts(&schema()?, &[], &mut leaves, &mut groups);
    // What Helm adds when the chart is a part of another one.
    leaves.retain(|leaf| leaf.path() != "global");
    Ok((leaves, groups))
}

/// The schema, the documented values and the defaults name the same things.
pub fn the_schema_knows_the_values_and_no_others(_: &Helm) -> Result<(), Failed> {
    let text = fs::read_to_string(helm::chart().join("values.yaml"))?;
    let documented = chart::documented(&text)?;
    let (leaves, groups) = all_parts()?;
    for value in &documented {
        let pointer = value.path.replace('.', "/properties/");
        assert!(schema()?.pointer(&format!("/properties/{pointer}")).is_some(), "{} is not in the schema", value.path);
    }
    for leaf in &leaves {
        let path = leaf.path();
        let known = documented.iter().any(|value| path == value.path || path.starts_with(&format!("{}.", value.path)));
        assert!(known, "{path} is in the schema, and has no comment in values.yaml");
    }
    for group in groups {
        let pointer = group.iter().fold(String::new(), |pointer, key| format!("{pointer}/properties/{key}"));
        let closed = schema()?.pointer(&format!("{pointer}/additionalProperties")) == Some(&json!(false));
        assert!(closed, "{group:?} takes names that nobody knows");
    }
    let defaults: Value = serde_saphyr::from_str(&text)?;
    let errors: Vec<String> = validator()?.iter_errors(&defaults).map(|error| error.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new(), "the defaults do not satisfy the schema");
    Ok(())
}

/// A value of every wrong kind, for every value that there is.
pub fn wrong_values_are_refused(_: &Helm) -> Result<(), Failed> {
    let validator = validator()?;
    let (leaves, groups) = all_parts()?;
    assert!(leaves.len() > 70, "only {} values", leaves.len());
    for leaf in leaves {
        for wrong in wrong_kinds(&leaf.schema) {
            assert!(!validator.is_valid(&leaf.set(wrong.clone())), "{}: {wrong} was accepted", leaf.path());
        }
    }
    for group in groups {
        let unknown = group.iter().rev().fold(json!({"unknownName": true}), |inside, key| json!({ key: inside }));
        assert!(!validator.is_valid(&unknown), "an unknown name in {group:?} was accepted");
    }
    for (values, why) in [
        (json!({"replicaCount": -1}), "a negative number"),
        (json!({"replicaCount": 1.5}), "half a replica"),
        (json!({"image": {"digest": "sha256:12"}}), "a short digest"),
        (json!({"image": {"tag": "a b"}}), "a tag with a space"),
        (json!({"image": {"pullPolicy": "Sometimes"}}), "no policy"),
        (json!({"controller": {"logFormat": "xml"}}), "no format"),
        (json!({"controller": {"concurrency": 0}}), "no work at all"),
        (json!({"controller": {"maxJoinsInFlight": 5001}}), "more than the controller takes"),
        (json!({"controller": {"clusterEndpoint": "https://a"}}), "no port"),
        (json!({"controller": {"forbiddenNetworks": ["192.0.2.1"]}}), "no network"),
        (json!({"controller": {"listenAddress": "::"}}), "IPv6 without brackets"),
        (json!({"controller": {"extraArgs": ["word"]}}), "no flag"),
        (json!({"metrics": {"port": 65536}}), "no port"),
        (json!({"metrics": {"scrapers": [{"name": "a"}]}}), "an account without namespace"),
        (json!({"metrics": {"prometheusRule": {"disabled": ["NoSuchAlert"]}}}), "no alert"),
        (json!({"metrics": {"prometheusRule": {"runbookUrl": "docs"}}}), "no URL"),
        (json!({"metrics": {"serviceMonitor": {"interval": "often"}}}), "no duration"),
        (json!({"roles": {"viewers": [{"kind": "Role", "name": "a"}]}}), "no subject"),
        (json!({"podDisruptionBudget": {"minAvailable": "200%"}}), "more than all"),
        (json!({"networkPolicy": {"apiServerPorts": []}}), "no port, which would be every port"),
        (json!({"nodeSelector": {"a": 1}}), "a label that is no text"),
    ] {
        assert!(!validator.is_valid(&values), "{values} was accepted: {why}");
    }
    Ok(())
}

/// A value of each JSON type that the schema does not name.
fn wrong_kinds(schema: &Value) -> Vec<Value> {
    let types: Vec<&str> = match (schema["type"].as_str(), schema["anyOf"].as_array(), schema["enum"].is_array()) {
        (Some(one), ..) => vec![one],
        (None, Some(several), _) => several.iter().filter_map(|one| one["type"].as_str()).collect(),
        (None, None, true) => vec!["string"],
        (None, None, false) => Vec::new(),
    };
    assert!(!types.is_empty(), "a value of any kind: {schema}");
    let kinds = [
        ("string", json!("no such value !")),
        ("integer", json!(3)),
        ("boolean", json!(true)),
        ("array", json!(["x"])),
        ("object", json!({"x": 1})),
    ];
    kinds.into_iter().filter(|(kind, _)| !types.contains(kind)).map(|(_, value)| value).collect()
}

/// The schema that was tested is the one by which Helm refuses.
pub fn helm_applies_the_schema(helm: &Helm) -> Result<(), Failed> {
    for (values, said) in [
        (json!({"replicaCount": "two"}), "replicaCount"),
        (json!({"replicas": 2}), "replicas"),
        (json!({"metrics": {"secured": true}}), "secured"),
        (json!({"crds": {"keep": "yes"}}), "crds"),
        (json!({"tolerations": {}}), "tolerations"),
        (json!({"image": {"pullPolicy": "Sometimes"}}), "pullPolicy"),
    ] {
        let refusal = helm.refusal(&values, NAMESPACE)?;
        assert!(refusal.contains("values don't meet the specifications of the schema"), "{values}: {refusal}");
        assert!(refusal.contains(said), "{values}: {refusal}");
    }
    // As a part of another chart, Helm adds these.
    helm.objects(&json!({"global": {"anything": 1}}))?;
    Ok(())
}

pub fn contradictory_values_are_refused_with_a_sentence(helm: &Helm) -> Result<(), Failed> {
    let monitors = json!({"serviceMonitor": {"enabled": true}, "podMonitor": {"enabled": true}});
    for (values, sentence) in [
        (json!({"metrics": monitors}), "which would scrape everything twice"),
        (without_metrics("serviceMonitor"), "metrics.serviceMonitor.enabled is true and metrics.enabled is false"),
        (without_metrics("podMonitor"), "metrics.podMonitor.enabled is true and metrics.enabled is false"),
        (without_metrics("prometheusRule"), "metrics.prometheusRule.enabled is true and metrics.enabled is false"),
        (without_metrics("dashboard"), "metrics.dashboard.enabled is true and metrics.enabled is false"),
        (json!({"metrics": {"enabled": false, "scrapers": [{"namespace": "a", "name": "b"}]}}), "nothing to scrape"),
        (json!({"metrics": {"secure": false, "scrapers": [{"namespace": "a", "name": "b"}]}}), "everyone may scrape"),
        (json!({"metrics": {"secure": false, "certificateSecretName": "a"}}), "the certificate would not be used"),
        (json!({"metrics": {"podMonitor": {"enabled": true}}}), "a PodMonitor cannot use the token"),
        (json!({"metrics": {"port": 8081}}), "probes and metrics need a port each"),
        (json!({"podDisruptionBudget": {"minAvailable": 1, "maxUnavailable": 1}}), "a budget has only one of them"),
        (json!({"podDisruptionBudget": {"minAvailable": 2}}), "lower it, or raise replicaCount"),
        (json!({"podDisruptionBudget": {"maxUnavailable": 0}}), "no node with a controller could ever be drained"),
        (json!({"podDisruptionBudget": {"minAvailable": "100%"}}), "no node with a controller could ever be drained"),
        (json!({"roles": {"create": false, "aggregateToEdit": true}}), "roles.aggregateToEdit is set"),
        (json!({"roles": {"create": false, "enrollers": [{"kind": "User", "name": "a"}]}}), "roles.enrollers is set"),
        (
            json!({"networkPolicy": {"apiServer": [{"ipBlock": {"cidr": "192.0.2.1/32"}}]}}),
            "nothing would be restricted",
        ),
        (json!({"controller": {"extraArgs": ["--log-level=debug"]}}), "--log-level, which the chart sets itself"),
        (json!({"controller": {"extraArgs": ["--namespace"]}}), "--namespace, which the chart sets itself"),
    ] {
        let refusal = helm.refusal(&values, NAMESPACE)?;
        assert!(refusal.contains(sentence), "{values}: expected {sentence:?} in: {refusal}");
    }
    for namespace in ["kube-system", "kube-public", "kube-node-lease"] {
        let refusal = helm.refusal(&json!({}), namespace)?;
        assert!(refusal.contains("install into a namespace of its own"), "{namespace}: {refusal}");
    }
    let every: Vec<Value> = schema()?
        .pointer("/properties/metrics/properties/prometheusRule/properties/disabled/items/enum")
        .and_then(Value::as_array)
        .ok_or("the schema names no alerts")?
        .clone();
    let refusal =
        helm.refusal(&json!({"metrics": {"prometheusRule": {"enabled": true, "disabled": every}}}), NAMESPACE)?;
    assert!(refusal.contains("names every alert"), "{refusal}");
    Ok(())
}

fn without_metrics(what: &str) -> Value {
    json!({"metrics": {"enabled": false, what: {"enabled": true}}})
}
