//! One failure, looked for in every place where a person or a program would look.

use std::time::{Duration, Instant};

use join_crds::ConditionType;
use join_e2e::lab::{Machine, command, wait_until};
use join_e2e::suite::{binaries, joining::Suite, joining::condition_of};
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;
use libtest_mimic::Failed;

use super::rows::{ROWS, ROWS_OF_CONTROL_PLANES, Row};

/// The pages that explain reasons.
const REASONS: &str = include_str!("../../../docs/reasons.md");
const TROUBLESHOOTING: &str = include_str!("../../../docs/troubleshooting.md");

/// What is to be found of a failure.
pub struct Failure<'a> {
    /// Its row in the table, which has the word, and the time within which it is told.
    pub seen: &'a str,
    /// The condition that has it; none where only the machine can tell.
    pub condition: Option<ConditionType>,
    /// The machine that says it too, in `join-agent status` and in its journal; none if it does not.
    pub machine: Option<&'a Machine<'a>>,
    /// The name of the Event; none where there is no Event.
    pub event: Option<&'a str>,
    /// What the words must name: what was observed, and what is to be done.
    pub names: &'a [&'a str],
}

/// The row of that failure.
pub fn row(seen: &str) -> Result<&'static Row, Failed> {
    let mut rows = ROWS.iter().chain(ROWS_OF_CONTROL_PLANES);
    Ok(rows.find(|row| row.seen == seen).ok_or_else(|| format!("no row is called {seen:?}"))?)
}

/// What is left of the time within which a failure is told that was provoked at `since`.
pub fn left(row: &Row, since: Instant) -> Duration {
    Duration::from_secs(row.within.into()).saturating_sub(since.elapsed())
}

/// Looks everywhere, until the time is over. `since` is when the failure was provoked.
pub fn find(suite: &Suite, name: &str, since: Instant, failure: &Failure<'_>) -> Result<(), Failed> {
    let row = row(failure.seen)?;
    let reason = row.reason;
    for page in [REASONS, TROUBLESHOOTING] {
        assert!(page.contains(reason.as_str()), "{reason} is not explained");
    }
    if let Some(condition) = failure.condition {
        in_condition(suite, name, condition, row, since, failure.names)?;
        println!("{reason}: in the request after {:?}", since.elapsed());
        wait_until(&format!("the metric to have {reason}"), left(row, since), || {
            counts(suite, &format!("join_operator_requests{{condition=\"{condition}\",reason=\"{reason}\"}}"))
        })?;
    }
    if let Some(machine) = failure.machine {
        on_machine(suite, machine, row, since, failure.names)?;
    }
    if let Some(event) = failure.event {
        in_event(suite, name, event, row, since, failure.names)?;
        wait_until(&format!("the metric to count the Event {event}"), left(row, since), || {
            counts(suite, &format!("join_operator_events_total{{reason=\"{event}\"}}"))
        })?;
    }
    println!("{reason}: everywhere after {:?}", since.elapsed());
    // Last, since it starts a program.
    if failure.condition.is_some() {
        let shown = njr_status(suite, name)?;
        assert!(shown.contains(reason.as_str()), "kubectl njr status has no {reason}: {shown}");
    }
    Ok(())
}

fn in_condition(
    suite: &Suite,
    name: &str,
    condition: ConditionType,
    row: &Row,
    since: Instant,
    names: &[&str],
) -> Result<(), Failed> {
    let why_so_long = row.because.unwrap_or("as all that needs no time of its own");
    let what = format!("{condition} of {name} to be {} within {} s ({why_so_long})", row.reason, row.within);
    wait_until(&what, left(row, since), || {
        let request = suite.block_on(suite.requests_api().get(name)).map_err(|error| error.to_string())?;
        let (_, reason) = condition_of(&request, condition).ok_or("no such condition")?;
        let status = request.status.unwrap_or_default();
        let found = join_crds::conditions::get(&status.conditions, condition).ok_or("no such condition")?;
        let is_it = reason == row.reason.as_str() && names_all(&found.message, names);
        if is_it { Ok(()) } else { Err(format!("{:?}; the agent: {:?}", status.conditions, status.agent)) }
    })?;
    Ok(())
}

fn names_all(text: &str, names: &[&str]) -> bool {
    names.iter().all(|name| text.contains(name))
}

/// In `join-agent status`, and in the journal of the agent.
fn on_machine(suite: &Suite, machine: &Machine<'_>, row: &Row, since: Instant, names: &[&str]) -> Result<(), Failed> {
    let reason = row.reason.as_str();
    wait_until(&format!("the agent to say {reason}"), left(row, since), || {
        let said = suite.operator().agent_status(machine);
        let is_it = said.contains(reason) && names_all(&said, names);
        if is_it { Ok(()) } else { Err(said) }
    })?;
    let journal = machine.journal("join-agent.service")?;
    assert!(journal.contains(reason), "{reason} is not in the journal: {journal}");
    Ok(())
}

fn in_event(suite: &Suite, name: &str, event: &str, row: &Row, since: Instant, names: &[&str]) -> Result<(), Failed> {
    let request = suite.block_on(suite.requests_api().get(name))?;
    let uid = request.metadata.uid.unwrap_or_default();
    let events: Api<Event> = Api::namespaced(suite.client(), "default");
    let of_request = ListParams::default().fields(&format!("involvedObject.uid={uid},reason={event}"));
    wait_until(&format!("the Event {event}"), left(row, since), || {
        let found = suite.block_on(events.list(&of_request)).map_err(|error| error.to_string())?;
        let notes: Vec<String> = found.items.into_iter().filter_map(|event| event.message).collect();
        if notes.iter().any(|note| names_all(note, names)) { Ok(()) } else { Err(format!("{notes:?}")) }
    })?;
    Ok(())
}

/// What `kubectl njr status` prints, whatever its exit code.
pub fn njr_status(suite: &Suite, name: &str) -> Result<String, Failed> {
    let mut njr = suite.lab().control_plane_command(&binaries()?.join("kubectl-njr"))?;
    let output = njr.args(["status", name]).env("KUBECONFIG", "/etc/kubernetes/admin.conf").output()?;
    Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// Whether a series is there and not 0; all series of its metric if not.
fn counts(suite: &Suite, series: &str) -> Result<(), String> {
    let text = metrics(suite).map_err(|failure| failure.message().unwrap_or_default().to_owned())?;
    let metric = series.split_once('{').map_or(series, |(metric, _)| metric);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with(metric)).collect();
    let is_there = lines.iter().any(|line| line.starts_with(series) && !line.ends_with(" 0"));
    if is_there { Ok(()) } else { Err(lines.join("\n")) }
}

/// The metrics as the suite's controller serves them.
fn metrics(suite: &Suite) -> Result<String, Failed> {
    let mut kubectl = suite.lab().kubectl()?;
    kubectl.env("KUBECONFIG", "/dev/null").args(["--server=http://127.0.0.1:8080", "get", "--raw", "/metrics"]);
    Ok(command::run(&mut kubectl)?.stdout)
}
