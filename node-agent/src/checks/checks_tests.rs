use std::collections::BTreeSet;

use super::*;
use crate::checks::catalogue::{Moment, all};

/// The verdict of a check that must have been made.
pub(super) fn verdict(findings: &[Finding], id: &str) -> Verdict {
    let found = findings.iter().find(|finding| finding.id == id);
    found.unwrap_or_else(|| panic!("{id} was not made: {findings:?}")).verdict
}

/// A new certificate authority, as PEM.
pub(crate) fn authority(name: &str) -> String {
    let mut parameters = rcgen::CertificateParams::default();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
}

fn sound() -> Facts {
    Facts {
        basics: basics::tests::sound(),
        leftovers: leftovers::Facts::default(),
        runtime: runtime::tests::sound(),
        kubelet: kubelet::tests::sound(),
        network: network::tests::sound(),
        proxy: proxy::Facts::default(),
        control_plane: None,
        beforehand: Beforehand { kernel: Some(kernel::tests::sound()), name: Some(Ok(Vec::new())), reach: None },
        hostname: "worker-1".to_owned(),
    }
}

#[test]
fn every_check_before_a_join_is_made_and_each_once_in_the_catalogues_order() {
    let report = judge(&sound(), &Expected::default(), &[]);
    let made: Vec<&str> = report.checks.iter().map(|finding| &*finding.id).collect();
    let only_on_occasion = ["Configuration", "DiscoveryFile", "Waivers"];
    let expected: Vec<&str> = all()
        .filter(|kind| kind.moment == Moment::Before && !only_on_occasion.contains(&kind.id))
        .map(|kind| kind.id)
        .collect();
    assert_eq!(made, expected);
    assert!(report.is_good(), "{report:?}");
    // As many as the API takes, with the six of a node beside them.
    assert!(all().count() <= 96);
}

#[test]
fn every_check_of_a_control_plane_is_made_once_where_the_machine_becomes_one() {
    let own = control_plane::NewControlPlane { bind_port: 8443, ..control_plane::tests::own() };
    let expected = Expected { new_control_plane: Some(&own), ..Expected::default() };
    let facts = Facts { control_plane: Some(control_plane::tests::sound()), ..sound() };
    let of_control_plane = |report: &Report| -> Vec<(String, Verdict)> {
        let is_of = |finding: &&Finding| {
            all().any(|kind| kind.moment == Moment::BeforeControlPlane && kind.id == finding.section)
        };
        report.checks.iter().filter(is_of).map(|finding| (finding.id.clone().into_owned(), finding.verdict)).collect()
    };
    let report = judge(&facts, &expected, &[]);
    let names: Vec<&str> = all()
        .filter(|kind| kind.moment == Moment::BeforeControlPlane)
        .map(|kind| if kind.id == "Port-6443" { "Port-8443" } else { kind.id })
        .collect();
    let expected_of = |verdict: &dyn Fn(&str) -> Verdict| -> Vec<(String, Verdict)> {
        names.iter().map(|name| ((*name).to_owned(), verdict(name))).collect()
    };
    assert_eq!(of_control_plane(&report), expected_of(&|_| Verdict::Passed));
    assert_eq!(report.checks.len(), judge(&sound(), &Expected::default(), &[]).checks.len() + names.len());
    // What was not looked at is told, and does not pass.
    let unseen = judge(&sound(), &expected, &[]);
    let skipped = |name: &str| if name.starts_with("FileAvailable") { Verdict::Passed } else { Verdict::Skipped };
    assert_eq!(of_control_plane(&unseen), expected_of(&skipped));
    // A worker has none of them.
    assert_eq!(of_control_plane(&judge(&facts, &Expected::default(), &[])), []);
    // kubeadm's name of the API server's port is the one that waives.
    let mut busy = facts;
    busy.control_plane.as_mut().unwrap().taken = vec![control_plane::Taken {
        port: 8443,
        address: None,
        kind: std::io::ErrorKind::AddrInUse,
        error: String::new(),
    }];
    assert!(!judge(&busy, &expected, &["Port-6443".to_owned()]).is_good());
    let waived = judge(&busy, &expected, &["port-8443".to_owned()]);
    assert!(waived.is_good() && waived.checks.iter().all(|finding| finding.id != "Waivers"), "{waived:?}");
}

#[test]
fn no_finding_is_worse_than_the_catalogue_says() {
    let mut broken = sound();
    broken.basics = basics::Facts {
        is_root: false,
        missing_programs: vec!["cp"],
        kubelet_port: Some("in use".to_owned()),
        swap: vec!["/dev/sda2".to_owned()],
        ..broken.basics
    };
    broken.beforehand = Beforehand::default();
    let report = judge(&broken, &Expected::default(), &["Mistake".to_owned()]);
    for finding in &report.checks {
        let kind = all().find(|kind| kind.id == finding.id).unwrap();
        assert!(finding.verdict <= kind.worst, "{finding:?}");
    }
    let failed: BTreeSet<&str> =
        report.checks.iter().filter(|finding| finding.verdict == Verdict::Failed).map(|finding| &*finding.id).collect();
    assert_eq!(failed, BTreeSet::from(["IsPrivilegedUser", "FileExisting-cp", "Port-10250"]));
}

#[test]
fn a_failure_is_waived_by_its_name_and_an_unknown_waiver_is_told() {
    let mut facts = sound();
    facts.basics.kubelet_port = Some("in use".to_owned());
    let told = |ignore: &[&str]| {
        let ignore: Vec<String> = ignore.iter().map(|name| (*name).to_owned()).collect();
        judge(&facts, &Expected::default(), &ignore)
    };
    assert!(!told(&[]).is_good());
    for waiver in ["port-10250", "Port-10250", "all", "All"] {
        assert!(told(&[waiver]).is_good(), "{waiver}");
    }
    let report = told(&["Prot-10250", "NumCPU"]);
    assert!(!report.is_good());
    let waivers = report.checks.iter().find(|finding| finding.id == "Waivers").unwrap();
    assert_eq!((waivers.verdict, waivers.observed.as_str()), (Verdict::Warning, "no check is named Prot-10250"));
}

#[test]
fn the_status_says_what_was_seen_expected_and_to_do() {
    let report = Report {
        checks: vec![
            catalogue::CP.passed("found"),
            catalogue::PORT_10250.failed("in use\n\u{1b}[31m"),
            catalogue::SWAP.warning("swap is on"),
            catalogue::CLOCK_SKEW.skipped("not asked"),
            Finding { verdict: Verdict::Waived, ..catalogue::MOUNT.failed("missing") },
            catalogue::MANIFESTS.failed("x".repeat(2000)),
        ],
    };
    let checks = for_status(&report, false);
    let results: Vec<CheckResult> = checks.iter().map(|check| check.result).collect();
    let [passed, failed, warning] = [CheckResult::Passed, CheckResult::Failed, CheckResult::Warning];
    assert_eq!(results, [passed, failed, warning, CheckResult::Skipped, warning, failed]);
    assert_eq!(checks[0].message, None);
    let message = checks[1].message.as_deref().unwrap();
    assert!(message.starts_with("in use  [31m; expected: the kubelet's port 10250 is free; run `ss"), "{message}");
    assert_eq!(checks[4].message.as_deref(), Some("waived: missing"));
    assert_eq!(checks[5].message.as_deref().unwrap().chars().count(), MAX_MESSAGE);
    assert_eq!(for_status(&report, true)[0].message.as_deref(), Some("found"));
}
