//! Events, each put to the step that it is about.

use join_crds::vocabulary::{EventReason, KIND, REPORTING_CONTROLLER, SIGNER_KUBELET_SERVING};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::gather::Gathered;
use super::model::EventSeen;

/// The newest Event about a step.
pub fn newest(gathered: &Gathered, step: &str) -> Option<EventSeen> {
    let uid = gathered.request.as_ref().and_then(|request| request.metadata.uid.as_deref());
    let of_step = gathered.events.iter().filter(|event| belongs_to(event, uid) == Some(step));
    let event = of_step.max_by_key(|event| last_seen(event).map(|time| time.0))?;
    Some(EventSeen {
        reason: event.reason.clone().unwrap_or_default(),
        note: event.note.clone().unwrap_or_default(),
        warning: event.type_.as_deref() == Some("Warning"),
        last_seen: last_seen(event),
    })
}

/// Three generations of the Event API leave their times in different places.
fn last_seen(event: &Event) -> Option<Time> {
    let series = event.series.as_ref().map(|series| Time(series.last_observed_time.0));
    let single = event.event_time.as_ref().map(|time| Time(time.0));
    series
        .or(single)
        .or_else(|| event.deprecated_last_timestamp.clone())
        .or_else(|| event.metadata.creation_timestamp.clone())
}

/// The step that an Event is about. Those of an earlier request of the same name are not shown.
fn belongs_to(event: &Event, uid: Option<&str>) -> Option<&'static str> {
    let regarding = event.regarding.as_ref()?;
    match regarding.kind.as_deref()? {
        "Node" => Some("kubelet"),
        KIND => {
            let is_this =
                regarding.uid.as_deref() == uid && event.reporting_controller.as_deref() == Some(REPORTING_CONTROLLER);
            is_this.then(|| step_of(event))
        }
        _ => None,
    }
}

fn step_of(event: &Event) -> &'static str {
    let reason = event.reason.as_deref().unwrap_or_default();
    // The action of the reason, where this version knows it: what an Event says of itself may be another version's.
    let known = EventReason::ALL.iter().find(|known| known.as_str() == reason).map(|known| known.action());
    match known.or(event.action.as_deref()).unwrap_or_default() {
        "BindMachine" => "machine",
        "IssueToken" => "credential",
        "DecideCertificateRequest"
            if event.note.as_deref().is_some_and(|note| note.contains(SIGNER_KUBELET_SERVING)) =>
        {
            "serving certificate"
        }
        "DecideCertificateRequest" => "client certificate",
        "WatchNode" => "node",
        _ => "request",
    }
}
