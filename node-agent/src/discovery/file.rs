//! Discovery files: kubeconfigs with a certificate authority that is trusted for where the file is from.

use std::io::Read;
use std::path::{Path, PathBuf};

use join_trust::ca_bundle::CaBundle;
use join_trust::kubeconfig::{Credentials, DiscoveryFile, Material};
use join_trust::kubeconfig_url::KubeconfigUrl;
use join_trust::token::BootstrapToken;
use kube::Client;
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::{Cluster, Discovered, Error, ask, bearer, cluster_info_of, is_of_time, resolve, skew_of, with_clocks};
use crate::config::{self, NO_CREDENTIALS};
use crate::connection::{self, As, Server};

/// The largest file of a key, a certificate or a token.
const MAX_FILE: u64 = 64 * 1024;

/// Where a discovery file is from.
#[derive(Debug, Clone, Copy)]
pub enum Origin<'a> {
    /// The machine; files that it names are looked for beside it.
    Path(&'a Path),
    /// A web server; it names no files.
    Url(&'a KubeconfigUrl),
}

impl Origin<'_> {
    /// The file leads nowhere.
    pub(super) fn wrong(self, reason: String) -> Error {
        match self {
            Self::Path(path) => Error::File { path: path.display().to_string(), reason },
            Self::Url(url) => Error::Unusable { url: url.to_string(), reason: connection::clean(&reason) },
        }
    }
}

/// The certificate authorities that a discovery file trusts.
pub fn authorities_of_file(origin: Origin<'_>, kubeconfig: &DiscoveryFile) -> Result<CaBundle, Error> {
    let ca = kubeconfig.ca.as_ref().ok_or_else(|| origin.wrong("names no certificate authority".to_owned()))?;
    CaBundle::parse_pem(&material(origin, ca)?).map_err(|error| origin.wrong(error.to_string()))
}

/// Where a file is that a discovery file names.
fn beside(path: &Path, name: &str) -> PathBuf {
    path.parent().unwrap_or(Path::new("/")).join(name)
}

/// What stands in a discovery file, or in a file that it names.
fn material(origin: Origin<'_>, material: &Material) -> Result<Zeroizing<Vec<u8>>, Error> {
    match (material, origin) {
        (Material::Inline(bytes), _) => Ok(bytes.clone()),
        (Material::File(name), Origin::Path(path)) => {
            read_small(&beside(path, name)).map_err(|error| origin.wrong(format!("{name}: {error}")))
        }
        // The parser of what was fetched has refused it already, with the field's name.
        (Material::File(_), Origin::Url(_)) => Err(origin.wrong("names a file of this machine".to_owned())),
    }
}

/// The same of what makes its holder somebody: a file with it must be its owner's alone, as the discovery file itself.
fn secret(origin: Origin<'_>, one: &Material) -> Result<Zeroizing<Vec<u8>>, Error> {
    match (one, origin) {
        (Material::File(name), Origin::Path(path)) => {
            let text = config::read_secret(&beside(path, name)).map_err(|error| origin.wrong(error.to_string()))?;
            Ok(Zeroizing::new(text.as_bytes().to_vec()))
        }
        _ => material(origin, one),
    }
}

/// The cluster that a kubeconfig names, and a client with the token, else with the kubeconfig's credentials. Nothing is sent
/// yet.
///
/// As for kubeadm (`app/discovery/discovery.go`), a token takes the place of a user who has credentials of his own. Other
/// than for kubeadm these are not used for a first question before.
pub fn client_of_file(
    origin: Origin<'_>,
    kubeconfig: &DiscoveryFile,
    token: Option<&BootstrapToken>,
) -> Result<(Cluster, Client), Error> {
    let wrong = |reason: String| origin.wrong(reason);
    let ca = authorities_of_file(origin, kubeconfig)?;
    let cluster = Cluster { endpoint: kubeconfig.endpoint.clone(), ca };
    let (certificate, key);
    let identity = match (token, &kubeconfig.credentials) {
        (Some(token), _) => bearer(token),
        (None, Credentials::Token(token)) => As::Token(SecretString::from(token.as_str().to_owned())),
        (None, Credentials::TokenFile(name)) => {
            let token = secret(origin, &Material::File(name.clone()))?;
            As::Token(SecretString::from(String::from_utf8_lossy(&token).trim().to_owned()))
        }
        (None, Credentials::ClientCertificate { certificate: certificate_material, key: key_material }) => {
            (certificate, key) = (material(origin, certificate_material)?, secret(origin, key_material)?);
            As::Pem { certificate: &certificate, key: &key }
        }
        (None, Credentials::Anonymous) => return Err(wrong(NO_CREDENTIALS.to_owned())),
    };
    let client = connection::client(&cluster.endpoint, Server::Verified(&cluster.ca), identity);
    let client = client.map_err(|error| wrong(error.to_string()))?;
    Ok((cluster, client))
}

/// Discovery with what somebody says who is trusted.
pub async fn by_file(
    origin: Origin<'_>,
    kubeconfig: &DiscoveryFile,
    token: Option<&BootstrapToken>,
) -> Result<Discovered, Error> {
    let (cluster, client) = client_of_file(origin, kubeconfig, token)?;
    resolve(&cluster.endpoint).await?;
    // A file proves itself only by its use: the server must be the one whose authority it names.
    let probe = connection::client(&cluster.endpoint, Server::Verified(&cluster.ca), As::Anonymous)?;
    let answer = match ask(&probe, &cluster.endpoint).await {
        Ok(answer) => answer,
        Err(error) if is_of_time(&error) => {
            return Err(with_clocks(error.into(), skew_of(&cluster.endpoint).await));
        }
        Err(error) => return Err(error.into()),
    };
    match cluster_info_of(&answer, &cluster.endpoint) {
        Ok(_) => {}
        // As for kubeadm, a cluster may hide cluster-info from strangers.
        Err(error) if error.code.is_some_and(|code| (400..500).contains(&code)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Discovered { cluster, client, skew: answer.skew() })
}

/// Reads a file with a certificate, unless it is too large to be one.
fn read_small(path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    // Never moved while it grows: a moved buffer leaves its content behind.
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(MAX_FILE).unwrap_or_default() + 1));
    std::fs::File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_FILE {
        return Err(std::io::Error::other(format!("has more than {MAX_FILE} bytes")));
    }
    Ok(content)
}
