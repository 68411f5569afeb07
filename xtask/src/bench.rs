//! `cargo xtask bench`: how fast we are, beside kubeadm.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use join_e2e::components::KubernetesMinor;
use join_e2e::progress::Step;
use join_e2e::{bench, prerequisites};

use crate::build;

#[derive(Subcommand)]
pub enum BenchCommand {
    /// Joins machines with join-operator and with kubeadm in turns, and writes docs/benchmarks.md
    Join(JoinArguments),
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

pub fn run(command: &BenchCommand) -> anyhow::Result<ExitCode> {
    let BenchCommand::Join(arguments) = command;
    prerequisites::ensure()?;
    build::binaries("join-e2e")?;
    let step = Step::begin("building join-operator for release");
    let binaries = build::release_binaries()?;
    step.done();
    let (results, kubernetes) = bench::run(arguments.kubernetes, &binaries, arguments.rounds)?;
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
