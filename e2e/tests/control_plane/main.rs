//! Joins as an additional control plane.
//!
//! Each test has a lab of its own: after such a join etcd has two members and needs both, so that nothing works in the
//! lab any more once the machine is gone.

mod kubeadm;
mod operator;
mod sound;

use std::process::ExitCode;

use join_e2e::suite::in_turns;
use libtest_mimic::Trial;

fn main() -> anyhow::Result<ExitCode> {
    in_turns(vec![
        Trial::test("kubeadm_joins_a_second_control_plane", kubeadm::joins_a_second_control_plane),
        Trial::test("a_request_makes_a_second_control_plane", operator::makes_a_second_control_plane),
    ])
}
