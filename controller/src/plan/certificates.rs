//! The certificate requests of a request's token and of its node: what the policy is told, and what follows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use join_trust::pkcs10::{AlternativeName, CertificationRequest};
use join_trust::policy::{
    Accounting, Approval, CertificateRequest, ClientContext, Context, Decision, Finding, KeyBinding, NodeState,
    RequestState, Requester, Rule, ServingContext, Subject, SubjectOf, TokenRecord, decide, subject_of, superseded_by,
};

use super::{Observed, Published, Step};
use crate::cache::csr::CsrEntry;
use crate::record::{Chosen, Record};

/// A chosen request that was issued is noted after this time if no Node has come of it. kube-controller-manager
/// removes issued requests after an hour, and a second certificate must stay impossible then. In an ordinary join the
/// Node is there first, and the note is part of recording it.
pub(super) const NOTE_ISSUED_AFTER_SECONDS: i64 = 60;

/// Reason of an approval: that all rules hold is the only one there is.
pub(crate) const APPROVAL_REASON: &str = "NodeJoinPolicy";

/// The next step about certificate requests.
pub(super) fn step(observed: &Observed<'_>) -> Option<Step> {
    unchoose(observed)
        .or_else(|| observed.csrs.iter().find_map(|csr| step_for(observed, csr)))
        .or_else(|| note_issued(observed))
}

fn step_for(observed: &Observed<'_>, csr: &CsrEntry) -> Option<Step> {
    let request = &csr.request;
    match verdict(observed, csr)? {
        Decision::Approve(approval) => Some(approve(observed, csr, &approval)),
        Decision::Deny(finding) => Some(Step::Deny { name: request.name.clone(), uid: request.uid.clone(), finding }),
        Decision::Wait(_) | Decision::NotOurs(_) => None,
    }
}

fn approve(observed: &Observed<'_>, csr: &CsrEntry, approval: &Approval) -> Step {
    let request = &csr.request;
    let chosen = observed.record.and_then(|record| record.chosen.as_ref());
    if csr.is_client() && chosen.is_none_or(|chosen| chosen.uid != request.uid) {
        return Step::Choose(Chosen {
            name: request.name.clone(),
            uid: request.uid.clone(),
            public_key: approval.public_key,
            created_at: request.created_at,
            issued: false,
        });
    }
    Step::Approve { name: request.name.clone(), uid: request.uid.clone(), public_key: approval.public_key.to_string() }
}

/// Forgets a chosen request that was denied or failed, or was deleted before anything was issued.
///
/// Only where the key is bound to a machine: whatever was issued unseen is then of the same key. Without that the
/// first request stays the only one.
fn unchoose(observed: &Observed<'_>) -> Option<Step> {
    let record = observed.record?;
    let chosen = record.chosen.as_ref()?;
    if chosen.issued || record.machine.is_none() || record.node_uid.is_some() || observed.node.is_some() {
        return None;
    }
    let hopeless =
        observed.chosen_csr().is_none_or(|csr| !csr.request.issued && (csr.request.denied || csr.request.failed));
    hopeless.then_some(Step::Unchoose)
}

fn note_issued(observed: &Observed<'_>) -> Option<Step> {
    let chosen = observed.record?.chosen.as_ref()?;
    let due = observed.now >= chosen.created_at.saturating_add(NOTE_ISSUED_AFTER_SECONDS);
    (due && !chosen.issued && observed.issued()).then_some(Step::NoteIssued)
}

/// The certificate requests that wait, and what for.
pub(crate) fn waiting<'a>(observed: &Observed<'a>) -> Vec<(&'a CsrEntry, Finding)> {
    observed
        .csrs
        .iter()
        .filter_map(|csr| match verdict(observed, csr)? {
            Decision::Wait(finding) => Some((&**csr, finding)),
            Decision::Approve(_) | Decision::Deny(_) | Decision::NotOurs(_) => None,
        })
        .collect()
}

/// How the status says that a certificate request waits for a rule; what was seen follows.
pub(crate) fn waits_for(csr_name: &str, rule: Rule) -> String {
    format!("certificate request {csr_name} waits: {}: ", rule.as_str())
}

/// What the policy says of a request; none if somebody has decided it already or it is not about us.
pub(super) fn verdict(observed: &Observed<'_>, csr: &CsrEntry) -> Option<Decision> {
    if csr.request.is_decided() {
        return None;
    }
    let request = request_state(observed);
    let node = observed.node.map_or(NodeState::Absent, |node| NodeState::Present { uid: &node.uid });
    let recorded_node_uid = observed.record.and_then(|record| record.node_uid.as_deref());
    let token = observed.record.and_then(|record| token_record(observed, record));
    let addresses = observed.approved_addresses();
    let names = BTreeSet::from([observed.node_name.as_str().to_owned()]);
    let forbidden_names = api_server_names(observed.published);
    let serving = |requester| {
        Subject::Serving(ServingContext {
            requester,
            request,
            node,
            recorded_node_uid,
            approved_addresses: &addresses,
            approved_names: &names,
            forbidden_names: &forbidden_names,
            forbidden_networks: observed.forbidden_networks,
            forbidden_addresses: observed.foreign_addresses,
        })
    };
    let subject = match subject_of(&csr.request) {
        SubjectOf::Token(id) => Subject::Client(ClientContext {
            token: token.as_ref().filter(|record| record.token_id == id),
            request,
            node,
            recorded_node_uid,
            replacement_allowed: false,
        }),
        SubjectOf::Node(name) if name == *observed.node_name => serving(Requester::NodeOfRequest),
        SubjectOf::TokenForServing => serving(Requester::Other),
        SubjectOf::Node(_) | SubjectOf::Nobody => return None,
    };
    let mut context = Context { now: observed.now, settings: observed.settings.policy, superseded_by: None, subject };
    let siblings: Vec<&CertificateRequest> = observed.csrs.iter().map(|other| &other.request).collect();
    context.superseded_by = superseded_by(&csr.request, siblings.iter().copied(), &context);
    match decide(&csr.request, &context) {
        Decision::NotOurs(_) => None,
        decision => Some(decision),
    }
}

fn request_state<'a>(observed: &Observed<'a>) -> RequestState<'a> {
    RequestState::Present {
        uid: observed.request.metadata.uid.as_deref().unwrap_or_default(),
        deleting: observed.deleting(),
        control_plane: observed.is_control_plane(),
    }
}

fn token_record(observed: &Observed<'_>, record: &Record) -> Option<TokenRecord> {
    let token = record.token.as_ref()?;
    Some(TokenRecord {
        token_id: token.id.clone(),
        node_name: record.node_name.clone(),
        request_uid: record.request_uid.clone(),
        key: record.machine.as_ref().map_or(KeyBinding::FirstUse, |machine| KeyBinding::Pinned(machine.public_key)),
        minted_at: token.minted_at,
        expires_at: token.expires_at,
        deadline: observed.deadline(),
        approved: record.chosen.as_ref().map(|chosen| Accounting {
            csr_uid: chosen.uid.clone(),
            public_key: chosen.public_key,
            // Whoever is not bound to a key has had his one request, even if it is not known what came of it.
            issued: observed.issued() || (record.machine.is_none() && observed.chosen_csr().is_none()),
        }),
    })
}

fn api_server_names(published: &Published) -> BTreeSet<String> {
    let Published::Usable { info, .. } = published else { return BTreeSet::new() };
    let endpoint = info.endpoint();
    endpoint.ip().is_none().then(|| endpoint.host().to_ascii_lowercase()).into_iter().collect()
}

/// The IP addresses that undecided serving requests name: those of which the caller finds out whose they are.
pub(crate) fn foreign_candidates(csrs: &[Arc<CsrEntry>]) -> BTreeSet<IpAddr> {
    csrs.iter()
        .filter(|csr| !csr.is_client() && !csr.request.is_decided())
        .filter_map(|csr| CertificationRequest::parse_pem(&csr.request.request).ok())
        .flat_map(|request| {
            let addresses: Vec<IpAddr> = request
                .names()
                .iter()
                .filter_map(|name| if let AlternativeName::Ip(address) = name { Some(*address) } else { None })
                .collect();
            addresses
        })
        .collect()
}

/// The API server's own address, which no node may name.
pub(crate) fn api_server_address(published: &Published) -> BTreeMap<IpAddr, String> {
    let Published::Usable { info, .. } = published else { return BTreeMap::new() };
    info.endpoint().ip().map(|address| (address, "the API server's".to_owned())).into_iter().collect()
}
