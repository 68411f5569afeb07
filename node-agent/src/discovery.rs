//! Is this API server the right one?
//!
//! With a token: cluster-info is fetched anonymously from a server that cannot be verified yet; the token's signature
//! and a pinned certificate authority make it true; then it is fetched again over verified TLS and must be the same.
//! With a file: the file was brought here by somebody who is trusted, or fetched from a web server that is, so its
//! certificate authority is trusted too. A token beside it is for who can prove to be of that authority.

use std::collections::BTreeMap;
use std::time::Duration;

use join_checks::clock::Skew;
use join_crds::vocabulary::Reason;
use join_trust::ca_bundle::{CaBundle, CaBundleError, CaTrust};
use join_trust::cluster_info::{self, ClusterInfo, ClusterInfoError};
use join_trust::endpoint::Endpoint;
use join_trust::jws::JwsError;
use join_trust::token::{BootstrapToken, TokenId};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use secrecy::SecretString;

use crate::checks::name;
use crate::config::Discovery;
use crate::connection::{self, Answer, As, CallError, Server, SetupError};

mod file;
mod web;

pub use file::{Origin, authorities_of_file, by_file, client_of_file};
pub use web::{fetch_file, fetch_file_by};

/// A cluster-info of a thousand tokens has 150 KiB; the API server itself takes no object of more than about 1.5 MiB.
const MAX_ANSWER: usize = 2 * 1024 * 1024;
/// How long the API server's name may take to be found.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Discovery did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A client could not be made.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The token is none of this cluster's.
    #[error(
        "cluster-info from {from} has no signature of token {id}, and the API server does not accept the token: HTTP 401"
    )]
    TokenRefused {
        /// Who was asked.
        from: String,
        /// The public id of the token.
        id: TokenId,
    },
    /// The token is right, and its signature is not there.
    #[error("cluster-info from {from} has no signature of token {id} yet, although the API server accepts the token")]
    NotSigned {
        /// Who was asked.
        from: String,
        /// The public id of the token.
        id: TokenId,
    },
    /// A certificate is valid at another time than this machine's clock says it is.
    #[error("{source}; {skew}")]
    Clock {
        /// What failed.
        source: CallError,
        /// How far the clocks are apart.
        skew: Skew,
    },
    /// What came back is not to be believed.
    #[error("cluster-info from {from}: {source}")]
    Untrue {
        /// Who was asked.
        from: String,
        /// Why not.
        source: ClusterInfoError,
    },
    /// The discovery file leads nowhere.
    #[error("discovery file {path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What was expected.
        reason: String,
    },
    /// The discovery file could not be had from where it is.
    #[error("fetching the discovery file {url} failed: {seen}")]
    NotFetched {
        /// Its URL without the query.
        url: String,
        /// What was seen.
        seen: String,
    },
    /// What the URL of the discovery file answered with leads nowhere.
    #[error("the discovery file that {url} answers with: {reason}")]
    Unusable {
        /// Its URL without the query.
        url: String,
        /// What was expected.
        reason: String,
    },
}

impl Error {
    /// Whether a later try may succeed without anybody's doing.
    ///
    /// What is not to be believed counts as temporary too: it may be a signature that is not there yet, or an attacker
    /// on the way who goes away. The agent says each time what it saw.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Call(error) => error.temporary,
            Self::Untrue { .. }
            | Self::TokenRefused { .. }
            | Self::NotSigned { .. }
            | Self::Clock { .. }
            | Self::NotFetched { .. }
            | Self::Unusable { .. } => true,
            Self::Setup(_) | Self::File { .. } => false,
        }
    }

    /// Why, in one word.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Call(error) => error.reason,
            Self::TokenRefused { .. } => Reason::CredentialsRefused,
            Self::NotSigned { .. } => Reason::SignatureMissing,
            Self::Clock { .. } => Reason::ClockSkew,
            Self::Untrue { source, .. } => match source {
                ClusterInfoError::NoKubeconfig => Reason::ClusterInfoWithoutKubeconfig,
                ClusterInfoError::Signature(JwsError::Missing { .. }) => Reason::SignatureMissing,
                ClusterInfoError::Signature(JwsError::Mismatch { .. }) => Reason::SignatureMismatch,
                ClusterInfoError::Ca(CaBundleError::NotPinned { .. }) => Reason::CAPinMismatch,
                ClusterInfoError::Signature(JwsError::PayloadSize { .. })
                | ClusterInfoError::Kubeconfig(_)
                | ClusterInfoError::Ca(_)
                | ClusterInfoError::Changed
                | ClusterInfoError::Render => Reason::ClusterInfoUnusable,
            },
            Self::NotFetched { .. } => Reason::DiscoveryFileNotFetched,
            Self::Unusable { .. } => Reason::DiscoveryFileUnusable,
            Self::Setup(_) | Self::File { .. } => Reason::AgentFailed,
        }
    }
}

/// A cluster that was found to be the right one.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Where its API server is.
    pub endpoint: Endpoint,
    /// Its certificate authorities.
    pub ca: CaBundle,
}

/// A discovered cluster, and as whom to announce this machine there.
pub struct Discovered {
    /// The cluster.
    pub cluster: Cluster,
    /// A client with the enrollment identity.
    pub client: Client,
    /// How far the clocks are apart, if the API server told its time.
    pub skew: Option<Skew>,
}

/// Finds the cluster that a configuration describes.
pub async fn discover(discovery: &Discovery) -> Result<Discovered, Error> {
    match discovery {
        Discovery::Token { endpoint, token, trust, .. } => by_token(endpoint, token, trust).await,
        Discovery::File { path, kubeconfig, token } => by_file(Origin::Path(path), kubeconfig, token.as_ref()).await,
        Discovery::Url { url, token } => by_file(Origin::Url(url), &fetch_file(url).await?, token.as_ref()).await,
    }
}

/// Token discovery from nothing.
async fn by_token(endpoint: &Endpoint, token: &BootstrapToken, trust: &CaTrust) -> Result<Discovered, Error> {
    resolve(endpoint).await?;
    let unverified = connection::client(endpoint, Server::Unverified, As::Anonymous)?;
    let answer = ask(&unverified, endpoint).await?;
    let first = cluster_info_of(&answer, endpoint)?;
    let found = match ClusterInfo::verify(&first, token, trust) {
        Ok(found) => found,
        Err(ClusterInfoError::Signature(JwsError::Missing { id })) => {
            return Err(without_signature(&first, endpoint, token, trust, id).await);
        }
        Err(source) => return Err(Error::Untrue { from: endpoint.to_string(), source }),
    };
    let verified = connection::client(endpoint, Server::Verified(found.ca()), As::Anonymous)?;
    let second = fetch(&verified, endpoint).await.map_err(|error| with_clocks(error, answer.skew()))?;
    found.confirm(&second).map_err(|source| Error::Untrue { from: endpoint.to_string(), source })?;
    let cluster = Cluster { endpoint: found.endpoint().clone(), ca: found.ca().clone() };
    let client = connection::client(&cluster.endpoint, Server::Verified(&cluster.ca), bearer(token))?;
    Ok(Discovered { cluster, client, skew: answer.skew() })
}

/// Discovery with a token that came from a cluster which is known already: its certificate authorities are the pins,
/// so TLS is verified from the first byte on, and one fetch is enough.
pub async fn confirm(cluster: &Cluster, token: &BootstrapToken) -> Result<Cluster, Error> {
    resolve(&cluster.endpoint).await?;
    let data = cluster_info_for(cluster, token).await?;
    let trust = CaTrust::Pinned(cluster.ca.pins());
    match ClusterInfo::verify(&data, token, &trust) {
        Ok(found) => Ok(Cluster { endpoint: found.endpoint().clone(), ca: found.ca().clone() }),
        Err(ClusterInfoError::Signature(JwsError::Missing { id })) => {
            Err(judge_token(&cluster.endpoint, &cluster.ca, token, id).await)
        }
        Err(source) => Err(Error::Untrue { from: cluster.endpoint.to_string(), source }),
    }
}

/// cluster-info of a cluster that is known. One that was found by a file may hide it from strangers, but not from the
/// bearer of a token of its own; the server has a certificate of a trusted authority, so it may see the token.
async fn cluster_info_for(cluster: &Cluster, token: &BootstrapToken) -> Result<BTreeMap<String, String>, Error> {
    let client_as = |who| connection::client(&cluster.endpoint, Server::Verified(&cluster.ca), who);
    let is_hidden = |error: &CallError| matches!(error.code, Some(401 | 403));
    let answer = ask(&client_as(As::Anonymous)?, &cluster.endpoint).await?;
    match cluster_info_of(&answer, &cluster.endpoint) {
        Err(error) if is_hidden(&error) => {}
        data => return Ok(data?),
    }
    let answer = ask(&client_as(bearer(token))?, &cluster.endpoint).await?;
    match cluster_info_of(&answer, &cluster.endpoint) {
        Err(error) if error.code == Some(401) => {
            Err(Error::TokenRefused { from: cluster.endpoint.to_string(), id: token.id().clone() })
        }
        data => Ok(data?),
    }
}

/// Whether a server's name has an address. Asked apart from the connection, whose errors do not tell a name that
/// is not found from a network that does not work.
async fn resolve(endpoint: &Endpoint) -> Result<(), CallError> {
    if endpoint.ip().is_some() {
        return Ok(());
    }
    let seen = match name::look_up_within(LOOKUP_TIMEOUT, endpoint.host()).await {
        Ok(addresses) if !addresses.is_empty() => return Ok(()),
        Ok(_) => "it has no address".to_owned(),
        Err(seen) => seen,
    };
    let tried = format!("looking up the name {}", endpoint.host());
    Err(CallError { tried, seen, reason: Reason::NameNotResolved, code: None, temporary: true })
}

/// Why cluster-info has no signature of a token: the API server is asked whether it knows the token.
///
/// The token is shown to nobody but a server that has a certificate of a pinned authority, so nothing is asked where
/// authorities are not pinned.
async fn without_signature(
    data: &BTreeMap<String, String>,
    endpoint: &Endpoint,
    token: &BootstrapToken,
    trust: &CaTrust,
    id: TokenId,
) -> Error {
    let text = data.get(cluster_info::KUBECONFIG_KEY).map(String::as_str).unwrap_or_default();
    match (trust, ClusterInfo::parse(text, trust)) {
        (CaTrust::Pinned(_), Ok(claimed)) => judge_token(endpoint, claimed.ca(), token, id).await,
        (CaTrust::Pinned(_), Err(source @ ClusterInfoError::Ca(CaBundleError::NotPinned { .. }))) => {
            Error::Untrue { from: endpoint.to_string(), source }
        }
        _ => Error::Untrue { from: endpoint.to_string(), source: JwsError::Missing { id }.into() },
    }
}

/// Whether a token that has no signature is one of this cluster's. `ca` is pinned.
async fn judge_token(endpoint: &Endpoint, ca: &CaBundle, token: &BootstrapToken, id: TokenId) -> Error {
    let from = endpoint.to_string();
    let client = match connection::client(endpoint, Server::Verified(ca), bearer(token)) {
        Ok(client) => client,
        Err(error) => return error.into(),
    };
    match ask(&client, endpoint).await {
        // An answer of any kind but this one is given to somebody who is known.
        Ok(answer) if answer.code() == 401 => Error::TokenRefused { from, id },
        Ok(_) => Error::NotSigned { from, id },
        Err(error) => with_clocks(error.into(), skew_of(endpoint).await),
    }
}

fn bearer(token: &BootstrapToken) -> As<'static> {
    As::Token(SecretString::from(token.expose().to_string()))
}

/// A certificate that is valid at another time has one of two reasons: the certificate, or a clock.
fn with_clocks(error: Error, skew: Option<Skew>) -> Error {
    match (error, skew.filter(|skew| skew.is_too_much())) {
        (Error::Call(source), Some(skew)) if is_of_time(&source) => Error::Clock { source, skew },
        (error, _) => error,
    }
}

fn is_of_time(error: &CallError) -> bool {
    matches!(error.reason, Reason::ServerCertificateExpired | Reason::ServerCertificateNotYetValid)
}

/// What time it is there, asked of whoever answers.
async fn skew_of(endpoint: &Endpoint) -> Option<Skew> {
    let client = connection::client(endpoint, Server::Unverified, As::Anonymous).ok()?;
    ask(&client, endpoint).await.ok()?.skew()
}

/// Asks for cluster-info.
pub async fn ask(client: &Client, endpoint: &Endpoint) -> Result<Answer, CallError> {
    let path = format!("/api/v1/namespaces/{}/configmaps/{}", cluster_info::NAMESPACE, cluster_info::NAME);
    connection::ask_limited(client, &fetching(endpoint), &path, MAX_ANSWER).await
}

fn fetching(endpoint: &Endpoint) -> String {
    format!("fetching cluster-info from {endpoint}")
}

/// The data of cluster-info in an answer.
pub fn cluster_info_of(answer: &Answer, endpoint: &Endpoint) -> Result<BTreeMap<String, String>, CallError> {
    let map = answer.object::<ConfigMap>(&fetching(endpoint)).map_err(|error| {
        let reason = match error.code {
            Some(401 | 403) => Reason::ClusterInfoForbidden,
            Some(404) => Reason::ClusterInfoMissing,
            _ => error.reason,
        };
        CallError { reason, ..error }
    });
    Ok(map?.data.unwrap_or_default())
}

async fn fetch(client: &Client, endpoint: &Endpoint) -> Result<BTreeMap<String, String>, Error> {
    Ok(cluster_info_of(&ask(client, endpoint).await?, endpoint)?)
}
