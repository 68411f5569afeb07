//! What the pages show beside the quickstart: commands of kubectl and helm, and objects of Kubernetes.

use std::fs;

use join_book::blocks::blocks;
use join_book::commands::{Place, calls, lines};
use join_book::markdown::pages;
use libtest_mimic::Failed;

use super::suite::Suite;

/// Asks kubectl and helm for help at the end of every command: a flag or a command that they do not know is refused all
/// the same.
pub fn commands_are_understood(suite: &Suite) -> Result<(), Failed> {
    let mut asked = std::collections::BTreeSet::new();
    let mut broken = Vec::new();
    for page in pages()? {
        for line in blocks(&page.text).iter().flat_map(lines) {
            for call in calls(&line.text).unwrap_or_default() {
                let is_plugin = call.get(1).is_some_and(|word| word == "njr");
                let is_theirs = call.first().is_some_and(|program| program == "kubectl" || program == "helm");
                if !is_theirs || is_plugin {
                    continue;
                }
                let script = shlex::try_join(call.iter().map(String::as_str).chain(["--help"]))?;
                if asked.insert(script.clone()) {
                    let place = format!("{}:{}", page.path.display(), line.number);
                    let outcome = suite.shell(Place::Administrator, "", &script);
                    broken.extend(
                        outcome.err().map(|failure| format!("{place}: {}", failure.message().unwrap_or_default())),
                    );
                }
            }
        }
    }
    if asked.len() < 10 {
        return Err(format!("only {} commands were found: {asked:?}", asked.len()).into());
    }
    if broken.is_empty() { Ok(()) } else { Err(broken.join("\n").into()) }
}

/// Has the API server check every object of a page, without storing it. Its own files of configuration are none.
pub fn objects_are_accepted(suite: &Suite) -> Result<(), Failed> {
    suite.shell(
        Place::Administrator,
        "",
        "helm install join-operator charts/join-operator --namespace join-system --create-namespace --set replicaCount=0",
    )?;
    let mut broken = Vec::new();
    let mut seen = 0;
    for page in pages()? {
        for block in blocks(&page.text).iter().filter(|block| block.language == "yaml" && block.skipped().is_none()) {
            let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&block.text)?;
            let version = documents.first().and_then(|object| object["apiVersion"].as_str()).unwrap_or_default();
            // What no API server stores: files of programs.
            let is_file = [
                "agent.nodejoin.dev",
                "apiserver.config.k8s.io",
                "audit.k8s.io",
                "kubeadm.k8s.io",
                "kubelet.config.k8s.io",
            ]
            .iter()
            .any(|group| version.starts_with(group));
            if version.is_empty() || is_file {
                continue;
            }
            seen += 1;
            fs::write(suite.desk("object.yaml"), &block.text)?;
            let create = "kubectl create --dry-run=server --validate=strict --filename object.yaml";
            let outcome = suite.shell(Place::Administrator, "", create);
            let place = format!("{}:{}", page.path.display(), block.line);
            broken.extend(outcome.err().map(|failure| format!("{place}: {}", failure.message().unwrap_or_default())));
        }
    }
    if seen < 3 {
        return Err(format!("only {seen} objects were found").into());
    }
    if broken.is_empty() { Ok(()) } else { Err(broken.join("\n").into()) }
}
