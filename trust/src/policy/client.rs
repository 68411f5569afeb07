//! The rules for a kubelet's first client certificate, asked for with a bootstrap token.

use super::Findings;
use super::context::{ClientContext, Context, KeyBinding, NodeState, RequestState, TokenRecord};
use super::request::CertificateRequest;
use super::rule::Rule;
use crate::names::{
    AUTHENTICATED_GROUP, BOOTSTRAPPERS_GROUP, CLIENT_SIGNER, CONTROL_PLANE_GROUP, JOIN_GROUP, NodeName, SERVING_SIGNER,
};
use crate::pkcs10::CertificationRequest;
use crate::token::TokenId;

/// Whom the caller must look up to fill a [`Context`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectOf {
    /// The record of this token, for [`super::Subject::Client`].
    Token(TokenId),
    /// The join request of this node, for [`super::Subject::Serving`].
    Node(NodeName),
    /// A token of our groups that asks for a serving certificate: [`super::Subject::Serving`] with
    /// [`super::Requester::Other`] and nothing known, which is denied.
    TokenForServing,
    /// Nobody of ours: [`super::Subject::Unknown`].
    Nobody,
}

/// Says whom a request is about, by its requester alone; nothing of its content is read.
pub fn subject_of(csr: &CertificateRequest) -> SubjectOf {
    match csr.signer_name.as_str() {
        CLIENT_SIGNER if csr.is_from_our_token() => {
            TokenId::from_user_name(&csr.username).map_or(SubjectOf::Nobody, SubjectOf::Token)
        }
        SERVING_SIGNER if csr.is_from_our_token() => SubjectOf::TokenForServing,
        SERVING_SIGNER => NodeName::from_user_name(&csr.username).map_or(SubjectOf::Nobody, SubjectOf::Node),
        _ => SubjectOf::Nobody,
    }
}

/// Applies the rules to a request whose requester is a token of our groups.
pub(super) fn check(
    csr: &CertificateRequest,
    request: Option<&CertificationRequest>,
    client: &ClientContext<'_>,
    context: &Context<'_>,
    findings: &mut Findings,
) {
    check_requester(csr, findings);
    if let Some(request) = request {
        findings.require(request.names().is_empty(), Rule::ClientNames, || {
            format!("has {} alternative names, expected none in a client certificate", request.names().len())
        });
    }
    let Some(record) = client.token else {
        findings.add(Rule::TokenKnown, format!("there is no record of the token of {:?}", csr.username));
        return;
    };
    findings.require(csr.username == record.token_id.user_name(), Rule::RequesterName, || {
        format!("requester is {:?}, expected {:?}", csr.username, record.token_id.user_name())
    });
    check_join_request(csr, record, client, findings);
    check_window(csr, record, context, findings);
    check_node(client, findings);
    if let Some(request) = request {
        check_binding(csr, request, record, findings);
    }
}

fn check_requester(csr: &CertificateRequest, findings: &mut Findings) {
    findings.require(csr.user_uid.is_empty(), Rule::RequesterName, || {
        format!("requester has the UID {:?}, which no bootstrap token has", csr.user_uid)
    });
    let mut groups: Vec<&str> =
        csr.groups.iter().map(String::as_str).filter(|group| *group != CONTROL_PLANE_GROUP).collect();
    groups.sort_unstable();
    findings.require(groups == [AUTHENTICATED_GROUP, BOOTSTRAPPERS_GROUP, JOIN_GROUP], Rule::RequesterGroups, || {
        format!("groups are {groups:?}, expected {AUTHENTICATED_GROUP}, {BOOTSTRAPPERS_GROUP} and {JOIN_GROUP}")
    });
    findings.require(csr.extra.is_empty(), Rule::RequesterExtra, || {
        format!("requester has extra attributes {:?}, expected none", csr.extra.keys().collect::<Vec<_>>())
    });
}

fn check_join_request(
    csr: &CertificateRequest,
    record: &TokenRecord,
    client: &ClientContext<'_>,
    findings: &mut Findings,
) {
    match client.request {
        RequestState::Missing => {
            findings.add(Rule::RequestExists, format!("there is no join request {} any more", record.node_name));
        }
        RequestState::Present { uid, deleting, control_plane } => {
            findings.require(uid == record.request_uid, Rule::RequestIdentity, || {
                format!("join request has UID {uid}, the token was made for {}", record.request_uid)
            });
            findings.require(!deleting, Rule::RequestDeleting, || {
                format!("join request {} is being deleted", record.node_name)
            });
            let times = csr.groups.iter().filter(|group| *group == CONTROL_PLANE_GROUP).count();
            findings.require(times == usize::from(control_plane), Rule::TokenRole, || {
                let role = if control_plane { "ControlPlane" } else { "Worker" };
                format!(
                    "the token has {CONTROL_PLANE_GROUP} {times} times, expected {} for role {role}",
                    usize::from(control_plane)
                )
            });
        }
    }
}

fn check_window(csr: &CertificateRequest, record: &TokenRecord, context: &Context<'_>, findings: &mut Findings) {
    let skew = context.settings.clock_skew_seconds;
    let earliest = record.minted_at.saturating_sub(skew);
    let latest = record.expires_at.saturating_add(skew);
    findings.require((earliest..=latest).contains(&csr.created_at), Rule::CreationWindow, || {
        format!("was created at {} s, expected {earliest} s to {latest} s (the token's life)", csr.created_at)
    });
    if let Some(deadline) = record.deadline {
        findings.require(context.now <= deadline.saturating_add(skew), Rule::Deadline, || {
            format!("the join request's deadline passed {} s ago", context.now.saturating_sub(deadline))
        });
    }
}

fn check_node(client: &ClientContext<'_>, findings: &mut Findings) {
    let NodeState::Present { uid } = client.node else { return };
    let replaceable = client.replacement_allowed && client.recorded_node_uid == Some(uid);
    findings.require(replaceable, Rule::NodeAbsent, || {
        format!("a Node of that name exists (UID {uid}); delete it, or allow its replacement")
    });
}

fn check_binding(
    csr: &CertificateRequest,
    request: &CertificationRequest,
    record: &TokenRecord,
    findings: &mut Findings,
) {
    let expected = record.node_name.user_name();
    findings.require(request.common_name() == Some(&expected), Rule::TokenNode, || {
        format!("asks for {:?}, the token was made for {expected:?}", request.common_name().unwrap_or_default())
    });
    let key = request.pin();
    if let KeyBinding::Pinned(pin) = record.key {
        findings.require(key == pin, Rule::PinnedKey, || format!("key is {key}, expected the machine key {pin}"));
    }
    if let Some(approved) = record.approved.as_ref().filter(|approved| approved.csr_uid != csr.uid) {
        if approved.issued {
            let whose = if approved.public_key == key { "the same key" } else { "another key" };
            let detail =
                format!("token {} already has its certificate, for {whose} ({})", record.token_id, approved.public_key);
            findings.add(Rule::SecondCertificate, detail);
        } else {
            let detail = format!(
                "CSR with UID {} was chosen for token {} and is not issued yet",
                approved.csr_uid, record.token_id
            );
            findings.add(Rule::CertificatePending, detail);
        }
    }
}
