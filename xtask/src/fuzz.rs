//! `cargo xtask fuzz`: every fuzz target, a given number of executions each, and the page that records them.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use clap::Args;
use join_e2e::progress::Step;
use time::OffsetDateTime;

use crate::build::repository;
use crate::tools::CARGO_FUZZ;

/// The compiler that libFuzzer's instrumentation needs.
const TOOLCHAIN: &str = "nightly";
/// Memory of one target's process beyond which the run is a finding, in MiB.
const MEMORY_LIMIT: u64 = 512;
/// The longest that one input may take, in seconds.
const TIMEOUT: u64 = 10;

/// Every target and the longest input that it is given, in bytes: a little beyond the size at which its parser refuses,
/// or, where that is large, what has room for everything that the format knows.
const TARGETS: &[(&str, usize)] = &[
    ("token", 512),
    ("jws", 1024),
    ("credentials", 4 * 1024),
    ("discovery_file", 8 * 1024),
    ("cluster_info", 8 * 1024),
    ("agent_configuration", 8 * 1024),
    ("sealed_envelope", 8 * 1024),
    ("announcement", 20 * 1024),
    ("csr_policy", 20 * 1024),
];

#[derive(Args)]
pub struct FuzzArguments {
    /// How many inputs each target is given
    #[arg(long, default_value_t = 10_000_000)]
    executions: u64,
    /// End a target after this time, whatever it has reached
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Run this target only, and write no page
    #[arg(long)]
    target: Option<String>,
}

/// What one target's run was.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    executions: u64,
    seeds: usize,
    seconds: u64,
    /// In MiB.
    peak_memory: u64,
    /// Files with the inputs that made the target fail.
    findings: Vec<PathBuf>,
}

pub fn run(arguments: &FuzzArguments) -> anyhow::Result<ExitCode> {
    let chosen: Vec<_> =
        TARGETS.iter().filter(|(name, _)| arguments.target.as_ref().is_none_or(|wanted| wanted == name)).collect();
    ensure!(!chosen.is_empty(), "no such target; there are: {}", names());
    let folder = build()?;
    let mut outcomes = Vec::new();
    for (name, longest) in chosen {
        let step = Step::begin(format!("fuzzing {name}"));
        outcomes.push((*name, *longest, fuzz(&folder.join(name), name, *longest, arguments)?));
        step.done();
    }
    let page = page(arguments.executions, &outcomes)?;
    println!("{page}");
    if arguments.target.is_none() {
        fs::write(repository().join("docs/fuzzing.md"), page).context("writing docs/fuzzing.md")?;
    }
    let findings: Vec<String> =
        outcomes.iter().flat_map(|(_, _, outcome)| &outcome.findings).map(|path| path.display().to_string()).collect();
    if findings.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    bail!("inputs that fail, each of which belongs into a test: {}", findings.join(", "));
}

fn names() -> String {
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    names.join(", ")
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

fn fuzz(program: &Path, name: &str, longest: usize, arguments: &FuzzArguments) -> anyhow::Result<Outcome> {
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
        .arg(format!("-runs={}", arguments.executions))
        .arg(format!("-max_len={longest}"))
        .arg(format!("-rss_limit_mb={MEMORY_LIMIT}"))
        .arg(format!("-timeout={TIMEOUT}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-print_final_stats=1", "-verbosity=0"])
        .args(arguments.seconds.map(|seconds| format!("-max_total_time={seconds}")))
        .args([&corpus, &seeds])
        .stdout(log.try_clone().context("the log of a target")?)
        .stderr(log);
    let status = command.status().with_context(|| format!("starting {}", program.display()))?;
    let elapsed = began.elapsed();
    let text = fs::read(&log_path).with_context(|| format!("reading {}", log_path.display()))?;
    let mut outcome = read_statistics(&String::from_utf8_lossy(&text));
    outcome.seconds = elapsed.as_secs();
    outcome.seeds = files(&seeds)?.len();
    outcome.findings = files(&artifacts)?.into_iter().filter(|path| !before.contains(path)).collect();
    ensure!(
        status.success() || !outcome.findings.is_empty(),
        "{name} ended with {status} and left no input that explains it; see {}",
        log_path.display()
    );
    Ok(outcome)
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    paths.with_context(|| format!("reading {}", folder.display()))
}

/// libFuzzer's `stat::<name>: <value>` lines.
fn read_statistics(log: &str) -> Outcome {
    let value = |name: &str| {
        let prefix = format!("stat::{name}:");
        log.lines().rev().find_map(|line| line.trim().strip_prefix(&prefix)?.trim().parse().ok()).unwrap_or_default()
    };
    Outcome { executions: value("number_of_executed_units"), peak_memory: value("peak_rss_mb"), ..Outcome::default() }
}

/// What a target is about: the first sentence of its own documentation.
fn about(name: &str) -> anyhow::Result<String> {
    let path = repository().join("fuzz/targets").join(name).with_extension("rs");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let lines: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//! ")).collect();
    Ok(lines.join(" ").trim_end_matches('.').to_owned())
}

fn page(wanted: u64, outcomes: &[(&str, usize, Outcome)]) -> anyhow::Result<String> {
    let mut page = format!(
        "# Fuzzing\n\n\
         Written by `cargo xtask fuzz` on {}. Every parser of what a network, a machine or a person sends has a target \
         of libFuzzer in the folder `fuzz`, which checks more than the absence of panics: what is approved is what was \
         asked for, only pinned authorities are trusted, what is read and written again is the same.\n\n\
         Asked for: {} executions of each target. A finding is a panic, a broken assertion, more than {MEMORY_LIMIT} \
         MiB of memory, or an input that takes more than {TIMEOUT} seconds. Overflow checks are on. The memory \
         is that of the whole process, with libFuzzer's own corpus.\n\n\
         | target | input | executions | seeds | longest input | seconds | peak memory | findings |\n\
         |---|---|--:|--:|--:|--:|--:|--:|\n",
        OffsetDateTime::now_utc().date(),
        grouped(wanted),
    );
    for (name, longest, outcome) in outcomes {
        let Outcome { executions, seeds, seconds, peak_memory, findings } = outcome;
        let (about, executions, findings) = (about(name)?, grouped(*executions), findings.len());
        writeln!(
            page,
            "| `{name}` | {about} | {executions} | {seeds} | {longest} B | {seconds} | {peak_memory} MiB | {findings} |"
        )?;
    }
    let short: Vec<String> = outcomes
        .iter()
        .filter(|(_, _, outcome)| outcome.executions < wanted)
        .map(|(name, ..)| format!("`{name}`"))
        .collect();
    if !short.is_empty() {
        write!(page, "\nEnded by a limit of time before all executions were made: {}.\n", short.join(", "))?;
    }
    Ok(page)
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
    groups.join(",")
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
    fn the_page_says_what_was_not_reached() {
        let log = "Done 1234567 runs in 9 second(s)\nstat::number_of_executed_units: 1234567\n\
                   stat::average_exec_per_sec:     137174\nstat::peak_rss_mb:              61\n";
        let outcome = read_statistics(log);
        assert_eq!(outcome, Outcome { executions: 1_234_567, peak_memory: 61, ..Outcome::default() });
        let all = Outcome { executions: 2_000_000, ..Outcome::default() };
        let page = page(2_000_000, &[("token", 512, outcome), ("jws", 1024, all)]).unwrap();
        assert!(page.contains("| 1,234,567 | 0 | 512 B | 0 | 61 MiB | 0 |"), "{page}");
        assert!(page.ends_with("before all executions were made: `token`.\n"), "{page}");
    }
}
