//! `kubectl njr` on a real cluster: each command in the good case, the empty case and bad ones (`cases`), and what
//! several commands come to together, with their output.
//!
//! A harness of its own, since the tests share a lab. What a command printed is compared with a file in `snapshots/`,
//! after ages, tokens and hashes have been replaced by words; `UPDATE=1` writes the files anew.

mod cases;
mod check;
mod doctor;
mod enrollment;
mod machines;
mod others;
mod rights;
mod scenes;
mod snapshot;
mod status;
mod support;
mod tokens;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use join_e2e::suite::{attempt, in_turns};
use libtest_mimic::{Failed, Trial};
use support::Suite;

type Test = fn(&Suite) -> Result<(), Failed>;

/// Every test, in the order in which they run. Each begins without tokens, announcements and requests.
const TESTS: &[(&str, Test)] = &[
    ("an_unreachable_cluster_is_told", others::an_unreachable_cluster_is_told),
    ("the_enrollment_file_joins_a_machine", enrollment::the_enrollment_file_joins_a_machine),
    ("enrollment_works_without_bootstrapsigner", enrollment::enrollment_works_without_bootstrapsigner),
    ("user_data_holds_the_very_file", enrollment::user_data_holds_the_very_file),
    ("a_file_is_not_replaced_unasked", enrollment::a_file_is_not_replaced_unasked),
    ("machines_are_listed_with_what_they_come_to", machines::machines_are_listed_with_what_they_come_to),
    ("accept_takes_the_announced_key_only", machines::accept_takes_the_announced_key_only),
    ("accept_asks_on_a_terminal", machines::accept_asks_on_a_terminal),
    ("create_makes_a_request_of_flags", machines::create_makes_a_request_of_flags),
    ("tokens_are_listed_as_kubeadm_lists_them", tokens::tokens_are_listed_as_kubeadm_lists_them),
    ("tokens_are_made_and_deleted", tokens::tokens_are_made_and_deleted),
    ("a_cluster_that_is_well_passes", check::a_cluster_that_is_well_passes),
    ("a_binding_that_is_gone_is_told_and_mended", check::a_binding_that_is_gone_is_told_and_mended),
    ("a_changed_policy_is_told", check::a_changed_policy_is_told),
    ("a_stopped_controller_manager_is_told", check::a_stopped_controller_manager_is_told),
    ("without_rights_checks_are_skipped", check::without_rights_checks_are_skipped),
    ("the_controllers_own_check", check::the_controllers_own_check),
    ("a_fresh_cluster_has_kubeadms_own_weakness", doctor::a_fresh_cluster_has_kubeadms_own_weakness),
    ("a_token_that_never_ends_is_told_and_removed", doctor::a_token_that_never_ends_is_told_and_removed),
    ("wide_bindings_are_told_and_removed", doctor::wide_bindings_are_told_and_removed),
    ("two_machines_of_one_name_are_stalled", status::two_machines_of_one_name_are_stalled),
    ("a_join_is_followed_until_it_is_ready", status::a_join_is_followed_until_it_is_ready),
    ("roles_are_enough_for_what_is_theirs", rights::roles_are_enough_for_what_is_theirs),
];

fn main() -> anyhow::Result<ExitCode> {
    let shared: Arc<Mutex<Option<Suite>>> = Arc::default();
    let mut trials = vec![Trial::test("every_command_has_its_cases", cases::every_command_has_them)];
    for command in cases::commands() {
        let shared = Arc::clone(&shared);
        let name = format!("cases_of_{}", command.replace([' ', '-'], "_"));
        let test = move |suite: &Suite| cases::are_as_shown(suite, command);
        trials.push(Trial::test(name.clone(), move || run(&shared, &name, test)));
    }
    for (name, test) in TESTS {
        let shared = Arc::clone(&shared);
        trials.push(Trial::test(*name, move || run(&shared, name, test)));
    }
    in_turns(trials)
}

fn run(
    shared: &Mutex<Option<Suite>>,
    name: &str,
    test: impl FnOnce(&Suite) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let mut slot = shared.lock().unwrap_or_else(PoisonError::into_inner);
    let suite = match &mut *slot {
        Some(suite) => suite,
        empty => empty.insert(Suite::start()?),
    };
    suite.clean_up()?;
    attempt(|| test(suite)).map_err(|message| format!("{message}\nlogs: {}", suite.collect_logs(name)).into())
}
