//! The Helm chart: what it renders, what it refuses, and what it does on a real cluster with real pods.
//!
//! A harness of its own, since the tests on the cluster share a lab and are steps of one release's life, in this order.
//! Those that only render need Helm and neither root nor a lab. A test that fails leaves logs in `target/e2e/<test>`.

mod flags;
mod golden;
mod life;
mod monitoring;
mod notes;
mod render;
mod rights;
mod suite;
mod values;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use join_e2e::prerequisites;
use join_e2e::suite::attempt;
use libtest_mimic::{Arguments, Failed, Trial};
use render::Helm;
use suite::Suite;

type OfRendering = fn(&Helm) -> Result<(), Failed>;
type OnACluster = fn(&Suite) -> Result<(), Failed>;

/// Tests that render the chart.
const RENDERED: &[(&str, OfRendering)] = &[
    ("lint_finds_nothing", values::lint_finds_nothing),
    ("the_schema_knows_the_values_and_no_others", values::the_schema_knows_the_values_and_no_others),
    ("wrong_values_are_refused", values::wrong_values_are_refused),
    ("helm_applies_the_schema", values::helm_applies_the_schema),
    ("contradictory_values_are_refused_with_a_sentence", values::contradictory_values_are_refused_with_a_sentence),
    ("rendered_as_in_the_golden_files", golden::rendered_as_in_the_golden_files),
    ("roles_are_those_of_the_golden_file", golden::roles_are_those_of_the_golden_file),
    ("everything_follows_the_release_s_namespace", golden::everything_follows_the_releases_namespace),
    ("the_definition_is_the_generated_one", golden::the_definition_is_the_generated_one),
    ("flags_are_the_controllers", flags::flags_are_the_controllers),
    ("alerts_and_dashboard_use_metrics_that_exist", monitoring::alerts_and_dashboard_use_metrics_that_exist),
    ("each_alert_has_its_runbook", monitoring::each_alert_has_its_runbook),
];

/// Steps of a release's life on a real cluster. Each finds what the ones before it left, or makes it.
const ON_A_CLUSTER: &[(&str, OnACluster)] = &[
    ("the_controller_runs_restricted_and_one_replica_leads", life::runs_restricted_and_one_replica_leads),
    ("the_api_server_takes_what_is_rendered", monitoring::the_api_server_takes_what_is_rendered),
    ("commands_of_the_notes_work", notes::commands_of_the_notes_work),
    ("identities_have_the_rights_of_the_golden_file", rights::identities_have_the_rights_of_the_golden_file),
    ("an_enroller_makes_enrollment_tokens_only", rights::an_enroller_makes_enrollment_tokens_only),
    ("a_worker_is_joined_by_the_controller_in_the_cluster", life::a_worker_is_joined),
    ("a_leader_killed_during_a_join_is_replaced", life::a_leader_killed_during_a_join_is_replaced),
    ("uninstalled_requests_stay_and_are_adopted", life::uninstalled_requests_stay_and_are_adopted),
    ("upgraded_during_a_join", life::upgraded_during_a_join),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One lab, two cores: the tests take turns.
    arguments.test_threads = Some(1);
    let helm: Arc<Mutex<Option<Helm>>> = Arc::default();
    let suite: Arc<Mutex<Option<Suite>>> = Arc::default();
    let rendered = RENDERED.iter().map(|(name, test)| {
        let helm = Arc::clone(&helm);
        Trial::test(*name, move || {
            let mut slot = helm.lock().unwrap_or_else(PoisonError::into_inner);
            let helm = match &mut *slot {
                Some(helm) => helm,
                empty => empty.insert(Helm::new()?),
            };
            test(helm)
        })
    });
    let on_a_cluster = ON_A_CLUSTER.iter().map(|(name, test)| {
        let suite = Arc::clone(&suite);
        Trial::test(*name, move || on_a_cluster(&suite, name, *test))
    });
    let conclusion = libtest_mimic::run(&arguments, rendered.chain(on_a_cluster).collect());
    // The lab is removed before the exit code is given.
    drop(suite);
    conclusion.exit_code()
}

fn on_a_cluster(shared: &Mutex<Option<Suite>>, name: &str, test: OnACluster) -> Result<(), Failed> {
    let mut slot = shared.lock().unwrap_or_else(PoisonError::into_inner);
    let suite = match &mut *slot {
        Some(suite) => suite,
        empty => {
            prerequisites::ensure()?;
            empty.insert(Suite::start()?)
        }
    };
    let Err(message) = attempt(|| test(suite)) else { return Ok(()) };
    let folder = suite.collect_logs(name);
    // The next test starts from nothing: what this one left could be why it fails.
    *slot = None;
    Err(format!("{message}\nlogs: {folder}").into())
}
