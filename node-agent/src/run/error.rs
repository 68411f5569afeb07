//! Why the service does not go on.

use join_crds::vocabulary::Reason;

use crate::atomic_file::is_full;
use crate::{
    announce, control_plane, discovery, identity, join, journal, kubelet, lock, member, own_request, rejoin, removal,
};

/// Why one round of the service ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The keys cannot be had.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// Another agent is at work.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// The journal is of no use, or a reset has not ended.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// The cluster was not found or not believed.
    #[error(transparent)]
    Discovery(#[from] discovery::Error),
    /// The machine could not be announced.
    #[error(transparent)]
    Announce(#[from] announce::Error),
    /// The request was not carried out.
    #[error(transparent)]
    Join(#[from] join::Error),
    /// The kubelet does not run.
    #[error(transparent)]
    Kubelet(#[from] kubelet::Error),
    /// The machine is a node, and not yet a control plane.
    #[error(transparent)]
    ControlPlane(#[from] control_plane::Error),
    /// The request cannot be watched.
    #[error(transparent)]
    Lost(#[from] own_request::Lost),
    /// The old membership could not be ended.
    #[error(transparent)]
    Rejoin(#[from] rejoin::Error),
    /// The machine is to be cleaned, and is not.
    #[error(transparent)]
    Removal(#[from] removal::Error),
    /// The machine is a node, and its request cannot be followed.
    #[error(transparent)]
    Member(#[from] member::Error),
}

impl Error {
    /// Why, in one word.
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::Discovery(error) => error.reason(),
            Self::Announce(error) => error.reason(),
            Self::Join(error) => error.reason(),
            Self::Lost(lost) => lost.reason(),
            Self::Member(error) => error.reason(),
            Self::Kubelet(error) => error.reason(),
            Self::ControlPlane(error) => error.reason(),
            Self::Journal(error) if is_full(error) => Reason::MachineNotWritable,
            Self::Identity(error) if is_full(error) => Reason::MachineNotWritable,
            Self::Identity(_) | Self::Lock(_) | Self::Journal(_) | Self::Rejoin(_) | Self::Removal(_) => {
                Reason::AgentFailed
            }
        }
    }
}
