//! Our join beside `kubeadm join`, alternately, in one lab.
//!
//! Times are those of a watch's events, not of polling. What is compared are ratios of medians of the same run: the
//! absolute figures say more about the host than about either program.

mod audit;
mod measure;
mod report;
pub mod scale;

use std::path::Path;

use crate::components::{Components, KubernetesMinor};
use crate::lab::Lab;
use crate::operator::Operator;
use crate::progress::Step;

pub use measure::{Floor, KubeadmJoin, OurJoin};
pub use report::{Report, grouped};

/// Everything that one run measured.
#[derive(Debug, Default)]
pub struct Results {
    /// Joins by join-agent.
    pub ours: Vec<OurJoin>,
    /// Joins by `kubeadm join`.
    pub kubeadm: Vec<KubeadmJoin>,
    /// Starts of a kubelet whose credential and files are in place: what no joiner can be faster than.
    pub floor: Vec<Floor>,
}

/// Measures `rounds` joins of each kind.
pub fn run(minor: KubernetesMinor, binaries: &Path, rounds: u32) -> anyhow::Result<(Results, String)> {
    crate::interrupt::install()?;
    let components = Components::build(minor)?;
    let version = components.kubernetes_version.clone();
    let lab = Lab::start("bench", minor, components)?;
    let operator = Operator::install(&lab, binaries.to_owned())?;
    operator.start_controller("controller", &[])?;
    let enrollment = operator.enroll()?;
    // What signs certificates has only just been started; a user's cluster has run for days.
    lab.wait_for_controller_manager()?;
    let bench = measure::Bench::new(&lab, &operator, &enrollment)?;
    let mut results = Results::default();
    for round in 1..=rounds {
        let step = Step::begin(format!("round {round} of {rounds}"));
        // In turns, so that whatever slows the host down slows both.
        let (ours, floor) = bench.our_join(&format!("ours-{round}"))?;
        results.ours.push(ours);
        results.floor.push(floor);
        results.kubeadm.push(bench.kubeadm_join(&format!("kubeadm-{round}"))?);
        step.done();
    }
    Ok((results, version))
}
