//! The documentation, tried: the quickstart and the other pages word for word in a lab, and every YAML block.
//!
//! A harness of its own, since all of it happens in two labs, one after the other. A test that fails leaves the logs of
//! everything in `target/e2e/<test>`.

mod audit;
mod manual;
mod quickstart;
mod suite;
mod tour;
mod yaml;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use join_e2e::suite::{attempt, in_turns};
use libtest_mimic::{Failed, Trial};
use suite::Suite;

/// The test that begins in a cluster of its own: its machine has the name of the quickstart's, whose announcement and whose
/// decisions in the audit log are there for as long as the cluster is.
const IN_A_NEW_LAB: &str = "the_other_pages_are_followed";

type Test = fn(&Suite) -> Result<(), Failed>;

/// Every test, in the order in which they run.
const TESTS: &[(&str, Test)] = &[
    ("commands_are_understood_by_kubectl_and_helm", manual::commands_are_understood),
    ("the_quickstart_is_followed_word_for_word", quickstart::is_followed_word_for_word),
    ("the_other_pages_are_followed", tour::pages_are_followed),
    ("yaml_is_taken_by_the_program_that_reads_it", yaml::blocks_are_taken_by_their_programs),
    ("yaml_that_is_wrong_is_refused", yaml::wrong_blocks_are_refused),
];

fn main() -> anyhow::Result<ExitCode> {
    let shared: Arc<Mutex<Option<Suite>>> = Arc::default();
    let mut trials = vec![Trial::test("no_page_is_left_out", tour::no_page_is_left_out)];
    trials.extend(TESTS.iter().map(|(name, test)| {
        let shared = Arc::clone(&shared);
        Trial::test(*name, move || run(&shared, name, *test))
    }));
    in_turns(trials)
}

fn run(shared: &Mutex<Option<Suite>>, name: &str, test: Test) -> Result<(), Failed> {
    let mut slot = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if name == IN_A_NEW_LAB {
        *slot = None;
    }
    let suite = match &mut *slot {
        Some(suite) => suite,
        empty => empty.insert(Suite::start()?),
    };
    let Err(message) = attempt(|| test(suite)) else { return Ok(()) };
    let folder = suite.collect_logs(name);
    // The next test starts from nothing: what this one left could be why it fails.
    *slot = None;
    Err(format!("{message}\nlogs: {folder}").into())
}
