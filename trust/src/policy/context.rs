//! What the policy believes: the controller's records, the admin's spec, and what the API server says of objects.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::UnixSeconds;
use crate::names::NodeName;
use crate::pin::PublicKeyPin;
use crate::token::TokenId;

/// The figures that an operator may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How far apart the clocks of controller and API server may be.
    pub clock_skew_seconds: i64,
    /// The longest validity that a request may ask for; the signer may give less.
    pub maximum_validity_seconds: i64,
    /// The age after which a request for a serving certificate is stale: a kubelet waits 15 minutes for an answer and
    /// then forgets the key.
    pub maximum_serving_age_seconds: i64,
}

impl Default for Settings {
    /// Ten seconds of skew, one year of validity, one hour for serving certificates.
    fn default() -> Self {
        Self {
            clock_skew_seconds: 10,
            maximum_validity_seconds: 365 * 24 * 60 * 60,
            maximum_serving_age_seconds: 60 * 60,
        }
    }
}

/// Everything that a decision depends on besides the request itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context<'a> {
    /// The controller's clock.
    pub now: UnixSeconds,
    /// The operator's figures.
    pub settings: Settings,
    /// The name of a newer request that takes this one's place, as [`super::superseded_by`] found it.
    pub superseded_by: Option<&'a str>,
    /// Whom the request is about, as [`super::subject_of`] told the caller to look up.
    pub subject: Subject<'a>,
}

/// Whom a request is about, with what is known of him.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject<'a> {
    /// A machine that carries out its join request with its token; for the client signer.
    Client(ClientContext<'a>),
    /// A node, for the serving signer.
    Serving(ServingContext<'a>),
    /// Nobody whom we know.
    Unknown,
}

/// What is known when a token asks for a client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientContext<'a> {
    /// The record of the token that the requester authenticated with; none if the controller has no such record.
    pub token: Option<&'a TokenRecord>,
    /// The join request that now bears the record's node name.
    pub request: RequestState<'a>,
    /// The Node that now bears the record's node name.
    pub node: NodeState<'a>,
    /// The UID of the Node that an earlier join under the same request made, from the controller's record.
    pub recorded_node_uid: Option<&'a str>,
    /// Whether that Node may be taken over by a machine that joins again.
    pub replacement_allowed: bool,
}

/// The controller's own record of one token, written before the token was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// The public id of the token.
    pub token_id: TokenId,
    /// The one node name that the token may ask for.
    pub node_name: NodeName,
    /// The UID of the join request for which it was made.
    pub request_uid: String,
    /// Which keys it may ask for.
    pub key: KeyBinding,
    /// When the token was made.
    pub minted_at: UnixSeconds,
    /// When the token expires.
    pub expires_at: UnixSeconds,
    /// When the join request gives up; none if it has no deadline yet.
    pub deadline: Option<UnixSeconds>,
    /// What has been approved with this token so far.
    pub approved: Option<Accounting>,
}

/// Which public keys a token may ask certificates for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyBinding {
    /// The machine key that is bound to the request, and no other (delivery `Sealed`).
    Pinned(PublicKeyPin),
    /// Whichever comes first (delivery `Token`, for stock kubeadm, whose kubelet makes a new key each time).
    FirstUse,
}

/// A certificate request that was chosen for a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accounting {
    /// `metadata.uid` of the chosen CSR.
    pub csr_uid: String,
    /// The pin of its key.
    pub public_key: PublicKeyPin,
    /// Whether a certificate was issued for it. While this is false the caller clears the entry if the chosen CSR is
    /// gone, denied or failed without a certificate.
    pub issued: bool,
}

/// The join request that bears a node's name now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestState<'a> {
    /// There is none.
    Missing,
    /// There is one.
    Present {
        /// `metadata.uid`
        uid: &'a str,
        /// Whether it has a deletion timestamp.
        deleting: bool,
        /// Whether it is for a control plane, whose token has a group more.
        control_plane: bool,
    },
}

/// The Node that bears a name now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState<'a> {
    /// There is none.
    Absent,
    /// There is one.
    Present {
        /// `metadata.uid`
        uid: &'a str,
    },
}

/// Who asks for a serving certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requester {
    /// The user name is that of a node which has a join request.
    NodeOfRequest,
    /// Anybody else.
    Other,
}

/// What is known when a node asks for a serving certificate.
///
/// Nothing here may come from the Node's status: the node writes that itself (k0s#8333).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServingContext<'a> {
    /// Whether the requester is the node of a join request.
    pub requester: Requester,
    /// The join request of the node.
    pub request: RequestState<'a>,
    /// The Node object of that name.
    pub node: NodeState<'a>,
    /// The UID of the Node that joined under the request, from the controller's record.
    pub recorded_node_uid: Option<&'a str>,
    /// The addresses that the certificate may name: `spec.addresses`, or, when that is empty, the addresses of the
    /// announcement as they were when the machine was bound. Empty while neither is known.
    pub approved_addresses: &'a BTreeSet<IpAddr>,
    /// The DNS names that the certificate may have: the node's name, and whatever else an admin has approved.
    pub approved_names: &'a BTreeSet<String>,
    /// DNS names that no node may have, such as the API server's.
    pub forbidden_names: &'a BTreeSet<String>,
    /// Networks in which no node's address can lie: Services' CIDRs.
    pub forbidden_networks: &'a [IpNet],
    /// Addresses that belong to somebody else, with whose they are: the API server's, other nodes'.
    pub forbidden_addresses: &'a BTreeMap<IpAddr, String>,
}
