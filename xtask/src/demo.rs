//! `cargo xtask demo`: the main job, on a machine that has nothing prepared.

use std::process::ExitCode;

use clap::Args;
use join_e2e::components::KubernetesMinor;
use join_e2e::progress::Step;
use join_e2e::{demo, prerequisites};

use crate::build;

#[derive(Args)]
pub struct DemoArguments {
    /// The lab's name
    #[arg(long, default_value = "demo")]
    name: String,
    /// The Kubernetes version to run
    #[arg(long, value_enum, default_value = "1.37")]
    kubernetes: KubernetesMinor,
    /// Leave the lab running, to explore it
    #[arg(long)]
    keep: bool,
}

pub fn run(arguments: &DemoArguments) -> anyhow::Result<ExitCode> {
    prerequisites::ensure()?;
    let step = Step::begin("building join-operator");
    let binaries = build::all_binaries()?;
    step.done();
    demo::run(&arguments.name, arguments.kubernetes, &binaries, arguments.keep)?;
    Ok(ExitCode::SUCCESS)
}
