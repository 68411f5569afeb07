//! Events: what happened to a request, for `kubectl describe`.
//!
//! They are told besides the status, never instead of it, and one that cannot be written holds nothing up. Each costs
//! a write, so an undisturbed join tells of its two approvals and of its end alone.

use join_crds::spec::NodeJoinRequest;
use join_crds::vocabulary::{EventReason, EventSeverity, REPORTING_CONTROLLER};
use join_trust::policy::CertificateRequest;
use k8s_openapi::Resource as _;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource as _};

use crate::metrics::Metrics;

/// The API's limit of a note, in bytes.
const MAX_NOTE_BYTES: usize = 1024;

/// Writes Events.
pub struct Events {
    client: Client,
    reporter: Reporter,
    metrics: Metrics,
}

impl Events {
    /// Writes with this client, as this replica, and counts.
    pub fn new(client: Client, identity: &str, metrics: Metrics) -> Self {
        let reporter = Reporter {
            controller: REPORTING_CONTROLLER.to_owned(),
            instance: Some(identity.chars().take(128).collect()),
        };
        Self { client, reporter, metrics }
    }

    /// Tells of something that happened to a request.
    pub async fn tell(&self, request: &NodeJoinRequest, reason: EventReason, note: &str) {
        self.publish(request, reason, note, None).await;
    }

    /// Tells of something that happened to a request because of this certificate request.
    pub async fn tell_of(&self, csr: &CertificateRequest, request: &NodeJoinRequest, reason: EventReason, note: &str) {
        let related = ObjectReference {
            api_version: Some(CertificateSigningRequest::API_VERSION.to_owned()),
            kind: Some(CertificateSigningRequest::KIND.to_owned()),
            name: Some(csr.name.clone()),
            uid: Some(csr.uid.clone()),
            ..ObjectReference::default()
        };
        self.publish(request, reason, note, Some(related)).await;
    }

    /// Each Event has a recorder of its own: one recorder would take Events that differ in their notes alone for the same
    /// Event again, count them, and lose all notes but the first. Callers see to it that nothing is told twice.
    async fn publish(
        &self,
        request: &NodeJoinRequest,
        reason: EventReason,
        note: &str,
        related: Option<ObjectReference>,
    ) {
        let event = Event {
            type_: match reason.severity() {
                EventSeverity::Normal => EventType::Normal,
                EventSeverity::Warning => EventType::Warning,
            },
            reason: reason.as_str().to_owned(),
            note: Some(cut(&join_crds::conditions::clean_message(note))),
            action: reason.action().to_owned(),
            secondary: related,
        };
        self.metrics.told(reason);
        let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
        if let Err(error) = recorder.publish(&event, &request.object_ref(&())).await {
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

    /// Two certificates of one join are told of a second apart, with the same reason.
    #[tokio::test]
    async fn events_that_differ_in_their_notes_are_told_apart() {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let sender = sender.clone();
            async move {
                let method = request.method().clone();
                let body = request.into_body().collect_bytes().await?.to_vec();
                let event: serde_json::Value = serde_json::from_slice(&body)?;
                sender.send((method, event)).map_err(|_| "nobody listens")?;
                http::Response::builder().body(kube::client::Body::from(body)).map_err(tower::BoxError::from)
            }
        });
        let events = Events::new(Client::new(service, "default"), "replica", Metrics::new());
        let request = crate::plan::tests::request("worker-7", &serde_json::json!({}));
        for name in ["csr-1", "csr-2"] {
            let csr =
                CertificateRequest { name: name.to_owned(), uid: "u".to_owned(), ..CertificateRequest::default() };
            events.tell_of(&csr, &request, EventReason::CertificateApproved, &format!("of {name}")).await;
        }
        for name in ["csr-1", "csr-2"] {
            let (method, event) = receiver.recv().await.unwrap();
            assert_eq!((method, &event["note"]), (http::Method::POST, &format!("of {name}").into()));
            assert_eq!(
                (&event["related"]["kind"], &event["related"]["name"]),
                (&"CertificateSigningRequest".into(), &name.into())
            );
            assert_eq!(event["regarding"]["name"], "worker-7");
        }
    }

    #[test]
    fn notes_are_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        let long = format!("{}é", "a".repeat(MAX_NOTE_BYTES - 1));
        assert_eq!(cut(&long), "a".repeat(MAX_NOTE_BYTES - 1));
    }
}
