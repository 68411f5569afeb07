//! What an attacker holds and tries, on a real cluster: each test is a row of docs/threat-model.md.
//!
//! Attackers hold real credentials: the enrollment token, a join token out of its Secret, the certificate of a node, a
//! ServiceAccount's token. Most of their machines are nothing but a key, which is all that the API server sees of one.

mod admission;
mod enrollment;
mod insider;
mod node;
mod reader;
mod thief;
mod token;

use std::process::ExitCode;

use join_e2e::components::KubernetesMinor::{self, V1_37};
use join_e2e::suite::joining::{self, Test};

/// Every attack, in the order in which they run.
const TESTS: &[(KubernetesMinor, &str, Test)] = &[
    (V1_37, "every_verb_on_every_resource", enrollment::every_verb_on_every_resource),
    (
        V1_37,
        "the_file_gives_no_certificate_and_changes_nothing",
        enrollment::the_file_gives_no_certificate_and_changes_nothing,
    ),
    (V1_37, "a_pinned_name_is_not_taken_by_who_comes_first", enrollment::a_pinned_name_is_not_taken_by_who_comes_first),
    (V1_37, "a_first_use_name_is_not_taken_over", enrollment::a_first_use_name_is_not_taken_over),
    (V1_37, "the_name_of_a_node_is_not_taken", enrollment::the_name_of_a_node_is_not_taken),
    (V1_37, "a_token_is_worth_one_name_and_one_shape", token::a_token_is_worth_one_name_and_one_shape),
    (V1_37, "a_token_asks_one_signer", token::a_token_asks_one_signer),
    (V1_37, "a_token_outside_its_time_gets_nothing", token::a_token_outside_its_time_gets_nothing),
    (V1_37, "a_token_of_a_deleted_request_gets_nothing", token::a_token_of_a_deleted_request_gets_nothing),
    (V1_37, "a_node_serves_under_its_own_name_only", node::a_node_serves_under_its_own_name_only),
    (V1_37, "a_machine_cannot_announce_others_addresses", node::a_machine_cannot_announce_others_addresses),
    (V1_37, "a_node_changes_no_request", node::a_node_changes_no_request),
    (
        V1_37,
        "a_node_that_registers_again_is_not_the_one_that_joined",
        node::a_node_that_registers_again_is_not_the_one_that_joined,
    ),
    (V1_37, "a_request_author_gets_no_credential", insider::a_request_author_gets_no_credential),
    (
        V1_37,
        "a_stolen_controller_account_decides_machines_only",
        insider::a_stolen_controller_account_decides_machines_only,
    ),
    (V1_37, "each_validation_is_missed_when_it_is_removed", admission::each_validation_is_missed_when_it_is_removed),
    (V1_37, "a_reader_of_everything_finds_no_secret", reader::a_reader_of_everything_finds_no_secret),
    (V1_37, "a_flood_of_announcements_stops_nobody", enrollment::a_flood_of_announcements_stops_nobody),
];

fn main() -> anyhow::Result<ExitCode> {
    joining::run("t-attack", TESTS)
}
