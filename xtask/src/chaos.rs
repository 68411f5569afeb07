//! `cargo xtask chaos`: joins that are killed, cut off and starved, and what is left of them.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use join_e2e::chaos::plan::Counts;
use join_e2e::chaos::{Settings, run as disturb};
use join_e2e::components::KubernetesMinor;
use join_e2e::{host, prerequisites};

use crate::build;

#[derive(Args)]
pub struct ChaosArguments {
    /// From this all faults are drawn; without it, a new one that is printed
    #[arg(long)]
    seed: Option<u64>,
    /// How many joins in which a process is killed
    #[arg(long, default_value_t = 200)]
    kills: u32,
    /// How many joins in which the machine's network is cut
    #[arg(long, default_value_t = 50)]
    cuts: u32,
    /// How many joins with the machine's disk or etcd's quota full
    #[arg(long, default_value_t = 20)]
    full: u32,
    /// How many joins with a wrong clock
    #[arg(long, default_value_t = 10)]
    clocks: u32,
    /// Twenty runs of all kinds, as in `cargo xtask test`
    #[arg(long, conflicts_with_all = ["kills", "cuts", "full", "clocks"])]
    short: bool,
    /// Only the run of this number
    #[arg(long, value_name = "RUN")]
    only: Option<u32>,
    /// How many machines join at once, where their faults do not meet
    #[arg(long, default_value_t = 2, value_name = "COUNT")]
    machines_at_once: usize,
    /// The Kubernetes version to run
    #[arg(long, value_enum, default_value = "1.37")]
    kubernetes: KubernetesMinor,
    /// Print the page and write nothing; so it is for --short and --only, whatever is said here
    #[arg(long)]
    print: bool,
}

impl ChaosArguments {
    fn counts(&self) -> Counts {
        let Self { kills, cuts, full, clocks, .. } = *self;
        if self.short {
            Counts::SHORT
        } else {
            Counts { kills, cuts, full, clocks, longest_cut: Duration::from_mins(1) }
        }
    }

    /// The command that draws the same faults.
    fn command(&self, seed: u64) -> String {
        let Counts { kills, cuts, full, clocks, .. } = self.counts();
        let which = if self.short {
            "--short".to_owned()
        } else {
            format!("--kills {kills} --cuts {cuts} --full {full} --clocks {clocks}")
        };
        format!("cargo xtask chaos --seed {seed} {which}")
    }
}

pub fn run(arguments: &ChaosArguments) -> anyhow::Result<ExitCode> {
    prerequisites::ensure()?;
    let binaries = build::all_binaries()?;
    let seed = arguments.seed.unwrap_or_else(|| u64::from(std::process::id()) << 32 | u64::from(now_nanoseconds()));
    let settings = Settings {
        seed,
        counts: arguments.counts(),
        only: arguments.only,
        at_once: arguments.machines_at_once,
        minor: arguments.kubernetes,
        binaries,
        logs: build::repository().join("target/e2e/chaos"),
        command: arguments.command(seed),
    };
    println!("{}", settings.command);
    let results = disturb(&settings)?;
    let page = results.markdown(&host::today(), &host::description());
    if arguments.print || arguments.short || arguments.only.is_some() {
        println!("\n{page}");
    } else {
        let path = build::repository().join("docs/reliability.md");
        std::fs::write(&path, page).context("writing docs/reliability.md")?;
        println!("written: {}", path.display());
    }
    let violations = results.violations();
    println!("{} runs, {violations} violations, seed {seed}", results.outcomes.len());
    Ok(if violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Nanoseconds within the current second: different from call to call, which is all that a new seed needs.
fn now_nanoseconds() -> u32 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.subsec_nanos())
}
