//! The Node that came of a request.

use join_crds::spec::NodeJoinRequestSpec;
use join_trust::UnixSeconds;
use k8s_openapi::api::core::v1::Taint;

use super::{Observed, Step};
use crate::cache::node::NodeEntry;
use crate::record::Record;

/// How the Node of a request's name relates to the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// There is none, and none is expected yet.
    Absent,
    /// It came of this request, and is not recorded yet.
    New,
    /// It is the recorded one.
    Joined,
    /// It was there before.
    Foreign,
    /// The recorded one is gone.
    Deleted,
    /// The recorded one is gone, and another bears its name.
    Replaced,
}

/// Tells how the Node relates to the request.
///
/// A Node is new if it was made after the certificate request that was approved with the token: approving needs that
/// there is no Node, so whoever made it since did so with that certificate. Both times are of the API server's clock.
pub(super) fn relation(observed: &Observed<'_>) -> Relation {
    let recorded = observed.record.and_then(|record| record.node_uid.as_deref());
    match (observed.node, recorded) {
        (None, None) => Relation::Absent,
        (None, Some(_)) => Relation::Deleted,
        (Some(node), Some(uid)) if node.uid == uid => Relation::Joined,
        (Some(_), Some(_)) => Relation::Replaced,
        (Some(node), None) => {
            let chosen = observed.record.and_then(|record| record.chosen.as_ref());
            let unsigned = observed.chosen_csr().is_some_and(|csr| !csr.request.issued);
            match chosen {
                Some(chosen) if !unsigned && made_since(node, chosen.created_at) => Relation::New,
                _ => Relation::Foreign,
            }
        }
    }
}

/// How long a Node may be not Ready before it is told with an Event: the start of a kubelet is nothing to tell of.
pub(crate) const NOT_READY_TOLD_AFTER_SECONDS: i64 = 10;

/// Since when the Node that came of this request has not been Ready; none while it is.
pub(crate) fn not_ready_since(observed: &Observed<'_>) -> Option<UnixSeconds> {
    let node = observed.node.filter(|node| !node.ready && relation(observed) == Relation::Joined)?;
    let conditions = observed.request.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let changed = join_crds::conditions::get(conditions, join_crds::ConditionType::Ready)
        .map_or(0, |ready| ready.last_transition_time.0.as_second());
    // Before the Node was there the request was not Ready either.
    Some(node.created_at.max(changed))
}

fn made_since(node: &NodeEntry, time: UnixSeconds) -> bool {
    node.created_at >= time
}

/// The next step about the Node.
pub(super) fn step(observed: &Observed<'_>) -> Option<Step> {
    let (record, node) = (observed.record?, observed.node?);
    match relation(observed) {
        Relation::New => Some(welcome(observed, record, node)),
        Relation::Joined if lacks_labels(observed, node) || labels_changed(observed) => Some(Step::EquipLabels),
        _ => None,
    }
}

/// What a new Node needs, and what is no longer needed now that its certificate is in use.
fn welcome(observed: &Observed<'_>, record: &Record, node: &NodeEntry) -> Step {
    if lacks_labels(observed, node) {
        return Step::EquipLabels;
    }
    if !missing_taints(&observed.request.spec, node).is_empty() {
        return Step::EquipTaints;
    }
    if record.unspent().is_some() {
        if observed.memory.token != Some(false) {
            return Step::DeleteToken;
        }
        if !observed.delivers_sealed() && observed.memory.command != Some(false) {
            return Step::DeleteCommand;
        }
    }
    Step::NoteNode { uid: node.uid.clone() }
}

fn lacks_labels(observed: &Observed<'_>, node: &NodeEntry) -> bool {
    let wanted = &observed.request.spec.node_registration.labels;
    wanted.iter().any(|(key, value)| node.labels.get(key) != Some(value))
}

/// Whether the spec has changed since the last status, so that a label may have been taken out of it.
fn labels_changed(observed: &Observed<'_>) -> bool {
    let answered = observed.request.status.as_ref().and_then(|status| status.observed_generation);
    answered.is_some()
        && answered != observed.request.metadata.generation
        && observed.memory.equipped != observed.request.metadata.generation
}

/// The taints that the Node should have had from the start and has not. They are put on once: later, taints are
/// for whoever takes care of the node.
pub(crate) fn missing_taints(spec: &NodeJoinRequestSpec, node: &NodeEntry) -> Vec<Taint> {
    let wanted = spec.node_registration.taints.as_deref().unwrap_or_default();
    wanted
        .iter()
        .map(|taint| Taint {
            key: taint.key.clone(),
            value: taint.value.clone(),
            effect: taint.effect.as_str().to_owned(),
            time_added: None,
        })
        .filter(|taint| !node.taints.iter().any(|has| has.key == taint.key && has.effect == taint.effect))
        .collect()
}
