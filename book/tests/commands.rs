//! Every command of the documentation is one that its program understands.
//!
//! Of this project's programs, here; `cargo xtask` by xtask's own tests; kubectl and helm in the end-to-end suite,
//! where they are.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end where it fails")]

use clap::CommandFactory as _;
use join_book::blocks::blocks;
use join_book::commands::{MACHINE_KEY, calls, lines, understands};
use join_book::markdown::pages;

/// What is wrong with a call; `None` when its program understands it, or is not one of ours.
fn wrong(call: &[String]) -> Option<String> {
    let key = format!("sha256:{}", "0".repeat(64));
    let call: Vec<String> = call.iter().map(|word| word.replace(MACHINE_KEY, &key)).collect();
    let words: Vec<&str> = call.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["join-agent", ..] => understands(join_agent::cli::Arguments::command(), "join-agent", &call[1..]),
        ["join-controller", ..] => understands(join_controller::cli::Cli::command(), "join-controller", &call[1..]),
        ["kubectl", "njr", ..] => understands(join_kubectl::cli::Cli::command(), "kubectl njr", &call[2..]),
        ["kubectl-njr", ..] => understands(join_kubectl::cli::Cli::command(), "kubectl-njr", &call[1..]),
        _ => return None,
    };
    outcome.err()
}

#[test]
fn every_command_is_understood_by_its_program() {
    let mut broken = Vec::new();
    let mut seen = 0;
    for page in pages().unwrap() {
        for block in blocks(&page.text) {
            if let Some(reason) = block.skipped() {
                println!("{}:{}: not run: {reason}", page.path.display(), block.line);
                continue;
            }
            for line in lines(&block) {
                let place = format!("{}:{}: {}", page.path.display(), line.number, line.text);
                let Some(calls) = calls(&line.text) else {
                    broken.push(format!("{place}: quotes or parentheses that do not close"));
                    continue;
                };
                for call in calls {
                    seen += 1;
                    broken.extend(wrong(&call).map(|reason| format!("{place}\n{reason}")));
                }
            }
        }
    }
    assert!(seen > 20, "only {seen} commands were found");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// A block that is meant to be a command and is not marked as one would never be checked.
#[test]
fn no_block_has_a_language_that_is_not_known_here() {
    let known = ["", "console", "ini", "json", "rust", "sh", "shell", "text", "toml", "yaml", "promql"];
    let mut wrong = Vec::new();
    for page in pages().unwrap() {
        for block in blocks(&page.text).iter().filter(|block| !known.contains(&block.language.as_str())) {
            wrong.push(format!("{}:{}: {}", page.path.display(), block.line, block.language));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_command_that_is_not_there_is_found() {
    let call = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(wrong(&call("join-agent status --output json")), None);
    assert!(wrong(&call("join-agent statsu")).is_some());
    assert!(wrong(&call("kubectl njr accept worker-1 --kee sha256:00")).is_some());
    assert!(wrong(&call("join-controller --no-such-flag")).is_some());
}
