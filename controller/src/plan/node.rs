//! The Node that came of a request.

use join_crds::spec::NodeJoinRequestSpec;
use join_trust::UnixSeconds;
use join_trust::pin::PublicKeyPin;
use k8s_openapi::api::core::v1::Taint;

use super::machine::{self, Binding};
use super::{Observed, Step};
use crate::cache::node::NodeEntry;
use crate::record::Record;

/// How the Node of a request's name relates to the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// There is none, and none is expected yet; or it is not known yet of what it came.
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
///
/// Nodes and certificate requests are watched apart, and after an interruption one can be seen long before the other: a
/// Node that was made since an approval whose certificate was not seen yet is nothing to speak of before it is.
pub(super) fn relation(observed: &Observed<'_>) -> Relation {
    let recorded = observed.record.and_then(|record| record.node_uid.as_deref());
    match (observed.node, recorded) {
        (None, None) => Relation::Absent,
        (None, Some(_)) => Relation::Deleted,
        (Some(node), Some(uid)) if node.uid == uid => Relation::Joined,
        (Some(_), Some(_)) => Relation::Replaced,
        (Some(node), None) => {
            let chosen = observed.record.and_then(|record| record.chosen.as_ref());
            let seen = observed.chosen_csr().map(|csr| (csr.request.approved, csr.request.issued));
            match (chosen, seen) {
                (Some(chosen), None | Some((_, true))) if made_since(node, chosen.created_at) => Relation::New,
                (Some(chosen), Some((true, false))) if made_since(node, chosen.created_at) => Relation::Absent,
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

/// Whether the Node that is there is the machine's own already.
///
/// It is if the certificate with which it was made was issued for the very key that this request pins, under an earlier
/// request that is gone. Nothing has to be asked for or issued then. A request that names the Node in
/// `replacesNodeUID` wants the machine to join anew instead.
pub(super) fn adopt(observed: &Observed<'_>) -> Option<Step> {
    let node = observed.node?;
    let former =
        observed.former.filter(|former| former.machine.is_some() && former.node_uid.as_ref() == Some(&node.uid))?;
    let issued = former.chosen.as_ref().is_some_and(|chosen| chosen.issued);
    let is_its_own =
        observed.delivers_sealed() && pinned(observed).is_some() && pinned(observed) == former_key(observed);
    (observed.record.is_none() && issued && is_its_own && !is_to_be_replaced(observed)).then_some(Step::Adopt)
}

/// Whether a Node that is in the way makes room now.
///
/// That very Node, and only once the machine is there that takes its place: a slip in a request must not cost a node that
/// works. And never after a certificate was chosen, since the Node may be that machine's.
pub(super) fn displace(observed: &Observed<'_>) -> Option<Step> {
    let undecided = observed.record.is_none_or(|record| record.chosen.is_none());
    (undecided && is_to_be_replaced(observed) && is_machine_there(observed)).then_some(Step::Displace)
}

/// Whether the Node that is in the way is the one that the request replaces.
pub(super) fn is_to_be_replaced(observed: &Observed<'_>) -> bool {
    let spec = &observed.request.spec;
    let named = observed.node.is_some_and(|node| spec.replaces_node_uid.as_ref() == Some(&node.uid));
    named && pinned(observed).is_some() && observed.delivers_sealed() && relation(observed) == Relation::Foreign
}

fn is_machine_there(observed: &Observed<'_>) -> bool {
    let bound = observed.record.is_some_and(|record| record.machine.is_some());
    // A machine that is the node itself need not announce itself: it joins anew once its Node is gone.
    let is_the_node = pinned(observed).is_some() && pinned(observed) == former_key(observed);
    bound || is_the_node || matches!(machine::binding(observed), Binding::Found(_))
}

/// The one key that the request is for; none if it takes the first.
fn pinned(observed: &Observed<'_>) -> Option<PublicKeyPin> {
    observed.request.spec.machine.public_key_hash.as_deref().and_then(|pin| PublicKeyPin::parse(pin).ok())
}

/// The key for which the certificate was issued with which the Node that is in the way was made.
fn former_key(observed: &Observed<'_>) -> Option<PublicKeyPin> {
    observed.former.and_then(|record| record.chosen.as_ref()).map(|chosen| chosen.public_key)
}

/// Of which machine the Node is that is in the way, and for which one the request is.
pub(crate) fn keys_in_the_way(observed: &Observed<'_>) -> String {
    let (old, new) = (former_key(observed), pinned(observed));
    let of_node = old.map_or_else(
        || "it joined without a request that is known, so the key of its machine is not known".to_owned(),
        |key| format!("its machine joined with key {key}"),
    );
    match new {
        None => format!("{of_node}; this request takes the first key that comes"),
        Some(key) if old == Some(key) => format!("{of_node}, which is the one that this request is for"),
        Some(key) => format!("{of_node}; this request is for key {key}"),
    }
}

/// What is in the way, and what to type about it.
pub(super) fn in_the_way(observed: &Observed<'_>, node: &NodeEntry) -> String {
    let (name, uid) = (&node.name, &node.uid);
    let (new, old) = (pinned(observed), former_key(observed));
    let purpose = if new.is_some() && new == old {
        "for this machine to join anew"
    } else {
        "if another machine shall have the name, take this one away and"
    };
    let remedy = if is_to_be_replaced(observed) {
        "it is deleted as soon as the machine has announced itself, as replacesNodeUID says".to_owned()
    } else if new.is_some() {
        let patch = format!(r#"'{{"spec":{{"replacesNodeUID":"{uid}"}}}}'"#);
        format!("{purpose} type: kubectl patch njr {name} --type=merge -p {patch}")
    } else {
        format!("{purpose} type: kubectl delete node {name}")
    };
    format!(
        "Node {name} (UID {uid}) exists and did not come from this request; {}; {remedy}",
        keys_in_the_way(observed)
    )
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
    observed.request.spec.node_labels().iter().any(|(key, value)| node.labels.get(key) != Some(value))
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
    spec.node_taints()
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
