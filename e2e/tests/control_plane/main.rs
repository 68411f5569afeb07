//! Joins as an additional control plane.
//!
//! Each test has a lab of its own: after such a join etcd has two members and needs both, so that nothing works in the
//! lab any more once the machine is gone.

#[path = "../failures/everywhere.rs"]
mod everywhere;
mod failures;
mod kubeadm;
mod operator;
#[path = "../failures/rows.rs"]
mod rows;
mod sound;

use std::process::ExitCode;

use join_e2e::suite::in_turns;
use libtest_mimic::{Failed, Trial};

/// A test of this suite.
type Test = fn() -> Result<(), Failed>;

const TESTS: &[(&str, Test)] = &[
    ("kubeadm_joins_a_second_control_plane", kubeadm::joins_a_second_control_plane),
    ("a_request_makes_a_second_control_plane", operator::makes_a_second_control_plane),
    (
        "each_obstacle_to_a_control_plane_is_told_until_it_is_mended",
        failures::each_obstacle_to_a_control_plane_is_told_until_it_is_mended,
    ),
];

fn main() -> anyhow::Result<ExitCode> {
    for row in rows::ROWS_OF_CONTROL_PLANES {
        let has_test = TESTS.iter().any(|(name, _)| *name == row.test);
        anyhow::ensure!(has_test, "{:?} is provoked by {}, which is no test of this suite", row.seen, row.test);
    }
    in_turns(TESTS.iter().map(|(name, test)| Trial::test(*name, test)).collect())
}
