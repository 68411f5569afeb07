//! `cargo xtask chaos`: joins that are killed, cut off and starved, and what is left of them.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use join_e2e::chaos::plan::{ControlPlaneCounts, Counts};
use join_e2e::chaos::{Joins, Settings, run as disturb};
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
    /// Joins as a control plane, one after the other, instead of those of workers
    #[arg(long, conflicts_with_all = ["kills", "cuts", "full", "clocks", "short", "machines_at_once"])]
    control_planes: bool,
    /// With --control-planes: the agent ends after each write up to this one or the last one, in a join for each
    #[arg(long, default_value_t = 100, requires = "control_planes")]
    writes: u32,
    /// With --control-planes: in how many joins the agent is killed at a random moment
    #[arg(long, default_value_t = 20, requires = "control_planes")]
    agent_kills: u32,
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
    fn joins(&self) -> Joins {
        let Self { kills, cuts, full, clocks, .. } = *self;
        if self.control_planes {
            Joins::ControlPlanes(ControlPlaneCounts { writes: self.writes, kills: self.agent_kills })
        } else if self.short {
            Joins::Workers(Counts::SHORT)
        } else {
            Joins::Workers(Counts { kills, cuts, full, clocks, longest_cut: Duration::from_mins(1) })
        }
    }

    /// The command that draws the same faults.
    fn command(&self, seed: u64) -> String {
        let which = match self.joins() {
            Joins::ControlPlanes(ControlPlaneCounts { writes, kills }) => {
                format!("--control-planes --writes {writes} --agent-kills {kills}")
            }
            Joins::Workers(_) if self.short => "--short".to_owned(),
            Joins::Workers(Counts { kills, cuts, full, clocks, .. }) => {
                format!("--kills {kills} --cuts {cuts} --full {full} --clocks {clocks}")
            }
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
        joins: arguments.joins(),
        only: arguments.only,
        at_once: arguments.machines_at_once,
        minor: arguments.kubernetes,
        binaries,
        logs: build::repository().join("target/e2e/chaos"),
        command: arguments.command(seed),
    };
    println!("{}", settings.command);
    let results = disturb(&settings)?;
    let path = build::repository().join("docs/reliability.md");
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let page = results.write_into(&before, &host::today(), &host::description());
    if arguments.print || arguments.short || arguments.only.is_some() {
        println!("\n{page}");
    } else {
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
