//! What the chart renders, compared with files that a person has read.

use std::collections::BTreeSet;

use join_crds::generate;
use join_e2e::operator::NAMESPACE;
use libtest_mimic::Failed;
use serde_json::{Value, json};

use super::render::{Helm, assert_golden, of_kind, parse, texts, values};

/// Sets of values, each with the golden file of what it renders: `values/<name>.yaml` and `golden/<name>.yaml`. The
/// CustomResourceDefinition has a test of its own.
pub const SETS: [&str; 4] = ["default", "everything", "minimal", "pod-monitor"];

pub fn rendered_as_in_the_golden_files(helm: &Helm) -> Result<(), Failed> {
    for set in SETS {
        let text = helm.text(&values(set)?, NAMESPACE, &["--set=crds.enabled=false"])?;
        assert_golden(&format!("{set}.yaml"), &without_blank_lines(&text))?;
    }
    Ok(())
}

/// Helm 3 and Helm 4 put them at different places between objects.
fn without_blank_lines(text: &str) -> String {
    text.lines().filter(|line| !line.trim().is_empty()).flat_map(|line| [line, "\n"]).collect()
}

/// A change of anybody's rights is a change of this file, and so is seen in review.
pub fn roles_are_those_of_the_golden_file(helm: &Helm) -> Result<(), Failed> {
    let objects = helm.objects(&values("everything")?)?;
    let roles: Vec<&Value> = of_kind(&objects, "ClusterRole").chain(of_kind(&objects, "Role")).collect();
    assert!(roles.len() >= 12, "only {} roles", roles.len());
    let mut lines = BTreeSet::new();
    for role in roles {
        let name = role["metadata"]["name"].as_str().unwrap_or_default();
        let place = role["metadata"]["namespace"].as_str().unwrap_or("everywhere");
        let granted = role["rules"].as_array().ok_or_else(|| format!("{name} has no rules"))?;
        lines.extend(granted.iter().flat_map(each_right).map(|right| format!("{name}: {place}: {right}\n")));
    }
    for line in &lines {
        assert!(!line.contains('*'), "a wildcard: {line}");
    }
    assert_golden("roles.txt", &lines.into_iter().collect::<String>())
}

/// One line for each verb on each resource or URL.
fn each_right(rule: &Value) -> Vec<String> {
    let names = texts(&rule["resourceNames"]);
    let only = if names.is_empty() { String::new() } else { format!(" only {}", names.join(", ")) };
    let groups = texts(&rule["apiGroups"]).into_iter().map(|group| if group.is_empty() { "core" } else { group });
    let resources = groups.flat_map(|group| {
        texts(&rule["resources"]).into_iter().map(move |resource| format!("{group}/{resource}")).collect::<Vec<_>>()
    });
    let urls = texts(&rule["nonResourceURLs"]).into_iter().map(str::to_owned);
    let targets: Vec<String> = resources.chain(urls).collect();
    let verbs = texts(&rule["verbs"]);
    verbs
        .iter()
        .flat_map(|verb| targets.iter().map(move |target| format!("{verb} {target}")))
        .map(|right| right + &only)
        .collect()
}

/// Nothing names the namespace of the documentation.
pub fn everything_follows_the_releases_namespace(helm: &Helm) -> Result<(), Failed> {
    let text = helm.text(&values("everything")?, "elsewhere", &[])?;
    // The definition's own texts are documentation.
    let objects = parse(&text)?;
    for object in objects.iter().filter(|object| object["kind"] != "CustomResourceDefinition") {
        assert!(!object.to_string().contains(NAMESPACE), "{object}");
    }
    let policies: Vec<String> = of_kind(&objects, "ValidatingAdmissionPolicy").map(ToString::to_string).collect();
    let user = "'system:serviceaccount:elsewhere:join-controller'";
    assert_eq!(policies.iter().filter(|policy| policy.contains(user)).count(), 4, "policies about the controller");
    Ok(())
}

pub fn the_definition_is_the_generated_one(helm: &Helm) -> Result<(), Failed> {
    let mut rendered = definition(helm, &json!({}))?.ok_or("no CustomResourceDefinition")?;
    let metadata = rendered["metadata"].as_object_mut().ok_or("no metadata")?;
    assert_eq!(metadata.remove("annotations"), Some(json!({"helm.sh/resource-policy": "keep"})));
    let labels = metadata.remove("labels").ok_or("no labels")?;
    assert_eq!(labels["app.kubernetes.io/part-of"], "join-operator");
    let generated: Value = serde_saphyr::from_str(&generate::crd_yaml()?)?;
    assert_eq!(rendered, generated);
    let unkept = definition(helm, &json!({"crds": {"keep": false}}))?.ok_or("no CustomResourceDefinition")?;
    assert!(unkept["metadata"].get("annotations").is_none(), "{}", unkept["metadata"]);
    assert_eq!(definition(helm, &json!({"crds": {"enabled": false}}))?, None);
    Ok(())
}

fn definition(helm: &Helm, values: &Value) -> Result<Option<Value>, Failed> {
    Ok(of_kind(&helm.objects(values)?, "CustomResourceDefinition").next().cloned())
}
