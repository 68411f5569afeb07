//! Is this API server the right one?
//!
//! With a token: cluster-info is fetched anonymously from a server that cannot be verified yet; the token's signature
//! and a pinned certificate authority make it true; then it is fetched again over verified TLS and must be the same.
//! With a file: the file was brought here by somebody who is trusted, so its certificate authority is.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use join_trust::ca_bundle::{CaBundle, CaTrust};
use join_trust::cluster_info::{self, ClusterInfo};
use join_trust::endpoint::Endpoint;
use join_trust::kubeconfig::{Credentials, DiscoveryFile, Material};
use join_trust::token::BootstrapToken;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::config::Discovery;
use crate::connection::{self, As, CallError, Server, SetupError, get_limited};

/// A cluster-info of a thousand tokens has 150 KiB; the API server itself takes no object of more than about 1.5 MiB.
const MAX_ANSWER: usize = 2 * 1024 * 1024;
/// The largest file of a key, a certificate or a token.
const MAX_FILE: u64 = 64 * 1024;

/// Discovery did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A client could not be made.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// What came back is not to be believed.
    #[error("cluster-info from {from}: {source}")]
    Untrue {
        /// Who was asked.
        from: String,
        /// Why not.
        source: cluster_info::ClusterInfoError,
    },
    /// The discovery file leads nowhere.
    #[error("discovery file {path}: {reason}")]
    File {
        /// The file.
        path: String,
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
            Self::Untrue { .. } => true,
            Self::Setup(_) | Self::File { .. } => false,
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
}

/// Finds the cluster that a configuration describes.
pub async fn discover(discovery: &Discovery) -> Result<Discovered, Error> {
    match discovery {
        Discovery::Token { endpoint, token, trust } => {
            let cluster = by_token(endpoint, token, trust).await?;
            let identity = As::Token(SecretString::from(token.expose().to_string()));
            let client = connection::client(&cluster.endpoint, Server::Verified(&cluster.ca), identity)?;
            Ok(Discovered { cluster, client })
        }
        Discovery::File { path, kubeconfig } => by_file(path, kubeconfig).await,
    }
}

/// Token discovery from nothing.
async fn by_token(endpoint: &Endpoint, token: &BootstrapToken, trust: &CaTrust) -> Result<Cluster, Error> {
    let unverified = connection::client(endpoint, Server::Unverified, As::Anonymous)?;
    let first = fetch(&unverified, endpoint).await?;
    let untrue = |source| Error::Untrue { from: endpoint.to_string(), source };
    let found = ClusterInfo::verify(&first, token, trust).map_err(untrue)?;
    let verified = connection::client(endpoint, Server::Verified(found.ca()), As::Anonymous)?;
    let second = fetch(&verified, endpoint).await?;
    found.confirm(&second).map_err(untrue)?;
    Ok(Cluster { endpoint: found.endpoint().clone(), ca: found.ca().clone() })
}

/// Discovery with a token that came from a cluster which is known already: its certificate authorities are the pins,
/// so TLS is verified from the first byte on, and one fetch is enough.
pub async fn confirm(cluster: &Cluster, token: &BootstrapToken) -> Result<Cluster, Error> {
    let client = connection::client(&cluster.endpoint, Server::Verified(&cluster.ca), As::Anonymous)?;
    let data = fetch(&client, &cluster.endpoint).await?;
    let trust = CaTrust::Pinned(cluster.ca.pins());
    let found = ClusterInfo::verify(&data, token, &trust);
    let found = found.map_err(|source| Error::Untrue { from: cluster.endpoint.to_string(), source })?;
    Ok(Cluster { endpoint: found.endpoint().clone(), ca: found.ca().clone() })
}

async fn fetch(client: &Client, endpoint: &Endpoint) -> Result<BTreeMap<String, String>, Error> {
    let tried = format!("fetching cluster-info from {endpoint}");
    let path = format!("/api/v1/namespaces/{}/configmaps/{}", cluster_info::NAMESPACE, cluster_info::NAME);
    Ok(get_limited::<ConfigMap>(client, &tried, &path, MAX_ANSWER).await?.data.unwrap_or_default())
}

/// The certificate authorities that a discovery file trusts.
pub fn authorities_of_file(path: &Path, kubeconfig: &DiscoveryFile) -> Result<CaBundle, Error> {
    let ca = kubeconfig.ca.as_ref().ok_or_else(|| wrong_file(path, "names no certificate authority".to_owned()))?;
    CaBundle::parse_pem(&material(path, ca)?).map_err(|error| wrong_file(path, error.to_string()))
}

fn wrong_file(path: &Path, reason: String) -> Error {
    Error::File { path: path.display().to_string(), reason }
}

/// What stands in a discovery file, or in a file that it names.
fn material(path: &Path, material: &Material) -> Result<Zeroizing<Vec<u8>>, Error> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    match material {
        Material::Inline(bytes) => Ok(bytes.clone()),
        Material::File(name) => {
            read_small(&folder.join(name)).map_err(|error| wrong_file(path, format!("{name}: {error}")))
        }
    }
}

async fn by_file(path: &Path, kubeconfig: &DiscoveryFile) -> Result<Discovered, Error> {
    let wrong = |reason: String| wrong_file(path, reason);
    let read = |one: &Material| material(path, one);
    let ca = authorities_of_file(path, kubeconfig)?;
    let cluster = Cluster { endpoint: kubeconfig.endpoint.clone(), ca };
    let (certificate, key);
    let identity = match &kubeconfig.credentials {
        Credentials::Token(token) => As::Token(SecretString::from(token.as_str().to_owned())),
        Credentials::TokenFile(name) => {
            let token = read(&Material::File(name.clone()))?;
            As::Token(SecretString::from(String::from_utf8_lossy(&token).trim().to_owned()))
        }
        Credentials::ClientCertificate { certificate: certificate_material, key: key_material } => {
            (certificate, key) = (read(certificate_material)?, read(key_material)?);
            As::Pem { certificate: &certificate, key: &key }
        }
        Credentials::Anonymous => {
            return Err(wrong("has no credentials to announce this machine with".to_owned()));
        }
    };
    let client = connection::client(&cluster.endpoint, Server::Verified(&cluster.ca), identity)?;
    // A file proves itself only by its use: the server must be the one whose authority it names.
    let probe = connection::client(&cluster.endpoint, Server::Verified(&cluster.ca), As::Anonymous)?;
    match fetch(&probe, &cluster.endpoint).await {
        Ok(_) => {}
        // As for kubeadm, a cluster may hide cluster-info from strangers.
        Err(Error::Call(error)) if error.seen.starts_with("HTTP 4") => {}
        Err(error) => return Err(error),
    }
    Ok(Discovered { cluster, client })
}

/// Reads a file that may hold a secret, unless it is too large to be one.
fn read_small(path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    // Never moved while it grows: a moved buffer leaves its content behind.
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(MAX_FILE).unwrap_or_default() + 1));
    std::fs::File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_FILE {
        return Err(std::io::Error::other(format!("has more than {MAX_FILE} bytes")));
    }
    Ok(content)
}
