//! The end-to-end suites, several side by side.
//!
//! A suite waits for kubelets, controllers and reboots more than it computes, and each has a lab of its own (named by
//! its process), so that two of them take little longer than the longer one. Their output is shown line by line as it
//! comes, with the suite's name before it.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, PipeReader};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, ensure};

use crate::build;

/// The suites in `e2e/tests`, longest first: what is left at the end is short.
const SUITES: &[&str] = &[
    "join",
    "failures",
    "control_plane",
    "attacks",
    "chaos",
    "chart",
    "kubectl",
    "lab",
    "docs",
    "packages",
    "kubeadm_files",
    "etcd",
];

/// Runs every suite, `at_once` of them at any time, and all of them even when one fails: what else is wrong is worth
/// knowing.
///
/// # Errors
/// With the names of those that failed.
pub fn run(at_once: usize) -> anyhow::Result<()> {
    compile()?;
    let left = Mutex::new(SUITES.iter().copied().collect::<VecDeque<_>>());
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..at_once.max(1) {
            scope.spawn(|| {
                while let Some(suite) = next(&left) {
                    if let Err(failure) = run_one(suite) {
                        println!("== {suite}: {failure:#}");
                        failed.lock().unwrap_or_else(PoisonError::into_inner).push(suite);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    let again = failed.iter().map(|suite| format!("`cargo test --package join-e2e --test {suite}`"));
    let again = again.collect::<Vec<_>>().join(", ");
    ensure!(failed.is_empty(), "end-to-end suites failed: {}; to run them alone: {again}", failed.join(", "));
    Ok(())
}

fn next(left: &Mutex<VecDeque<&'static str>>) -> Option<&'static str> {
    left.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

/// Compiles all suites, so that none waits for another's lock on the build.
fn compile() -> anyhow::Result<()> {
    println!("\n== end-to-end suites: compiling");
    let mut cargo = build::cargo();
    cargo.args(["test", "--package", "join-e2e", "--no-run"]);
    for suite in SUITES {
        cargo.args(["--test", suite]);
    }
    let status = cargo.status().context("starting cargo")?;
    ensure!(status.success(), "compiling the end-to-end suites failed ({status})");
    Ok(())
}

fn run_one(suite: &str) -> anyhow::Result<()> {
    let began = Instant::now();
    println!("== {suite}: started");
    let mut cargo = build::cargo();
    cargo.args(["test", "--quiet", "--package", "join-e2e", "--test", suite]);
    let status = run_with_prefix(&mut cargo, suite)?;
    ensure!(status.success(), "failed ({status})");
    println!("== {suite}: passed in {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// Runs a program whose output, both kinds in the order in which they come, is shown with a name before each line.
fn run_with_prefix(command: &mut Command, name: &str) -> anyhow::Result<std::process::ExitStatus> {
    let (output, writer) = std::io::pipe().context("making a pipe")?;
    command.stdout(writer.try_clone().context("making a pipe")?).stderr(writer);
    let mut child = command.spawn().context("starting cargo")?;
    // The command holds the writing end, without which the reading end would never come to its end.
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    show(output, name)?;
    child.wait().context("waiting for cargo")
}

fn show(output: PipeReader, name: &str) -> anyhow::Result<()> {
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("reading what cargo says")?;
        println!("{name:>8} | {}", String::from_utf8_lossy(&line));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{SUITES, build};

    #[test]
    fn no_suite_is_forgotten() {
        let folder = build::repository().join("e2e/tests");
        let entries = std::fs::read_dir(folder).expect("the suites' folder");
        let mut there: Vec<_> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")).collect();
        there.sort_unstable();
        let mut known = SUITES.to_vec();
        known.sort_unstable();
        assert_eq!(known, there);
    }
}
