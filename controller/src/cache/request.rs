//! Requests, as far as other requests need to know of them.

use std::net::IpAddr;

use join_crds::spec::NodeJoinRequest;

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
}

impl RequestEntry {
    /// Reads a request.
    pub fn read(request: &NodeJoinRequest) -> Self {
        Self {
            name: request.node_name().to_owned(),
            uid: request.uid().to_owned(),
            addresses: request.spec.addresses.clone(),
        }
    }
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
