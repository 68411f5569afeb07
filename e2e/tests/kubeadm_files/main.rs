//! What the crate control-plane computes, beside what the real kubeadm of each minor version writes.
//!
//! kubeadm runs in a mount namespace of its own, without a cluster, phase by phase as in `kubeadm init`: a join makes the
//! same files, but for etcd's `initial-cluster`.

mod cases;
mod certificates;
mod kubeadm;
mod kubeconfigs;
mod manifests;

use std::path::Path;
use std::process::ExitCode;

use join_control_plane::{ClusterConfiguration, Member};
use join_e2e::components::{Components, KubernetesMinor};
use join_e2e::suite::in_turns;
use libtest_mimic::{Failed, Trial};

use cases::{CASES, Case};
use kubeadm::Kubeadm;

fn main() -> anyhow::Result<ExitCode> {
    let minors = [KubernetesMinor::V1_37, KubernetesMinor::V1_35];
    let trials = minors.into_iter().flat_map(|minor| {
        let known = CASES.iter().filter(move |case| case.only.is_none_or(|only| only == minor));
        known.map(move |case| {
            let name = format!("{}_as_kubeadm_{}", case.name, minor.as_str());
            Trial::test(name, move || is_the_same(case, minor))
        })
    });
    in_turns(trials.collect())
}

fn is_the_same(case: &Case, minor: KubernetesMinor) -> Result<(), Failed> {
    let components = Components::kubernetes(minor)?;
    let text = case.configuration(&components.version);
    let configuration = ClusterConfiguration::parse(&text)?;
    let member = case.member()?;
    let kubeadm = Kubeadm::new(&components.folder, case, &text)?;
    kubeadm.make(&configuration)?;
    manifests::compare(&kubeadm, &configuration, &member)?;
    certificates::compare(&kubeadm, &configuration, &member)?;
    kubeconfigs::compare(&kubeadm, &configuration, &member)?;
    accepts_ours(&kubeadm, &configuration, &member)
}

/// kubeadm checks files that are there already, and keeps them if they are good: it finds ours good.
fn accepts_ours(kubeadm: &Kubeadm, configuration: &ClusterConfiguration, member: &Member) -> Result<(), Failed> {
    let now = std::time::SystemTime::now();
    let shared = kubeadm.shared_files(configuration)?;
    let mut files = join_control_plane::certificates(configuration, member, &shared, now)?;
    files.extend(join_control_plane::kubeconfigs(configuration, member, &shared, now)?);
    for file in &files {
        std::fs::write(kubeadm.outside(&file.path), file.content.expose())?;
    }
    kubeadm.make(configuration)?;
    for file in &files {
        let kept = kubeadm.read(&file.path)?;
        same(&file.path, "content after kubeadm has looked at it", &kept, &file.content.expose().to_vec())?;
    }
    Ok(())
}

/// Fails with both sides when they differ.
fn same<T: PartialEq + std::fmt::Debug>(path: &Path, what: &str, kubeadm: &T, ours: &T) -> Result<(), Failed> {
    if kubeadm == ours {
        return Ok(());
    }
    Err(format!("{}: {what}\n  kubeadm: {kubeadm:?}\n  ours:    {ours:?}", path.display()).into())
}
