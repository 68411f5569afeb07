//! Every YAML block of the documentation is what it says it is.
//!
//! Requests are checked as the API server does it (schema, rules, no unknown field), agent configurations, those of
//! kubeadm's kind among them, by the agent's own parser, the chart's values by the chart's schema. All else must say what
//! it is; the end-to-end suite `docs` gives it, and these once more, to the program that reads it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end where it fails")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use join_agent::config::{Configuration, Surroundings};
use join_book::blocks::{Block, blocks};
use join_book::markdown::pages;
use join_book::repository;
use join_crds::NodeJoinRequest;
use serde_json::Value;
use support::{SCHEMA, refused_by_rules, refused_by_schema, unknown_fields};

#[path = "../../crds/tests/support/mod.rs"]
mod support;

type Outcome = Result<(), String>;

fn request(object: &Value) -> Outcome {
    let refused = refused_by_schema(object).into_iter().chain(refused_by_rules(object, None));
    let mut wrong: Vec<String> = refused.map(|refusal| refusal.message).collect();
    wrong.extend(unknown_fields("spec", &object["spec"], &SCHEMA["properties"]["spec"]));
    if let Err(error) = serde_json::from_value::<NodeJoinRequest>(object.clone()) {
        wrong.push(error.to_string());
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

/// The file that a configuration names is made as well, so that it is there to be read.
fn agent_configuration(text: &str) -> Outcome {
    agent_configuration_beside(text, DISCOVERY)
}

/// What discovery by a file is given, as the agent reads it.
fn discovery_file(text: &str) -> Outcome {
    let head = "apiVersion: agent.nodejoin.dev/v1alpha1\nkind: AgentConfiguration\n";
    let of_a_file = "discovery: {file: {kubeConfigPath: /etc/join-agent/discovery.conf}}\n";
    agent_configuration_beside(&format!("{head}{of_a_file}"), text)
}

fn agent_configuration_beside(text: &str, discovery: &str) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let discovery = write("discovery.conf", discovery);
    let token = write("token", "abcdef.0123456789abcdef\n");
    let text = text
        .replace("/etc/join-agent/discovery.conf", &discovery.display().to_string())
        .replace("/etc/join-agent/token", &token.display().to_string());
    let path = write("config.yaml", &text);
    let surroundings = Surroundings { hostname: "worker-1".to_owned(), allow_unsafe_discovery: false };
    Configuration::load(&path, &surroundings).map(drop).map_err(|error| error.to_string())
}

const DISCOVERY: &str = include_str!("../../fuzz/seeds/discovery_file/good-token.yaml");

/// What cloud-init writes on a machine is checked as the file that it becomes.
fn cloud_config(object: &Value) -> Outcome {
    for file in object["write_files"].as_array().into_iter().flatten() {
        if file["path"] == "/etc/join-agent/config.yaml" {
            if file["permissions"] != "0600" {
                return Err("config.yaml has a token in it, and needs permissions: \"0600\"".to_owned());
            }
            agent_configuration(file["content"].as_str().unwrap_or_default())?;
        }
    }
    Ok(())
}

fn chart_values(object: &Value) -> Outcome {
    let schema = repository().join("charts/join-operator/values.schema.json");
    let schema = serde_json::from_str(&fs::read_to_string(schema).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let wrong: Vec<String> =
        validator.iter_errors(object).map(|error| format!("{}: {error}", error.instance_path())).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

fn check(block: &Block) -> Outcome {
    let documents: Vec<Value> = serde_saphyr::from_multiple(&block.text).map_err(|error| error.to_string())?;
    if documents.is_empty() {
        return Err("is empty".to_owned());
    }
    for object in &documents {
        if block.attribute("values").is_some() {
            chart_values(object)?;
        } else if block.text.starts_with("#cloud-config") {
            cloud_config(object)?;
        } else {
            match (object["apiVersion"].as_str(), object["kind"].as_str()) {
                (Some("nodejoin.dev/v1alpha1"), Some("NodeJoinRequest")) => request(object)?,
                (Some("agent.nodejoin.dev/v1alpha1"), Some("AgentConfiguration"))
                | (Some("kubeadm.k8s.io/v1beta4"), Some("JoinConfiguration")) => agent_configuration(&block.text)?,
                (Some("v1"), Some("Config")) => discovery_file(&block.text)?,
                (Some(version), kind) if version.contains("nodejoin.dev") => {
                    return Err(format!("{version} has no kind {kind:?}"));
                }
                (Some(_), Some(_)) => {}
                (_, None) | (None, _) => {
                    return Err("needs an apiVersion and a kind, or a word that says what it is".to_owned());
                }
            }
        }
    }
    Ok(())
}

#[test]
fn every_yaml_block_is_what_it_says() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for page in pages().unwrap() {
        for block in blocks(&page.text).iter().filter(|block| block.language == "yaml") {
            let place = format!("{}:{}", page.path.display(), block.line);
            if let Some(reason) = block.skipped() {
                println!("{place}: not validated: {reason}");
                assert!(!reason.is_empty(), "{place}: skip needs a reason");
                continue;
            }
            seen += 1;
            if let Err(reason) = check(block) {
                wrong.push(format!("{place}: {reason}"));
            }
        }
    }
    assert!(seen > 5, "only {seen} blocks were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The page shows the rules of the file, all but the last one, which is the reader's own.
#[test]
fn the_audit_policy_of_the_page_is_the_files() {
    let rules = |text: &str| {
        let policy: Value = serde_saphyr::from_str(text).unwrap();
        assert_eq!(policy["kind"], "Policy");
        policy["rules"].as_array().unwrap().clone()
    };
    let page = join_book::markdown::read(Path::new("docs/audit.md")).unwrap();
    let block = blocks(&page).into_iter().find(|block| block.text.contains("kind: Policy")).unwrap();
    let mut file = rules(&join_book::markdown::read(Path::new("docs/audit-policy.yaml")).unwrap());
    file.pop();
    assert_eq!(rules(&block.text), file);
}

#[test]
fn the_packaged_configuration_is_one() {
    let packaged = Path::new("node-agent/packaging/config.yaml");
    assert_eq!(agent_configuration(&join_book::markdown::read(packaged).unwrap()), Ok(()));
}

/// Each kind of block is refused when something in it is wrong: a check that accepts everything proves nothing.
#[test]
fn a_wrong_block_is_found() {
    let head = "apiVersion: nodejoin.dev/v1alpha1\nkind: NodeJoinRequest\nmetadata: {name: a}\n";
    let agent = "apiVersion: agent.nodejoin.dev/v1alpha1\nkind: AgentConfiguration\n";
    let kubeadm = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\n";
    for (text, attribute, part) in [
        ("a: [".to_owned(), "", ""),
        (format!("{head}spec: {{machine: {{trust: Sometimes}}}}"), "", "Sometimes"),
        (format!("{head}spec: {{machine: {{}}}}"), "", "needs either publicKeyHash"),
        (format!("{head}spec: {{machine: {{trust: FirstUse}}, adresses: []}}"), "", "spec.adresses"),
        (format!("{agent}discovery: {{}}"), "", "expected exactly one"),
        (format!("{kubeadm}discovery: {{caCertHash: []}}"), "", "caCertHash"),
        ("apiVersion: nodejoin.dev/v1alpha1\nkind: NodeJoin".to_owned(), "", "no kind"),
        ("rules: []".to_owned(), "", "needs an apiVersion"),
        ("apiVersion: v1\nkind: Config\nclusters: []".to_owned(), "", "0 clusters"),
        ("replicas: 3".to_owned(), "values", "replicas"),
        ("#cloud-config\nwrite_files: [{path: /etc/join-agent/config.yaml}]".to_owned(), "", "0600"),
    ] {
        let attributes = vec![(attribute.to_owned(), String::new())];
        let block = Block { line: 1, language: "yaml".to_owned(), attributes, text: text.clone() };
        let outcome = check(&block);
        assert!(outcome.as_ref().is_err_and(|reason| reason.contains(part)), "{text}: {outcome:?}");
    }
}
