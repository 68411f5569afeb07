use std::collections::BTreeSet;

use super::*;
use crate::checks::catalogue::{ALL, Moment};

/// The verdict of a check that must have been made.
pub(super) fn verdict(findings: &[Finding], id: &str) -> Verdict {
    let found = findings.iter().find(|finding| finding.id == id);
    found.unwrap_or_else(|| panic!("{id} was not made: {findings:?}")).verdict
}

/// A new certificate authority, as PEM.
pub(super) fn authority(name: &str) -> String {
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
        beforehand: Beforehand { kernel: Some(kernel::tests::sound()), name: Some(Ok(Vec::new())), reach: None },
        hostname: "worker-1".to_owned(),
    }
}

#[test]
fn every_check_before_a_join_is_made_and_each_once_in_the_catalogues_order() {
    let report = judge(&sound(), &Expected::default(), &[]);
    let made: Vec<&str> = report.checks.iter().map(|finding| finding.id).collect();
    let only_on_occasion = ["Configuration", "Waivers"];
    let expected: Vec<&str> = ALL
        .iter()
        .filter(|kind| kind.moment == Moment::Before && !only_on_occasion.contains(&kind.id))
        .map(|kind| kind.id)
        .collect();
    assert_eq!(made, expected);
    assert!(report.is_good(), "{report:?}");
    // As many as the API takes, with the six of a node beside them.
    assert!(ALL.len() <= 96);
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
        let kind = ALL.iter().find(|kind| kind.id == finding.id).unwrap();
        assert!(finding.verdict <= kind.worst, "{finding:?}");
    }
    let failed: BTreeSet<&str> =
        report.checks.iter().filter(|finding| finding.verdict == Verdict::Failed).map(|finding| finding.id).collect();
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
