//! Tells of decisions on certificate requests: one log line for each, and an Event for what is final.
//!
//! The lines have a target of their own, [`TARGET`], and always the same fields; `docs/audit.md` describes them. What
//! is decided is told after it has been written. An approval or denial whose answer was lost is told when the watch
//! shows it; one that was written right before the process was killed is told by the API server's audit log alone,
//! and by the condition of the certificate request.

use std::collections::{HashMap, HashSet};

use join_crds::conditions;
use join_crds::spec::NodeJoinRequest;
use join_crds::vocabulary::{ConditionType, EventReason, Reason};
use join_trust::pkcs10::CertificationRequest;
use join_trust::policy::{CertificateRequest, Finding, Rule};

use super::Context;
use crate::cache::csr::CsrEntry;
use crate::plan::{self, Observed};

/// The target of the log lines. No log level silences it, see [`crate::telemetry`].
pub(crate) const TARGET: &str = "join_controller::decision";
/// What stands for the rule where all of them hold.
const EVERY_RULE: &str = "All";
/// The most denials of one request that Events tell of: whoever floods requests shall not flood Events.
const MOST_EVENTS: usize = 32;

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Approved.
    Approve,
    /// Denied for this.
    Deny(Finding),
    /// Left undecided for this.
    Wait(Finding),
}

impl Verdict {
    fn name(&self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny(_) => "deny",
            Self::Wait(_) => "wait",
        }
    }

    fn rule(&self) -> &'static str {
        match self {
            Self::Approve => EVERY_RULE,
            Self::Deny(finding) | Self::Wait(finding) => finding.rule.as_str(),
        }
    }

    fn detail(&self) -> Option<&str> {
        match self {
            Self::Approve => None,
            Self::Deny(finding) | Self::Wait(finding) => Some(&finding.detail),
        }
    }
}

/// What was told of one request's certificate requests, by their UIDs.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The rules for which they wait.
    waits: HashMap<String, Rule>,
    /// What was written and not confirmed.
    unanswered: HashMap<String, Verdict>,
    /// The number of Events on denials.
    events: usize,
}

impl Told {
    /// Notes a wait. Tells whether it is news.
    fn waits(&mut self, csr_uid: &str, rule: Rule) -> bool {
        self.waits.insert(csr_uid.to_owned(), rule) != Some(rule)
    }

    /// Forgets certificate requests that are gone or do not wait any more.
    fn keep_waits(&mut self, waiting: &HashSet<&str>) {
        self.waits.retain(|uid, _| waiting.contains(uid.as_str()));
    }

    /// Whether another denial may be told of with an Event.
    fn may_tell(&mut self) -> bool {
        self.events += 1;
        self.events <= MOST_EVENTS
    }
}

/// Notes a decision that is about to be written: its answer may be lost.
pub(super) fn begin(request: &NodeJoinRequest, csr: &CsrEntry, verdict: Verdict, context: &Context) {
    context.notes.with(request.uid(), |note| note.decisions.unanswered.insert(csr.request.uid.clone(), verdict));
}

/// Tells of the decision that was begun, now that the API server has confirmed it.
pub(super) async fn made(request: &NodeJoinRequest, csr: &CsrEntry, context: &Context) {
    let verdict = context.notes.with(request.uid(), |note| note.decisions.unanswered.remove(&csr.request.uid));
    if let Some(verdict) = verdict {
        decided(request, csr, &verdict, context).await;
    }
}

/// Tells of decisions that were written without an answer and show in what is observed now.
pub(super) async fn answered_late(request: &NodeJoinRequest, observed: &Observed<'_>, context: &Context) {
    let late: Vec<(&CsrEntry, Verdict)> = context.notes.with(request.uid(), |note| {
        if note.decisions.unanswered.is_empty() {
            return Vec::new();
        }
        let mut open = std::mem::take(&mut note.decisions.unanswered);
        let csrs = observed.csrs.iter().map(AsRef::as_ref);
        let (decided, undecided): (Vec<&CsrEntry>, Vec<&CsrEntry>) = csrs.partition(|csr| csr.request.is_decided());
        for csr in undecided {
            let uid = &csr.request.uid;
            note.decisions.unanswered.extend(open.remove(uid).map(|verdict| (uid.clone(), verdict)));
        }
        decided
            .into_iter()
            .filter_map(|csr| open.remove(&csr.request.uid).map(|verdict| (csr, verdict)))
            .filter(|(csr, verdict)| is_ours(csr, verdict))
            .collect()
    });
    for (csr, verdict) in late {
        decided(request, csr, &verdict, context).await;
    }
}

/// Whether the decision that a certificate request bears is the one that was written: others may decide, too.
fn is_ours(csr: &CsrEntry, verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Approve => csr.request.approved && csr.decided_for.as_deref() == Some(plan::APPROVAL_REASON),
        Verdict::Deny(finding) => csr.request.denied && csr.decided_for.as_deref() == Some(finding.rule.as_str()),
        Verdict::Wait(_) => false,
    }
}

/// Tells of an approval or a denial.
async fn decided(request: &NodeJoinRequest, csr: &CsrEntry, verdict: &Verdict, context: &Context) {
    let key = key_of(&csr.request);
    context.metrics.decided(&csr.request.signer_name, verdict.name(), verdict.rule());
    log(Some(request), &csr.request, key.as_deref(), verdict);
    let reason = match verdict {
        Verdict::Approve => EventReason::CertificateApproved,
        Verdict::Deny(finding) if finding.rule == Rule::SecondCertificate => EventReason::TokenReused,
        Verdict::Deny(_) => EventReason::CertificateDenied,
        Verdict::Wait(_) => return,
    };
    let approved = matches!(verdict, Verdict::Approve);
    if approved || context.notes.with(request.uid(), |note| note.decisions.may_tell()) {
        let note = note(request, &csr.request, key.as_deref(), verdict);
        context.events.tell_of(&csr.request, request, reason, &note).await;
    }
}

/// Tells of certificate requests that wait, once for each rule that they wait for.
pub(super) fn waiting(request: &NodeJoinRequest, observed: &Observed<'_>, context: &Context) {
    let waiting = plan::waiting(observed);
    let news: Vec<(&CsrEntry, Finding)> = context.notes.with(request.uid(), |note| {
        note.decisions.keep_waits(&waiting.iter().map(|(csr, _)| csr.request.uid.as_str()).collect());
        waiting
            .into_iter()
            .filter(|(csr, finding)| {
                let first = !note.decisions.waits.contains_key(&csr.request.uid);
                note.decisions.waits(&csr.request.uid, finding.rule) && !(first && in_status(request, csr, finding))
            })
            .collect()
    });
    for (csr, finding) in news {
        let verdict = Verdict::Wait(finding);
        context.metrics.decided(&csr.request.signer_name, verdict.name(), verdict.rule());
        log(Some(request), &csr.request, key_of(&csr.request).as_deref(), &verdict);
    }
}

/// Whether the status says already that this waits for this rule: then a controller before this one has told of it.
fn in_status(request: &NodeJoinRequest, csr: &CsrEntry, finding: &Finding) -> bool {
    let conditions = request.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let beginning = plan::waits_for(&csr.request.name, finding.rule);
    [ConditionType::ClientCertificateIssued, ConditionType::ServingCertificateIssued].into_iter().any(|kind| {
        conditions::reason(conditions, kind) == Some(Reason::CertificateRequestWaiting)
            && conditions::get(conditions, kind).is_some_and(|condition| condition.message.starts_with(&beginning))
    })
}

/// Tells of a certificate request that comes from a token of our groups and belongs to no request.
pub(crate) fn stray(csr: &CsrEntry, context: &Context) {
    let detail = "the controller has no record of its token, so it is left undecided".to_owned();
    let verdict = Verdict::Wait(Finding { rule: Rule::TokenKnown, detail });
    context.metrics.decided(&csr.request.signer_name, verdict.name(), verdict.rule());
    log(None, &csr.request, key_of(&csr.request).as_deref(), &verdict);
}

/// The pin of the key in a certificate request; none if it cannot be read.
fn key_of(csr: &CertificateRequest) -> Option<String> {
    CertificationRequest::parse_pem(&csr.request).ok().map(|request| request.pin().to_string())
}

fn log(request: Option<&NodeJoinRequest>, csr: &CertificateRequest, key: Option<&str>, verdict: &Verdict) {
    // Name and node are one today; two fields, so that whoever reads them need not know that.
    let (name, uid) = request.map(|request| (request.node_name(), request.uid())).unzip();
    macro_rules! line {
        ($level:ident, $text:literal) => {
            tracing::$level!(
                target: TARGET,
                decision = verdict.name(),
                rule = verdict.rule(),
                detail = verdict.detail(),
                signer = csr.signer_name,
                csr = csr.name,
                csr_uid = csr.uid,
                requester = csr.username,
                request = name,
                request_uid = uid,
                node = name,
                key,
                $text
            )
        };
    }
    match verdict {
        Verdict::Approve => line!(info, "certificate request approved"),
        Verdict::Deny(_) => line!(warn, "certificate request denied"),
        Verdict::Wait(_) => line!(info, "certificate request waits"),
    }
}

/// The note of an Event. What can be long comes last, since notes are cut.
fn note(request: &NodeJoinRequest, csr: &CertificateRequest, key: Option<&str>, verdict: &Verdict) -> String {
    let done = if matches!(verdict, Verdict::Approve) { "approved" } else { "denied" };
    let detail = verdict.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    format!(
        "{done} by rule {rule}: certificate request {csr} for {signer}, requester {requester}, key {key}, request UID {uid}{detail}",
        rule = verdict.rule(),
        csr = csr.name,
        signer = csr.signer_name,
        requester = csr.username,
        key = key.unwrap_or("unreadable"),
        uid = request.uid(),
    )
}

#[cfg(test)]
mod tests;
