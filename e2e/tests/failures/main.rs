//! Every common failure, provoked for real: what the request, the agent, the journal, the Event and the metric say.

use std::process::ExitCode;

use join_e2e::components::KubernetesMinor;
use join_e2e::suite::joining::{self, Test};

/// Every failure, in the order in which they run.
const TESTS: &[(KubernetesMinor, &str, Test)] = &[];

fn main() -> anyhow::Result<ExitCode> {
    joining::run("t-fail", TESTS)
}
