//! Addresses of API servers: `host:port`, and the https URL of a kubeconfig.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use http::Uri;
use http::uri::Authority;

use crate::limits::MAX_ENDPOINT_BYTES;
use crate::names::is_dns1123_subdomain;

const HTTPS_PORT: u16 = 443;

/// A text is no address of an API server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It is longer than any host and port can be.
    #[error("API server address has {length} bytes, expected at most {maximum}")]
    Length {
        /// Its length in bytes.
        length: usize,
        /// The most that is read.
        maximum: usize,
    },
    /// It is not a URL, or not one with a host.
    #[error("API server URL {url:?} cannot be parsed, expected https://<host>:<port>")]
    Url {
        /// What was read.
        url: String,
    },
    /// Its scheme is another than https.
    #[error("API server URL {url:?} is not https; credentials are never sent over an unencrypted connection")]
    Scheme {
        /// What was read.
        url: String,
    },
    /// It has user information, a path, a query or a fragment.
    #[error("API server URL {url:?} has more than a host and a port, which a host:port endpoint cannot carry")]
    Extra {
        /// What was read, without user information.
        url: String,
    },
    /// The host is neither an IP address nor a DNS name.
    #[error("API server host {host:?} is neither an IP address nor a lower-case DNS name")]
    Host {
        /// What was read.
        host: String,
    },
    /// There is no port, or it is not one of 1 to 65535.
    #[error("API server address {address:?} has no valid port, expected host:port with a port of 1 to 65535")]
    Port {
        /// What was read.
        address: String,
    },
}

/// The host and port of an API server, checked.
///
/// The host is an IP address (IPv6 without brackets) or a lower-case DNS name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    host: String,
    port: u16,
}

impl Endpoint {
    /// Parses `host:port`, with an IPv6 host in brackets; the port must be given.
    pub fn parse(address: &str) -> Result<Self, EndpointError> {
        if address.len() > MAX_ENDPOINT_BYTES {
            return Err(EndpointError::Length { length: address.len(), maximum: MAX_ENDPOINT_BYTES });
        }
        let bad_port = || EndpointError::Port { address: address.to_owned() };
        let (host, port) = address.rsplit_once(':').ok_or_else(bad_port)?;
        // `u16::from_str` takes a leading plus sign; a port has digits only.
        let port = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit())).ok_or_else(bad_port)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(bad_port)?;
        Ok(Self { host: checked_host(host)?, port })
    }

    /// Parses the `server` of a kubeconfig: https, a host, an optional port (443), and nothing more.
    ///
    /// A path is refused although kubeconfigs may have one: it would be lost in the `host:port` that kubeadm and our
    /// sealed credentials carry, and requests would go somewhere else than the writer meant.
    pub fn parse_url(url: &str) -> Result<Self, EndpointError> {
        let maximum = MAX_ENDPOINT_BYTES + "https:///".len();
        if url.len() > maximum {
            return Err(EndpointError::Length { length: url.len(), maximum });
        }
        // User information may be a password, so it is found before the URL is quoted in any error.
        if let Some((_, after)) = url.rsplit_once('@') {
            return Err(EndpointError::Extra { url: format!("…@{after}") });
        }
        let uri = Uri::from_str(url).map_err(|_| EndpointError::Url { url: url.to_owned() })?;
        match uri.scheme_str() {
            Some("https") => {}
            Some(_) => return Err(EndpointError::Scheme { url: url.to_owned() }),
            None => return Err(EndpointError::Url { url: url.to_owned() }),
        }
        // `Uri` drops a fragment without a word, so the text is asked.
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() || url.contains('#') {
            return Err(EndpointError::Extra { url: url.to_owned() });
        }
        let authority = uri.authority().ok_or_else(|| EndpointError::Url { url: url.to_owned() })?;
        Self::of_authority(authority)
    }

    /// The host and port of an https URL that has no user information; the port is 443 where there is none.
    pub(crate) fn of_authority(authority: &Authority) -> Result<Self, EndpointError> {
        let host = checked_host(authority.host())?;
        let rest = &authority.as_str()[authority.host().len()..];
        if rest.is_empty() { Ok(Self { host, port: HTTPS_PORT }) } else { Self::parse(authority.as_str()) }
    }

    /// The host, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host as an IP address, or none if it is a DNS name.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The `server` of a kubeconfig: `https://host:port`.
    pub fn url(&self) -> String {
        format!("https://{self}")
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(address: &str) -> Result<Self, EndpointError> {
        Self::parse(address)
    }
}

fn checked_host(host: &str) -> Result<String, EndpointError> {
    let bad_host = || EndpointError::Host { host: host.to_owned() };
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or_else(bad_host)?;
        return inner.parse::<Ipv6Addr>().map(|ip| ip.to_string()).map_err(|_| bad_host());
    }
    // A name of digits and dots that is no IPv4 address (300.1.1.1, 127.1) means different things to different
    // resolvers, so the last label must not be a number.
    let numeric = host.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    if host.parse::<std::net::Ipv4Addr>().is_ok() || (is_dns1123_subdomain(host) && !numeric) {
        Ok(host.to_owned())
    } else {
        Err(bad_host())
    }
}

#[cfg(test)]
#[path = "endpoint_tests.rs"]
mod tests;
