//! The `CertificateSigningRequest` object, and the rules about the object itself.

use std::collections::BTreeMap;

use super::context::{Context, Requester, Subject};
use super::rule::Rule;
use super::{Findings, siblings};
use crate::UnixSeconds;
use crate::names::{BOOTSTRAP_USER_PREFIX, CLIENT_SIGNER, ENROLL_GROUP, JOIN_GROUP, NODE_USER_PREFIX, SERVING_SIGNER};

/// What the API server holds of one `certificates.k8s.io/v1` request.
///
/// Username, uid, groups and extra are the API server's own statement about who created the object; the requester
/// cannot set them. Everything in `request` is the requester's word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four independent conditions of the API object")]
pub struct CertificateRequest {
    /// `metadata.name`: chosen by the requester, so it decides nothing.
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.creationTimestamp`, of the API server's clock.
    pub created_at: UnixSeconds,
    /// `spec.signerName`
    pub signer_name: String,
    /// `spec.request`, after its base64 has been decoded: PEM.
    pub request: Vec<u8>,
    /// `spec.usages`
    pub usages: Vec<String>,
    /// `spec.expirationSeconds`
    pub expiration_seconds: Option<i64>,
    /// `spec.username`
    pub username: String,
    /// `spec.uid`: the requester's UID, not the object's.
    pub user_uid: String,
    /// `spec.groups`
    pub groups: Vec<String>,
    /// `spec.extra`
    pub extra: BTreeMap<String, Vec<String>>,
    /// Whether there is a condition of type `Approved`.
    pub approved: bool,
    /// Whether there is a condition of type `Denied`.
    pub denied: bool,
    /// Whether there is a condition of type `Failed`.
    pub failed: bool,
    /// Whether `status.certificate` is set.
    pub issued: bool,
}

impl CertificateRequest {
    /// Whether somebody has decided it already.
    pub fn is_decided(&self) -> bool {
        self.approved || self.denied || self.failed || self.issued
    }

    /// Whether its requester is a bootstrap token of one of our groups.
    pub(super) fn is_from_our_token(&self) -> bool {
        self.username.starts_with(BOOTSTRAP_USER_PREFIX)
            && self.groups.iter().any(|group| group == JOIN_GROUP || group == ENROLL_GROUP)
    }
}

/// The rules that make a request none of our business; true if one of them does.
pub(super) fn not_ours(csr: &CertificateRequest, context: &Context<'_>, findings: &mut Findings) -> bool {
    let before = findings.0.len();
    findings.require(!csr.is_decided(), Rule::AlreadyDecided, || {
        "the request already has a condition or a certificate".to_owned()
    });
    let signers = [CLIENT_SIGNER, SERVING_SIGNER];
    findings.require(signers.contains(&csr.signer_name.as_str()), Rule::Signer, || {
        format!("signer is {:?}, expected {CLIENT_SIGNER} or {SERVING_SIGNER}", csr.signer_name)
    });
    let ours = match &context.subject {
        Subject::Client(_) => csr.signer_name == CLIENT_SIGNER && csr.is_from_our_token(),
        Subject::Serving(serving) => {
            csr.signer_name == SERVING_SIGNER && (csr.is_from_our_token() || is_node(csr, serving.requester))
        }
        Subject::Unknown => false,
    };
    findings.require(ours, Rule::Requester, || {
        format!(
            "requester {:?} is neither a bootstrap token of our groups nor the node of a request, for signer {:?}",
            csr.username, csr.signer_name
        )
    });
    findings.0.len() > before
}

fn is_node(csr: &CertificateRequest, requester: Requester) -> bool {
    csr.username.starts_with(NODE_USER_PREFIX) && requester == Requester::NodeOfRequest
}

/// The rules about the object's times, validity and siblings.
pub(super) fn check_times(csr: &CertificateRequest, context: &Context<'_>, findings: &mut Findings) {
    let settings = context.settings;
    if let Some(seconds) = csr.expiration_seconds {
        findings.require(seconds > 0 && seconds <= settings.maximum_validity_seconds, Rule::Validity, || {
            format!("asks for a validity of {seconds} s, expected at most {} s", settings.maximum_validity_seconds)
        });
    }
    let ahead = csr.created_at.saturating_sub(context.now);
    findings.require(ahead <= settings.clock_skew_seconds, Rule::ClockSkew, || {
        format!("was created {ahead} s in the future: the clocks of controller and API server differ")
    });
    if let Some(newer) = context.superseded_by {
        findings.add(Rule::Superseded, siblings::detail(newer));
    }
}
