//! Where a discovery file is: `discovery.file.kubeConfigPath`, which for kubeadm is a path or an https URL
//! (kubeadm, `app/discovery/discovery.go`).

use std::fmt;

use http::Uri;
use http::uri::Authority;
use zeroize::Zeroizing;

use crate::endpoint::Endpoint;
use crate::limits::MAX_URL_BYTES;

/// A text is no place of a discovery file. No variant holds more of it than a scheme: what follows may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KubeconfigUrlError {
    /// It is too long.
    #[error("is a URL of {length} bytes, expected at most {MAX_URL_BYTES}")]
    Length {
        /// Its length in bytes.
        length: usize,
    },
    /// Its scheme is another.
    #[error(
        "is a URL with the scheme {scheme:?}, expected https or a path on the machine: whoever could change the file on \
         its way could lead the machine to another cluster"
    )]
    Scheme {
        /// What was read.
        scheme: String,
    },
    /// It has white space, control characters, or letters beyond ASCII.
    #[error("is a URL with characters that no URL has, expected them percent-encoded")]
    Characters,
    /// It is no URL with a host.
    #[error("is a URL that cannot be parsed, expected https://<host>[:<port>]/<path>")]
    Url,
    /// There is a user name or a password in it.
    #[error("is a URL with a user name or a password in it, which is not sent; take out what is before the @")]
    UserInformation,
    /// It has a fragment, which no server gets to see.
    #[error("is a URL with a fragment, which names no file; take out the # and what follows it")]
    Fragment,
    /// The host is neither an IP address nor a DNS name, or the port is none.
    #[error("is a URL whose host is neither an IP address nor a DNS name, or whose port is not one of 1 to 65535")]
    Host,
}

/// Where a discovery file is.
#[derive(Debug, Clone)]
#[cfg_attr(test, derive(PartialEq, Eq))]
pub enum KubeconfigLocation {
    /// At this path on the machine.
    Path(String),
    /// On a web server.
    Url(KubeconfigUrl),
}

impl KubeconfigLocation {
    /// Tells a path, also as a file URL, from an https URL.
    pub fn parse(text: &str) -> Result<Self, KubeconfigUrlError> {
        let path = |path: &str| Ok(Self::Path(path.to_owned()));
        match text.split_once("://") {
            Some(_) if text.starts_with('/') => path(text),
            None => path(text),
            Some(("file", of_file)) if of_file.starts_with('/') => path(of_file),
            Some(_) => Ok(Self::Url(KubeconfigUrl::parse(text)?)),
        }
    }
}

/// The https URL of a discovery file.
///
/// Its query may be a secret, as in the signed URLs of object stores. So it is not printed, and there is no way to compare
/// it:
///
/// ```compile_fail,E0369
/// use join_trust::kubeconfig_url::KubeconfigUrl;
/// fn same(one: &KubeconfigUrl, other: &KubeconfigUrl) -> bool { one == other }
/// ```
#[derive(Clone)]
#[cfg_attr(test, derive(PartialEq, Eq))]
pub struct KubeconfigUrl {
    server: Endpoint,
    path: String,
    query: Option<Zeroizing<String>>,
}

impl KubeconfigUrl {
    /// Parses an https URL that is nothing but a host, an optional port (443), a path and an optional query.
    pub fn parse(url: &str) -> Result<Self, KubeconfigUrlError> {
        if url.len() > MAX_URL_BYTES {
            return Err(KubeconfigUrlError::Length { length: url.len() });
        }
        let (scheme, rest) = url.split_once("://").ok_or(KubeconfigUrlError::Url)?;
        if !scheme.eq_ignore_ascii_case("https") {
            return Err(KubeconfigUrlError::Scheme { scheme: scheme.to_owned() });
        }
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(KubeconfigUrlError::Characters);
        }
        // `Uri` drops a fragment without a word, so the text is asked.
        if rest.contains('#') {
            return Err(KubeconfigUrlError::Fragment);
        }
        let uri: Uri = url.parse().map_err(|_| KubeconfigUrlError::Url)?;
        let authority = uri.authority().ok_or(KubeconfigUrlError::Url)?;
        if authority.as_str().contains('@') {
            return Err(KubeconfigUrlError::UserInformation);
        }
        // Upper and lower case of a host mean the same (RFC 3986, section 3.2.2).
        let lower = authority.as_str().to_ascii_lowercase();
        let authority: Authority = lower.parse().map_err(|_| KubeconfigUrlError::Host)?;
        Ok(Self {
            server: Endpoint::of_authority(&authority).map_err(|_| KubeconfigUrlError::Host)?,
            path: uri.path().to_owned(),
            query: uri.query().map(|query| Zeroizing::new(query.to_owned())),
        })
    }

    /// The web server.
    pub fn server(&self) -> &Endpoint {
        &self.server
    }

    /// What the web server is asked for: the path, and the query where there is one.
    pub fn path_and_query(&self) -> Zeroizing<String> {
        let query = self.query.as_ref().map(|query| Zeroizing::new(format!("?{}", query.as_str())));
        Zeroizing::new([self.path.as_str(), query.as_ref().map_or("", |query| query.as_str())].concat())
    }
}

/// Without the query.
impl fmt::Display for KubeconfigUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.server.url(), self.path)
    }
}

impl fmt::Debug for KubeconfigUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KubeconfigUrl({self})")
    }
}

#[cfg(test)]
#[path = "kubeconfig_url_tests.rs"]
mod tests;
