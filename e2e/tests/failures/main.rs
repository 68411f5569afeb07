//! Every common failure, provoked for real: what the request, the agent, the journal, the Event and the metric say.

mod agent;
mod cluster_info;
mod everywhere;
mod kubelet;
mod machine;
mod requests;
mod way;

use std::process::ExitCode;

use join_e2e::components::KubernetesMinor;
use join_e2e::suite::joining::{self, Test};

/// Every failure, in the order in which they run.
const TESTS: &[(KubernetesMinor, &str, Test)] = &[
    (
        KubernetesMinor::V1_37,
        "each_fault_on_the_way_to_the_api_server_has_its_reason",
        way::each_fault_on_the_way_to_the_api_server_has_its_reason,
    ),
    (KubernetesMinor::V1_37, "a_clock_that_is_off_is_told_in_seconds", way::a_clock_that_is_off_is_told_in_seconds),
    (
        KubernetesMinor::V1_37,
        "each_fault_of_cluster_info_and_of_a_token_has_its_reason",
        cluster_info::each_fault_of_cluster_info_and_of_a_token_has_its_reason,
    ),
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
