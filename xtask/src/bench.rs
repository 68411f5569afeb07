//! `cargo xtask bench`: how fast we are, beside kubeadm.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use join_e2e::components::KubernetesMinor;
use join_e2e::progress::Step;
use join_e2e::{bench, prerequisites};

use crate::build;

#[derive(Subcommand)]
pub enum BenchCommand {
    /// Joins machines with join-operator and with kubeadm in turns, and writes docs/benchmarks.md
    Join(JoinArguments),
    /// Lets hundreds and thousands of stub machines join at once, and writes docs/scale.md; takes about 15 minutes
    Scale(ScaleArguments),
}

#[derive(Args)]
pub struct JoinArguments {
    /// How many joins of each kind
    #[arg(long, default_value_t = 10)]
    rounds: u32,
    /// The Kubernetes version to run
    #[arg(long, value_enum, default_value = "1.37")]
    kubernetes: KubernetesMinor,
    /// Print the page and write nothing
    #[arg(long)]
    print: bool,
}

#[derive(Args)]
pub struct ScaleArguments {
    /// How many machines there are to be when it is measured, ascending
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000, 10_000])]
    machines: Vec<usize>,
    /// The Kubernetes version to run
    #[arg(long, value_enum, default_value = "1.37")]
    kubernetes: KubernetesMinor,
    /// Print the page and write nothing
    #[arg(long)]
    print: bool,
}

pub fn run(command: &BenchCommand) -> anyhow::Result<ExitCode> {
    prerequisites::ensure()?;
    build::binaries("join-e2e")?;
    let step = Step::begin("building join-operator for release");
    let binaries = build::release_binaries()?;
    step.done();
    match command {
        BenchCommand::Join(arguments) => join(arguments, &binaries),
        BenchCommand::Scale(arguments) => scale(arguments, &binaries),
    }
}

fn scale(arguments: &ScaleArguments, binaries: &Path) -> anyhow::Result<ExitCode> {
    let machines = &arguments.machines;
    let ascend = machines.first().is_some_and(|first| *first > 0) && machines.is_sorted_by(|a, b| a < b);
    ensure!(ascend, "--machines {machines:?}: expected numbers that ascend, from 1 on");
    let (levels, kubernetes) = bench::scale::run(arguments.kubernetes, binaries, machines)?;
    let page = bench::scale::markdown(&levels, &kubernetes);
    println!("{page}");
    if !arguments.print {
        std::fs::write(build::repository().join("docs/scale.md"), page).context("writing docs/scale.md")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn join(arguments: &JoinArguments, binaries: &Path) -> anyhow::Result<ExitCode> {
    let (results, kubernetes) = bench::run(arguments.kubernetes, binaries, arguments.rounds)?;
    let agent_size = std::fs::metadata(binaries.join("join-agent")).context("join-agent")?.len();
    let report = bench::Report { results: &results, kubernetes: &kubernetes, agent_size };
    let page = report.markdown();
    println!("{page}");
    if !arguments.print {
        let docs = build::repository().join("docs");
        std::fs::write(docs.join("benchmarks.md"), page).context("writing docs/benchmarks.md")?;
        report.plot(&docs.join("benchmarks.svg"))?;
    }
    Ok(ExitCode::SUCCESS)
}
