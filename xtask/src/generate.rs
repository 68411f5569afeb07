//! `cargo xtask generate`: files in the repository that are made from the code.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};

use join_crds::generate;
use join_e2e::chart;

use crate::build::{cargo, repository};

/// Every generated file: its path below the root of the repository, and its text.
fn files() -> anyhow::Result<Vec<(&'static str, String)>> {
    Ok([generate::files()?, chart::files()?].concat())
}

pub fn write() -> anyhow::Result<ExitCode> {
    for (path, content) in files()? {
        fs::write(repository().join(path), content).with_context(|| format!("writing {path}"))?;
        println!("{path}");
    }
    // Pages of the documentation come from the programs themselves, which xtask is not linked with.
    let status = cargo().args(["run", "--quiet", "--package", "join-book", "--", "generate"]).status();
    ensure!(status.context("starting cargo")?.success(), "join-book could not write its pages");
    Ok(ExitCode::SUCCESS)
}

/// Fails when a file in the repository is not what the code says.
pub fn check() -> anyhow::Result<()> {
    for (path, content) in files()? {
        let found = fs::read_to_string(repository().join(path)).with_context(|| format!("reading {path}"))?;
        if found != content {
            bail!("{path} is not what the code generates; run `cargo xtask generate` and commit the result");
        }
    }
    Ok(())
}
