//! Joins, end to end, on real clusters: what a user relies on, what an attacker tries, what a crash leaves.
//!
//! A harness of its own, since the tests share a lab: each adds machines of its own to it. A test that fails leaves
//! the logs of everything in `target/e2e/<test>`.

mod agent;
mod audit;
mod beside_kcm;
mod checks;
mod crash;
mod files;
mod happy;
mod identity;
mod input;
mod kubeadm;
mod metrics;
mod once;
mod policies;
mod removal;
mod replace;
mod reset;
mod retry;
mod signer;

use std::process::ExitCode;

use join_e2e::components::KubernetesMinor;
use join_e2e::suite::joining::{self, Test};

/// Every test, in the order in which they run. Those of one version share one lab.
const TESTS: &[(KubernetesMinor, &str, Test)] = &[
    (KubernetesMinor::V1_37, "a_request_for_an_announced_machine_is_carried_out", happy::request_after_the_machine),
    (KubernetesMinor::V1_37, "a_request_without_a_machine_waits_for_it", happy::request_before_the_machine),
    (
        KubernetesMinor::V1_37,
        "a_machine_is_joined_by_one_line_that_is_typed",
        once::a_machine_is_joined_by_one_line_that_is_typed,
    ),
    (KubernetesMinor::V1_37, "a_machine_is_joined_without_a_pin", once::a_machine_is_joined_without_a_pin),
    (KubernetesMinor::V1_37, "signatures_of_bootstrapsigner_alone_are_enough", happy::only_bootstrapsigner_signs),
    (KubernetesMinor::V1_37, "first_use_takes_the_only_announcement", identity::first_use_with_one_announcement),
    (KubernetesMinor::V1_37, "first_use_refuses_two_announcements", identity::first_use_with_two_announcements),
    (KubernetesMinor::V1_37, "a_machine_with_another_key_is_refused", identity::another_key),
    (KubernetesMinor::V1_37, "a_token_is_worth_nothing_for_another_name", identity::another_name),
    (KubernetesMinor::V1_37, "kubeadm_joins_with_our_token_without_bootstrapsigner", kubeadm::without_bootstrapsigner),
    (
        KubernetesMinor::V1_37,
        "the_controller_makes_only_short_lived_join_tokens",
        policies::the_controller_makes_only_short_lived_join_tokens,
    ),
    (KubernetesMinor::V1_37, "tokens_ask_their_own_signer_only", policies::tokens_ask_their_own_signer_only),
    (KubernetesMinor::V1_37, "names_that_a_machine_needs_stay_free", policies::names_that_a_machine_needs_stay_free),
    (KubernetesMinor::V1_37, "machines_write_their_own_status_only", policies::machines_write_their_own_status_only),
    (KubernetesMinor::V1_37, "the_files_are_those_of_kubeadm", files::are_those_of_kubeadm),
    (KubernetesMinor::V1_37, "a_controller_killed_after_each_write_converges", crash::controller_after_each_write),
    (KubernetesMinor::V1_37, "an_agent_killed_at_each_stage_converges", crash::agent_at_each_stage),
    (KubernetesMinor::V1_37, "an_agent_killed_after_each_write_converges", crash::agent_after_each_write),
    (
        KubernetesMinor::V1_37,
        "a_reset_machine_is_what_it_was_and_joins_again",
        reset::a_reset_machine_is_what_it_was_and_joins_again,
    ),
    (
        KubernetesMinor::V1_37,
        "a_reset_that_is_killed_restores_everything",
        reset::a_reset_that_is_killed_restores_everything,
    ),
    (
        KubernetesMinor::V1_37,
        "a_machine_of_kubeadm_is_reset_on_demand_only",
        reset::a_machine_of_kubeadm_is_reset_on_demand_only,
    ),
    (
        KubernetesMinor::V1_37,
        "a_request_made_again_rejoins_the_machine",
        reset::a_request_made_again_rejoins_the_machine,
    ),
    (
        KubernetesMinor::V1_37,
        "a_failed_join_goes_on_by_itself_or_when_asked",
        retry::a_failed_join_goes_on_by_itself_or_when_asked,
    ),
    (
        KubernetesMinor::V1_37,
        "a_deleted_request_with_drain_leaves_a_clean_machine",
        removal::a_deleted_request_with_drain_leaves_a_clean_machine,
    ),
    (
        KubernetesMinor::V1_37,
        "a_drain_that_is_given_up_leaves_the_node_alone",
        removal::a_drain_that_is_given_up_leaves_the_node_alone,
    ),
    (KubernetesMinor::V1_37, "a_machine_that_is_off_is_given_up", removal::a_machine_that_is_off_is_given_up),
    (
        KubernetesMinor::V1_37,
        "an_agent_that_is_killed_while_it_leaves_goes_on",
        removal::an_agent_that_is_killed_while_it_leaves_goes_on,
    ),
    (
        KubernetesMinor::V1_37,
        "another_machine_takes_the_name_when_asked",
        replace::another_machine_takes_the_name_when_asked,
    ),
    (KubernetesMinor::V1_37, "bad_requests_are_refused_with_the_field", input::bad_requests_are_refused_with_the_field),
    (KubernetesMinor::V1_37, "a_machine_finds_the_cluster_by_a_file", input::a_machine_finds_the_cluster_by_a_file),
    (
        KubernetesMinor::V1_37,
        "a_machine_joins_by_a_file_without_a_user_and_a_token",
        input::a_machine_joins_by_a_file_without_a_user_and_a_token,
    ),
    (
        KubernetesMinor::V1_37,
        "another_certificate_authority_is_refused",
        input::another_certificate_authority_is_refused,
    ),
    (
        KubernetesMinor::V1_37,
        "a_failed_check_is_shown_and_the_join_goes_on_once_mended",
        input::a_failed_check_is_shown_and_the_join_goes_on_once_mended,
    ),
    (KubernetesMinor::V1_37, "another_replica_takes_over", crash::another_replica_takes_over),
    (KubernetesMinor::V1_37, "an_api_server_that_restarts_is_survived", crash::an_api_server_that_restarts_is_survived),
    (KubernetesMinor::V1_37, "a_withdrawn_request_leaves_nothing", agent::a_withdrawn_request_leaves_nothing),
    (KubernetesMinor::V1_37, "a_reboot_is_survived", agent::a_reboot_is_survived),
    (KubernetesMinor::V1_37, "a_join_can_be_told_from_the_audit_log", audit::a_join_can_be_told_from_the_audit_log),
    (
        KubernetesMinor::V1_37,
        "metrics_are_for_those_who_may_read_them",
        metrics::metrics_are_for_those_who_may_read_them,
    ),
    (
        KubernetesMinor::V1_37,
        "the_default_approval_does_not_reach_our_tokens",
        beside_kcm::the_default_approval_does_not_reach_our_tokens,
    ),
    (KubernetesMinor::V1_37, "signatures_agree_in_the_end", beside_kcm::signatures_agree_in_the_end),
    (
        KubernetesMinor::V1_37,
        "a_missing_signer_is_named_until_it_is_back",
        signer::a_missing_signer_is_named_until_it_is_back,
    ),
    (KubernetesMinor::V1_37, "checks_are_those_of_kubeadm", checks::are_those_of_kubeadm),
    (KubernetesMinor::V1_37, "a_node_that_breaks_says_so", checks::a_node_that_breaks_says_so),
    (KubernetesMinor::V1_35, "on_1_35_a_request_is_carried_out", happy::request_after_the_machine),
    (
        KubernetesMinor::V1_35,
        "on_1_35_a_kubelet_newer_than_the_control_plane_is_refused",
        checks::a_kubelet_newer_than_the_control_plane_is_refused,
    ),
    (KubernetesMinor::V1_35, "on_1_35_the_files_are_those_of_kubeadm", files::are_those_of_kubeadm),
];

fn main() -> anyhow::Result<ExitCode> {
    joining::run("t-join", TESTS)
}
