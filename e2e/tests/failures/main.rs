//! Every common failure, provoked for real: what the request, the agent, the journal, the Event and the metric say.

mod agent;
mod cluster_info;
mod everywhere;
mod kubelet;
mod machine;
mod requests;
mod rows;
mod way;
mod web;

use std::process::ExitCode;

use join_e2e::components::KubernetesMinor;
use join_e2e::suite::joining::{self, Test};

const NEWEST: KubernetesMinor = KubernetesMinor::V1_37;

/// Every failure, in the order in which they run.
const TESTS: &[(KubernetesMinor, &str, Test)] = &[
    (
        NEWEST,
        "each_fault_on_the_way_to_the_api_server_has_its_reason",
        way::each_fault_on_the_way_to_the_api_server_has_its_reason,
    ),
    (NEWEST, "a_discovery_file_at_a_url_is_fetched_or_told", web::a_discovery_file_at_a_url_is_fetched_or_told),
    (NEWEST, "a_clock_that_is_off_is_told_in_seconds", way::a_clock_that_is_off_is_told_in_seconds),
    (
        NEWEST,
        "each_fault_of_cluster_info_and_of_a_token_has_its_reason",
        cluster_info::each_fault_of_cluster_info_and_of_a_token_has_its_reason,
    ),
    (
        NEWEST,
        "each_trouble_of_a_kubelet_is_told_until_it_is_mended",
        kubelet::each_trouble_of_a_kubelet_is_told_until_it_is_mended,
    ),
    (NEWEST, "an_unfit_machine_says_which_check_failed", machine::an_unfit_machine_says_which_check_failed),
    (
        NEWEST,
        "a_disk_that_cannot_be_written_to_is_told_whenever_it_is_met",
        machine::a_disk_that_cannot_be_written_to_is_told_whenever_it_is_met,
    ),
    (
        NEWEST,
        "what_nobody_but_the_machine_can_tell_is_told_by_the_machine",
        requests::what_nobody_but_the_machine_can_tell_is_told_by_the_machine,
    ),
    (NEWEST, "a_request_that_is_deleted_or_late_says_so", requests::a_request_that_is_deleted_or_late_says_so),
    (
        NEWEST,
        "each_fate_of_a_certificate_request_has_its_reason",
        requests::each_fate_of_a_certificate_request_has_its_reason,
    ),
    (NEWEST, "machines_that_claim_one_name_are_told", requests::machines_that_claim_one_name_are_told),
    (NEWEST, "a_node_of_the_same_name_is_told", requests::a_node_of_the_same_name_is_told),
    // The control plane that is older than the kubelet.
    (
        KubernetesMinor::V1_35,
        "a_kubelet_newer_than_the_control_plane_is_told",
        machine::a_kubelet_newer_than_the_control_plane_is_told,
    ),
];

fn main() -> anyhow::Result<ExitCode> {
    for row in rows::ROWS {
        let has_test = TESTS.iter().any(|(_, name, _)| *name == row.test);
        anyhow::ensure!(has_test, "{:?} is provoked by {}, which is no test of this suite", row.seen, row.test);
    }
    joining::run("t-fail", TESTS)
}
