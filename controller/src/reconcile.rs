//! One visit to a request: steps until there is none, then the status.

pub(crate) mod decisions;
mod perform;
mod tell;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use join_crds::spec::NodeJoinRequest;
use join_trust::UnixSeconds;
use join_trust::ca_bundle::CaTrust;
use join_trust::names::NodeName;
use kube::runtime::controller::Action;
use kube::{Api, Client};

use crate::act::ActError;
use crate::act::certificates::Certificates;
use crate::act::cluster_info::{ClusterInfoWriter, Publication};
use crate::act::events::Events;
use crate::act::node::Nodes;
use crate::act::records::Records;
use crate::act::status;
use crate::act::tokens::Tokens;
use crate::cache::version_number;
use crate::clock::now;
use crate::metrics::Metrics;
use crate::plan::{self, Memory, Settings};
use crate::world::World;

/// The most steps of one visit. A whole join has about ten; more means that a step does not do what was planned.
const MOST_STEPS: usize = 24;
/// How long one visit may take.
const VISIT_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a status waits for the certificate that was just approved.
const AFTER_APPROVAL: Duration = Duration::from_secs(2);
/// Waits after failures in a row: doubled from the first to the last.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_mins(5);

/// A visit ended early.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// A step failed.
    #[error(transparent)]
    Act(#[from] ActError),
    /// Steps did not come to an end.
    #[error("step {step} was still to be made after {MOST_STEPS} steps, expected none")]
    Endless {
        /// The step after the last.
        step: &'static str,
    },
    /// The API server was too slow.
    #[error("the visit took longer than {} s", VISIT_TIMEOUT.as_secs())]
    Timeout,
}

/// What visits share.
pub struct Context {
    /// What is known of the cluster.
    pub world: World,
    /// Figures.
    pub settings: Settings,
    /// The client, for the few things that have no writer of their own.
    pub client: Client,
    /// Requests.
    pub requests: Api<NodeJoinRequest>,
    /// Records.
    pub records: Records,
    /// Tokens.
    pub tokens: Tokens,
    /// Certificate requests.
    pub certificates: Certificates,
    /// Nodes.
    pub nodes: Nodes,
    /// Events.
    pub events: Events,
    /// cluster-info.
    pub cluster_info: ClusterInfoWriter,
    /// What a new cluster-info would say; none if it is not known.
    pub publication: Option<Publication>,
    /// Which certificate authorities may be handed on to machines.
    pub trust: Arc<CaTrust>,
    /// The metrics.
    pub metrics: Metrics,
    /// What this process remembers, by the UIDs of requests.
    pub notes: Notes,
}

impl Context {
    /// Counts the approved certificate requests that no signer has issued in time.
    pub fn count_unsigned(&self, now: UnixSeconds) {
        self.metrics.set_unsigned(self.world.unsigned(now, self.settings.signer_timeout));
    }
}

/// What this process remembers of requests. All of it can be lost.
#[derive(Default)]
pub struct Notes(Mutex<HashMap<String, Note>>);

#[derive(Default)]
struct Note {
    memory: Memory,
    /// The request as it was after the last write of its status; the watch may be behind.
    written: Option<Arc<NodeJoinRequest>>,
    failures: u32,
    busy: bool,
    /// Strangers' keys that were told of.
    told: HashSet<String>,
    /// Whether it was told that the Node is not Ready.
    not_ready: tell::NotReady,
    /// What was told of decisions.
    decisions: decisions::Told,
}

impl Notes {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Note>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, uid: &str, change: impl FnOnce(&mut Note) -> T) -> T {
        change(self.lock().entry(uid.to_owned()).or_default())
    }

    /// What is remembered for the decisions.
    pub fn memory(&self, uid: &str) -> Memory {
        self.lock().get(uid).map(|note| note.memory.clone()).unwrap_or_default()
    }

    /// Changes what is remembered for the decisions.
    pub fn remember(&self, uid: &str, change: impl FnOnce(&mut Memory)) {
        self.with(uid, |note| change(&mut note.memory));
    }

    /// Whether a visit to this request is under way.
    pub fn is_busy(&self, uid: &str) -> bool {
        self.lock().get(uid).is_some_and(|note| note.busy)
    }

    /// Forgets requests that are gone.
    pub fn retain(&self, alive: impl Fn(&str) -> bool) {
        self.lock().retain(|uid, note| note.busy || alive(uid));
    }

    /// The newer of a request from the watch and the one that was written last.
    fn newest(&self, request: &Arc<NodeJoinRequest>) -> Arc<NodeJoinRequest> {
        let version = |request: &NodeJoinRequest| version_number(request.metadata.resource_version.as_deref());
        self.with(request.uid(), |note| match &note.written {
            Some(written) if version(written) > version(request) => Arc::clone(written),
            _ => {
                note.written = None;
                Arc::clone(request)
            }
        })
    }
}

/// Marks a request as being visited; the sweep leaves it alone meanwhile. Also when the visit is cancelled.
struct Busy<'a> {
    notes: &'a Notes,
    uid: &'a str,
}

impl<'a> Busy<'a> {
    fn mark(notes: &'a Notes, uid: &'a str) -> Self {
        notes.with(uid, |note| note.busy = true);
        Self { notes, uid }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.notes.with(self.uid, |note| note.busy = false);
    }
}

/// Visits one request.
pub async fn reconcile(request: Arc<NodeJoinRequest>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let started = Instant::now();
    let uid = request.uid().to_owned();
    let busy = Busy::mark(&context.notes, &uid);
    let outcome =
        tokio::time::timeout(VISIT_TIMEOUT, visit(request, &context)).await.unwrap_or(Err(ReconcileError::Timeout));
    drop(busy);
    let result = match &outcome {
        Ok(_) => {
            context.notes.with(&uid, |note| note.failures = 0);
            "ok"
        }
        Err(ReconcileError::Act(error)) if error.is_race() => "conflict",
        Err(_) => "error",
    };
    context.metrics.reconciled(result, started.elapsed());
    outcome
}

/// Waits longer after each failure of the same request in a row.
pub fn on_error(request: &NodeJoinRequest, error: &ReconcileError, context: &Context) -> Action {
    let failures = context.notes.with(request.uid(), |note| {
        note.failures = note.failures.saturating_add(1);
        note.failures
    });
    let wait = retry_after(failures);
    let (name, uid) = (request.node_name(), request.uid());
    if matches!(error, ReconcileError::Act(error) if error.is_race()) {
        tracing::debug!(request = name, uid, %error, "somebody was quicker, looking again");
    } else {
        tracing::warn!(request = name, uid, failures, wait_ms = wait.as_millis(), %error, "a visit failed, it is tried again");
    }
    Action::requeue(jittered(wait))
}

fn retry_after(failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_RETRY.saturating_mul(factor.max(1)).min(LAST_RETRY)
}

/// A wait that is up to a tenth shorter or longer, so that what began together does not come back together.
fn jittered(wait: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    wait.mul_f64(0.9 + 0.2 * f64::from(random) / f64::from(u32::MAX))
}

async fn visit(request: Arc<NodeJoinRequest>, context: &Context) -> Result<Action, ReconcileError> {
    // A visit may have been queued before the request was deleted; nothing must be made for it any more.
    let known = context.world.requests.read().get(request.node_name()).map(|entry| entry.uid.clone());
    if known.as_deref() != Some(request.uid()) {
        return Ok(Action::await_change());
    }
    let request = context.notes.newest(&request);
    let node_name = match NodeName::parse(request.node_name()) {
        Ok(name) => name,
        Err(error) => {
            tracing::error!(request = request.node_name(), %error, "the request's name cannot be a node's");
            return Ok(Action::await_change());
        }
    };
    let stepped = make_steps(&request, &node_name, context).await;
    // A signer takes some ten milliseconds. The visit that its certificate triggers writes one status for both.
    if matches!(stepped, Ok(Stepped { approved: true, .. })) {
        return Ok(Action::requeue(AFTER_APPROVAL));
    }
    // A request that was let go while it is being deleted is gone, and its status with it.
    if matches!(stepped, Ok(Stepped { released: true, .. })) && request.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    // The status tells of what was done also when the next step failed.
    let wake = write_status(&request, &node_name, context).await;
    stepped?;
    Ok(Action::requeue(jittered_resync(wake?)))
}

/// Only the far ahead periodic visit is spread; what is due at a certain time is not moved before it.
fn jittered_resync(seconds: i64) -> Duration {
    let wait = Duration::from_secs(seconds.unsigned_abs());
    if seconds >= 60 { wait + wait.saturating_sub(jittered(wait)) } else { wait }
}

/// What the steps of one visit came to.
#[derive(Debug, Clone, Copy)]
struct Stepped {
    /// Whether a certificate request was approved.
    approved: bool,
    /// Whether the request was let go.
    released: bool,
}

async fn make_steps(
    request: &NodeJoinRequest,
    node_name: &NodeName,
    context: &Context,
) -> Result<Stepped, ReconcileError> {
    let (mut approved, mut released) = (false, false);
    for made in 0..=MOST_STEPS {
        let now = now();
        let snapshot = context.world.snapshot(request, context.notes.memory(request.uid()), now, &context.settings);
        let Some(step) = plan::next_step(&snapshot.observe(now, &context.settings, request, node_name)) else {
            return Ok(Stepped { approved, released });
        };
        if made == MOST_STEPS {
            return Err(ReconcileError::Endless { step: step.name() });
        }
        perform::perform(&step, request, node_name, &snapshot, context).await?;
        approved |= matches!(step, plan::Step::Approve { .. });
        released |= matches!(step, plan::Step::Release { .. });
    }
    Ok(Stepped { approved, released })
}

async fn write_status(
    request: &NodeJoinRequest,
    node_name: &NodeName,
    context: &Context,
) -> Result<i64, ReconcileError> {
    let now = now();
    let snapshot = context.world.snapshot(request, context.notes.memory(request.uid()), now, &context.settings);
    let observed = snapshot.observe(now, &context.settings, request, node_name);
    decisions::answered_late(request, &observed, context).await;
    decisions::waiting(request, &observed, context);
    let next = plan::status(&observed);
    if status::differs(request, &next) {
        let written = status::write(&context.requests, request, &next).await?;
        context.notes.with(request.uid(), |note| note.written = Some(Arc::new(written)));
        tell::changes(request, &next, snapshot.record(), now, context).await;
    }
    tell::strangers(request, &observed, context).await;
    tell::not_ready(request, &observed, context).await;
    Ok(plan::next_wake(&observed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_after_failures_double_up_to_a_limit() {
        let seconds: Vec<u64> = (1..=10).map(|failures| retry_after(failures).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert_eq!(retry_after(u32::MAX), LAST_RETRY);
    }

    #[test]
    fn jitter_stays_within_a_tenth() {
        for _ in 0..1000 {
            let wait = jittered(Duration::from_secs(100)).as_secs_f64();
            assert!((89.9..=110.1).contains(&wait), "{wait}");
        }
    }

    #[test]
    fn what_is_due_soon_is_not_visited_too_early() {
        assert_eq!(jittered_resync(31), Duration::from_secs(31));
        assert!(jittered_resync(600) >= Duration::from_mins(10));
    }

    #[test]
    fn a_written_status_counts_until_the_watch_has_caught_up() {
        let at = |version: &str| {
            let mut request = plan::tests::request("worker-7", &serde_json::json!({}));
            request.metadata.resource_version = Some(version.to_owned());
            Arc::new(request)
        };
        let notes = Notes::default();
        notes.with(at("1").uid(), |note| note.written = Some(at("10")));
        assert_eq!(notes.newest(&at("9")).metadata.resource_version.as_deref(), Some("10"));
        assert_eq!(notes.newest(&at("11")).metadata.resource_version.as_deref(), Some("11"));
        assert_eq!(notes.newest(&at("9")).metadata.resource_version.as_deref(), Some("9"));
    }

    #[test]
    fn a_request_is_busy_while_it_is_visited() {
        let notes = Notes::default();
        let busy = Busy::mark(&notes, "u");
        assert!(notes.is_busy("u"));
        notes.retain(|_| false);
        assert!(notes.is_busy("u"));
        drop(busy);
        assert!(!notes.is_busy("u"));
        notes.retain(|_| false);
        assert!(notes.lock().is_empty());
    }
}
