//! What announcements come to, beside the requests and the Nodes that are there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use join_crds::{Delivery, NodeJoinRequest, Trust};
use join_trust::announcement::Announcement;
use join_trust::pin::PublicKeyPin;
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

use super::announced::Announced;
use crate::request::{expected_key, ready_reason};

/// What an announcement comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Status {
    /// Nobody has asked for this machine yet.
    New,
    /// A request takes the first machine of this name, and this is the only one.
    Expected,
    /// There is a request for this machine.
    Accepted,
    /// There are other machines of this name, and nothing tells which one is meant.
    KeyConflict,
    /// The request of this name is for another machine.
    NotExpected,
    /// There is a Node of this name already, and no request.
    NodeExists,
    /// It does not hold: nobody has proven to have the key.
    Invalid,
}

impl Status {
    /// The status in a word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "New",
            Self::Expected => "Expected",
            Self::Accepted => "Accepted",
            Self::KeyConflict => "KeyConflict",
            Self::NotExpected => "NotExpected",
            Self::NodeExists => "NodeExists",
            Self::Invalid => "Invalid",
        }
    }
}

/// A machine that has announced itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// The node that it wants to be; none if the announcement does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The hash of its key; none if the announcement does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key_hash: Option<PublicKeyPin>,
    /// Its addresses, as it says.
    pub addresses: Vec<IpAddr>,
    /// When it announced itself.
    pub announced: Option<Timestamp>,
    /// Who brought the announcement.
    pub announced_by: String,
    /// The name of the `CertificateSigningRequest`.
    pub announcement: String,
    /// Whether there is a request of this name, and what it is at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// What the announcement comes to.
    pub status: Status,
    /// The status in a sentence, with what to type next.
    pub message: String,
}

/// The request of a machine's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// The reason of its condition Ready; none before the controller has seen it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Judges announcements, in the order of names and then of times. A machine that has announced itself more than once
/// with one key is one machine: its oldest announcement counts.
pub fn judge(announced: &[Announced], requests: &[NodeJoinRequest], nodes: Option<&BTreeSet<String>>) -> Vec<Machine> {
    let requests: BTreeMap<&str, &NodeJoinRequest> =
        requests.iter().map(|request| (request.node_name(), request)).collect();
    let mut oldest: BTreeMap<(&str, PublicKeyPin), (&Announced, &Announcement)> = BTreeMap::new();
    let mut invalid = Vec::new();
    for one in announced {
        match &one.content {
            Ok(content) => {
                let key = (content.node_name.as_str(), content.public_key_hash);
                let known = oldest.get(&key);
                if known.is_none_or(|(other, _)| (one.created, &one.object) < (other.created, &other.object)) {
                    oldest.insert(key, (one, content));
                }
            }
            Err(error) => invalid.push(Machine {
                name: None,
                public_key_hash: None,
                addresses: Vec::new(),
                announced: one.created,
                announced_by: one.requested_by.clone(),
                announcement: one.object.clone(),
                request: None,
                status: Status::Invalid,
                message: format!(
                    "the announcement does not hold: {error}; if it is not your machine's, find out who {:?} is, and \
                     delete it with: kubectl delete csr {}",
                    one.requested_by, one.object
                ),
            }),
        }
    }
    let of_name = |name: &str| oldest.keys().filter(|(other, _)| *other == name).count();
    let valid = oldest.values().map(|(one, content)| {
        let name = content.node_name.as_str();
        let request = requests.get(name).copied();
        let is_node = nodes.is_some_and(|nodes| nodes.contains(name));
        let status = status(content, request, of_name(name), is_node);
        Machine {
            name: Some(name.to_owned()),
            public_key_hash: Some(content.public_key_hash),
            addresses: content.addresses.clone(),
            announced: one.created,
            announced_by: one.requested_by.clone(),
            announcement: one.object.clone(),
            request: request.map(|request| Request { reason: ready_reason(request).map(str::to_owned) }),
            status,
            message: message(status, name, &content.public_key_hash),
        }
    });
    let mut machines: Vec<Machine> = valid.chain(invalid).collect();
    machines.sort_by(|one, other| {
        let key = |machine: &Machine| (machine.name.is_none(), machine.name.clone(), machine.announced);
        key(one).cmp(&key(other))
    });
    machines
}

fn status(content: &Announcement, request: Option<&NodeJoinRequest>, of_name: usize, is_node: bool) -> Status {
    match request {
        Some(request) if request.spec.delivery == Delivery::Token => Status::NotExpected,
        Some(request) => match expected_key(request) {
            Some(key) if key == content.public_key_hash => Status::Accepted,
            Some(_) => Status::NotExpected,
            None if request.spec.machine.trust == Trust::FirstUse && of_name == 1 => Status::Expected,
            None => Status::KeyConflict,
        },
        None if of_name > 1 => Status::KeyConflict,
        None if is_node => Status::NodeExists,
        None => Status::New,
    }
}

/// The next step in a sentence. Names and pins are of grammars without anything that a shell would obey.
fn message(status: Status, name: &str, key: &PublicKeyPin) -> String {
    match status {
        Status::New => format!(
            "compare the key with what `join-agent status` prints on the machine, then type: kubectl njr accept {name} \
             --key {key}"
        ),
        Status::Expected => format!("the request takes this machine; see: kubectl njr status {name}"),
        Status::Accepted => format!("the request is for this machine; see: kubectl njr status {name}"),
        Status::KeyConflict => format!(
            "several machines call themselves {name}; find the right key with `join-agent status` on the machine, and \
             accept it with: kubectl njr accept {name} --key {key}"
        ),
        Status::NotExpected => {
            format!("the request is for another machine; if this one is meant, type first: kubectl delete njr {name}")
        }
        Status::NodeExists => format!(
            "there is a Node {name} already; if it is the remains of an earlier machine, type: kubectl delete node {name}"
        ),
        Status::Invalid => String::new(),
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
pub(crate) mod tests;
