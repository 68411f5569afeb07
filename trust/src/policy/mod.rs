//! The CSR policy: one pure function from what was observed to what is to be done.
//!
//! [`decide`] answers for one `CertificateSigningRequest` with [`Decision::Approve`], [`Decision::Deny`] (a definite
//! violation: nothing that happens later makes it right), [`Decision::Wait`] (left pending: it may become right), or
//! [`Decision::NotOurs`] (never touched, since other approvers may own it). Every reason is a [`Rule`] with a stable
//! name; [`evaluate`] lists all of them.
//!
//! A request is ours if its signer is one of the two kubelet signers and its requester is a bootstrap token of one of
//! our groups, or the node of a request. Renewals of client certificates are not ours: kube-controller-manager's
//! `csrapproving` approves them (`selfnodeclient`), and only for the node itself.
//!
//! What other approvers check and this one leaves out, with the reason: a SubjectAccessReview of the requester (the
//! record of its token says more), DNS lookups (a resolver's hiccup must not decide anything), a connection to the
//! node (the request has no source address), a breaker on the number of pending requests (one bad client would stop
//! everybody), hardware quotes (there is no plug-in for them yet). That a join request has been approved by an admin
//! and has no Node yet needs no rule of its own: only then is there a token, and `SecondCertificate` and `NodeAbsent`
//! end what it may ask for.
//!
//! The function believes nothing that a machine can write: neither the object's name, nor the Node's addresses, nor
//! the request's status. What it does believe is in [`Context`], and the caller fills that from the controller's own
//! records and from the admin's spec.

mod client;
mod context;
mod request;
mod rule;
mod serving;
mod shape;
mod siblings;

pub use client::{SubjectOf, subject_of};
pub use context::{
    Accounting, ClientContext, Context, KeyBinding, NodeState, RequestState, Requester, ServingContext, Settings,
    Subject, TokenRecord,
};
pub use request::CertificateRequest;
pub use rule::{Rule, Severity};
pub use siblings::superseded_by;

use crate::names::NodeName;
use crate::pin::PublicKeyPin;
use crate::pkcs10::CertificationRequest;

/// A rule that a request does not satisfy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// What was seen and what was expected, for people; contains names and hashes, never a secret.
    pub detail: String,
}

/// What is to be done with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Approve it, after the approval has been written into the record (see [`Approval`]).
    Approve(Approval),
    /// Deny it.
    Deny(Finding),
    /// Leave it pending and look again when something changes.
    Wait(Finding),
    /// Leave it alone.
    NotOurs(Finding),
}

/// What an approval approves.
///
/// The caller must store the CSR's UID and this key in the token's record, by compare-and-swap, *before* it approves:
/// that write is what makes a second certificate impossible when the controller dies in between or runs twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// The node whose certificate it is.
    pub node: NodeName,
    /// The pin of the key that will be certified.
    pub public_key: PublicKeyPin,
}

/// Decides one request.
///
/// Violations are gathered first ([`evaluate`]); one that makes the request not ours outweighs all others, a definite
/// one outweighs a temporary one, and among equals the first in the order of [`Rule::ALL`] is named.
pub fn decide(csr: &CertificateRequest, context: &Context<'_>) -> Decision {
    let (findings, approval) = examine(csr, context);
    let first = |severity| findings.iter().find(|finding| finding.rule.severity() == severity).cloned();
    if let Some(finding) = first(Severity::Ignore) {
        Decision::NotOurs(finding)
    } else if let Some(finding) = first(Severity::Deny) {
        Decision::Deny(finding)
    } else if let Some(finding) = first(Severity::Wait) {
        Decision::Wait(finding)
    } else {
        match approval {
            Some(approval) => Decision::Approve(approval),
            // Cannot happen: a request without an approval has a finding. Waiting is the harmless answer.
            None => Decision::Wait(Finding { rule: Rule::Encoding, detail: "the request was not read".to_owned() }),
        }
    }
}

/// All rules that a request does not satisfy, in the order of [`Rule::ALL`].
///
/// Where a rule cannot be judged because another one failed (no subject without readable DER), only that other one is
/// listed.
pub fn evaluate(csr: &CertificateRequest, context: &Context<'_>) -> Vec<Finding> {
    examine(csr, context).0
}

fn examine(csr: &CertificateRequest, context: &Context<'_>) -> (Vec<Finding>, Option<Approval>) {
    let mut findings = Findings::default();
    if request::not_ours(csr, context, &mut findings) {
        return (findings.0, None);
    }
    let request = shape::read(csr, &mut findings);
    if let Some(request) = &request {
        shape::check(csr, request, context, &mut findings);
    }
    request::check_times(csr, context, &mut findings);
    match &context.subject {
        Subject::Client(client) => client::check(csr, request.as_ref(), client, context, &mut findings),
        Subject::Serving(serving) => serving::check(csr, request.as_ref(), serving, context, &mut findings),
        Subject::Unknown => {}
    }
    let mut findings = findings.0;
    findings.sort_by_key(|finding| finding.rule);
    let approval = request.as_ref().and_then(approval);
    (findings, approval)
}

fn approval(request: &CertificationRequest) -> Option<Approval> {
    let node = request.common_name().and_then(NodeName::from_user_name)?;
    Some(Approval { node, public_key: request.pin() })
}

/// The violations that have been found so far.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, rule: Rule, detail: impl Into<String>) {
        #[cfg(test)]
        if tests::without::is_removed(rule) {
            return;
        }
        self.0.push(Finding { rule, detail: detail.into() });
    }

    /// Adds the finding unless the condition holds.
    fn require(&mut self, holds: bool, rule: Rule, detail: impl FnOnce() -> String) {
        if !holds {
            self.add(rule, detail());
        }
    }
}

#[cfg(test)]
mod tests;
