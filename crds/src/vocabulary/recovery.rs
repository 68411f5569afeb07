//! How a request goes on that is Stalled.

use super::Reason;

/// What it takes for a request to go on that is Stalled for a reason.
///
/// What is mended on the machine or around it goes on by itself, since trying again does no harm there: the agent tries
/// again, and the controller looks again. A try that costs another token is a person's to ask for, because whatever was
/// refused or took too long may be an attacker's doing. What a request cannot undo needs another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Recovery {
    /// As soon as the cause is mended.
    ByItself,
    /// When a person asks for another try, once the cause is mended.
    OnRetry,
    /// Not at all: the request is deleted and applied again.
    Anew,
}

impl Recovery {
    /// How it goes on, as one sentence for people.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::ByItself => "By itself, as soon as the cause is mended.",
            Self::OnRetry => "When somebody asks for another try, once the cause is mended: kubectl njr retry NAME.",
            Self::Anew => "With another request: delete this one and apply it again.",
        }
    }
}

impl Reason {
    /// What it takes for a request to go on that is Stalled for this reason. What does not stall a request is not in
    /// its way for good, and so goes on by itself.
    pub const fn recovery(self) -> Recovery {
        match self {
            Self::CertificateRequestDenied | Self::DeadlineExceeded => Recovery::OnRetry,
            // Only a token that was open to any machine stalls a request when it ends: its one certificate request
            // was made with it, and nobody knows by whom.
            Self::TokenExpired | Self::NodeDeleted | Self::NodeIdentityMismatch => Recovery::Anew,
            _ => Recovery::ByItself,
        }
    }
}
