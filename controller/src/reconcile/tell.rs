//! What changes are told of: log lines, metrics and Events.

use join_crds::conditions;
use join_crds::spec::NodeJoinRequest;
use join_crds::status::NodeJoinRequestStatus;
use join_crds::vocabulary::{ConditionType, EventReason, Reason};
use join_trust::UnixSeconds;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::Context;
use crate::plan::{NOT_READY_TOLD_AFTER_SECONDS, Observed, not_ready_since, refused_keys};
use crate::record::Record;

/// Tells of conditions that changed.
pub(super) async fn changes(
    request: &NodeJoinRequest,
    next: &NodeJoinRequestStatus,
    record: Option<&Record>,
    now: UnixSeconds,
    context: &Context,
) {
    let before = request.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    for condition_type in ConditionType::ALL {
        let Some(condition) = conditions::get(&next.conditions, condition_type) else { continue };
        let old = conditions::get(before, condition_type);
        if old.is_some_and(|old| old.status == condition.status && old.reason == condition.reason) {
            continue;
        }
        // That nothing has happened yet is no news.
        if old.is_none() && condition.reason == Reason::Progressing.as_str() {
            continue;
        }
        tracing::info!(
            request = request.node_name(),
            uid = request.uid(),
            condition = condition.type_,
            status = condition.status,
            reason = condition.reason,
            detail = condition.message,
            "condition changed"
        );
        let became_true = condition.status == "True" && old.is_none_or(|old| old.status != "True");
        if became_true && let Some(record) = record.filter(|_| is_stage(condition_type)) {
            let first_ready = condition_type != ConditionType::Ready || was_never_ready(request);
            if first_ready {
                context.metrics.stage_reached(condition_type.as_str(), now.saturating_sub(record.first_seen));
            }
        }
        if [old.map(|old| old.reason.as_str()), Some(condition.reason.as_str())]
            .contains(&Some(Reason::SignerMissing.as_str()))
        {
            context.count_unsigned(now);
        }
        if let Some(event) = event_for(condition_type, became_true, &next.conditions, request) {
            // The Event's own reason does not say what it stalled at.
            let note = match event {
                EventReason::Stalled | EventReason::AgentFailed => {
                    format!("{}: {}", condition.reason, condition.message)
                }
                _ => condition.message.clone(),
            };
            context.events.tell(request, event, &note).await;
        }
    }
}

fn is_stage(condition_type: ConditionType) -> bool {
    condition_type != ConditionType::Stalled
}

fn was_never_ready(request: &NodeJoinRequest) -> bool {
    let node = request.status.as_ref().and_then(|status| status.node.as_ref());
    node.is_none_or(|node| node.first_ready.is_none())
}

fn event_for(
    condition_type: ConditionType,
    became_true: bool,
    next: &[Condition],
    request: &NodeJoinRequest,
) -> Option<EventReason> {
    // Before there is a Node, the summary says what a step says.
    let is_registered = conditions::is_true(next, ConditionType::NodeRegistered);
    match (condition_type, conditions::reason(next, condition_type)?) {
        (ConditionType::Ready, _) if became_true && was_never_ready(request) => Some(EventReason::Joined),
        (ConditionType::Stalled, _) if became_true => Some(EventReason::Stalled),
        (ConditionType::ClientCertificateIssued | ConditionType::ServingCertificateIssued, Reason::SignerMissing) => {
            Some(EventReason::SignerMissing)
        }
        (ConditionType::Ready, Reason::DrainBlocked) => Some(EventReason::DrainBlocked),
        (
            ConditionType::ClientCertificateIssued | ConditionType::ServingCertificateIssued,
            Reason::CertificateRequestWaiting,
        ) => Some(EventReason::CertificateRequestWaiting),
        (ConditionType::ClientCertificateIssued, Reason::PreflightFailed) => Some(EventReason::PreflightFailed),
        (ConditionType::ClientCertificateIssued | ConditionType::NodeRegistered, Reason::AgentFailed)
        | (ConditionType::NodeRegistered, Reason::EtcdNotJoined | Reason::ControlPlaneNotHealthy) => {
            Some(EventReason::AgentFailed)
        }
        (ConditionType::ClientCertificateIssued | ConditionType::NodeRegistered, Reason::MachineNotWritable) => {
            Some(EventReason::MachineNotWritable)
        }
        // What the machine found out about the cluster.
        (ConditionType::ClientCertificateIssued, reason) if Reason::OF_AGENT.contains(&reason) => {
            Some(EventReason::AgentFailed)
        }
        // What holds up a control plane of which the Node is there already.
        (ConditionType::Ready, Reason::MachineNotWritable) if is_registered => Some(EventReason::MachineNotWritable),
        (ConditionType::Ready, reason)
            if is_registered && (reason == Reason::AgentFailed || Reason::OF_AGENT.contains(&reason)) =>
        {
            Some(EventReason::AgentFailed)
        }
        (ConditionType::NodeRegistered, Reason::KubeletNotStarted) => Some(EventReason::KubeletNotStarted),
        (ConditionType::NodeRegistered, Reason::KubeletUnhealthy) => Some(EventReason::KubeletUnhealthy),
        (ConditionType::NodeRegistered, Reason::NodeAddressMismatch) => Some(EventReason::NodeAddressMismatch),
        (ConditionType::CredentialIssued, Reason::TokenExpired) => Some(EventReason::TokenExpired),
        (
            ConditionType::MachineBound,
            Reason::MachineKeyMismatch | Reason::MachineConflict | Reason::AnnouncementInvalid,
        ) => Some(EventReason::MachineRefused),
        (ConditionType::NodeRegistered, Reason::NodeIdentityMismatch) => Some(EventReason::NodeReplaced),
        _ => None,
    }
}

/// What this process knows of a Node that is not Ready.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum NotReady {
    /// It is Ready, as far as this process knows.
    #[default]
    Never,
    /// It has not been Ready for so short a time that nothing is told.
    JustNow,
    /// It was told.
    Told,
}

impl NotReady {
    /// What is known next, and whether to tell now. `seconds` is how long the Node has not been Ready, `in_status` whether
    /// the request says so already: a controller before this one has told of it then.
    fn next(self, seconds: Option<i64>, in_status: bool) -> (Self, bool) {
        match seconds {
            None => (Self::Never, false),
            Some(seconds) if seconds <= NOT_READY_TOLD_AFTER_SECONDS => (Self::JustNow, false),
            Some(_) => (Self::Told, self == Self::JustNow || (self == Self::Never && !in_status)),
        }
    }
}

/// Tells once of a Node that stays not Ready. Each join passes a Node that is not Ready yet, so its condition's change is
/// nothing to tell of.
pub(super) async fn not_ready(request: &NodeJoinRequest, observed: &Observed<'_>, context: &Context) {
    let seconds = not_ready_since(observed).map(|since| observed.now.saturating_sub(since));
    let conditions = request.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let in_status = conditions::reason(conditions, ConditionType::Ready) == Some(Reason::NodeNotReady);
    let tells = context.notes.with(request.uid(), |note| {
        let (next, tells) = note.not_ready.next(seconds, in_status);
        note.not_ready = next;
        tells
    });
    if let (true, Some(node)) = (tells, observed.node) {
        context.events.tell(request, EventReason::NodeNotReady, &node.readiness).await;
    }
}

/// The most strangers that are told of per request: whoever floods announcements shall not flood Events.
const MOST_STRANGERS: usize = 16;

/// Tells once of each machine that announced itself under the name of a request that is bound to another.
pub(super) async fn strangers(request: &NodeJoinRequest, observed: &Observed<'_>, context: &Context) {
    for key in refused_keys(observed) {
        let news =
            context.notes.with(request.uid(), |note| note.told.len() < MOST_STRANGERS && note.told.insert(key.clone()));
        if news {
            tracing::warn!(
                request = request.node_name(),
                uid = request.uid(),
                key,
                "a machine of another key was refused"
            );
            let note = format!(
                "a machine with key {key} announced itself as {}, which is bound to another",
                request.node_name()
            );
            context.events.tell(request, EventReason::MachineRefused, &note).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use join_crds::conditions::ConditionStatus;
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    /// Before the Node is there, the summary says what the step says, and the step has the Event.
    #[test]
    fn what_holds_up_a_control_plane_is_told_once() {
        let request: NodeJoinRequest = serde_json::from_value(serde_json::json!({
            "apiVersion": "nodejoin.dev/v1alpha1", "kind": "NodeJoinRequest", "metadata": {"name": "a"},
            "spec": {"role": "ControlPlane", "machine": {"trust": "Pinned"}},
        }))
        .unwrap();
        let now = Timestamp::UNIX_EPOCH;
        for (registered, reason, of_step, of_summary) in [
            (false, Reason::ControlPlaneNotHealthy, Some(EventReason::AgentFailed), None),
            (true, Reason::ControlPlaneNotHealthy, None, Some(EventReason::AgentFailed)),
            (true, Reason::AgentFailed, None, Some(EventReason::AgentFailed)),
            (true, Reason::AccessDenied, None, Some(EventReason::AgentFailed)),
            (false, Reason::MachineNotWritable, Some(EventReason::MachineNotWritable), None),
            (true, Reason::MachineNotWritable, None, Some(EventReason::MachineNotWritable)),
            (true, Reason::Joining, None, None),
            (true, Reason::NodeNotReady, None, None),
        ] {
            let mut next = Vec::new();
            conditions::complete(&mut next, 1, now);
            let step = if registered {
                (ConditionStatus::True, Reason::NodeRegistered)
            } else {
                (ConditionStatus::False, reason)
            };
            let summary = (ConditionStatus::False, reason);
            for (condition_type, (status, reason)) in
                [(ConditionType::NodeRegistered, step), (ConditionType::Ready, summary)]
            {
                conditions::set(&mut next, condition_type, status, reason, "", 1, now);
            }
            assert_eq!(event_for(ConditionType::NodeRegistered, registered, &next, &request), of_step, "{reason}");
            assert_eq!(event_for(ConditionType::Ready, false, &next, &request), of_summary, "{reason}");
        }
    }

    #[test]
    fn a_node_that_stays_not_ready_is_told_once_and_again_after_it_was_ready() {
        let mut known = NotReady::default();
        for (seconds, in_status, expected) in [
            (Some(1), false, false),
            (None, true, false),
            (Some(0), true, false),
            (Some(9), true, false),
            (Some(11), true, true),
            (Some(600), true, false),
            (None, false, false),
            (Some(5), true, false),
            (Some(11), true, true),
        ] {
            let (next, tells) = known.next(seconds, in_status);
            assert_eq!(tells, expected, "{known:?} after {seconds:?} s");
            known = next;
        }
        // A controller that has just started: what the status says was told by the one before it.
        assert_eq!(NotReady::Never.next(Some(600), true), (NotReady::Told, false));
        assert_eq!(NotReady::Never.next(Some(600), false), (NotReady::Told, true));
    }
}
