//! `cargo xtask mutants`: the policy on certificate requests is changed in every small way that cargo-mutants knows, and
//! the tests have to notice each. What is looked at stands in `.cargo/mutants.toml`.

use std::num::NonZero;
use std::process::{Command, ExitCode};
use std::thread::available_parallelism;

use anyhow::Context;

use crate::build::repository;
use crate::tools::CARGO_MUTANTS;

pub fn run() -> anyhow::Result<ExitCode> {
    let program = CARGO_MUTANTS.program()?;
    let jobs = available_parallelism().map_or(1, NonZero::get);
    let mut command = Command::new(program);
    command.current_dir(repository()).args(["mutants", "--package", "join-trust", "--output", "target"]);
    let status = command.arg(format!("--jobs={jobs}")).status().context("starting cargo-mutants")?;
    if !status.success() {
        eprintln!(
            "error: what survived is in target/mutants.out/missed.txt, each with a test that is missing; docs/mutations.md has what is left out and why"
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
