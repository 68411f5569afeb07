//! API clients of the agent: whom they talk to, whom they trust, and as whom.

use std::error::Error as _;
use std::path::Path;
use std::time::Duration;

use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Bytes;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use join_trust::ca_bundle::CaBundle;
use join_trust::endpoint::Endpoint;
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ConfigExt};
use kube::core::Status;
use kube::{Client, Config};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use tower::ServiceBuilder;
use tower::retry::RetryLayer;
use zeroize::Zeroizing;

use crate::tls::{self, Believed, Shown};

/// How this program names itself to the API server, for its audit log.
const USER_AGENT: &str = concat!("join-agent/", env!("CARGO_PKG_VERSION"));
/// How long a connection may take to be established.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long any call but a watch may take.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of a server's own words is repeated.
const MAX_SEEN: usize = 512;

/// Whom a client takes for the API server.
#[derive(Clone, Copy)]
pub enum Server<'a> {
    /// Anybody. For the one fetch whose content proves itself.
    Unverified,
    /// Who has a certificate of one of these authorities.
    Verified(&'a CaBundle),
}

/// As whom a client acts.
#[derive(Clone)]
pub enum As<'a> {
    /// Nobody.
    Anonymous,
    /// The holder of a bearer token.
    Token(SecretString),
    /// The owner of the certificate and key in one PEM file.
    Certificate(&'a Path),
    /// The owner of a certificate and its key, both PEM.
    Pem {
        /// The certificate.
        certificate: &'a [u8],
        /// Its key.
        key: &'a Zeroizing<Vec<u8>>,
    },
}

/// A client could not be made, which has to do with the machine and not with the network.
#[derive(Debug, thiserror::Error)]
#[error("failed to set up a connection to {endpoint}: {reason}")]
pub struct SetupError {
    endpoint: String,
    reason: String,
}

/// Makes a client. Nothing is sent yet.
pub fn client(endpoint: &Endpoint, server: Server<'_>, identity: As<'_>) -> Result<Client, SetupError> {
    let wrong = |reason: String| SetupError { endpoint: endpoint.to_string(), reason };
    let url = endpoint.url().parse().map_err(|error: http::uri::InvalidUri| wrong(error.to_string()))?;
    let believed = match server {
        Server::Unverified => Believed::Any,
        Server::Verified(ca) => Believed::Authorities(ca.certificates().collect()),
    };
    let (tls, token) = match identity {
        As::Anonymous => (tls::configuration(&believed, None), None),
        As::Token(token) => {
            let bearer = Zeroizing::new(format!("Bearer {}", token.expose_secret()));
            let header = HeaderValue::from_str(&bearer);
            let mut header = header.map_err(|_| wrong("the token has characters that no token has".to_owned()))?;
            header.set_sensitive(true);
            (tls::configuration(&believed, None), Some(header))
        }
        As::Certificate(path) => {
            let pem = std::fs::read(path).map_err(|error| wrong(format!("{}: {error}", path.display())))?;
            let pem = Zeroizing::new(pem);
            (tls::configuration(&believed, Some(&Shown { certificate: &pem, key: &pem })), None)
        }
        As::Pem { certificate, key } => (tls::configuration(&believed, Some(&Shown { certificate, key })), None),
    };
    let tls = tls.map_err(|error| wrong(error.to_string()))?;
    client_of(url, tls, token).map_err(|error| wrong(innermost(&error)))
}

/// A client of a server on this machine that has no TLS.
pub fn local_client(url: &http::Uri) -> Result<Client, SetupError> {
    let wrong = |reason: String| SetupError { endpoint: url.to_string(), reason };
    let nobody = Believed::Authorities(Vec::new());
    let tls = tls::configuration(&nobody, None).map_err(|error| wrong(error.to_string()))?;
    client_of(url.clone(), tls, None).map_err(|error| wrong(innermost(&error)))
}

/// What the client library makes of a configuration, without what needs the files and programs of a kubeconfig.
fn client_of(
    url: http::Uri,
    tls: rustls::ClientConfig,
    authorization: Option<HeaderValue>,
) -> Result<Client, kube::Error> {
    let mut config = Config::new(url);
    config.headers.push((header::USER_AGENT, HeaderValue::from_static(USER_AGENT)));
    config.headers.extend(authorization.map(|value| (header::AUTHORIZATION, value)));
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
    let mut connector = TimeoutConnector::new(https);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    let http: hyper_util::client::legacy::Client<_, Body> =
        hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(RetryLayer::new(RetryPolicy::server_retry()))
        .layer(config.extra_headers_layer()?)
        .map_err(tower::BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace))
}

/// A call that failed: what was tried, what was seen, and what to look at.
#[derive(Debug, thiserror::Error)]
#[error("{tried} failed: {seen}; {remedy}")]
pub struct CallError {
    /// What was tried.
    pub tried: String,
    /// What came back.
    pub seen: String,
    /// What a person can do about it.
    pub remedy: &'static str,
    /// Whether the same call may succeed later without anybody's doing.
    pub temporary: bool,
}

/// Runs one call with a limit, and explains its failure.
pub async fn call<T>(tried: &str, work: impl Future<Output = Result<T, kube::Error>>) -> Result<T, CallError> {
    match tokio::time::timeout(CALL_TIMEOUT, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(explain(tried, &error)),
        Err(_elapsed) => Err(no_answer(tried)),
    }
}

/// Gets one object from a server that need not be the API server yet: no more than `limit` bytes of its answer are
/// taken, whatever it sends.
pub async fn get_limited<T: DeserializeOwned>(
    client: &Client,
    tried: &str,
    path: &str,
    limit: usize,
) -> Result<T, CallError> {
    ask_limited(client, tried, path, limit).await?.object(tried)
}

/// What a server answered to one question.
#[derive(Debug)]
pub struct Answer {
    code: StatusCode,
    /// The server's clock, as it gave it.
    pub date: Option<String>,
    body: Bytes,
}

impl Answer {
    /// The object in the answer, or the refusal that it is.
    pub fn object<T: DeserializeOwned>(&self, tried: &str) -> Result<T, CallError> {
        if self.code.is_success() {
            return serde_json::from_slice(&self.body)
                .map_err(|error| unexpected(tried, format!("the answer is not read: {error}")));
        }
        let status = serde_json::from_slice::<Status>(&self.body).unwrap_or_default();
        Err(explain(tried, &kube::Error::Api(Status { code: self.code.as_u16(), ..status }.boxed())))
    }
}

/// Asks a server that need not be the API server yet, and takes any answer of at most `limit` bytes.
pub async fn ask_limited(client: &Client, tried: &str, path: &str, limit: usize) -> Result<Answer, CallError> {
    let request = Request::get(path).header(header::ACCEPT, "application/json").body(Body::empty());
    let request = request.map_err(|error| unexpected(tried, error.to_string()))?;
    let work = async {
        let answer = client.send(request).await.map_err(|error| explain(tried, &error))?;
        let code = answer.status();
        let date = answer.headers().get(header::DATE).and_then(|date| date.to_str().ok()).map(str::to_owned);
        let body = Limited::new(answer.into_body(), limit).collect().await;
        let body = body.map_err(|error| unexpected(tried, format!("the answer cannot be read: {error}")))?.to_bytes();
        Ok(Answer { code, date, body })
    };
    tokio::time::timeout(CALL_TIMEOUT, work).await.unwrap_or_else(|_elapsed| Err(no_answer(tried)))
}

fn unexpected(tried: &str, seen: String) -> CallError {
    CallError {
        tried: tried.to_owned(),
        seen,
        remedy: "this does not look like a Kubernetes API server: check the address and port",
        temporary: true,
    }
}

fn no_answer(tried: &str) -> CallError {
    CallError {
        tried: tried.to_owned(),
        seen: format!("no answer within {} s", CALL_TIMEOUT.as_secs()),
        remedy: "check the network and the firewalls between this machine and the API server",
        temporary: true,
    }
}

/// Explains an error of the client library.
pub fn explain(tried: &str, error: &kube::Error) -> CallError {
    let (seen, remedy, temporary) = match error {
        kube::Error::Api(status) => {
            let seen = clean(&format!("HTTP {} {}: {}", status.code, status.reason, status.message));
            match status.code {
                401 => (seen, "the token has expired or is not known to this cluster; a new one is needed", true),
                403 => (seen, "the cluster lacks a right or forbids anonymous access; check its RBAC", true),
                404 => (seen, "the object is not there; check that join-operator is installed in this cluster", true),
                422 => (seen, "an admission policy or the schema refuses this", false),
                _ => (seen, "see the API server's log", true),
            }
        }
        other => transport(other),
    };
    CallError { tried: tried.to_owned(), seen, remedy, temporary }
}

/// What a server said, as one line of a length that a person reads; it may be anybody's.
fn clean(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(MAX_SEEN).collect()
}

/// Tells apart what can go wrong before an answer comes: name, connection, TLS.
fn transport(error: &kube::Error) -> (String, &'static str, bool) {
    let seen = innermost(error);
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(tls) = tls_error(cause) {
            return (tls.to_string(), tls_remedy(tls), true);
        }
        if let Some(remedy) = cause.downcast_ref::<std::io::Error>().and_then(|io| io_remedy(io.kind())) {
            return (seen, remedy, true);
        }
        source = cause.source();
    }
    let remedy = continue_with(&seen);
    (seen, remedy, true)
}

/// A failure of TLS, which lies in one or more errors of the operating system that are none. Their `source` leads past it.
fn tls_error<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
        return Some(tls);
    }
    tls_error(cause.downcast_ref::<std::io::Error>()?.get_ref()?)
}

fn io_remedy(kind: std::io::ErrorKind) -> Option<&'static str> {
    match kind {
        std::io::ErrorKind::ConnectionRefused => {
            Some("nothing listens there: check the address and port, and that the API server runs")
        }
        std::io::ErrorKind::TimedOut => {
            Some("no answer: check the network and the firewalls between this machine and the API server")
        }
        std::io::ErrorKind::HostUnreachable | std::io::ErrorKind::NetworkUnreachable => {
            Some("there is no route: check this machine's network")
        }
        _ => None,
    }
}

fn continue_with(seen: &str) -> &'static str {
    if seen.contains("lookup") || seen.contains("resolve") {
        "the name cannot be resolved: check this machine's DNS"
    } else {
        "check the network between this machine and the API server"
    }
}

fn tls_remedy(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(
            rustls::CertificateError::NotValidYet | rustls::CertificateError::NotValidYetContext { .. },
        ) => "this machine's clock is behind: synchronise it (chrony, systemd-timesyncd)",
        rustls::Error::InvalidCertificate(
            rustls::CertificateError::Expired | rustls::CertificateError::ExpiredContext { .. },
        ) => "the API server's certificate has expired, or this machine's clock is ahead",
        rustls::Error::InvalidCertificate(
            rustls::CertificateError::NotValidForName | rustls::CertificateError::NotValidForNameContext { .. },
        ) => "the API server's certificate does not name this address: add it to apiServer.certSANs",
        _ => "this is not the API server whose certificate authority is pinned: compare caCertHashes",
    }
}

/// The message at the end of a chain of causes, where the reason is.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    /// A server without TLS that gives one answer, and a client for it.
    fn server(answer: String) -> Client {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).unwrap();
            // The client may hang up as soon as it has had enough.
            let _ = stream.write_all(answer.as_bytes());
        });
        local_client(&format!("http://{address}").parse().unwrap()).unwrap()
    }

    fn answer(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    async fn get(answer: String) -> Result<serde_json::Value, CallError> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        get_limited(&server(answer), "asking", "/x", 1000).await
    }

    #[tokio::test]
    async fn an_answer_is_taken_up_to_its_limit() {
        assert_eq!(get(answer("200 OK", "{\"a\": 1}")).await.unwrap()["a"], 1);
        let error = get(answer("200 OK", &"x".repeat(1001))).await.unwrap_err().to_string();
        assert!(error.contains("length limit exceeded") && error.contains("check the address"), "{error}");
        let error = get(answer("200 OK", "<html>")).await.unwrap_err().to_string();
        assert!(error.contains("does not look like a Kubernetes API server"), "{error}");
    }

    #[test]
    fn a_servers_words_are_cut_and_stay_on_one_line() {
        let status = Status::failure(&format!("one\ntwo\u{1b}[31m{}", "x".repeat(10_000)), "Reason").with_code(403);
        let error = explain("trying", &kube::Error::Api(status.boxed()));
        assert!(error.seen.contains("one two [31m") && error.seen.len() <= MAX_SEEN, "{error}");
    }

    #[tokio::test]
    async fn a_refusal_is_explained_with_or_without_its_status() {
        let status = serde_json::to_string(&Status::failure("stay out", "Forbidden").with_code(403)).unwrap();
        for body in [status.as_str(), "stay out"] {
            let error = get(answer("403 Forbidden", body)).await.unwrap_err();
            assert!(error.seen.starts_with("HTTP 403") && error.remedy.contains("RBAC"), "{error}");
        }
    }

    #[test]
    fn answers_are_explained_by_their_code() {
        for (code, expected, temporary) in [
            (401, "the token has expired", true),
            (403, "RBAC", true),
            (404, "join-operator is installed", true),
            (422, "policy", false),
            (500, "the API server's log", true),
        ] {
            let status = Status::failure("because", "Reason").with_code(code);
            let error = explain("trying", &kube::Error::Api(status.boxed()));
            assert!(error.remedy.contains(expected), "{code}: {}", error.remedy);
            assert_eq!(error.temporary, temporary, "{code}");
            assert!(error.to_string().contains("trying failed: HTTP"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_refused_connection_says_so() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A port that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let endpoint = Endpoint::parse(&format!("127.0.0.1:{port}")).unwrap();
        let client = client(&endpoint, Server::Unverified, As::Anonymous).unwrap();
        let error = call("asking for the version", client.apiserver_version()).await.unwrap_err();
        assert!(error.remedy.contains("nothing listens there"), "{error}");
        assert!(error.temporary);
    }
}
