//! Events: what happened to a request, for `kubectl describe`.
//!
//! They are told besides the status, never instead of it, and one that cannot be written holds nothing up. Each costs
//! a write, so an undisturbed join tells of its two approvals and of its end alone.

use join_crds::spec::NodeJoinRequest;
use join_crds::vocabulary::{EventReason, EventSeverity, REPORTING_CONTROLLER};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource as _};

/// The API's limit of a note, in bytes.
const MAX_NOTE_BYTES: usize = 1024;

/// Writes Events.
pub struct Events(Recorder);

impl Events {
    /// Writes with this client, as this replica.
    pub fn new(client: Client, identity: &str) -> Self {
        let reporter = Reporter {
            controller: REPORTING_CONTROLLER.to_owned(),
            instance: Some(identity.chars().take(128).collect()),
        };
        Self(Recorder::new(client, reporter))
    }

    /// Tells of something that happened to a request.
    pub async fn tell(&self, request: &NodeJoinRequest, reason: EventReason, note: &str) {
        let event = Event {
            type_: match reason.severity() {
                EventSeverity::Normal => EventType::Normal,
                EventSeverity::Warning => EventType::Warning,
            },
            reason: reason.as_str().to_owned(),
            note: Some(cut(&join_crds::conditions::clean_message(note))),
            action: reason.action().to_owned(),
            secondary: None,
        };
        if let Err(error) = self.0.publish(&event, &request.object_ref(&())).await {
            tracing::warn!(request = request.node_name(), reason = reason.as_str(), %error, "an Event could not be written");
        }
    }
}

fn cut(note: &str) -> String {
    let mut end = note.len().min(MAX_NOTE_BYTES);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    note[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        let long = format!("{}é", "a".repeat(MAX_NOTE_BYTES - 1));
        assert_eq!(cut(&long), "a".repeat(MAX_NOTE_BYTES - 1));
    }
}
