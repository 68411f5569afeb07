//! The status of a request: where it stands, in words for people.

mod conditions;
mod wake;

use std::cmp::Reverse;
use std::sync::Arc;

use join_crds::status::{
    BoundMachine, Certificates, Credential, IssuedCertificate, JoinedNode, NodeJoinRequestStatus, RetryAnswer,
};
use join_trust::UnixSeconds;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::node::Relation;
use super::{Observed, credential, node};
use crate::cache::csr::CsrEntry;
use crate::record::Record;

pub use wake::next_wake;

/// The controller's whole part of the status; the agent's part is left out, and so left alone.
pub fn status(observed: &Observed<'_>) -> NodeJoinRequestStatus {
    let mut status = NodeJoinRequestStatus {
        observed_generation: observed.request.metadata.generation,
        conditions: Vec::new(),
        machine: machine(observed),
        credential: None,
        sealed_credentials: None,
        node: joined_node(observed),
        certificates: certificates(observed),
        retry: observed.record.and_then(retry),
        agent: None,
    };
    if let Some(token) =
        observed.record.and_then(|record| record.unspent()).filter(|token| !credential::is_over(observed, token))
    {
        status.credential =
            Some(Credential { token_id: token.id.as_str().to_owned(), expiration_time: time(token.expires_at) });
        let before = observed.request.status.as_ref();
        let in_status = before.filter(|before| {
            before.credential.as_ref().is_some_and(|credential| credential.token_id == token.id.as_str())
        });
        let in_memory = observed.memory.sealed.as_ref().filter(|(id, _)| id == token.id.as_str());
        let current = |sealed: &join_crds::status::SealedCredentials| {
            Some(sealed.generation) == observed.request.metadata.generation
        };
        status.sealed_credentials = in_status
            .and_then(|before| before.sealed_credentials.clone())
            .filter(current)
            .or_else(|| in_memory.map(|(_, sealed)| sealed.clone()).filter(current));
    }
    status.conditions = conditions::conditions(observed, &status);
    status
}

fn machine(observed: &Observed<'_>) -> Option<BoundMachine> {
    let record = observed.record?;
    let bound = record.machine.as_ref();
    let public_key =
        bound.map(|machine| machine.public_key).or_else(|| record.chosen.as_ref().map(|chosen| chosen.public_key))?;
    Some(BoundMachine {
        public_key_hash: public_key.to_string(),
        announcement: bound.map(|machine| machine.announcement.clone()),
        first_seen: time(record.first_seen),
    })
}

fn retry(record: &Record) -> Option<RetryAnswer> {
    Some(RetryAnswer { value: record.retry.clone()?, time: record.retried_at.map(time) })
}

fn joined_node(observed: &Observed<'_>) -> Option<JoinedNode> {
    let uid = observed.record?.node_uid.clone()?;
    let before =
        observed.request.status.as_ref().and_then(|status| status.node.clone()).filter(|before| before.uid == uid);
    let node = observed.node.filter(|node| node.uid == uid);
    let first_ready = before.as_ref().and_then(|before| before.first_ready.clone());
    Some(JoinedNode {
        kubelet_version: node
            .and_then(|node| node.kubelet_version.as_deref().map(|version| version.chars().take(64).collect()))
            .or_else(|| before.and_then(|before| before.kubelet_version)),
        first_ready: first_ready
            .or_else(|| node.filter(|node| node.ready && observed.is_whole()).map(|_| time(observed.now))),
        uid,
    })
}

fn certificates(observed: &Observed<'_>) -> Option<Certificates> {
    let before = observed.request.status.as_ref().and_then(|status| status.certificates.clone()).unwrap_or_default();
    let certificates = Certificates {
        client: newest_issued(observed, true).or(before.client),
        serving: newest_issued(observed, false).or(before.serving),
    };
    (certificates != Certificates::default()).then_some(certificates)
}

fn newest_issued(observed: &Observed<'_>, client: bool) -> Option<IssuedCertificate> {
    let issued = observed.csrs.iter().filter(|csr| csr.is_client() == client && may_be_shown(observed, csr));
    let newest = issued.max_by_key(|csr| (csr.request.created_at, &csr.request.uid))?;
    let certificate = newest.certificate.as_ref()?;
    Some(IssuedCertificate {
        request: newest.request.name.clone(),
        not_after: time(certificate.not_after),
        serial: certificate.serial.clone(),
    })
}

/// Whether an issued certificate is the node's: the chosen one, or one that the node asked for itself.
fn may_be_shown(observed: &Observed<'_>, csr: &CsrEntry) -> bool {
    let chosen = observed.record.and_then(|record| record.chosen.as_ref());
    csr.certificate.is_some()
        && (chosen.is_some_and(|chosen| chosen.uid == csr.request.uid)
            || csr.request.username == observed.node_name.user_name())
}

/// The requests for a client certificate that were made with the present token, the newest first.
fn client_requests<'a>(observed: &Observed<'a>) -> Vec<&'a CsrEntry> {
    newest_first(observed.csrs, |csr| csr.is_client() && csr.request.username != observed.node_name.user_name())
}

/// The node's requests for a serving certificate, the newest first.
fn serving_requests<'a>(observed: &Observed<'a>) -> Vec<&'a CsrEntry> {
    newest_first(observed.csrs, |csr| !csr.is_client() && csr.request.username == observed.node_name.user_name())
}

fn newest_first(csrs: &[Arc<CsrEntry>], wanted: impl Fn(&CsrEntry) -> bool) -> Vec<&CsrEntry> {
    let mut found: Vec<_> = csrs.iter().map(Arc::as_ref).filter(|csr| wanted(csr)).collect();
    found.sort_by_key(|csr| Reverse((csr.request.created_at, &csr.request.uid)));
    found
}

fn is_joined(observed: &Observed<'_>) -> bool {
    node::relation(observed) == Relation::Joined
}

/// A time as the API has it.
pub(super) fn time(seconds: UnixSeconds) -> Time {
    Time(Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH))
}
