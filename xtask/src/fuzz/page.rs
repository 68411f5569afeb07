//! `docs/fuzzing.md`, written from the record.

use std::fmt::Write as _;
use std::fs;

use anyhow::Context;
use join_e2e::bench::grouped;

use super::record::{Record, Run};
use super::{MEMORY_LIMIT, TARGETS, TIMEOUT, files};
use crate::build::repository;

/// What every target is to reach.
const GOAL: u64 = 10_000_000;

/// Kept by hand: what is read and has no target.
const WITHOUT_TARGET: &str = "\
## What has no target

Read as well, and without a target of their own:

- the certificate that the kubelet is issued, which the agent compares with what it asked for;
- answers of etcd and of the container runtime (protobuf), and of the API server (JSON), as far as they are not named above;
- the agent's own files: its journal, its keys and its membership, which root alone can write.
";

pub fn write_page(record: &Record) -> anyhow::Result<()> {
    fs::write(repository().join("docs/fuzzing.md"), page(record)?).context("writing docs/fuzzing.md")
}

fn page(record: &Record) -> anyhow::Result<String> {
    let runs: Vec<&Run> = TARGETS.iter().flat_map(|(name, _)| record.runs(name)).collect();
    let first = runs.iter().map(|run| run.date.as_str()).min().unwrap_or("never");
    let last = runs.iter().map(|run| run.date.as_str()).max().unwrap_or("never");
    let mut page = format!(
        "# Fuzzing\n\n\
         Parsers of what a network, a machine or a person sends have targets of libFuzzer in the folder `fuzz`, which \
         check more than the absence of panics: what is approved is what was asked for, only pinned authorities are \
         trusted, what is read and written again is the same.\n\n\
         `cargo xtask fuzz` goes on where the runs before it ended, until each target has had ten million inputs; what \
         every run has reached stands in `fuzz/record.json`, from which this page is written. The runs were made \
         between {first} and {last}. A finding is a panic, a broken assertion, more than {MEMORY_LIMIT} MiB of \
         memory, or an input that takes more than {TIMEOUT} seconds; it is mended, and its input is a seed from then on. \
         The memory is that of the whole process, with libFuzzer's own corpus.\n\n\
         | target | input | executions | runs | of the newest build | per second | peak memory | findings |\n\
         |---|---|--:|--:|--:|--:|--:|--:|\n",
    );
    for (name, _) in TARGETS {
        let runs = record.runs(name);
        let sum = |value: fn(&Run) -> u64| -> u64 { runs.iter().map(value).sum() };
        let (executions, seconds) = (sum(|run| run.executions), sum(|run| run.seconds));
        let newest = runs.last().map(|run| run.built_from.as_str()).unwrap_or_default();
        let of_newest = record.executions_of_build(name, newest);
        let memory = runs.iter().map(|run| run.peak_memory).max().unwrap_or_default();
        let findings: usize = runs.iter().map(|run| run.findings).sum();
        writeln!(
            page,
            "| `{name}` | {} | {} | {} | {} | {} | {memory} MiB | {findings} |",
            about(name)?,
            grouped(executions),
            runs.len(),
            grouped(of_newest),
            grouped(executions.checked_div(seconds).unwrap_or_default()),
        )?;
    }
    let short: Vec<String> = TARGETS
        .iter()
        .filter(|(name, _)| record.executions(name) < GOAL)
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    if short.is_empty() {
        page.push_str("\nEach target has had its ten million.\n");
    } else {
        write!(page, "\nNot at ten million yet: {}.\n", short.join(", "))?;
    }
    let sizes = TARGETS.iter().map(|(name, longest)| {
        files(&repository().join("fuzz/seeds").join(name)).map(|seeds| format!("`{name}` {longest} ({})", seeds.len()))
    });
    let sizes: Vec<String> = sizes.collect::<anyhow::Result<_>>()?;
    write!(
        page,
        "\n{WITHOUT_TARGET}\n## How it is built\n\n\
         - Optimised, with overflow checks and debug assertions, which are findings as well. Arithmetic of elliptic curves \
         and ciphers is built without them: it would take most of the time, and is not what is looked at.\n\
         - Without AddressSanitizer. The project's own code is free of `unsafe`, which its lints forbid. What is \
         not seen so are wrong accesses to memory within libraries: the C and assembly of `ring`, and `unsafe` in \
         Rust libraries, as far as they do not end in a fault.\n\
         - Keys, tokens and pins that are the same for every input are made once.\n\
         - The longest input of each target in bytes, and in brackets its number of seeds: {}. The sizes beyond which the \
         parsers refuse ([limits](threat-model.md#exhausting-resources)) are tested by hand.\n",
        sizes.join(", "),
    )?;
    Ok(page)
}

/// What a target is about: the first sentence of its own documentation.
fn about(name: &str) -> anyhow::Result<String> {
    let path = repository().join("fuzz/targets").join(name).with_extension("rs");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let lines: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//! ")).collect();
    Ok(lines.join(" ").trim_end_matches('.').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_that_of_the_record() {
        let page = page(&Record::read().unwrap()).unwrap();
        assert_eq!(page, fs::read_to_string(repository().join("docs/fuzzing.md")).unwrap(), "run `cargo xtask fuzz`");
    }

    #[test]
    fn the_page_says_what_was_not_reached_and_over_how_many_runs() {
        let run = |built_from: &str, executions| Run {
            date: "2026-01-02".to_owned(),
            built_from: built_from.to_owned(),
            executions,
            seconds: 10,
            peak_memory: 61,
            findings: 0,
        };
        let mut record = Record::default();
        for (name, _) in TARGETS {
            record.add(name, run("older", 6_000_000));
            record.add(name, run("newer", 4_000_000 - u64::from(*name == "jws")));
        }
        let page = page(&record).unwrap();
        assert!(page.contains("| 10,000,000 | 2 | 4,000,000 | 500,000 | 61 MiB | 0 |"), "{page}");
        assert!(page.contains("| 9,999,999 | 2 | 3,999,999 | 499,999 | 61 MiB | 0 |"), "{page}");
        assert!(page.contains("\nNot at ten million yet: `jws`.\n"), "{page}");
    }
}
