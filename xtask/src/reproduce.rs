//! `cargo xtask reproduce`: one commit, built in two places, gives the same files.
//!
//! Each place is a clone of its own whose own `cargo xtask` builds, with another path, time zone and language. What is the
//! same in both is this machine: its compiler, linker and C library.

mod compare;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};
use clap::Args;
use join_e2e::lab::command;
use join_e2e::progress::Step;

use crate::revision::Revision;
use crate::{build, compile};

/// A clone below the common folder, and what of its environment is not as in the other one.
struct Place {
    path: &'static str,
    environment: [(&'static str, &'static str); 2],
}

const ONE: Place = Place { path: "one", environment: [("TZ", "UTC"), ("LC_ALL", "C.UTF-8")] };
const ANOTHER: Place =
    Place { path: "another/with/a/longer/path", environment: [("TZ", "Pacific/Auckland"), ("LC_ALL", "C")] };

/// The programs that are given away. Which of them differs says why an archive does.
const PROGRAMS: [&str; 3] = ["join-controller", "join-agent", "kubectl-njr"];

#[derive(Args)]
pub struct ReproduceArguments {
    /// Compare the agent's packages and the archives of the programs as well
    #[arg(long)]
    packages: bool,
}

pub fn run(arguments: &ReproduceArguments) -> anyhow::Result<ExitCode> {
    let commit = Revision::current()?.name;
    ensure!(!commit.ends_with("-dirty"), "tracked files differ from the last commit, and a commit is what is built");
    let temporary = tempfile::tempdir().context("making a temporary folder")?;
    let build = |place: &Place| {
        let step = Step::begin(format!("building {commit} in {}", temporary.path().join(place.path).display()));
        let files = build_in(temporary.path(), place, &commit, arguments.packages)?;
        step.done();
        anyhow::Ok(files)
    };
    let (one, another) = (build(&ONE)?, build(&ANOTHER)?);
    let compared = compare::all(&one, &another)?;
    for (name, outcome) in &compared {
        match outcome {
            Ok(checksum) => println!("same       {checksum}  {name}"),
            Err(difference) => println!("different  {name}: {difference}"),
        }
    }
    if compared.values().all(Result::is_ok) {
        return Ok(ExitCode::SUCCESS);
    }
    println!("what was built is left in {}; diffoscope shows more of it", temporary.keep().display());
    Ok(ExitCode::FAILURE)
}

/// Clones the commit, builds it there as anybody would, and returns the files by their names.
fn build_in(
    folder: &Path,
    place: &Place,
    commit: &str,
    with_packages: bool,
) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let clone = folder.join(place.path);
    let git = || Command::new("git");
    command::run(git().args(["clone", "--quiet", "--no-checkout"]).arg(build::repository()).arg(&clone))?;
    command::run(git().arg("-C").arg(&clone).args(["checkout", "--quiet", "--detach", commit]))?;
    for what in ["image", "package"].into_iter().filter(|what| *what == "image" || with_packages) {
        let mut xtask = build::cargo();
        xtask.current_dir(&clone).args(["xtask", what]).envs(place.environment);
        // One folder for both would be built in once.
        xtask.env_remove("CARGO_TARGET_DIR").env_remove("CARGO_BUILD_TARGET_DIR");
        command::run(&mut xtask)?;
    }
    let target = clone.join("target");
    let release = target.join(compile::host_target()).join(compile::Profile::Release.as_str());
    let programs = PROGRAMS.map(|program| release.join(program)).into_iter().filter(|program| program.is_file());
    let mut files: Vec<PathBuf> = programs.collect();
    for results in ["image", "package"].map(|results| target.join(results)) {
        for entry in fs::read_dir(&results).into_iter().flatten() {
            files.push(entry.with_context(|| format!("reading {}", results.display()))?.path());
        }
    }
    ensure!(!files.is_empty(), "nothing was built in {}", target.display());
    let named = files.into_iter().filter(|file| file.is_file()).map(|file| {
        let name = file.strip_prefix(&target).unwrap_or(&file).display().to_string();
        (name, file)
    });
    Ok(named.collect())
}
