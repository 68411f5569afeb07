//! The rules for a kubelet's serving certificate, which nothing in Kubernetes approves.

use std::net::IpAddr;

use super::Findings;
use super::context::{Context, NodeState, RequestState, ServingContext};
use super::request::CertificateRequest;
use super::rule::Rule;
use crate::names::{AUTHENTICATED_GROUP, NODES_GROUP};
use crate::pkcs10::{AlternativeName, CertificationRequest};

/// Names that mean the local host or the API server in every cluster.
const ALWAYS_FORBIDDEN_NAMES: [&str; 5] =
    ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"];

/// Applies the rules to a request whose requester is a node of ours, or a token of our groups.
pub(super) fn check(
    csr: &CertificateRequest,
    request: Option<&CertificationRequest>,
    serving: &ServingContext<'_>,
    context: &Context<'_>,
    findings: &mut Findings,
) {
    for group in [NODES_GROUP, AUTHENTICATED_GROUP] {
        findings.require(csr.groups.iter().any(|found| found == group), Rule::ServingGroups, || {
            format!("groups are {:?}, expected {group} among them", csr.groups)
        });
    }
    match serving.request {
        RequestState::Missing => findings.add(Rule::RequestExists, "the node has no join request"),
        RequestState::Present { deleting, .. } => {
            findings
                .require(!deleting, Rule::RequestDeleting, || "the node's join request is being deleted".to_owned());
        }
    }
    check_node(serving, findings);
    let age = context.now.saturating_sub(csr.created_at);
    let maximum = context.settings.maximum_serving_age_seconds;
    findings.require(age <= maximum, Rule::ServingAge, || format!("is {age} s old, expected at most {maximum} s"));
    if let Some(request) = request {
        findings.require(request.common_name() == Some(&csr.username), Rule::ServingRequester, || {
            format!("asks for {:?}, the requester is {:?}", request.common_name().unwrap_or_default(), csr.username)
        });
        check_names(request, serving, findings);
    }
}

fn check_node(serving: &ServingContext<'_>, findings: &mut Findings) {
    match (serving.node, serving.recorded_node_uid) {
        (NodeState::Absent, _) => findings.add(Rule::NodeRegistered, "there is no Node of that name yet"),
        (NodeState::Present { .. }, None) => {
            findings.add(Rule::NodeRegistered, "the Node has not been recorded as the one that joined yet");
        }
        (NodeState::Present { uid }, Some(recorded)) => {
            findings.require(uid == recorded, Rule::NodeIdentity, || {
                format!("the Node has UID {uid}, the one that joined had {recorded}")
            });
        }
    }
}

fn check_names(request: &CertificationRequest, serving: &ServingContext<'_>, findings: &mut Findings) {
    findings.require(!request.names().is_empty(), Rule::ServingNames, || "has no alternative name".to_owned());
    for name in request.names() {
        match name {
            AlternativeName::Dns(name) => check_dns_name(name, serving, findings),
            AlternativeName::Ip(address) => check_address(*address, serving, findings),
            AlternativeName::BadIp { .. } | AlternativeName::Other(_) => {}
        }
    }
}

fn check_dns_name(name: &str, serving: &ServingContext<'_>, findings: &mut Findings) {
    findings.require(serving.approved_names.contains(name), Rule::DnsNames, || {
        format!("has the DNS name {name:?}, approved are {:?}", serving.approved_names)
    });
    let lower = name.to_ascii_lowercase();
    let forbidden = ALWAYS_FORBIDDEN_NAMES.contains(&lower.as_str()) || serving.forbidden_names.contains(&lower);
    findings.require(!forbidden, Rule::ForbiddenName, || {
        format!("has the DNS name {name:?}, which belongs to the API server or the local host")
    });
}

fn check_address(address: IpAddr, serving: &ServingContext<'_>, findings: &mut Findings) {
    if serving.approved_addresses.is_empty() {
        findings.add(
            Rule::AddressesKnown,
            format!("has the address {address}, and no address of the node is approved yet"),
        );
    } else {
        findings.require(serving.approved_addresses.contains(&address), Rule::Addresses, || {
            format!("has the address {address}, approved are {:?}", serving.approved_addresses)
        });
    }
    if let Some(reason) = forbidden(address, serving) {
        findings.add(Rule::ForbiddenAddress, format!("has the address {address}, which is {reason}"));
    }
}

fn forbidden(address: IpAddr, serving: &ServingContext<'_>) -> Option<String> {
    let plain = address.to_canonical();
    if plain != address {
        return Some(format!("the IPv6-mapped form of {plain}"));
    }
    let special = match address {
        IpAddr::V4(v4) if v4.is_link_local() => Some("link-local"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("link-local"),
        // ::a.b.c.d, the deprecated IPv4-compatible form, reaches the IPv4 address on some systems.
        IpAddr::V6(v6) if v6.segments()[..6] == [0; 6] && !v6.is_unspecified() && !v6.is_loopback() => {
            Some("an IPv4-compatible form")
        }
        _ if address.is_loopback() => Some("loopback"),
        _ if address.is_unspecified() => Some("unspecified"),
        _ if address.is_multicast() => Some("multicast"),
        _ => None,
    };
    if let Some(special) = special {
        return Some(special.to_owned());
    }
    if let Some(network) = serving.forbidden_networks.iter().find(|network| network.contains(&address)) {
        return Some(format!("in the network {network}, which no node's address can be"));
    }
    serving.forbidden_addresses.get(&address).cloned()
}
