//! `status`: a join from nothing to Ready, and one that cannot go on.

use libtest_mimic::Failed;

use crate::support::Suite;

pub fn two_machines_of_one_name_are_stalled(suite: &Suite) -> Result<(), Failed> {
    suite.announce("worker-7", "first key")?;
    suite.announce("worker-7", "second key")?;
    suite.operator().apply(&request("worker-7", &serde_json::json!({"trust": "FirstUse"})))?;
    // A watch ends with 1 as soon as nothing will go on by itself.
    let watched = suite.njr(&["status", "worker-7", "--watch"])?.with_code(1)?;
    let last = watched.stdout.lines().last().unwrap_or_default();
    if !last.ends_with("worker-7 Stalled MachineConflict") {
        return Err(format!("{watched:#?}").into());
    }
    let json = suite.njr(&["status", "worker-7", "-o", "json"])?.good()?;
    let tree: serde_json::Value = serde_json::from_str(&json.stdout)?;
    if tree["outcome"] != "Stalled" || tree["steps"][1]["state"] != "Failed" {
        return Err(format!("{tree:#}").into());
    }
    let yaml = suite.njr(&["status", "worker-7", "-o", "yaml"])?.good()?;
    if !yaml.stdout.contains("outcome: Stalled\n") {
        return Err(format!("{yaml:#?}").into());
    }
    Ok(())
}

pub fn a_join_is_followed_until_it_is_ready(suite: &Suite) -> Result<(), Failed> {
    let file = suite.njr(&["enroll"])?.good()?;
    suite.machine("worker-6", &file.stdout)?;
    suite.operator().apply(&request("worker-6", &serde_json::json!({"trust": "FirstUse"})))?;
    // On a terminal the tree is drawn over itself until the node is Ready: back to its first line, and clear from there.
    let drawn = suite.njr_on_a_terminal(&["status", "worker-6", "--watch", "--color=never"], "")?.good()?;
    let frames: Vec<&str> = drawn.stdout.split("\u{1b}[J").collect();
    let last = frames.last().copied().unwrap_or_default();
    if frames.len() < 2 || !last.starts_with("worker-6: Joined") || last.contains("watching") {
        return Err(format!("{} frames: {drawn:#?}", frames.len()).into());
    }
    // Elsewhere each change is a line; of a join that is over, what it came to.
    let told = suite.njr(&["status", "worker-6", "--watch"])?.good()?;
    let lines: Vec<&str> = told.stdout.lines().filter_map(|line| line.split_once(' ').map(|(_, told)| told)).collect();
    let expected =
        ["request Done Applied", "machine Done MachineKeyFirstUsed", "kubelet Done Ready", "worker-6 Ready Joined"];
    for line in expected {
        if !lines.contains(&line) {
            return Err(format!("{line:?} was not told: {told:#?}").into());
        }
    }
    Ok(())
}

fn request(name: &str, machine: &serde_json::Value) -> String {
    serde_json::json!({
        "apiVersion": "nodejoin.dev/v1alpha1", "kind": "NodeJoinRequest",
        "metadata": {"name": name}, "spec": {"machine": machine},
    })
    .to_string()
}
