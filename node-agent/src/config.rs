//! The agent's configuration file: where the cluster is, how to know that it is the right one, and the enrollment
//! token. Where a field means what it means in kubeadm's `JoinConfiguration`, it has kubeadm's name; a `JoinConfiguration`
//! itself will do as well.

use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use join_trust::ca_bundle::CaTrust;
use join_trust::endpoint::Endpoint;
use join_trust::join_configuration::JoinConfigurationError;
use join_trust::kubeconfig::{Credentials, DiscoveryFile};
use join_trust::kubeconfig_url::{KubeconfigLocation, KubeconfigUrl};
use join_trust::names::NodeName;
use join_trust::pin::PinSet;
use join_trust::token::{BootstrapToken, redacted};
use join_trust::yaml::{self, YamlError};
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use zeroize::Zeroizing;

mod join_configuration;

/// Where the file is unless told otherwise.
pub const DEFAULT_PATH: &str = "/etc/join-agent/config.yaml";
/// Where the agent keeps its state unless the file says otherwise.
pub const DEFAULT_STATE_DIRECTORY: &str = "/var/lib/join-agent";
/// A configuration or a discovery file has some kilobytes at most; a file that is larger than this is something else.
pub(crate) const MAX_BYTES: u64 = 64 * 1024;

/// The field that says where a discovery file is.
const KUBE_CONFIG_PATH: &str = "discovery.file.kubeConfigPath";
/// The field for a token beside a discovery file.
const TLS_BOOTSTRAP_TOKEN: &str = "discovery.tlsBootstrapToken";
/// What is wrong with a discovery file by which nobody could authenticate.
pub(crate) const NO_CREDENTIALS: &str = "has no credentials to announce this machine with; give it a user with a token or a \
                                         client certificate, or give the enrollment token beside it: discovery.tlsBootstrapToken, or \
                                         --token of `join-agent join`";

/// The configuration cannot be used. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("failed to read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file with a secret in it can be read by others.
    #[error(
        "{path} may hold a token or a key and has mode {mode:o}, expected 600: others on this machine could read it; run `chmod 600 {path}`"
    )]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file is too large.
    #[error("{path} has {size} bytes, expected at most {MAX_BYTES}")]
    Size {
        /// The file.
        path: PathBuf,
        /// Its size.
        size: u64,
    },
    /// The file is not YAML of the expected shape.
    #[error("{path}: {source}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where, and what was expected.
        source: YamlError,
    },
    /// The file is one of kubeadm's, and not one that can be used.
    #[error("{path}: {source}")]
    JoinConfiguration {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: JoinConfigurationError,
    },
    /// A field has a value that it cannot have.
    #[error("{path}: {field}: {reason}")]
    Field {
        /// The file.
        path: PathBuf,
        /// The field, from the top of the file.
        field: &'static str,
        /// What was expected.
        reason: String,
    },
}

/// What the agent has to know before it knows the cluster.
#[derive(Debug)]
pub struct Configuration {
    /// The node's name, and so the request's.
    pub node_name: NodeName,
    /// How to find the API server and recognise it.
    pub discovery: Discovery,
    /// The addresses to announce; the machine's own when empty.
    pub node_addresses: Vec<IpAddr>,
    /// Where the agent keeps its keys.
    pub state_directory: PathBuf,
    /// What the file says and the agent does not do, if there is something.
    pub warning: Option<String>,
}

/// How to find the API server and recognise it.
#[derive(Debug)]
pub enum Discovery {
    /// By a token's signature in cluster-info, and pins.
    Token {
        /// Whom to ask first.
        endpoint: Endpoint,
        /// The enrollment token.
        token: BootstrapToken,
        /// When the token ends, if the file says so.
        expires: Option<Timestamp>,
        /// Which certificate authorities are trusted.
        trust: CaTrust,
    },
    /// By a kubeconfig that was brought to the machine.
    File {
        /// Its path.
        path: PathBuf,
        /// Its content.
        kubeconfig: Box<DiscoveryFile>,
        /// The enrollment token that takes the place of its user, who may have no credentials then.
        token: Option<BootstrapToken>,
    },
    /// By a kubeconfig that a web server has. It is fetched each time, since the server may be down, and the file another.
    Url {
        /// Where it is.
        url: KubeconfigUrl,
        /// The enrollment token that takes the place of its user, who may have no credentials then.
        token: Option<BootstrapToken>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawConfiguration {
    api_version: String,
    kind: String,
    node_name: Option<String>,
    discovery: RawDiscovery,
    #[serde(default)]
    node_addresses: Vec<String>,
    state_directory: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawDiscovery {
    bootstrap_token: Option<RawToken>,
    file: Option<RawFile>,
    tls_bootstrap_token: Option<Zeroizing<String>>,
    tls_bootstrap_token_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawToken {
    api_server_endpoint: String,
    token: Option<Zeroizing<String>>,
    token_file: Option<PathBuf>,
    token_expiration: Option<String>,
    #[serde(default)]
    ca_cert_hashes: Vec<String>,
    #[serde(default, rename = "unsafeSkipCAVerification")]
    unsafe_skip_ca_verification: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawFile {
    kube_config_path: Zeroizing<String>,
}

/// What the command line adds to the file.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The machine's host name, the default of `nodeName`.
    pub hostname: String,
    /// Whether discovery without pins was allowed by a flag.
    pub allow_unsafe_discovery: bool,
}

impl Surroundings {
    /// kubeadm's default as well: the host name in lower case.
    pub(crate) fn default_name(&self) -> String {
        self.hostname.trim().to_lowercase()
    }
}

/// Reads one of the files that a configuration names.
pub type ReadFile<'a> = dyn Fn(&Path) -> Result<Zeroizing<String>, Error> + 'a;

impl Configuration {
    /// Reads and checks the file, and the files that it names.
    pub fn load(path: &Path, surroundings: &Surroundings) -> Result<Self, Error> {
        let text = read_secret(path)?;
        Self::of_text(path, &text, surroundings, &read_secret)
    }

    /// Checks a configuration's text. The files that it names are read by `read`, so that this is pure.
    pub fn of_text(path: &Path, text: &str, surroundings: &Surroundings, read: &ReadFile<'_>) -> Result<Self, Error> {
        if join_trust::join_configuration::is_of_kubeadm(text) {
            return join_configuration::build(path, text, surroundings, read);
        }
        let raw = yaml::read(text).map_err(|source| Error::Syntax { path: path.to_owned(), source })?;
        build(path, raw, surroundings, read)
    }
}

/// Reads a small file that only its owner may read.
pub fn read_secret(path: &Path) -> Result<Zeroizing<String>, Error> {
    let read = |source| Error::Read { path: path.to_owned(), source };
    // Of the open file, so that what is judged is what is read.
    let file = File::open(path).map_err(read)?;
    let metadata = file.metadata().map_err(read)?;
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::Mode { path: path.to_owned(), mode });
    }
    if metadata.len() > MAX_BYTES {
        return Err(Error::Size { path: path.to_owned(), size: metadata.len() });
    }
    read_small(path, file)
}

/// Reads a small text that may be secret; `path` is what it is called in an error.
pub fn read_small(path: &Path, from: impl Read) -> Result<Zeroizing<String>, Error> {
    // Never moved while it grows: a moved buffer leaves its content behind.
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(MAX_BYTES).unwrap_or_default() + 1));
    let read = from.take(MAX_BYTES + 1).read_to_string(&mut text);
    read.map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let size = text.len() as u64;
    if size > MAX_BYTES { Err(Error::Size { path: path.to_owned(), size }) } else { Ok(text) }
}

/// A field's value is wrong, and the reason may quote it.
fn wrong(path: &Path, field: &'static str, reason: &str) -> Error {
    Error::Field { path: path.to_owned(), field, reason: redacted(reason).into_owned() }
}

fn build(
    path: &Path,
    raw: RawConfiguration,
    surroundings: &Surroundings,
    read: &ReadFile<'_>,
) -> Result<Configuration, Error> {
    let wrong = |field, reason: &str| wrong(path, field, reason);
    if raw.api_version != "agent.nodejoin.dev/v1alpha1" {
        let expected = "expected agent.nodejoin.dev/v1alpha1, or kubeadm.k8s.io/v1beta4 for a JoinConfiguration";
        return Err(wrong("apiVersion", &format!("is {:?}, {expected}", raw.api_version)));
    }
    if raw.kind != "AgentConfiguration" {
        return Err(wrong("kind", &format!("is {:?}, expected AgentConfiguration", raw.kind)));
    }
    let name = raw.node_name.unwrap_or_else(|| surroundings.default_name());
    let node_name = NodeName::parse(&name).map_err(|error| wrong("nodeName", &error.to_string()))?;
    let addresses: Result<Vec<IpAddr>, Error> = raw
        .node_addresses
        .iter()
        .map(|text| text.parse().map_err(|_| wrong("nodeAddresses", &format!("{text:?} is no IP address"))))
        .collect();
    Ok(Configuration {
        node_name,
        discovery: discovery(path, raw.discovery, surroundings, read)?,
        node_addresses: addresses?,
        state_directory: raw.state_directory.unwrap_or_else(|| PathBuf::from(DEFAULT_STATE_DIRECTORY)),
        warning: None,
    })
}

fn discovery(
    path: &Path,
    raw: RawDiscovery,
    surroundings: &Surroundings,
    read: &ReadFile<'_>,
) -> Result<Discovery, Error> {
    let wrong = |field, reason: &str| wrong(path, field, reason);
    let given = match (raw.tls_bootstrap_token, raw.tls_bootstrap_token_file) {
        (None, None) => None,
        (Some(token), None) => Some((TLS_BOOTSTRAP_TOKEN, token)),
        (None, Some(file)) => Some(("discovery.tlsBootstrapTokenFile", read(&file)?)),
        (Some(_), Some(_)) => {
            return Err(wrong("discovery", "expected at most one of tlsBootstrapToken and tlsBootstrapTokenFile"));
        }
    };
    let token =
        given.map(|(field, text)| BootstrapToken::parse(text.trim()).map_err(|error| wrong(field, &error.to_string())));
    let token = token.transpose()?;
    match (raw.bootstrap_token, raw.file) {
        (Some(raw), None) => token_discovery(path, raw, token.as_ref(), surroundings, read),
        (None, Some(file)) => match KubeconfigLocation::parse(&file.kube_config_path) {
            Ok(KubeconfigLocation::Path(file)) => file_discovery(path, PathBuf::from(file), token, read),
            Ok(KubeconfigLocation::Url(url)) => Ok(Discovery::Url { url, token }),
            Err(error) => Err(wrong(KUBE_CONFIG_PATH, &error.to_string())),
        },
        _ => Err(wrong("discovery", "expected exactly one of bootstrapToken and file")),
    }
}

/// kubeadm may have one token for the discovery and another for the certificate request; the agent has the enrollment
/// token, and gets the one for the request sealed.
fn is_one_token(path: &Path, own: &BootstrapToken, other: Option<&BootstrapToken>) -> Result<(), Error> {
    if other.is_none_or(|other| other == own) {
        return Ok(());
    }
    let reason = "is another token than bootstrapToken.token, and the agent uses one token; give the one of `kubectl njr \
                  enroll` in bootstrapToken.token, and leave this out";
    Err(wrong(path, TLS_BOOTSTRAP_TOKEN, reason))
}

fn token_discovery(
    path: &Path,
    raw: RawToken,
    tls_bootstrap_token: Option<&BootstrapToken>,
    surroundings: &Surroundings,
    read: &ReadFile<'_>,
) -> Result<Discovery, Error> {
    let wrong = |field, reason: &str| wrong(path, field, reason);
    let endpoint = Endpoint::parse(&raw.api_server_endpoint)
        .map_err(|error| wrong("discovery.bootstrapToken.apiServerEndpoint", &error.to_string()))?;
    let (field, text) = match (raw.token, raw.token_file) {
        (Some(token), None) => ("discovery.bootstrapToken.token", token),
        (None, Some(file)) => ("discovery.bootstrapToken.tokenFile", read(&file)?),
        _ => return Err(wrong("discovery.bootstrapToken", "expected exactly one of token and tokenFile")),
    };
    let token = BootstrapToken::parse(text.trim()).map_err(|error| wrong(field, &error.to_string()))?;
    is_one_token(path, &token, tls_bootstrap_token)?;
    // Tells a token that has ended from one that was never known; nothing is decided by it.
    let expires = raw.token_expiration.map(|text| text.parse::<Timestamp>()).transpose();
    let expires = expires.map_err(|error| wrong("discovery.bootstrapToken.tokenExpiration", &error.to_string()))?;
    let pins = PinSet::parse(raw.ca_cert_hashes.iter().map(String::as_str))
        .map_err(|error| wrong("discovery.bootstrapToken.caCertHashes", &error.to_string()))?;
    let trust = trust(path, pins, raw.unsafe_skip_ca_verification, surroundings)?;
    Ok(Discovery::Token { endpoint, token, expires, trust })
}

/// Which certificate authorities are trusted, if any are. As for kubeadm: pins count even where skipping them was asked for
/// as well.
pub(crate) fn trusted(pins: PinSet, may_skip: bool) -> Option<CaTrust> {
    if pins.is_empty() { may_skip.then_some(CaTrust::UnsafeAny) } else { Some(CaTrust::Pinned(pins)) }
}

fn trust(path: &Path, pins: PinSet, skip: bool, surroundings: &Surroundings) -> Result<CaTrust, Error> {
    trusted(pins, skip && surroundings.allow_unsafe_discovery).ok_or_else(|| {
        if skip {
            let reason = "anybody who holds the token could pretend to be the API server; give caCertHashes, or start \
                          the agent with --allow-unsafe-discovery as well";
            wrong(path, "discovery.bootstrapToken.unsafeSkipCAVerification", reason)
        } else {
            let reason = "is empty, expected at least one sha256:<hash>, which `kubeadm token create \
                          --print-join-command` prints";
            wrong(path, "discovery.bootstrapToken.caCertHashes", reason)
        }
    })
}

/// Reads and checks a discovery file. `path` is what names it.
pub(crate) fn file_discovery(
    path: &Path,
    file: PathBuf,
    token: Option<BootstrapToken>,
    read: &ReadFile<'_>,
) -> Result<Discovery, Error> {
    let of_file = |reason: &str| wrong(path, KUBE_CONFIG_PATH, &format!("{}: {reason}", file.display()));
    let kubeconfig = DiscoveryFile::parse(&read(&file)?).map_err(|error| of_file(&error.to_string()))?;
    if token.is_none() && matches!(kubeconfig.credentials, Credentials::Anonymous) {
        return Err(of_file(NO_CREDENTIALS));
    }
    Ok(Discovery::File { path: file, kubeconfig: Box::new(kubeconfig), token })
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
