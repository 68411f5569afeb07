//! What systemd thinks of the unit's sandbox.

use std::path::Path;
use std::process::Command;

use join_e2e::lab::command;
use libtest_mimic::Failed;

/// The exposure from 0 (none) to 10 that is not to be exceeded.
const LIMIT: f32 = 4.0;

pub fn is_tight() -> Result<(), Failed> {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../node-agent/packaging/join-agent.service");
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["security", "--no-pager", "--offline=yes"]).arg(unit).env("LC_ALL", "C.UTF-8");
    let printed = command::run(&mut analyze)?.stdout;
    // "→ Overall exposure level for join-agent.service: 2.4 OK"
    let verdict = printed.lines().find_map(|line| line.split_once("Overall exposure level"));
    let (_, verdict) = verdict.ok_or_else(|| format!("systemd-analyze gave no level:\n{printed}"))?;
    println!("exposure level{verdict}");
    let (_, score) = verdict.split_once(": ").ok_or("the level has no number")?;
    let score: f32 = score.split(' ').next().unwrap_or_default().parse()?;
    assert!(score <= LIMIT, "the exposure level is {score}, and at most {LIMIT} is wanted:\n{printed}");
    Ok(())
}
