//! What changes are told of: log lines, metrics and Events.

use join_crds::conditions;
use join_crds::spec::NodeJoinRequest;
use join_crds::status::NodeJoinRequestStatus;
use join_crds::vocabulary::{ConditionType, EventReason, Reason};
use join_trust::UnixSeconds;

use super::Context;
use crate::plan::{Observed, refused_keys};
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
        if let Some(event) =
            event_for(condition_type, became_true, conditions::reason(&next.conditions, condition_type), request)
        {
            context.events.tell(request, event, &condition.message).await;
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
    reason: Option<Reason>,
    request: &NodeJoinRequest,
) -> Option<EventReason> {
    match (condition_type, reason?) {
        (ConditionType::Ready, _) if became_true && was_never_ready(request) => Some(EventReason::Joined),
        (ConditionType::Stalled, _) if became_true => Some(EventReason::Stalled),
        (ConditionType::ClientCertificateIssued | ConditionType::ServingCertificateIssued, Reason::SignerMissing) => {
            Some(EventReason::SignerMissing)
        }
        (ConditionType::Ready, Reason::DrainBlocked) => Some(EventReason::DrainBlocked),
        (ConditionType::CredentialIssued, Reason::TokenExpired) => Some(EventReason::TokenExpired),
        (
            ConditionType::MachineBound,
            Reason::MachineKeyMismatch | Reason::MachineConflict | Reason::AnnouncementInvalid,
        ) => Some(EventReason::MachineRefused),
        (ConditionType::NodeRegistered, Reason::NodeIdentityMismatch) => Some(EventReason::NodeReplaced),
        _ => None,
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
