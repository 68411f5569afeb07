//! `check` and the controller's own check, on a cluster that is well and on one that is broken for real.

use join_e2e::suite::binaries;
use libtest_mimic::Failed;

use crate::snapshot::Outcome;
use crate::support::Suite;

/// What differs from run to run in what the checks see.
fn settle(suite: &Suite) -> Result<(), Failed> {
    suite.stands_for("<kubernetes>", &suite.lab().components().kubernetes_version);
    let holder = [
        "get",
        "lease",
        "kube-controller-manager",
        "--namespace=kube-system",
        "--output=jsonpath={.spec.holderIdentity}",
    ];
    let holder = suite.wait("kube-controller-manager to take its lease", || {
        let holder = suite.operator().kubectl(&holder).map_err(|failure| failure.to_string())?;
        if holder.is_empty() { Err("nobody holds it".to_owned()) } else { Ok(holder) }
    })?;
    suite.stands_for("<holder>", &holder);
    Ok(())
}

/// Waits until the cluster is well.
pub fn make_well(suite: &Suite) -> Result<(), Failed> {
    settle(suite)?;
    until_well(suite).map(drop)
}

/// Runs a check until it comes to what is expected; what a cluster still does of itself then settles.
fn until(suite: &Suite, arguments: &[&str], what: &str, holds: impl Fn(&Outcome) -> bool) -> Result<Outcome, Failed> {
    suite.wait(what, || {
        let outcome = suite.njr(arguments).map_err(|failure| format!("{failure:?}"))?;
        if holds(&outcome) { Ok(outcome) } else { Err(outcome.stdout) }
    })
}

fn until_well(suite: &Suite) -> Result<Outcome, Failed> {
    until(suite, &["check", "-o", "short"], "every check to pass", |outcome| {
        outcome.code == Some(0) && outcome.stdout.is_empty()
    })
}

pub fn a_cluster_that_is_well_passes(suite: &Suite) -> Result<(), Failed> {
    settle(suite)?;
    let short = until_well(suite)?;
    let table = suite.njr(&["check"])?.good()?;
    let before = suite.njr(&["check", "--pre"])?.good()?;
    suite.snapshot("check", &[&short, &table, &before])?;
    let json = suite.njr(&["check", "-o", "json"])?.good()?;
    let report: serde_json::Value = serde_json::from_str(&json.stdout)?;
    if report["success"] != true || report["checks"].as_array().is_none_or(Vec::is_empty) {
        return Err(format!("not a report of success: {report:#}").into());
    }
    Ok(())
}

pub fn a_binding_that_is_gone_is_told_and_mended(suite: &Suite) -> Result<(), Failed> {
    settle(suite)?;
    until_well(suite)?;
    suite.operator().kubectl(&["delete", "validatingadmissionpolicybinding", "nodejoin-tokens"])?;
    let told = suite.njr(&["check", "-o", "short"])?.with_code(1)?;
    let unasked = suite.njr(&["doctor", "--fix", "policy-bindings"])?.with_code(1)?;
    let tried = suite.njr(&["doctor", "--fix", "policy-bindings", "--dry-run=server"])?.good()?;
    let mended = suite.njr(&["doctor", "--fix", "policy-bindings", "--yes"])?.good()?;
    let again = suite.njr(&["doctor", "--fix", "policy-bindings", "--yes"])?.good()?;
    let well = until_well(suite)?;
    suite.snapshot("check-binding", &[&told, &unasked, &tried, &mended, &again, &well])
}

pub fn a_changed_policy_is_told(suite: &Suite) -> Result<(), Failed> {
    settle(suite)?;
    until_well(suite)?;
    let patch = |value: &str| {
        let patch = format!("--patch={{\"spec\":{{\"failurePolicy\":\"{value}\"}}}}");
        suite.operator().kubectl(&["patch", "validatingadmissionpolicy", "nodejoin-status", "--type=merge", &patch])
    };
    patch("Ignore")?;
    let told = suite.njr(&["check", "-o", "short"])?.with_code(1)?;
    patch("Fail")?;
    let well = until_well(suite)?;
    suite.snapshot("check-policy", &[&told, &well])
}

pub fn a_stopped_controller_manager_is_told(suite: &Suite) -> Result<(), Failed> {
    const MANAGER: &str = "kube-controller-manager";
    settle(suite)?;
    until_well(suite)?;
    suite.lab().kill_process(MANAGER)?;
    let told =
        until(suite, &["check", "-o", "short"], "the stopped signer to be told", |outcome| outcome.code == Some(1));
    suite.lab().start_process(MANAGER, &[])?;
    let told = told?;
    if !told.stdout.starts_with("failed\tsigner\tkube-controller-manager's lease was last renewed ") {
        return Err(format!("{told:#?}").into());
    }
    until_well(suite).map(drop)
}

pub fn without_rights_checks_are_skipped(suite: &Suite) -> Result<(), Failed> {
    settle(suite)?;
    until_well(suite)?;
    let nobody = suite.njr(&["check", "--as", "somebody"])?.with_code(1)?;
    suite.snapshot("check-without-rights", &[&nobody])
}

pub fn the_controllers_own_check(suite: &Suite) -> Result<(), Failed> {
    settle(suite)?;
    until_well(suite)?;
    let good = controller_check(suite, &[])?.good()?;
    // Its rights are compared with what it needs: one less is an error, one that it must not have a warning.
    suite.operator().kubectl(&["delete", "rolebinding", "nodejoin:controller", "--namespace=kube-system"])?;
    let less = until_code(suite, 1);
    let mend = [
        "create",
        "rolebinding",
        "nodejoin:controller",
        "--namespace=kube-system",
        "--role=nodejoin:controller",
        "--serviceaccount=join-system:join-controller",
    ];
    suite.operator().kubectl(&mend)?;
    let (less, mended) = (less?, until_code(suite, 0)?);
    suite.snapshot("controller-check", &[&good, &less, &mended])
}

fn until_code(suite: &Suite, code: i32) -> Result<Outcome, Failed> {
    suite.wait("the controller's check", || {
        let outcome = controller_check(suite, &["-o", "short"]).map_err(|failure| format!("{failure:?}"))?;
        if outcome.code == Some(code) { Ok(outcome) } else { Err(outcome.stdout) }
    })
}

/// Runs `join-controller check` with the rights of the controller's ServiceAccount.
fn controller_check(suite: &Suite, arguments: &[&str]) -> Result<Outcome, Failed> {
    let kubeconfig = suite.lab().layout().folder().join("controller.conf");
    let mut command = suite.lab().control_plane_command(&binaries()?.join("join-controller"))?;
    command.arg("check").args(arguments).arg("--kubeconfig").arg(kubeconfig);
    let output = join_e2e::lab::command::output(&mut command)?;
    let line = format!("(join-controller) check {}", arguments.join(" "));
    Ok(Outcome {
        line: line.trim_end().to_owned(),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
        code: output.status.code(),
    })
}
