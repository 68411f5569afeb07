//! Building this project's own programs with cargo.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// The root of the repository.
pub fn repository() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// A cargo command in the repository, with the toolchain that runs xtask.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(repository());
    cargo
}

/// Builds binaries of one package and returns the folder that they are in.
pub fn binaries(package: &str) -> anyhow::Result<PathBuf> {
    let status =
        cargo().args(["build", "--quiet", "--package", package, "--bins"]).status().context("starting cargo")?;
    ensure!(status.success(), "building {package} failed ({status})");
    let program = std::env::current_exe().context("finding the running program")?;
    Ok(program.with_file_name(""))
}

/// Builds every program that the lab runs, for debugging.
pub fn all_binaries() -> anyhow::Result<PathBuf> {
    binaries("join-controller")?;
    binaries("join-agent")?;
    binaries("join-kubectl")?;
    binaries("join-e2e")
}

/// Builds controller, agent and kubectl plugin as users get them, and returns the folder that they are in.
pub fn release_binaries() -> anyhow::Result<PathBuf> {
    let packages = ["--package", "join-controller", "--package", "join-agent", "--package", "join-kubectl"];
    let status = cargo().args(["build", "--quiet", "--release", "--bins"]).args(packages).status();
    let status = status.context("starting cargo")?;
    ensure!(status.success(), "the release build failed ({status})");
    Ok(binaries("join-e2e")?.with_file_name("release"))
}
