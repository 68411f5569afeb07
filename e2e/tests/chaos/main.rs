//! The short form of `cargo xtask chaos`: twenty joins, one disturbed after the other, with a seed that stays the same.

use std::process::ExitCode;

use join_e2e::chaos::plan::Counts;
use join_e2e::chaos::{Joins, Settings, run};
use join_e2e::components::KubernetesMinor;
use join_e2e::suite::{binaries, in_turns, log_folder};
use libtest_mimic::{Failed, Trial};

/// Any seed would do; a fixed one makes a failure the same for everybody.
const SEED: u64 = 1;

fn main() -> anyhow::Result<ExitCode> {
    in_turns(vec![Trial::test("disturbed_joins_end_ready_or_say_why_and_leave_nothing", short)])
}

fn short() -> Result<(), Failed> {
    let settings = Settings {
        seed: SEED,
        joins: Joins::Workers(Counts::SHORT),
        only: None,
        at_once: 2,
        minor: KubernetesMinor::V1_37,
        binaries: binaries()?,
        logs: log_folder("chaos"),
        command: format!("cargo xtask chaos --short --seed {SEED}"),
    };
    let results = run(&settings)?;
    if results.outcomes.len() != results.planned {
        return Err(format!("{} of {} runs were made", results.outcomes.len(), results.planned).into());
    }
    match results.violations() {
        0 => Ok(()),
        count => Err(format!("{count} violations; see above, and {}", settings.logs.display()).into()),
    }
}
