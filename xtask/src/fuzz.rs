//! `cargo xtask fuzz`: every fuzz target until it has had its number of inputs, over as many runs as that takes, and the
//! page that says so.

mod page;
mod record;

use std::fs::{self, File};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use clap::Args;
use join_e2e::bench::grouped;
use join_e2e::progress::Step;
use time::OffsetDateTime;

use crate::build::repository;
use crate::tools::CARGO_FUZZ;
use page::write_page;
use record::{Record, Run, digest_of_sources};

/// The compiler that libFuzzer's instrumentation needs.
const TOOLCHAIN: &str = "nightly";
/// Memory of one target's process beyond which the run is a finding, in MiB.
const MEMORY_LIMIT: u64 = 512;
/// The longest that one input may take, in seconds.
const TIMEOUT: u64 = 10;

/// Every target and the longest input that it is given, in bytes: what has room for everything that the format knows. The
/// sizes beyond which the parsers refuse are tested by hand, since mutating megabytes finds nothing and takes long.
///
/// The quickest come first, so that a run that is cut short has finished most of them.
const TARGETS: &[(&str, usize)] = &[
    ("token", 512),
    ("kubeconfig_location", 512),
    ("credentials", 4 * 1024),
    ("jws", 1024),
    ("announcement", 4 * 1024),
    ("agent_configuration", 4 * 1024),
    ("join_configuration", 4 * 1024),
    ("discovery_file", 4 * 1024),
    ("cluster_info", 4 * 1024),
    ("sealed_envelope", 4 * 1024),
    ("csr_policy", 4 * 1024),
    ("kubelet_configuration", 4 * 1024),
    ("cluster_configuration", 4 * 1024),
    ("shared_certificates", 4 * 1024),
];

#[derive(Args)]
pub struct FuzzArguments {
    /// How many inputs each target is to have had, those of earlier runs among them
    #[arg(long, default_value_t = 10_000_000)]
    executions: u64,
    /// End a target after this time, whatever it has reached: the next run goes on from there
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Count only what the targets as they are now have had: for parsers that changed since
    #[arg(long)]
    anew: bool,
    /// Run this target only; may be given several times
    #[arg(long = "target", value_name = "TARGET")]
    targets: Vec<String>,
    /// How many targets run at a time; one for each processor unless told otherwise
    #[arg(long, value_name = "COUNT")]
    at_once: Option<NonZero<usize>>,
}

pub fn run(arguments: &FuzzArguments) -> anyhow::Result<ExitCode> {
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    let unknown = arguments.targets.iter().find(|wanted| !names.contains(&wanted.as_str()));
    ensure!(unknown.is_none(), "no target {:?}; there are: {}", unknown.unwrap_or(&String::new()), names.join(", "));
    let mut record = Record::read()?;
    let is_wanted = |name: &str| arguments.targets.is_empty() || arguments.targets.iter().any(|wanted| wanted == name);
    let of_build = if arguments.anew { Some(build()?) } else { None };
    let mut due = Vec::new();
    for (name, longest) in TARGETS.iter().filter(|(name, _)| is_wanted(name)) {
        let had = match &of_build {
            Some(folder) => record.executions_of_build(name, &digest_of_sources(&folder.join(name))?),
            None => record.executions(name),
        };
        let executions = arguments.executions.saturating_sub(had);
        if executions > 0 {
            due.push(Task { name, longest: *longest, executions });
        }
    }
    if due.is_empty() {
        println!("nothing to do: fuzz/record.json has {} executions of each", grouped(arguments.executions));
        write_page(&record)?;
        return Ok(ExitCode::SUCCESS);
    }
    let folder = of_build.map_or_else(build, Ok)?;
    let at_once =
        arguments.at_once.map_or_else(|| thread::available_parallelism().map_or(1, NonZero::get), NonZero::get);
    let findings = fuzz_all(&due, &folder, arguments.seconds, at_once, &mut record)?;
    if findings.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let findings: Vec<String> = findings.iter().map(|path| path.display().to_string()).collect();
    bail!("inputs that fail, each of which belongs into a test: {}", findings.join(", "));
}

/// What a target still has to do.
struct Task {
    name: &'static str,
    longest: usize,
    executions: u64,
}

/// Runs targets, some at a time, and writes down what each has reached as soon as it ends.
fn fuzz_all(
    due: &[Task],
    folder: &Path,
    seconds: Option<u64>,
    at_once: usize,
    record: &mut Record,
) -> anyhow::Result<Vec<PathBuf>> {
    let (left, shared, findings) = (Mutex::new(due.iter()), Mutex::new(record), Mutex::new(Vec::new()));
    let one_after_the_other = || -> anyhow::Result<()> {
        loop {
            let next = left.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(task) = next else { return Ok(()) };
            eprintln!("   fuzzing {}, {} executions to go …", task.name, grouped(task.executions));
            let program = folder.join(task.name);
            let outcome = fuzz(&program, task, seconds)?;
            eprintln!("   {}: {} executions in {} s", task.name, grouped(outcome.run.executions), outcome.run.seconds);
            let mut record = shared.lock().unwrap_or_else(PoisonError::into_inner);
            record.add(task.name, Run { built_from: digest_of_sources(&program)?, ..outcome.run });
            record.write()?;
            write_page(&record)?;
            findings.lock().unwrap_or_else(PoisonError::into_inner).extend(outcome.findings);
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once.min(due.len())).map(|_| scope.spawn(one_after_the_other)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    Ok(findings.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Builds the targets, and returns the folder that they are in.
///
/// Without a sanitizer: the project's own code is free of `unsafe`, so what is looked for are panics, broken
/// assertions, memory and time, and memory is measured as it is.
fn build() -> anyhow::Result<PathBuf> {
    let compiler = Command::new("rustup").args(["run", TOOLCHAIN, "rustc", "--version", "--verbose"]).output();
    let compiler = compiler.context("starting rustup, which finds the nightly compiler that fuzzing needs")?;
    ensure!(
        compiler.status.success(),
        "fuzzing needs a nightly compiler, and none is installed: run `rustup toolchain install {TOOLCHAIN}`"
    );
    let about = String::from_utf8(compiler.stdout).context("what rustc says of itself")?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    let program = CARGO_FUZZ.program()?;
    let step = Step::begin("building the fuzz targets");
    let mut command = Command::new(program);
    command.current_dir(repository()).args(["build", "--sanitizer", "none"]);
    // The toolchain of the process that runs xtask is the workspace's.
    for inherited in ["CARGO", "RUSTC", "RUSTDOC"] {
        command.env_remove(inherited);
    }
    let status = command.env("RUSTUP_TOOLCHAIN", TOOLCHAIN).status().context("starting cargo-fuzz")?;
    ensure!(status.success(), "building the fuzz targets failed ({status})");
    step.done();
    Ok(repository().join("fuzz/target").join(host).join("release"))
}

/// What one target's run was.
struct Outcome {
    run: Run,
    /// Files with the inputs that made the target fail.
    findings: Vec<PathBuf>,
}

fn fuzz(program: &Path, task: &Task, seconds: Option<u64>) -> anyhow::Result<Outcome> {
    let Task { name, longest, executions } = task;
    let fuzz = repository().join("fuzz");
    let (corpus, seeds, artifacts) =
        (fuzz.join("corpus").join(name), fuzz.join("seeds").join(name), fuzz.join("artifacts").join(name));
    for folder in [&corpus, &artifacts] {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    let before = files(&artifacts)?;
    let log_path = program.with_extension("log");
    let log = File::create(&log_path).with_context(|| format!("creating {}", log_path.display()))?;
    let began = Instant::now();
    let mut command = Command::new(program);
    command
        .arg(format!("-runs={executions}"))
        .arg(format!("-max_len={longest}"))
        .arg(format!("-rss_limit_mb={MEMORY_LIMIT}"))
        .arg(format!("-timeout={TIMEOUT}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-print_final_stats=1", "-verbosity=0"])
        .args(seconds.map(|seconds| format!("-max_total_time={seconds}")))
        .args([&corpus, &seeds])
        .stdout(log.try_clone().context("the log of a target")?)
        .stderr(log);
    let status = command.status().with_context(|| format!("starting {}", program.display()))?;
    let elapsed = began.elapsed();
    let text = fs::read(&log_path).with_context(|| format!("reading {}", log_path.display()))?;
    let findings: Vec<PathBuf> = files(&artifacts)?.into_iter().filter(|path| !before.contains(path)).collect();
    ensure!(
        status.success() || !findings.is_empty(),
        "{name} ended with {status} and left no input that explains it; see {}",
        log_path.display()
    );
    let (executions, peak_memory) = read_statistics(&String::from_utf8_lossy(&text));
    let run = Run {
        date: OffsetDateTime::now_utc().date().to_string(),
        built_from: String::new(),
        executions,
        seconds: elapsed.as_secs(),
        peak_memory,
        findings: findings.len(),
    };
    Ok(Outcome { run, findings })
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    paths.with_context(|| format!("reading {}", folder.display()))
}

/// Executions and peak memory in MiB, out of libFuzzer's `stat::<name>: <value>` lines.
fn read_statistics(log: &str) -> (u64, u64) {
    let value = |name: &str| {
        let prefix = format!("stat::{name}:");
        log.lines().rev().find_map(|line| line.trim().strip_prefix(&prefix)?.trim().parse().ok()).unwrap_or_default()
    };
    (value("number_of_executed_units"), value("peak_rss_mb"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_run() {
        let mut found: Vec<String> = files(&repository().join("fuzz/targets"))
            .unwrap()
            .iter()
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        found.sort();
        let mut run: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
        run.sort_unstable();
        assert_eq!(run, found);
    }

    #[test]
    fn seeds_are_not_cut() {
        for (name, longest) in TARGETS {
            for seed in files(&repository().join("fuzz/seeds").join(name)).unwrap() {
                assert!(fs::metadata(&seed).unwrap().len() <= *longest as u64, "{}", seed.display());
            }
        }
    }

    #[test]
    fn statistics_are_read() {
        let log = "Done 1234567 runs in 9 second(s)\nstat::number_of_executed_units: 1234567\n\
                   stat::average_exec_per_sec:     137174\nstat::peak_rss_mb:              61\n";
        assert_eq!(read_statistics(log), (1_234_567, 61));
    }
}
