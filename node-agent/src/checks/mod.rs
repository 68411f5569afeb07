//! May this machine become a node, and is it still one? One engine for `join-agent check`, for what comes before
//! anything is written in a join, and for what is watched after it.
//!
//! Every group of checks looks first (`observe`) and judges then (`judge`, pure); [`catalogue`] has every check's name and
//! texts. The checks have kubeadm's names where kubeadm has them, so that a list of waivers means the same to both.

pub mod after;
pub mod basics;
pub mod beforehand;
pub mod catalogue;
pub mod cluster;
pub mod control_plane;
pub mod control_plane_certificates;
pub mod health;
pub mod kernel;
pub mod kubelet;
pub mod leftovers;
pub mod name;
pub mod network;
pub mod pace;
pub mod proxy;
pub mod reach;
pub mod runtime;
pub mod version;

use std::net::IpAddr;

use join_checks::{Finding, Report, Verdict};
use join_crds::{Check, CheckResult};

pub use self::beforehand::Beforehand;
pub use self::cluster::{Authorities, Expected, KubeletSettings};
use crate::kubelet::{Systemd, UNIT};

/// The units of container runtimes, whose proxy variables decide about image pulls.
const RUNTIME_UNITS: [&str; 2] = ["containerd.service", "crio.service"];
/// The longest message that the API takes.
const MAX_MESSAGE: usize = 512;

/// What was seen on the machine.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The machine itself.
    pub basics: basics::Facts,
    /// What others left.
    pub leftovers: leftovers::Facts,
    /// The container runtime.
    pub runtime: runtime::Facts,
    /// The kubelet.
    pub kubelet: kubelet::Facts,
    /// Addresses and forwarding.
    pub network: network::Facts,
    /// Proxies.
    pub proxy: proxy::Facts,
    /// What a control plane needs; only where the machine becomes one.
    pub control_plane: Option<control_plane::Facts>,
    /// What takes long to see.
    pub beforehand: Beforehand,
    /// The machine's host name.
    pub hostname: String,
}

/// Where to look.
pub struct Place<'a> {
    /// The container runtime's socket.
    pub cri_socket: &'a str,
    /// The installed kubelet's version, since finding it out starts a large program.
    pub kubelet_version: Option<String>,
    /// systemd, or why it cannot be asked.
    pub systemd: Result<&'a Systemd, String>,
    /// The machine's host name.
    pub hostname: &'a str,
}

/// Looks at the machine. It takes some milliseconds; what takes longer comes in as `beforehand`.
pub async fn observe(place: Place<'_>, expected: &Expected<'_>, beforehand: Beforehand) -> Facts {
    let Place { cri_socket, kubelet_version, systemd, hostname } = place;
    let (runtime, kubelet, environments) = tokio::join!(
        runtime::observe(cri_socket),
        kubelet::observe(kubelet_version, systemd.clone()),
        environments(systemd),
    );
    let kubelet_environment = kubelet.unit.as_ref().map(|unit| unit.environment.as_slice()).unwrap_or_default();
    let mut units: Vec<(&'static str, &[String])> = vec![(UNIT, kubelet_environment)];
    units.extend(environments.iter().map(|(unit, environment)| (*unit, environment.as_slice())));
    Facts {
        basics: basics::observe(),
        leftovers: leftovers::observe(),
        proxy: proxy::observe(&units),
        runtime,
        kubelet,
        network: network::observe(expected),
        control_plane: expected.new_control_plane.map(control_plane::observe),
        beforehand,
        hostname: hostname.to_owned(),
    }
}

/// The variables of the container runtimes' units that are there.
async fn environments(systemd: Result<&Systemd, String>) -> Vec<(&'static str, Vec<String>)> {
    let mut found = Vec::new();
    if let Ok(systemd) = systemd {
        for name in RUNTIME_UNITS {
            if let Ok(unit) = kubelet::unit(systemd, name).await
                && unit.is_loaded()
            {
                found.push((name, unit.environment));
            }
        }
    }
    found
}

/// Judges what was seen, and waives what `ignore` names.
pub fn judge(facts: &Facts, expected: &Expected<'_>, ignore: &[String]) -> Report {
    let before = &facts.beforehand;
    let endpoint_addresses: &[IpAddr] =
        before.reach.as_ref().map(|reach| reach.addresses.as_slice()).unwrap_or_default();
    let version = facts.kubelet.version.as_deref();
    let mut checks = basics::judge(&facts.basics, expected.kubelet);
    checks.extend(leftovers::judge(&facts.leftovers, expected));
    checks.extend(runtime::judge(&facts.runtime, expected.kubelet));
    checks.push(match &before.kernel {
        Some(kernel) => kernel::judge(kernel, version, expected.kubelet),
        None => catalogue::SYSTEM_VERIFICATION.skipped("the kernel was not looked at"),
    });
    checks.extend(kubelet::judge(&facts.kubelet, expected.control_plane));
    checks.extend(name::judge(expected.node_name, &facts.hostname, before.name.as_ref()));
    checks.extend(network::judge(&facts.network, expected, endpoint_addresses));
    checks.extend(proxy::judge(&facts.proxy, expected));
    checks.extend(reach::judge(before.reach.as_ref()));
    if let Some(own) = expected.new_control_plane {
        checks.extend(control_plane::judge(facts.control_plane.as_ref(), own));
    }
    waived(checks, ignore)
}

/// The report in the catalogue's order, with the waivers in it. A waiver that no check knows is told.
pub fn waived(mut checks: Vec<Finding>, ignore: &[String]) -> Report {
    let unknown: Vec<&str> = ignore.iter().map(String::as_str).filter(|name| !catalogue::is_known(name)).collect();
    if !unknown.is_empty() {
        checks.push(catalogue::WAIVERS.warning(format!("no check is named {}", unknown.join(", "))));
    }
    let place = |finding: &Finding| catalogue::all().position(|kind| kind.id == finding.section);
    checks.sort_by_key(place);
    let mut report = Report { checks };
    // `All` is kubeadm's too, whatever its case.
    let ignore: Vec<String> = ignore
        .iter()
        .map(|name| if name.eq_ignore_ascii_case("all") { "all".to_owned() } else { name.clone() })
        .collect();
    report.waive(&ignore);
    report
}

/// The report as `status.agent.checks` has it. What passed says no more than that, unless `with_passed`: ten thousand
/// requests are held in memory by the controller.
pub fn for_status(report: &Report, with_passed: bool) -> Vec<Check> {
    let check = |finding: &Finding| {
        let result = match finding.verdict {
            Verdict::Passed => CheckResult::Passed,
            Verdict::Skipped => CheckResult::Skipped,
            Verdict::Warning | Verdict::Waived => CheckResult::Warning,
            Verdict::Failed => CheckResult::Failed,
        };
        let message = match (finding.verdict, &finding.remedy) {
            (Verdict::Passed, _) if !with_passed => None,
            (Verdict::Passed | Verdict::Skipped, _) | (_, None) => Some(finding.observed.clone()),
            (Verdict::Waived, _) => Some(format!("waived: {}", finding.observed)),
            (_, Some(remedy)) => Some(format!("{}; expected: {}; {remedy}", finding.observed, finding.expected)),
        };
        let clean = |text: String| -> String {
            text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(MAX_MESSAGE).collect()
        };
        Check { name: finding.id.clone().into_owned(), result, message: message.map(clean) }
    };
    report.checks.iter().map(check).collect()
}

#[cfg(test)]
#[path = "checks_tests.rs"]
pub(crate) mod tests;
