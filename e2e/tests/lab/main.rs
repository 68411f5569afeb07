//! The lab itself: machines are machines, and nothing of a lab stays behind.
//!
//! A harness of its own, since the tests share a lab: starting one for each would take most of the time.

mod cleanup;
mod host;
mod machines;

use std::process::ExitCode;

use join_e2e::components::{Components, KubernetesMinor};
use join_e2e::lab::Lab;
use join_e2e::suite::in_turns;
use libtest_mimic::Trial;

/// Started with this argument the program is the victim of a test in `cleanup`: it starts a lab and never ends.
const VICTIM: &str = "--start-a-lab-and-wait";
/// Started with this argument the program is the demo.
const DEMO: &str = "--run-the-demo";

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, VICTIM, name] => match cleanup::start_a_lab_and_wait(name)? {},
        [_, DEMO, name] => return cleanup::run_the_demo(name),
        _ => {}
    }
    in_turns(vec![
        Trial::test("without_root_the_lab_says_so_and_makes_nothing", host::without_root),
        Trial::test("without_the_right_to_make_namespaces_the_lab_says_so_and_makes_nothing", host::without_namespaces),
        Trial::test("two_joined_machines_run_pods_side_by_side", machines::two_joined_machines_run_pods_side_by_side),
        Trial::test("a_killed_owner_leaves_nothing_that_cannot_be_removed", cleanup::a_killed_owner_is_cleaned_up),
        Trial::test("ctrl_c_ends_the_demo_and_removes_its_lab", cleanup::ctrl_c_ends_the_demo),
        Trial::test("two_labs_exist_at_once", cleanup::two_labs_exist_at_once),
    ])
}

/// A lab of the newest version, removed when dropped.
fn start(name: &str) -> anyhow::Result<Lab> {
    let components = Components::build(KubernetesMinor::V1_37)?;
    Ok(Lab::start(name, KubernetesMinor::V1_37, components)?)
}
