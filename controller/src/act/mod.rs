//! Carries the steps out: each is one request to the API server, and what it answers goes into the tables at once.
//!
//! Every write either is a compare-and-swap or says the same thing when it is said twice, so that a step whose answer
//! was lost can be made again.

pub mod certificates;
pub mod cluster_info;
pub mod events;
pub mod node;
pub mod pods;
pub mod records;
pub mod status;
pub mod tokens;

use join_trust::cluster_info::ClusterInfoError;
use join_trust::credentials::CredentialsError;
use join_trust::sealing::SealingError;
use join_trust::token::TokenError;

/// A step could not be made. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// The API server refused or could not be reached.
    #[error("cannot {action} {object}: {source}")]
    Api {
        /// What was tried.
        action: &'static str,
        /// On what.
        object: String,
        /// Why it failed.
        source: Box<kube::Error>,
    },
    /// A write of cluster-info failed that carried this change among others.
    #[error("cannot write kube-public/cluster-info: {0}")]
    ClusterInfo(String),
    /// A step was planned whose premises are not there; the next visit plans anew.
    #[error("cannot make step {step}: {missing} is not known any more")]
    Premise {
        /// The step.
        step: &'static str,
        /// What is missing.
        missing: &'static str,
    },
    /// A request is not what it was when a step was planned for it; the next visit plans anew.
    #[error("nothing is approved for NodeJoinRequest {request} as it was: {change}")]
    Outdated {
        /// The request.
        request: String,
        /// What became of it.
        change: &'static str,
    },
    /// A token.
    #[error("cannot make the bootstrap token: {0}")]
    Token(#[from] TokenError),
    /// A signature.
    #[error("cannot sign cluster-info: {0}")]
    Sign(#[from] join_trust::jws::JwsError),
    /// The key to the certificates that control planes share.
    #[error("Secret {secret} in the controller's namespace {why}")]
    CertificateKey {
        /// The Secret's name.
        secret: String,
        /// What it lacks.
        why: String,
    },
    /// The credential's text.
    #[error("cannot write the credential: {0}")]
    Credentials(#[from] CredentialsError),
    /// The seal.
    #[error("cannot seal the credential: {0}")]
    Seal(#[from] SealingError),
    /// A new cluster-info.
    #[error("cannot write a new cluster-info: {0}")]
    Render(#[from] ClusterInfoError),
}

impl ActError {
    /// Wraps an error of the client with what was tried.
    pub fn api(action: &'static str, object: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let object = object.into();
        move |source| Self::Api { action, object, source: Box::new(source) }
    }

    /// Whether somebody else changed the object meanwhile: the next visit sees what he did.
    pub fn is_race(&self) -> bool {
        match self {
            Self::Api { source, .. } => {
                matches!(&**source, kube::Error::Api(status) if status.is_conflict() || status.is_already_exists())
            }
            Self::Outdated { .. } => true,
            _ => false,
        }
    }
}

/// What a request for deletion came to: an object that is gone already is as good as deleted.
fn deleted<T>(answer: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match answer {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        other => other.map(drop),
    }
}
