//! Manifests, as objects: field by field, lists in order.

use std::path::Path;

use join_control_plane::manifests::{self, CA_FOLDERS, Host};
use join_control_plane::{ClusterConfiguration, Member};
use libtest_mimic::Failed;
use serde_json::Value;

use super::kubeadm::{ENVIRONMENT, Kubeadm};
use super::same;

pub fn compare(kubeadm: &Kubeadm, configuration: &ClusterConfiguration, member: &Member) -> Result<(), Failed> {
    let exist = CA_FOLDERS.iter().filter(|folder| Path::new(folder).exists());
    let host = Host {
        ca_folders: exist.map(|folder| (*folder).to_owned()).collect(),
        environment: ENVIRONMENT.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        health_check: Host::DEFAULT_HEALTH_CHECK,
    };
    let mut ours = manifests::manifests(configuration, member, &host)?;
    if configuration.local_etcd().is_some() {
        let members = [(member.node_name.to_string(), member.etcd_peer_url())];
        ours.push(manifests::etcd_manifest(configuration, member, &host, &members)?);
    }
    for file in ours {
        let mut kubeadms: Value = serde_saphyr::from_str(&kubeadm.text(&file.path)?)?;
        if file.path.ends_with("etcd.yaml") {
            join_instead_of_init(&mut kubeadms)?;
        }
        let text = std::str::from_utf8(file.content.expose())?;
        compare_values(&file.path, "", &kubeadms, &serde_saphyr::from_str(text)?)?;
    }
    Ok(())
}

/// The first member begins a cluster, every other one finds it: the argument that says so.
fn join_instead_of_init(pod: &mut Value) -> Result<(), Failed> {
    let command = pod.pointer_mut("/spec/containers/0/command").and_then(Value::as_array_mut);
    let command = command.ok_or("etcd's manifest has no command")?;
    let is_cluster = |argument: &Value| argument.as_str().is_some_and(|text| text.starts_with("--initial-cluster="));
    let at = command.iter().position(is_cluster).ok_or("etcd's command has no initial-cluster")?;
    command.insert(at + 1, "--initial-cluster-state=existing".into());
    Ok(())
}

/// Goes down to the field that differs.
fn compare_values(path: &Path, field: &str, kubeadm: &Value, ours: &Value) -> Result<(), Failed> {
    match (kubeadm, ours) {
        (Value::Object(theirs), Value::Object(mine)) => {
            for key in theirs.keys().chain(mine.keys()) {
                let [theirs, mine] = [theirs, mine].map(|map| map.get(key).unwrap_or(&Value::Null));
                compare_values(path, &format!("{field}/{key}"), theirs, mine)?;
            }
            Ok(())
        }
        (Value::Array(theirs), Value::Array(mine)) if theirs.len() == mine.len() => {
            let pairs = theirs.iter().zip(mine).enumerate();
            pairs
                .into_iter()
                .try_for_each(|(at, (theirs, mine))| compare_values(path, &format!("{field}/{at}"), theirs, mine))
        }
        _ => same(path, field, kubeadm, ours),
    }
}
