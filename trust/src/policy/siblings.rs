//! Several requests of one requester: only the newest good one counts.

use super::context::{Context, Subject};
use super::evaluate;
use super::request::CertificateRequest;
use super::rule::Severity;
use crate::pkcs10::CertificationRequest;

/// The name of the request that takes a request's place, or none if it stands.
///
/// A sibling is an undecided request of the same requester for the same signer and common name. A newer one counts
/// only if nothing definite stands against it: otherwise whoever can create a bad request could displace a good one.
/// Requests of the same second are ordered by UID, so that every observer finds the same winner.
///
/// A request that was chosen for a token stands, whatever comes later: the first one wins. Among several that nobody
/// has looked at yet it is the newest, because a kubelet that asks again has forgotten its older keys.
pub fn superseded_by<'a>(
    csr: &CertificateRequest,
    siblings: impl IntoIterator<Item = &'a CertificateRequest>,
    context: &Context<'_>,
) -> Option<&'a str> {
    if is_chosen(csr, context) {
        return None;
    }
    let common_name = common_name(csr)?;
    siblings
        .into_iter()
        .filter(|other| {
            other.uid != csr.uid
                && !other.is_decided()
                && other.signer_name == csr.signer_name
                && other.username == csr.username
                && age(other) > age(csr)
        })
        .filter(|other| self::common_name(other).as_deref() == Some(&common_name))
        .filter(|other| evaluate(other, context).iter().all(|finding| finding.rule.severity() == Severity::Wait))
        .max_by_key(|other| age(other))
        .map(|other| other.name.as_str())
}

fn is_chosen(csr: &CertificateRequest, context: &Context<'_>) -> bool {
    let Subject::Client(client) = &context.subject else { return false };
    client.token.and_then(|record| record.approved.as_ref()).is_some_and(|approved| approved.csr_uid == csr.uid)
}

fn age(csr: &CertificateRequest) -> (i64, &str) {
    (csr.created_at, &csr.uid)
}

fn common_name(csr: &CertificateRequest) -> Option<String> {
    CertificationRequest::parse_pem(&csr.request).ok()?.common_name().map(str::to_owned)
}

pub(super) fn detail(newer: &str) -> String {
    format!("the same requester has asked again with {newer:?}")
}
