//! Another try that a person asks for.
//!
//! The annotation [`ANNOTATION_RETRY`] asks, each value of it once: the record holds the value that was answered last,
//! and is written before anything is done about it. What was asked for before there was a record is answered by the
//! first try, and what is asked for while there is nothing to try again is noted and told of, so that it does not
//! come into effect by surprise at the next failure.

use join_crds::conditions;
use join_crds::vocabulary::{ANNOTATION_RETRY, ConditionType, Reason, Recovery, retry_value};
use join_trust::UnixSeconds;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;

use super::{Observed, Step, status};
use crate::record::Record;

/// What another try begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The token ends now; another one follows when it is gone. Certificate requests of the old one are decided no more.
    OtherToken,
    /// The same token lives until this time: a certificate has been issued with it, which the machine may still have to
    /// fetch, and there is none but this.
    SameToken {
        /// When the token ends.
        expires_at: UnixSeconds,
    },
    /// The deadline is counted anew, and nothing else: there is a Node already.
    DeadlineOnly,
}

/// What there is to do about the annotation.
pub(super) fn step(observed: &Observed<'_>) -> Option<Step> {
    let record = observed.record?;
    let value = asked_to_retry(observed.request).filter(|value| record.retry.as_ref() != Some(value))?;
    Some(match attempt(observed, record) {
        Ok((attempt, failed)) => Step::Retry { value, attempt, failed },
        Err(why) => Step::IgnoreRetry { value, why },
    })
}

/// The next try and what had failed, or why there is nothing to try again.
fn attempt(observed: &Observed<'_>, record: &Record) -> Result<(Attempt, String), String> {
    let all = status(observed).conditions;
    let stalled = conditions::get(&all, ConditionType::Stalled).filter(|condition| condition.status == "True");
    let Some(stalled) = stalled else {
        let ready = conditions::get(&all, ConditionType::Ready);
        let (reason, message) = ready.map(|ready| (ready.reason.as_str(), ready.message.as_str())).unwrap_or_default();
        return Err(format!("nothing has failed for good: {reason}: {message}"));
    };
    let failed = format!("{}: {}", stalled.reason, stalled.message);
    let reason: Option<Reason> = stalled.reason.parse().ok();
    match reason.map_or(Recovery::ByItself, Reason::recovery) {
        Recovery::OnRetry => {}
        other => return Err(format!("{failed}; it goes on otherwise: {}", other.meaning())),
    }
    if record.node_uid.is_some() || observed.node.is_some() {
        return Ok((Attempt::DeadlineOnly, failed));
    }
    // Whoever is not bound to a key had his one certificate request.
    if record.machine.is_none() && record.chosen.is_some() && !observed.issued() {
        return Err(format!(
            "{failed}; the token was open to any machine, and its one certificate request was made: \
                            delete this request and apply it again"
        ));
    }
    let attempt = match record.unspent() {
        Some(_) if observed.issued() => {
            let seconds = i64::from(observed.request.spec.token_ttl_seconds);
            Attempt::SameToken { expires_at: observed.now.saturating_add(seconds) }
        }
        Some(_) => Attempt::OtherToken,
        None => Attempt::DeadlineOnly,
    };
    Ok((attempt, failed))
}

/// The value of a request's annotation for another try.
pub(crate) fn asked_to_retry(request: &join_crds::NodeJoinRequest) -> Option<String> {
    request.metadata.annotations.as_ref()?.get(ANNOTATION_RETRY).and_then(|value| retry_value(value))
}

/// The program that wrote the annotation, as the API server has it.
pub(crate) fn who_asked(request: &join_crds::NodeJoinRequest) -> Option<&str> {
    let entries = request.metadata.managed_fields.as_deref().unwrap_or_default();
    entries.iter().rev().find(|entry| wrote_retry(entry))?.manager.as_deref()
}

/// Whether an entry of an object's managed fields is about the annotation.
pub(crate) fn wrote_retry(entry: &ManagedFieldsEntry) -> bool {
    let annotations = |fields: &serde_json::Value| {
        let all = fields.pointer("/f:metadata/f:annotations")?;
        all.get(format!("f:{ANNOTATION_RETRY}")).map(|_| ())
    };
    entry.fields_v1.as_ref().is_some_and(|fields| annotations(&fields.0).is_some())
}

impl Record {
    /// The record with an answered request for another try in it.
    pub(crate) fn retried(mut self, value: &str, attempt: Attempt, now: UnixSeconds) -> Self {
        self.retry = Some(value.to_owned());
        self.retried_at = Some(now);
        if let Some(token) = &mut self.token {
            match attempt {
                Attempt::OtherToken => token.expires_at = token.expires_at.min(now),
                Attempt::SameToken { expires_at } => token.expires_at = token.expires_at.max(expires_at),
                Attempt::DeadlineOnly => {}
            }
        }
        self
    }
}
