//! Calls to etcd over TLS: one connection for a question, so that what is asked never meets a connection that has died
//! meanwhile, and an idle agent holds none.

use std::error::Error as _;
use std::sync::Arc;

use http::Uri;
use join_trust::ca_bundle::CaBundle;
use rustls::AlertDescription;
use rustls::pki_types::ServerName;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::{Code, Status};

use super::error::{CALL_TIMEOUT, Cause, Error, Failure, Refusal};
use super::messages::Question;
use crate::connection::innermost;
use crate::grpc::Connection;
use crate::tls::{self, Believed, Shown};

/// How much of a server's own words is repeated, in characters.
const MAX_SEEN: usize = 256;

/// What a server says in TLS of a client's certificate (RFC 8446, section 6.2).
const CERTIFICATE_ALERTS: [AlertDescription; 8] = [
    AlertDescription::BadCertificate,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateUnknown,
    AlertDescription::UnknownCA,
    AlertDescription::AccessDenied,
    AlertDescription::CertificateRequired,
];

/// Where a member listens for clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    uri: Uri,
    host: String,
    port: u16,
}

impl Endpoint {
    /// Reads `https://<address>:<port>`.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let wrong = || Error::Endpoint(url.chars().take(MAX_SEEN).collect());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let (Some("https"), Some(host), Some(port)) = (uri.scheme_str(), uri.host(), uri.port_u16()) else {
            return Err(wrong());
        };
        // An IPv6 address stands in brackets.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { uri, host, port })
    }

    /// As it is told to people.
    pub fn url(&self) -> String {
        format!("https://{}", self.uri.authority().map_or("", |authority| authority.as_str()))
    }
}

/// Who asks, and whom.
pub struct Client {
    tls: TlsConnector,
    endpoints: Vec<Endpoint>,
}

impl Client {
    /// Nothing is sent yet.
    pub fn new(
        endpoints: &[String],
        ca_pem: &[u8],
        certificate_pem: &[u8],
        key_pem: &SecretString,
    ) -> Result<Self, Error> {
        let authority = CaBundle::parse_pem(ca_pem)?;
        let believed = Believed::Authorities(authority.certificates().collect());
        let shown = Shown { certificate: certificate_pem, key: key_pem.expose_secret().as_bytes() };
        let mut tls = tls::configuration(&believed, Some(&shown))?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let endpoints = endpoints.iter().map(|url| Endpoint::parse(url)).collect::<Result<Vec<_>, _>>()?;
        if endpoints.is_empty() {
            return Err(Error::NoEndpoint);
        }
        Ok(Self { tls: TlsConnector::from(Arc::new(tls)), endpoints })
    }

    /// Whom it asks.
    pub fn endpoints(&self) -> impl Iterator<Item = String> {
        self.endpoints.iter().map(Endpoint::url)
    }

    /// Asks these from now on; with none it is as before.
    pub fn set_endpoints(&mut self, endpoints: Vec<Endpoint>) {
        if !endpoints.is_empty() {
            self.endpoints = endpoints;
        }
    }

    /// Asks one endpoint after the other until one answers. Each question can be asked twice: what has been done already is
    /// refused by etcd.
    pub async fn ask<Q: Question>(&self, question: Q) -> Result<Q::Answer, Error> {
        let mut failures = Vec::new();
        for endpoint in &self.endpoints {
            match self.ask_at(endpoint, question.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(Trouble::Refused(refusal)) => {
                    return Err(Error::Refused { call: Q::CALL, endpoint: endpoint.url(), refusal });
                }
                Err(Trouble::NoAnswer(cause)) => failures.push(Failure { endpoint: endpoint.url(), cause }),
            }
        }
        Err(Error::Unanswered { call: Q::CALL, failures })
    }

    /// Asks one endpoint.
    pub async fn ask_at<Q: Question>(&self, endpoint: &Endpoint, question: Q) -> Result<Q::Answer, Trouble> {
        let asked = async {
            // A handshake of TLS takes 10 KB.
            let connection = Box::pin(self.connect(endpoint)).await?;
            connection.ask(Q::PATH, question, CALL_TIMEOUT).await.map_err(|status| trouble(&status))
        };
        tokio::time::timeout(CALL_TIMEOUT, asked).await.unwrap_or(Err(Trouble::NoAnswer(Cause::Silent)))
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Connection, Cause> {
        let unreachable = |error: &dyn std::error::Error| Cause::Unreachable(seen(error));
        let name = ServerName::try_from(endpoint.host.clone()).map_err(|error| unreachable(&error))?;
        let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await;
        let stream = self.tls.connect(name, stream.map_err(|error| unreachable(&error))?).await;
        let stream = stream.map_err(|error| handshake(&error))?;
        Connection::open(stream, endpoint.uri.clone()).await.map_err(|error| end(&error))
    }
}

/// Why there is nothing to go on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The cluster has decided.
    Refused(Refusal),
    /// This endpoint has not answered; another one may.
    NoAnswer(Cause),
}

impl From<Cause> for Trouble {
    fn from(cause: Cause) -> Self {
        Self::NoAnswer(cause)
    }
}

fn trouble(status: &Status) -> Trouble {
    if let Some(refusal) = Refusal::of(status) {
        return Trouble::Refused(refusal);
    }
    Trouble::NoAnswer(match (status.source(), status.code()) {
        // The connection, and not etcd, made this status.
        (Some(error), _) => end(error),
        (None, Code::DeadlineExceeded) => Cause::Silent,
        (None, _) => Cause::Failed(status.message().chars().take(MAX_SEEN).collect()),
    })
}

/// Why there is no connection by TLS.
fn handshake(error: &std::io::Error) -> Cause {
    match error.get_ref().and_then(|inside| inside.downcast_ref()) {
        Some(error @ rustls::Error::InvalidCertificate(_)) => Cause::NotBelieved(error.to_string()),
        _ => end(error),
    }
}

/// Why a connection has ended. A server may tell what it thinks of our certificate when the handshake is over on our side
/// (RFC 8446, section 4.4.2.4), so that it is the first question that fails. HTTP/2's library keeps the words alone of such
/// an error.
fn end(error: &dyn std::error::Error) -> Cause {
    let seen = seen(error);
    let is_about_certificate = |alert: &AlertDescription| rustls::Error::AlertReceived(*alert).to_string() == seen;
    if CERTIFICATE_ALERTS.iter().any(is_about_certificate) { Cause::NotAdmitted(seen) } else { Cause::Closed(seen) }
}

/// What happened, in the words of the innermost error.
fn seen(error: &dyn std::error::Error) -> String {
    innermost(error).chars().take(MAX_SEEN).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://10.0.0.1:2379", Some(("10.0.0.1", 2379)))]
    #[case("https://[fd00::1]:2379", Some(("fd00::1", 2379)))]
    #[case("https://etcd.example:2379", Some(("etcd.example", 2379)))]
    #[case("http://10.0.0.1:2379", None)]
    #[case("https://10.0.0.1", None)]
    #[case("10.0.0.1:2379", None)]
    #[case("unix://10.0.0.1:2379", None)]
    #[case("", None)]
    fn an_endpoint_has_tls_and_a_port(#[case] url: &str, #[case] expected: Option<(&str, u16)>) {
        let endpoint = Endpoint::parse(url).ok();
        assert_eq!(endpoint.as_ref().map(|found| (found.host.as_str(), found.port)), expected);
        if let Some(endpoint) = endpoint {
            assert_eq!(endpoint.url(), url);
        }
    }

    #[test]
    fn what_tls_says_is_told_apart() {
        let failed = |error: rustls::Error| handshake(&std::io::Error::new(std::io::ErrorKind::InvalidData, error));
        assert!(matches!(failed(rustls::CertificateError::UnknownIssuer.into()), Cause::NotBelieved(_)));
        assert!(matches!(failed(rustls::Error::AlertReceived(AlertDescription::UnknownCA)), Cause::NotAdmitted(_)));
        let other = rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol);
        assert!(matches!(failed(other), Cause::Closed(_)));
        let reset = handshake(&std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        assert_eq!(reset, Cause::Closed("connection reset".to_owned()));
    }
}
