//! Requests, as far as other requests need to know of them.

use std::net::IpAddr;

use join_crds::spec::NodeJoinRequest;
use join_crds::vocabulary::{ConditionType, Reason};

use super::Entry;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestEntry {
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
    /// `spec.addresses`
    pub addresses: Vec<IpAddr>,
    /// The conditions' reasons, for the metrics. Those of another version are left out.
    pub reasons: Box<[(ConditionType, Reason)]>,
}

impl RequestEntry {
    /// Reads a request.
    pub fn read(request: &NodeJoinRequest) -> Self {
        Self {
            name: request.node_name().to_owned(),
            uid: request.uid().to_owned(),
            addresses: request.spec.addresses.clone(),
            reasons: reasons(request),
        }
    }
}

fn reasons(request: &NodeJoinRequest) -> Box<[(ConditionType, Reason)]> {
    let conditions = request.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let known = |kind: ConditionType| Some((kind, join_crds::conditions::reason(conditions, kind)?));
    ConditionType::ALL.into_iter().filter_map(known).collect()
}

/// How a request is found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RequestKey {
    /// By its UID.
    Uid(String),
    /// By an address that an admin gave to its machine.
    Address(IpAddr),
}

impl Entry for RequestEntry {
    type Key = RequestKey;

    fn name(&self) -> &str {
        &self.name
    }

    fn keys(&self) -> Vec<RequestKey> {
        let addresses = self.addresses.iter().copied().map(RequestKey::Address);
        addresses.chain([RequestKey::Uid(self.uid.clone())]).collect()
    }

    fn version(&self) -> Option<u64> {
        None
    }
}
