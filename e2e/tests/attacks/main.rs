//! What an attacker holds and tries, on a real cluster: each test is a row of docs/threat-model.md.

use std::process::ExitCode;

use join_e2e::components::KubernetesMinor;
use join_e2e::suite::joining::{self, Test};

/// Every attack, in the order in which they run.
const TESTS: &[(KubernetesMinor, &str, Test)] = &[];

fn main() -> anyhow::Result<ExitCode> {
    joining::run("t-attack", TESTS)
}
