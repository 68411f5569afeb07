//! Kubeconfig files as discovery reads them: one cluster, and perhaps credentials.
//!
//! This is the typed subset that can be carried out without surprises. What would change where or how a connection is
//! made (`insecure-skip-tls-verify`, `proxy-url`, `tls-server-name`) or would run a program (`exec`) is refused by
//! name, rather than ignored.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::endpoint::{Endpoint, EndpointError};
use crate::limits::{MAX_BEARER_TOKEN_BYTES, MAX_KUBECONFIG_BYTES};
use crate::yaml::{self, present};

/// A kubeconfig cannot be used for discovery.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KubeconfigError {
    /// The text is too large.
    #[error("kubeconfig has {length} bytes, expected at most {MAX_KUBECONFIG_BYTES}")]
    Size {
        /// Its length in bytes.
        length: usize,
    },
    /// The text is not YAML of the expected shape. The parser's message is left out, since it quotes its input.
    #[error("kubeconfig is not YAML of the expected shape (line {line})")]
    Yaml {
        /// The line at which parsing stopped, counted from 1; 0 if the parser does not say.
        line: u64,
    },
    /// It is a document of another kind.
    #[error("kubeconfig has apiVersion {api_version:?} and kind {kind:?}, expected v1 and Config")]
    Kind {
        /// What stands there.
        api_version: String,
        /// What stands there.
        kind: String,
    },
    /// There is not exactly one cluster, where nothing says which one is meant.
    #[error("kubeconfig has {count} clusters, expected exactly one")]
    Clusters {
        /// How many there are.
        count: usize,
    },
    /// The current context, or what it names, does not exist.
    #[error("kubeconfig's current-context names a {what} that the file does not have")]
    Dangling {
        /// `context`, `cluster` or `user`.
        what: &'static str,
    },
    /// A field that is necessary is absent or empty.
    #[error("kubeconfig has no {field}")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A field that is not supported is set.
    #[error("kubeconfig sets {field}, which discovery does not support")]
    Unsupported {
        /// The field.
        field: &'static str,
    },
    /// A path stands in a file that is from elsewhere.
    #[error(
        "kubeconfig sets {field}, a path on this machine, which a kubeconfig from elsewhere may not name; set {instead} \
         in its place"
    )]
    LocalFile {
        /// The field.
        field: &'static str,
        /// The field that holds the content itself.
        instead: &'static str,
    },
    /// Two fields are set that exclude each other.
    #[error("kubeconfig sets both {first} and {second}, expected one of them")]
    Both {
        /// One field.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// A field's base64 cannot be decoded.
    #[error("kubeconfig's {field} is not base64")]
    Base64 {
        /// The field.
        field: &'static str,
    },
    /// The bearer token is too large or is no token.
    #[error(
        "kubeconfig's token has {length} bytes or white space, expected at most {MAX_BEARER_TOKEN_BYTES} printable characters"
    )]
    Token {
        /// Its length in bytes.
        length: usize,
    },
    /// The server's address is wrong.
    #[error("kubeconfig's server: {0}")]
    Server(#[from] EndpointError),
}

/// Data that stands in the kubeconfig, or the path of a file that holds it.
///
/// It may be a private key, so there is no way to compare it, which would have to be in constant time:
///
/// ```compile_fail,E0369
/// fn same(one: &join_trust::kubeconfig::Material, other: &join_trust::kubeconfig::Material) -> bool { one == other }
/// ```
#[derive(Clone)]
#[cfg_attr(test, derive(PartialEq, Eq))]
pub enum Material {
    /// The decoded data; wiped when dropped, since it may be a private key.
    Inline(Zeroizing<Vec<u8>>),
    /// A path, to be resolved against the directory of the kubeconfig.
    File(String),
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("Inline([redacted])"),
            Self::File(path) => write!(f, "File({path:?})"),
        }
    }
}

/// With what a discovery file says to authenticate.
///
/// As secret as [`Material`], and compared as little:
///
/// ```compile_fail,E0369
/// use join_trust::kubeconfig::Credentials;
/// fn same(one: &Credentials, other: &Credentials) -> bool { one == other }
/// ```
#[derive(Clone)]
#[cfg_attr(test, derive(PartialEq, Eq))]
pub enum Credentials {
    /// Nothing: the request is anonymous.
    Anonymous,
    /// A bearer token; wiped when dropped.
    Token(Zeroizing<String>),
    /// The path of a file that holds a bearer token.
    TokenFile(String),
    /// A client certificate and its key.
    ClientCertificate {
        /// PEM of the certificate.
        certificate: Material,
        /// PEM of the key.
        key: Material,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Token(_) => f.write_str("Token([redacted])"),
            Self::TokenFile(path) => write!(f, "TokenFile({path:?})"),
            Self::ClientCertificate { certificate, .. } => {
                write!(f, "ClientCertificate {{ certificate: {certificate:?}, key: [redacted] }}")
            }
        }
    }
}

/// What a kubeconfig says about one cluster.
#[derive(Debug, Clone)]
#[cfg_attr(test, derive(PartialEq, Eq))]
pub struct DiscoveryFile {
    /// Where the API server is.
    pub endpoint: Endpoint,
    /// PEM of the cluster's certificate authorities; absent if the file leaves them to cluster-info.
    pub ca: Option<Material>,
    /// With what to authenticate.
    pub credentials: Credentials,
}

impl DiscoveryFile {
    /// Parses a discovery file.
    ///
    /// The cluster is, as for kubeadm, the one without a name, else the current context's; a file without contexts
    /// must have exactly one cluster. The user is the current context's.
    pub fn parse(text: &str) -> Result<Self, KubeconfigError> {
        let raw = RawKubeconfig::parse(text)?;
        let context = raw.context()?;
        let cluster = raw.cluster(context)?;
        let endpoint = cluster.endpoint()?;
        let ca = material(
            ("certificate-authority-data", cluster.ca_data.as_deref()),
            ("certificate-authority", cluster.ca_file.as_deref()),
        )?;
        let user = raw.user(context)?;
        let credentials = user.map_or(Ok(Credentials::Anonymous), RawUser::credentials)?;
        Ok(Self { endpoint, ca, credentials })
    }

    /// Parses a discovery file that came over the network, which may not say what is read on this machine.
    pub fn parse_fetched(text: &str) -> Result<Self, KubeconfigError> {
        let file = Self::parse(text)?;
        let of_user = match &file.credentials {
            Credentials::TokenFile(_) => Some(("tokenFile", "token")),
            Credentials::ClientCertificate { certificate: Material::File(_), .. } => {
                Some(("client-certificate", "client-certificate-data"))
            }
            Credentials::ClientCertificate { key: Material::File(_), .. } => Some(("client-key", "client-key-data")),
            Credentials::Anonymous | Credentials::Token(_) | Credentials::ClientCertificate { .. } => None,
        };
        let of_cluster = matches!(&file.ca, Some(Material::File(_)))
            .then_some(("certificate-authority", "certificate-authority-data"));
        match of_cluster.or(of_user) {
            Some((field, instead)) => Err(KubeconfigError::LocalFile { field, instead }),
            None => Ok(file),
        }
    }
}

/// The fields of a kubeconfig that are read; all others are ignored, as Kubernetes ignores them.
#[derive(Deserialize)]
pub(crate) struct RawKubeconfig {
    #[serde(rename = "apiVersion")]
    api_version: Option<String>,
    kind: Option<String>,
    clusters: Option<Vec<NamedCluster>>,
    contexts: Option<Vec<NamedContext>>,
    users: Option<Vec<NamedUser>>,
    #[serde(rename = "current-context")]
    current_context: Option<String>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: Option<String>,
    cluster: RawCluster,
}

/// One cluster as it stands in the file.
#[derive(Deserialize)]
pub(crate) struct RawCluster {
    server: Option<String>,
    #[serde(rename = "certificate-authority-data")]
    ca_data: Option<String>,
    #[serde(rename = "certificate-authority")]
    ca_file: Option<String>,
    #[serde(rename = "insecure-skip-tls-verify")]
    insecure: Option<bool>,
    #[serde(rename = "tls-server-name")]
    tls_server_name: Option<String>,
    #[serde(rename = "proxy-url")]
    proxy_url: Option<String>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: Option<String>,
    context: RawContext,
}

#[derive(Deserialize)]
struct RawContext {
    cluster: Option<String>,
    user: Option<String>,
}

#[derive(Deserialize)]
struct NamedUser {
    name: Option<String>,
    user: Option<RawUser>,
}

#[derive(Deserialize)]
struct RawUser {
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<String>,
    #[serde(rename = "client-certificate-data")]
    certificate_data: Option<String>,
    #[serde(rename = "client-certificate")]
    certificate_file: Option<String>,
    #[serde(rename = "client-key-data")]
    key_data: Option<String>,
    #[serde(rename = "client-key")]
    key_file: Option<String>,
    username: Option<String>,
    password: Option<String>,
    #[serde(rename = "as")]
    impersonate: Option<String>,
    exec: Option<serde::de::IgnoredAny>,
    #[serde(rename = "auth-provider")]
    auth_provider: Option<serde::de::IgnoredAny>,
}

impl RawKubeconfig {
    pub(crate) fn parse(text: &str) -> Result<Self, KubeconfigError> {
        if text.len() > MAX_KUBECONFIG_BYTES {
            return Err(KubeconfigError::Size { length: text.len() });
        }
        let raw: Self = yaml::read(text).map_err(|error| KubeconfigError::Yaml { line: error.line() })?;
        let (api_version, kind) = (raw.api_version.as_deref(), raw.kind.as_deref());
        if api_version.is_some_and(|version| version != "v1") || kind.is_some_and(|kind| kind != "Config") {
            return Err(KubeconfigError::Kind {
                api_version: api_version.unwrap_or_default().to_owned(),
                kind: kind.unwrap_or_default().to_owned(),
            });
        }
        Ok(raw)
    }

    /// The one cluster of a file that must not have another.
    pub(crate) fn only_cluster(&self) -> Result<&RawCluster, KubeconfigError> {
        match self.clusters() {
            [only] => Ok(&only.cluster),
            clusters => Err(KubeconfigError::Clusters { count: clusters.len() }),
        }
    }

    fn clusters(&self) -> &[NamedCluster] {
        self.clusters.as_deref().unwrap_or_default()
    }

    fn context(&self) -> Result<Option<&RawContext>, KubeconfigError> {
        let Some(current) = present(self.current_context.as_deref()) else { return Ok(None) };
        let contexts = self.contexts.as_deref().unwrap_or_default();
        let named = contexts.iter().find(|context| context.name.as_deref() == Some(current));
        named.map(|named| Some(&named.context)).ok_or(KubeconfigError::Dangling { what: "context" })
    }

    fn cluster(&self, context: Option<&RawContext>) -> Result<&RawCluster, KubeconfigError> {
        let find = |name| self.clusters().iter().find(|cluster| cluster.name.as_deref().unwrap_or_default() == name);
        if let Some(unnamed) = find("") {
            return Ok(&unnamed.cluster);
        }
        match context.and_then(|context| present(context.cluster.as_deref())) {
            Some(name) => find(name).map(|named| &named.cluster).ok_or(KubeconfigError::Dangling { what: "cluster" }),
            None => self.only_cluster(),
        }
    }

    fn user(&self, context: Option<&RawContext>) -> Result<Option<&RawUser>, KubeconfigError> {
        let Some(name) = context.and_then(|context| present(context.user.as_deref())) else { return Ok(None) };
        let users = self.users.as_deref().unwrap_or_default();
        let named = users.iter().find(|user| user.name.as_deref() == Some(name));
        named.map(|named| named.user.as_ref()).ok_or(KubeconfigError::Dangling { what: "user" })
    }
}

impl RawCluster {
    /// The server, after what would change how it is connected to has been ruled out.
    pub(crate) fn endpoint(&self) -> Result<Endpoint, KubeconfigError> {
        if self.insecure == Some(true) {
            return Err(KubeconfigError::Unsupported { field: "insecure-skip-tls-verify" });
        }
        for (field, value) in [("tls-server-name", &self.tls_server_name), ("proxy-url", &self.proxy_url)] {
            if present(value.as_deref()).is_some() {
                return Err(KubeconfigError::Unsupported { field });
            }
        }
        let server = present(self.server.as_deref()).ok_or(KubeconfigError::Missing { field: "server" })?;
        Ok(Endpoint::parse_url(server)?)
    }

    /// The embedded CA bundle; a path is refused, because this text came over the network.
    pub(crate) fn embedded_ca(&self) -> Result<Vec<u8>, KubeconfigError> {
        const DATA: &str = "certificate-authority-data";
        if present(self.ca_file.as_deref()).is_some() {
            return Err(KubeconfigError::Unsupported { field: "certificate-authority" });
        }
        let data = present(self.ca_data.as_deref()).ok_or(KubeconfigError::Missing { field: DATA })?;
        STANDARD.decode(data).map_err(|_| KubeconfigError::Base64 { field: DATA })
    }
}

impl RawUser {
    fn credentials(&self) -> Result<Credentials, KubeconfigError> {
        let unsupported = [
            ("username", self.username.as_deref().is_some_and(|value| !value.is_empty())),
            ("password", self.password.as_deref().is_some_and(|value| !value.is_empty())),
            ("as", self.impersonate.as_deref().is_some_and(|value| !value.is_empty())),
            ("exec", self.exec.is_some()),
            ("auth-provider", self.auth_provider.is_some()),
        ];
        if let Some((field, _)) = unsupported.into_iter().find(|(_, set)| *set) {
            return Err(KubeconfigError::Unsupported { field });
        }
        let certificate = material(
            ("client-certificate-data", self.certificate_data.as_deref()),
            ("client-certificate", self.certificate_file.as_deref()),
        )?;
        let key = material(("client-key-data", self.key_data.as_deref()), ("client-key", self.key_file.as_deref()))?;
        let (token, token_file) = (present(self.token.as_deref()), present(self.token_file.as_deref()));
        match (token, token_file, certificate, key) {
            (None, None, None, None) => Ok(Credentials::Anonymous),
            (Some(token), None, None, None) => checked_token(token),
            (None, Some(path), None, None) => Ok(Credentials::TokenFile(path.to_owned())),
            (None, None, Some(certificate), Some(key)) => Ok(Credentials::ClientCertificate { certificate, key }),
            (None, None, Some(_), None) => Err(KubeconfigError::Missing { field: "client-key" }),
            (None, None, None, Some(_)) => Err(KubeconfigError::Missing { field: "client-certificate" }),
            (Some(_), Some(_), ..) => Err(KubeconfigError::Both { first: "token", second: "tokenFile" }),
            (Some(_), ..) => Err(KubeconfigError::Both { first: "token", second: "client-certificate" }),
            (None, ..) => Err(KubeconfigError::Both { first: "tokenFile", second: "client-certificate" }),
        }
    }
}

fn checked_token(token: &str) -> Result<Credentials, KubeconfigError> {
    // It becomes an HTTP header value, so anything but printable ASCII would be an injection or an error there.
    if token.len() > MAX_BEARER_TOKEN_BYTES || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(KubeconfigError::Token { length: token.len() });
    }
    Ok(Credentials::Token(Zeroizing::new(token.to_owned())))
}

/// Kubeconfig's pairs of `<x>-data` and `<x>`; an empty text counts as absent.
fn material(
    (data_field, data): (&'static str, Option<&str>),
    (file_field, file): (&'static str, Option<&str>),
) -> Result<Option<Material>, KubeconfigError> {
    match (present(data), present(file)) {
        (Some(_), Some(_)) => Err(KubeconfigError::Both { first: data_field, second: file_field }),
        (Some(data), None) => {
            let bytes = STANDARD.decode(data).map_err(|_| KubeconfigError::Base64 { field: data_field })?;
            Ok(Some(Material::Inline(Zeroizing::new(bytes))))
        }
        (None, Some(path)) => Ok(Some(Material::File(path.to_owned()))),
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
#[path = "kubeconfig_tests.rs"]
mod tests;
