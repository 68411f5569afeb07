//! Every common failure, provoked for real: what the request, the agent, the journal, the Event and the metric say.

mod everywhere;
mod kubelet;
mod machine;
mod requests;

use std::process::ExitCode;

use join_e2e::components::KubernetesMinor;
use join_e2e::suite::joining::{self, Test};

/// Every failure, in the order in which they run.
const TESTS: &[(KubernetesMinor, &str, Test)] = &[
    (
        KubernetesMinor::V1_37,
        "each_trouble_of_a_kubelet_is_told_until_it_is_mended",
        kubelet::each_trouble_of_a_kubelet_is_told_until_it_is_mended,
    ),
    (
        KubernetesMinor::V1_37,
        "an_unfit_machine_says_which_check_failed",
        machine::an_unfit_machine_says_which_check_failed,
    ),
    (
        KubernetesMinor::V1_37,
        "what_nobody_but_the_machine_can_tell_is_told_by_the_machine",
        requests::what_nobody_but_the_machine_can_tell_is_told_by_the_machine,
    ),
    (KubernetesMinor::V1_37, "a_node_of_the_same_name_is_told", requests::a_node_of_the_same_name_is_told),
];

fn main() -> anyhow::Result<ExitCode> {
    joining::run("t-fail", TESTS)
}
