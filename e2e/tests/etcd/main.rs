//! The agent's membership of etcd, with the real etcd over TLS.
//!
//! The tests run side by side, since they wait for etcd's own times more than they compute: it changes its members only
//! when they have seen each other for 5 s. They stand in a network namespace of their own, where every member has kubeadm's
//! ports at an address of its own and nobody else has any.

mod certificates;
mod change;
mod cluster;
mod refuse;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::Context;
use join_e2e::components::Components;
use join_e2e::prerequisites;
use libtest_mimic::{Arguments, Failed, Trial};

/// Started with this argument the program stands in the namespace.
const INSIDE: &str = "--inside";

fn main() -> anyhow::Result<ExitCode> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let is_inside = given.first().is_some_and(|first| first == INSIDE);
    let own = ["etcd".to_owned()].into_iter().chain(given.iter().skip(usize::from(is_inside)).cloned());
    let mut arguments = Arguments::from_iter(own);
    if !arguments.list && !is_inside {
        prerequisites::ensure()?;
        // There is no network to build it with inside.
        Components::etcd()?;
        let mut inside = Command::new("unshare");
        inside.args(["--net", "--", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"]);
        inside.arg(std::env::current_exe()?).arg(INSIDE).args(given);
        return Err(inside.exec()).context("starting unshare");
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let trials = vec![
        Trial::test("killed_at_any_instant_it_goes_on", change::killed_at_any_instant_it_goes_on),
        Trial::test("two_at_once_and_one_that_was_abandoned", change::two_at_once_and_one_that_was_abandoned),
        Trial::test("a_machine_installed_anew_is_a_new_member", change::a_machine_installed_anew_is_a_new_member),
        Trial::test("removed_down_to_the_last_one", change::removed_down_to_the_last_one),
        Trial::test(
            "members_that_change_before_its_first_start_do_not_keep_it_out",
            change::members_change_before_its_first_start,
        ),
        Trial::test("what_cannot_be_is_refused_before_anything_is_changed", refuse::before_anything_is_changed),
        Trial::test("who_is_not_trusted_is_told_apart", refuse::who_is_not_trusted_is_told_apart),
        Trial::test("who_does_not_answer_is_passed_over", refuse::who_does_not_answer_is_passed_over),
    ];
    arguments.test_threads = Some(trials.len());
    Ok(libtest_mimic::run(&arguments, trials).exit_code())
}

fn block_on(test: impl Future<Output = Result<(), Failed>>) -> Result<(), Failed> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(test)
}
