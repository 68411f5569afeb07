//! What becomes of the node when its request is deleted with `removal: Drain`.
//!
//! The finalizer [`FINALIZER`] holds the request until the node is drained, its machine has been told and its Node is
//! deleted. It is the only thing that ever does, and only where it was asked for; `removal: Retain`, also when it is
//! written while the deletion is under way, lets the request go at once.
//!
//! What pods stop a drain is decided as `kubectl drain --ignore-daemonsets --delete-emptydir-data` decides it: pods of
//! DaemonSets and mirror pods stay, pods that nothing would make anew elsewhere are a person's to delete, all others are
//! evicted, so that PodDisruptionBudgets count. Data in emptyDir volumes goes: the machine is cleaned anyway.

use join_crds::NodeJoinRequest;
use join_crds::spec::Removal;
use join_crds::status::AgentStep;
use join_crds::vocabulary::{FINALIZER, Reason};
use join_trust::UnixSeconds;
use join_trust::token::rfc3339;

use super::node::{Relation, relation};
use super::{Observed, Step};
use crate::record::Record;

/// Seconds after which a node is looked at again that is not drained yet.
pub(super) const LOOK_AGAIN_SECONDS: i64 = 3;
/// Seconds that the machine of a drained node is waited for.
pub(super) const MACHINE_SECONDS: i64 = 300;
/// Seconds after its own end at which a pod is not waited for any more whose kubelet does not report.
const SILENT_KUBELET_SECONDS: i64 = 60;
/// The most pods that a message names.
const MOST_NAMED: usize = 8;

/// A pod of the node, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pod {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
    /// The kind of the owner that is its controller.
    pub controller: Option<String>,
    /// Whether it stands for a static pod, which the kubelet runs by itself.
    pub is_mirror: bool,
    /// Whether it has succeeded or failed.
    pub is_finished: bool,
    /// When it has to have ended, if its end has begun.
    pub ends_at: Option<UnixSeconds>,
}

/// What a drain does with a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing: it ends with the kubelet.
    Stays,
    /// It is asked to go.
    Evict,
    /// It is on its way.
    Ends,
    /// It is waited for until a person has deleted it.
    Unmanaged,
}

/// What a drain does with a pod.
pub fn fate(pod: &Pod) -> Fate {
    if pod.is_mirror {
        return Fate::Stays;
    }
    match &pod.controller {
        Some(kind) if kind == "DaemonSet" && !pod.is_finished => Fate::Stays,
        _ if pod.ends_at.is_some() => Fate::Ends,
        None if !pod.is_finished => Fate::Unmanaged,
        _ => Fate::Evict,
    }
}

/// Why a pod is there still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It ends.
    Ends,
    /// It may not be evicted now; what the API server said.
    Refused(String),
    /// Nothing would make it anew elsewhere.
    Unmanaged,
}

/// A pod that is there still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Namespace and name.
    pub pod: String,
    /// Why.
    pub why: Why,
}

/// What one look at the node's pods came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drained {
    /// When it was looked.
    pub at: UnixSeconds,
    /// What is there still.
    pub left: Vec<Left>,
}

/// Whether a pod that ends is given up: its kubelet does not report, so nobody will say that it has ended.
pub fn is_given_up(pod: &Pod, node_is_ready: bool, now: UnixSeconds) -> bool {
    !node_is_ready && pod.ends_at.is_some_and(|end| now > end.saturating_add(SILENT_KUBELET_SECONDS))
}

/// Whether a request has the finalizer.
fn is_held(observed: &Observed<'_>) -> bool {
    let finalizers = observed.request.metadata.finalizers.as_deref().unwrap_or_default();
    observed.memory.held.unwrap_or_else(|| finalizers.iter().any(|finalizer| finalizer == FINALIZER))
}

fn drains(request: &NodeJoinRequest) -> bool {
    request.spec.removal == Removal::Drain
}

/// Holds a request that is not being deleted, or lets it go, as its specification says.
pub(super) fn hold(observed: &Observed<'_>) -> Option<Step> {
    match (drains(observed.request), is_held(observed)) {
        (true, false) => Some(Step::Hold),
        (false, true) => Some(Step::Release { uncleaned: false }),
        _ => None,
    }
}

/// The next step of a deletion.
pub(super) fn step(observed: &Observed<'_>) -> Option<Step> {
    if !is_held(observed) {
        return None;
    }
    let Some(record) = observed.record.filter(|_| drains(observed.request) && observed.issued()) else {
        // Nothing was asked for, or no certificate was ever issued, so that the machine is what it was.
        return Some(Step::Release { uncleaned: false });
    };
    let node = observed.node.filter(|_| matches!(relation(observed), Relation::Joined | Relation::New));
    let Some(drained_at) = record.drained_at else {
        let Some(node) = node else { return Some(Step::NoteDrained) };
        if !node.unschedulable {
            return Some(Step::Cordon);
        }
        return match &observed.memory.drained {
            Some(seen) if seen.left.is_empty() => Some(Step::NoteDrained),
            Some(seen) if observed.now < seen.at.saturating_add(LOOK_AGAIN_SECONDS) => None,
            _ => Some(Step::Drain),
        };
    };
    let machine = machine(observed, record, drained_at);
    if machine == Machine::Waiting {
        return None;
    }
    if node.is_some() {
        return Some(Step::DeleteNode);
    }
    Some(Step::Release { uncleaned: machine == Machine::Silent })
}

/// What is known of the machine of a drained node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Machine {
    /// It may still answer.
    Waiting,
    /// It has stopped its kubelet.
    Answered,
    /// It has not answered in time, or has no agent that could.
    Silent,
}

fn machine(observed: &Observed<'_>, record: &Record, drained_at: UnixSeconds) -> Machine {
    let agent = observed.request.status.as_ref().and_then(|status| status.agent.as_ref());
    if agent.is_some_and(|agent| agent.step == AgentStep::Leaving) {
        Machine::Answered
    } else if record.machine.is_some() && observed.now < drained_at.saturating_add(MACHINE_SECONDS) {
        Machine::Waiting
    } else {
        Machine::Silent
    }
}

/// What a removal that is under way says of itself: reason, message, and whether it needs a person.
pub(super) fn told(observed: &Observed<'_>) -> Option<(Reason, String, bool)> {
    if !observed.deleting() || !is_held(observed) || !drains(observed.request) || !observed.issued() {
        return None;
    }
    let name = observed.node_name;
    if let Some(drained_at) = observed.record?.drained_at {
        let until = rfc3339(drained_at.saturating_add(MACHINE_SECONDS)).unwrap_or_default();
        let message = format!(
            "node {name} is drained; waiting for join-agent on the machine to stop the kubelet. If it has not answered by \
             {until}, Node {name} is deleted without it, and the machine is not cleaned"
        );
        return Some((Reason::CleaningMachine, message, false));
    }
    let left = observed.memory.drained.as_ref().map(|seen| seen.left.as_slice()).unwrap_or_default();
    let blocked: Vec<&Left> = left.iter().filter(|left| left.why != Why::Ends).collect();
    if blocked.is_empty() {
        let pods: Vec<String> = left.iter().map(|left| left.pod.clone()).collect();
        let ending =
            if pods.is_empty() { String::new() } else { format!("; waiting for pods to end: {}", list(&pods)) };
        return Some((Reason::Draining, format!("node {name} is cordoned and its pods are evicted{ending}"), false));
    }
    let needs_a_person = blocked.iter().any(|left| left.why == Why::Unmanaged);
    let named: Vec<String> = blocked
        .iter()
        .map(|left| match &left.why {
            Why::Refused(said) => format!("{}: {said}", left.pod),
            Why::Unmanaged => {
                format!("{}: no controller would make it anew; delete it with kubectl delete pod", left.pod)
            }
            Why::Ends => left.pod.clone(),
        })
        .collect();
    Some((
        Reason::DrainBlocked,
        format!("pods stay on node {name}: {}. To leave the node as it is, set removal: Retain", list(&named)),
        needs_a_person,
    ))
}

fn list(named: &[String]) -> String {
    let more = named.len().saturating_sub(MOST_NAMED);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", named.get(..MOST_NAMED).unwrap_or(named).join("; "))
}
