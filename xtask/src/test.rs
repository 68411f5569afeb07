//! `cargo xtask test`: everything that has to hold before a change lands.

use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use join_e2e::components::{Components, KubernetesMinor};
use join_e2e::prerequisites;

use crate::tools::CARGO_DENY;
use crate::{build, docs, generate, image, package, suites};

#[derive(Args)]
pub struct TestArguments {
    /// Leave out the end-to-end suites, which need root and a few minutes
    #[arg(long)]
    no_e2e: bool,
    /// How many end-to-end suites run side by side, each in a lab of its own of about 1 GB of memory
    #[arg(long, value_name = "N", default_value_t = 2)]
    suites_at_once: usize,
}

pub fn run(arguments: &TestArguments) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    if !arguments.no_e2e {
        // First, so that a host that cannot run the suites says so at once and not after minutes of compiling.
        prerequisites::ensure()?;
    }
    stage("format", &["fmt", "--all", "--check"])?;
    stage("clippy", &["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"])?;
    println!("\n== generated files are up to date");
    generate::check()?;
    deny()?;
    stage("unit and property tests", &["test", "--workspace", "--lib", "--bins"])?;
    stage("integration tests", &["test", "--workspace", "--exclude", "join-e2e", "--test", "*"])?;
    stage("documentation tests", &["test", "--workspace", "--doc"])?;
    println!("\n== the book");
    docs::build(false)?;
    if !arguments.no_e2e {
        build::all_binaries()?;
        println!("\n== the controller's image and the agent's packages, for the end-to-end suites");
        image::for_tests()?;
        package::for_tests()?;
        println!("\n== the lab's components");
        for minor in KubernetesMinor::value_variants() {
            // Here, and not in the first suite that needs them: the suites would all wait for the one that builds.
            Components::build(*minor)?;
        }
        suites::run(arguments.suites_at_once)?;
    }
    println!("\nall tests passed in {:.1} minutes", began.elapsed().as_secs_f64() / 60.0);
    Ok(ExitCode::SUCCESS)
}

/// Runs cargo with its output shown as it comes.
fn stage(what: &str, arguments: &[&str]) -> anyhow::Result<()> {
    println!("\n== {what}");
    let status = build::cargo().args(arguments).status().context("starting cargo")?;
    ensure!(status.success(), "{what}: `cargo {}` failed ({status})", arguments.join(" "));
    Ok(())
}

/// Licences, banned crates and sources. Advisories are left to a scheduled workflow: their database is not a crate.
fn deny() -> anyhow::Result<()> {
    println!("\n== licences, bans and sources");
    let program = CARGO_DENY.program()?;
    let mut check = Command::new(program);
    check.current_dir(build::repository()).args(["--log-level=error", "check", "bans", "licenses", "sources"]);
    let status = check.status().context("starting cargo-deny")?;
    ensure!(status.success(), "cargo-deny found something ({status}); exceptions belong into deny.toml with a reason");
    Ok(())
}
