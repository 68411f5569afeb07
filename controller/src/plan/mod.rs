//! The decisions: from what is known of one request to the next step and to its status. No IO.
//!
//! [`next_step`] names the *one* thing to do next, or none when everything is done. The caller does it, folds the
//! answer into what is known, and asks again. There is no stored position in a sequence: every step follows from facts
//! alone, so a controller that dies at any instant finds the same next step when it starts again.
//!
//! [`status`] tells people where a request stands, from the same facts.

mod certificates;
mod credential;
mod machine;
mod node;
mod removal;
mod retry;
mod status;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use join_crds::spec::{Delivery, NodeJoinRequest, Role};
use join_crds::status::{AgentStatus, AgentStep, SealedCredentials};
use join_trust::UnixSeconds;
use join_trust::cluster_info::ClusterInfo;
use join_trust::names::NodeName;
use join_trust::policy::Finding;

use crate::cache::csr::{AnnouncementEntry, CsrEntry};
use crate::cache::node::NodeEntry;
use crate::record::{Chosen, Machine, Record};

pub(crate) use certificates::{APPROVAL_REASON, api_server_address, foreign_candidates, waiting, waits_for};
pub(crate) use machine::refused_keys;
pub(crate) use node::{NOT_READY_TOLD_AFTER_SECONDS, keys_in_the_way, missing_taints, not_ready_since};
pub use removal::{Drained, Fate, Left, Pod, Why, fate, is_given_up};
pub use retry::Attempt;
pub(crate) use retry::{asked_to_retry, who_asked, wrote_retry};
pub use status::{next_wake, status};

/// Figures and facts that are the same for all requests.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The policy's figures.
    pub policy: join_trust::policy::Settings,
    /// Seconds from an approval after which a missing certificate means a missing signer.
    pub signer_timeout: i64,
    /// Networks that no serving certificate may name, beside those of Services.
    pub forbidden_networks: Vec<IpNet>,
    /// The most joins under way at one time.
    pub most_in_flight: usize,
    /// Whether a missing cluster-info can be made.
    pub can_publish: bool,
}

/// What is known of kube-public/cluster-info.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// It does not exist.
    Missing,
    /// It exists and cannot be used, for this reason.
    Unusable(String),
    /// It can be used.
    Usable {
        /// What it says.
        info: Arc<ClusterInfo>,
        /// Its other data: the tokens' signatures among them.
        data: Arc<BTreeMap<String, String>>,
    },
}

/// What this process remembers of objects that it may write and not read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// Whether the Secret of the newest token exists; none if this process has not touched it.
    pub token: Option<bool>,
    /// Whether the Secret with the join command is as it should be.
    pub command: Option<bool>,
    /// The credential that was sealed last, and is not in the status yet.
    pub sealed: Option<(String, SealedCredentials)>,
    /// The generation whose labels were put onto the Node last.
    pub equipped: Option<i64>,
    /// Whether the request has the finalizer; none if this process has not touched it.
    pub held: Option<bool>,
    /// What the last look at the pods of a node came to that is drained.
    pub drained: Option<Drained>,
    /// What the last look for the certificate key of a control plane came to.
    pub certificate_key: Option<KeyLook>,
}

/// A look for the key to the certificates that control planes share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyLook {
    /// When it was.
    pub at: UnixSeconds,
    /// The key's SHA-256 in hex, by which another key is told, or why there is none.
    pub found: Result<String, String>,
}

/// Everything that is known of one request.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// The controller's clock.
    pub now: UnixSeconds,
    /// What is the same for all requests.
    pub settings: &'a Settings,
    /// The request.
    pub request: &'a NodeJoinRequest,
    /// Its name, once checked.
    pub node_name: &'a NodeName,
    /// Its record.
    pub record: Option<&'a Record>,
    /// The announcements under its name.
    pub announcements: &'a [Arc<AnnouncementEntry>],
    /// The certificate requests of its token and of its node.
    pub csrs: &'a [Arc<CsrEntry>],
    /// The Node of its name.
    pub node: Option<&'a NodeEntry>,
    /// The record of another request, of which that Node came.
    pub former: Option<&'a Record>,
    /// cluster-info.
    pub published: &'a Published,
    /// What this process remembers.
    pub memory: &'a Memory,
    /// Whether as many joins are under way as may be.
    pub queue_full: bool,
    /// Networks that no serving certificate may name.
    pub forbidden_networks: &'a [IpNet],
    /// Addresses that belong to somebody else, with whose they are.
    pub foreign_addresses: &'a BTreeMap<IpAddr, String>,
}

/// One thing to do; each is one write to the API server, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Bind the machine and make a token, in the record. Replaces an earlier token that is gone.
    Mint {
        /// The machine; none where none announces itself.
        machine: Option<Machine>,
        /// When it appeared.
        first_seen: UnixSeconds,
        /// When the token ends.
        expires_at: UnixSeconds,
        /// What is sealed beside the token, hashed.
        cluster: String,
    },
    /// Look for the key to the certificates that control planes share.
    LookForCertificateKey,
    /// Create the token's Secret.
    CreateToken,
    /// Create cluster-info, and the right to read it.
    Publish,
    /// Put the token's signature into cluster-info.
    Sign,
    /// Seal the credential to the machine; it is written with the status.
    Seal,
    /// Write the Secret with the join command.
    WriteCommand,
    /// Note which certificate request is chosen.
    Choose(Chosen),
    /// Forget the chosen certificate request, from which nothing will come.
    Unchoose,
    /// Note that the chosen certificate request has been issued.
    NoteIssued,
    /// Approve a certificate request.
    Approve {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
        /// The pin of its key, which the approval names.
        public_key: String,
    },
    /// Deny a certificate request.
    Deny {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
        /// The rule that it breaks.
        finding: Finding,
    },
    /// Put the labels onto the Node.
    EquipLabels,
    /// Put the taints onto the Node.
    EquipTaints,
    /// Delete the token's Secret.
    DeleteToken,
    /// Delete the Secret with the join command.
    DeleteCommand,
    /// Note the Node that came of it, and forget the token's secret.
    NoteNode {
        /// The Node's UID.
        uid: String,
    },
    /// Take the token's signature out of cluster-info.
    Unsign,
    /// Take over what is known of the machine whose Node is there.
    Adopt,
    /// Delete the Node that the request replaces.
    Displace,
    /// Set the finalizer.
    Hold,
    /// Remove the finalizer.
    Release {
        /// Whether a machine is left that did not answer.
        uncleaned: bool,
    },
    /// Mark the Node as one that takes no more pods.
    Cordon,
    /// Look at the node's pods, and ask those to go that may.
    Drain,
    /// Note that the node is drained, so that its machine is told.
    NoteDrained,
    /// Delete the Node.
    DeleteNode,
    /// Note that another try begins that a person asked for, and with what.
    Retry {
        /// The value of the annotation.
        value: String,
        /// What it begins with.
        attempt: Attempt,
        /// What had failed.
        failed: String,
    },
    /// Note that another try was asked for and there is none to be made.
    IgnoreRetry {
        /// The value of the annotation.
        value: String,
        /// Why not.
        why: String,
    },
}

impl Step {
    /// A short name for logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Mint { .. } => "Mint",
            Self::LookForCertificateKey => "LookForCertificateKey",
            Self::CreateToken => "CreateToken",
            Self::Publish => "Publish",
            Self::Sign => "Sign",
            Self::Seal => "Seal",
            Self::WriteCommand => "WriteCommand",
            Self::Choose(_) => "Choose",
            Self::Unchoose => "Unchoose",
            Self::NoteIssued => "NoteIssued",
            Self::Approve { .. } => "Approve",
            Self::Deny { .. } => "Deny",
            Self::EquipLabels => "EquipLabels",
            Self::EquipTaints => "EquipTaints",
            Self::DeleteToken => "DeleteToken",
            Self::DeleteCommand => "DeleteCommand",
            Self::NoteNode { .. } => "NoteNode",
            Self::Unsign => "Unsign",
            Self::Adopt => "Adopt",
            Self::Displace => "Displace",
            Self::Hold => "Hold",
            Self::Release { .. } => "Release",
            Self::Cordon => "Cordon",
            Self::Drain => "Drain",
            Self::NoteDrained => "NoteDrained",
            Self::DeleteNode => "DeleteNode",
            Self::Retry { .. } => "Retry",
            Self::IgnoreRetry { .. } => "IgnoreRetry",
        }
    }
}

/// The next thing to do for a request, or none.
///
/// A request that asks to be held is held before anything is done that would have to be undone. Certificate requests come
/// next, since a machine waits for them; then another try that somebody asks for; then what
/// a registered Node needs and no longer needs; then a Node that is the machine's already, or makes room; then the
/// credential.
pub fn next_step(observed: &Observed<'_>) -> Option<Step> {
    // A finalizer can hold a deleted request for long; its token must not live as long.
    if observed.deleting() {
        return certificates::step(observed)
            .or_else(|| credential::withdraw(observed))
            .or_else(|| removal::step(observed));
    }
    removal::hold(observed)
        .or_else(|| certificates::step(observed))
        .or_else(|| retry::step(observed))
        .or_else(|| node::step(observed))
        .or_else(|| node::adopt(observed))
        .or_else(|| node::displace(observed))
        .or_else(|| credential::step(observed))
}

impl<'a> Observed<'a> {
    fn is_control_plane(&self) -> bool {
        self.request.spec.role == Role::ControlPlane
    }

    fn deleting(&self) -> bool {
        self.request.metadata.deletion_timestamp.is_some()
    }

    fn delivers_sealed(&self) -> bool {
        self.request.spec.delivery == Delivery::Sealed
    }

    /// When the request gives up; none before its machine has appeared and after the node was Ready.
    fn deadline(&self) -> Option<UnixSeconds> {
        if self.first_ready() {
            return None;
        }
        let seconds = i64::from(self.request.spec.deadline_seconds);
        let began = |record: &Record| record.first_seen.max(record.retried_at.unwrap_or(record.first_seen));
        self.record.map(|record| began(record).saturating_add(seconds))
    }

    fn past_deadline(&self) -> bool {
        self.deadline().is_some_and(|deadline| self.now > deadline)
    }

    /// Whether the node has been Ready before. The status that says so is the controller's own, and nothing about
    /// trust depends on it.
    fn first_ready(&self) -> bool {
        let node = self.request.status.as_ref().and_then(|status| status.node.as_ref());
        node.is_some_and(|node| node.first_ready.is_some())
    }

    /// What the machine's agent says of itself.
    fn agent(&self) -> Option<&'a AgentStatus> {
        self.request.status.as_ref()?.agent.as_ref()
    }

    /// Whether the Node that is registered is all that the machine was to become.
    ///
    /// A worker is with its Node. A control plane is when its agent has said so once, which the status keeps: nothing else
    /// is known of its parts, and nothing about trust depends on it. One that a former request has made is, unless its
    /// agent says that it is not: it need not have an agent any more.
    fn is_whole(&self) -> bool {
        let is_former = self.record.is_some_and(|record| record.kept_for().is_some());
        let says_so = self.agent().map_or(is_former, |agent| agent.step == AgentStep::Joined);
        !self.is_control_plane() || self.first_ready() || says_so
    }

    /// The chosen certificate request, if it still exists.
    fn chosen_csr(&self) -> Option<&'a CsrEntry> {
        let chosen = self.record?.chosen.as_ref()?;
        self.csrs.iter().map(Arc::as_ref).find(|csr| csr.request.uid == chosen.uid)
    }

    /// Whether a certificate is known to have been issued with the token.
    fn issued(&self) -> bool {
        let noted = self.record.and_then(|record| record.chosen.as_ref()).is_some_and(|chosen| chosen.issued);
        noted || self.chosen_csr().is_some_and(|csr| csr.request.issued)
    }

    /// Whether cluster-info has any signature of the record's token.
    fn signed(&self) -> bool {
        let (Some(token), Published::Usable { data, .. }) =
            (self.record.and_then(|record| record.token.as_ref()), self.published)
        else {
            return false;
        };
        data.contains_key(&join_trust::jws::data_key(&token.id))
    }

    /// The addresses that a serving certificate may name.
    fn approved_addresses(&self) -> BTreeSet<IpAddr> {
        let spec = &self.request.spec.addresses;
        if spec.is_empty() {
            self.record
                .and_then(|record| record.machine.as_ref())
                .map(|machine| machine.addresses.clone())
                .unwrap_or_default()
        } else {
            spec.iter().copied().collect()
        }
    }
}
