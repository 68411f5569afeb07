//! API clients of the agent: whom they talk to, whom they trust, and as whom.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use join_checks::clock::Skew;
use join_crds::vocabulary::Reason;
use join_trust::ca_bundle::CaBundle;
use join_trust::endpoint::Endpoint;
use k8s_openapi::jiff::Timestamp;
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

/// How this program names itself to servers, for the API server's audit log.
pub(crate) const USER_AGENT: &str = concat!("join-agent/", env!("CARGO_PKG_VERSION"));
/// How long a connection may take to be established.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// After how much silence the other side's system is asked whether the connection still is, and how often it is then asked
/// again. A watch only listens: without this, one whose way was cut waits for minutes, or for ever when the other side has
/// given the connection up meanwhile (RFC 9293, section 3.8.4).
const KEEPALIVE: Duration = Duration::from_secs(5);
/// After so many questions without an answer the connection is given up, and another one is made.
const KEEPALIVE_QUESTIONS: u32 = 3;
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
    let mut connector = connector(tls);
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

/// What makes connections, and gives one up that takes too long. No proxy is asked.
pub(crate) fn connector(tls: rustls::ClientConfig) -> TimeoutConnector<HttpsConnector<HttpConnector>> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE));
    tcp.set_keepalive_retries(Some(KEEPALIVE_QUESTIONS));
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
    let mut connector = TimeoutConnector::new(https);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector
}

/// A call that failed: what was tried, what was seen, and why; the reason says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{tried} failed: {seen}")]
pub struct CallError {
    /// What was tried.
    pub tried: String,
    /// What came back.
    pub seen: String,
    /// Why it failed.
    pub reason: Reason,
    /// The HTTP status, when there was an answer.
    pub code: Option<u16>,
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

/// What a server answered to one question.
#[derive(Debug)]
pub struct Answer {
    code: StatusCode,
    skew: Option<Skew>,
    body: Bytes,
}

impl Answer {
    /// The HTTP status.
    pub fn code(&self) -> u16 {
        self.code.as_u16()
    }

    /// How far the clocks are apart, if the server told its time.
    pub fn skew(&self) -> Option<Skew> {
        self.skew
    }

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
    let sent = Timestamp::now();
    let work = async {
        let answer = client.send(request).await.map_err(|error| explain(tried, &error))?;
        let code = answer.status();
        let date = answer.headers().get(header::DATE).and_then(|date| date.to_str().ok());
        let skew = date.and_then(|date| Skew::measured(date, sent, Timestamp::now()));
        let body = Limited::new(answer.into_body(), limit).collect().await;
        let body = body.map_err(|error| unexpected(tried, format!("the answer cannot be read: {error}")))?.to_bytes();
        Ok(Answer { code, skew, body })
    };
    tokio::time::timeout(CALL_TIMEOUT, work).await.unwrap_or_else(|_elapsed| Err(no_answer(tried)))
}

fn unexpected(tried: &str, seen: String) -> CallError {
    CallError { tried: tried.to_owned(), seen, reason: Reason::UnexpectedAnswer, code: None, temporary: true }
}

fn no_answer(tried: &str) -> CallError {
    CallError {
        tried: tried.to_owned(),
        seen: format!("no answer within {} s", CALL_TIMEOUT.as_secs()),
        reason: Reason::ConnectionTimedOut,
        code: None,
        temporary: true,
    }
}

/// Explains an error of the client library.
pub fn explain(tried: &str, error: &kube::Error) -> CallError {
    let tried = tried.to_owned();
    match error {
        kube::Error::Api(status) => {
            let seen = clean(&format!("HTTP {} {}: {}", status.code, status.reason, status.message));
            let reason = match status.code {
                401 => Reason::CredentialsRefused,
                403 => Reason::AccessDenied,
                404 => Reason::ObjectMissing,
                400 | 405..=428 => Reason::RequestRejected,
                _ => Reason::APIServerError,
            };
            CallError { tried, seen, reason, code: Some(status.code), temporary: status.code != 422 }
        }
        other => {
            let (reason, seen) = transport(other);
            CallError { tried, seen: clean(&seen), reason, code: None, temporary: true }
        }
    }
}

/// What a server said, as one line of a length that a person reads; it may be anybody's.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(MAX_SEEN).collect()
}

/// Tells apart what can go wrong before an answer comes, by the types of the causes: connection, TLS, HTTP.
pub(crate) fn transport(error: &dyn std::error::Error) -> (Reason, String) {
    let seen = innermost(error);
    let mut reason = Reason::ConnectionFailed;
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return (reason_of_tls(tls), tls.to_string());
        }
        let io = cause.downcast_ref::<std::io::Error>();
        if let Some(io) = io.filter(|_| reason == Reason::ConnectionFailed) {
            reason = reason_of_io(io.kind());
        }
        // An I/O error leaves the error that it is made of out of its sources, and one of TLS is wrapped more than once.
        source = match io.and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    match reason {
        // The limit is ours: the operating system goes on for minutes.
        Reason::ConnectionTimedOut => (reason, format!("no connection within {} s: {seen}", CONNECT_TIMEOUT.as_secs())),
        reason => (reason, seen),
    }
}

/// Why a connection could not be made or broke.
pub fn reason_of_io(kind: ErrorKind) -> Reason {
    match kind {
        ErrorKind::ConnectionRefused => Reason::ConnectionRefused,
        ErrorKind::TimedOut => Reason::ConnectionTimedOut,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
            Reason::NetworkUnreachable
        }
        _ => Reason::ConnectionFailed,
    }
}

/// Why a server's certificate, or what it speaks, is not accepted.
fn reason_of_tls(error: &rustls::Error) -> Reason {
    use rustls::CertificateError as Certificate;
    match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => Reason::ServerCertificateNotYetValid,
            Certificate::Expired | Certificate::ExpiredContext { .. } => Reason::ServerCertificateExpired,
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => Reason::ServerNameMismatch,
            // A signature that does not verify is that of another authority with the same name.
            Certificate::UnknownIssuer
            | Certificate::BadSignature
            | Certificate::UnsupportedSignatureAlgorithmContext { .. }
            | Certificate::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Reason::ServerAuthorityUnknown,
            _ => Reason::TLSFailed,
        },
        _ => Reason::TLSFailed,
    }
}

/// The message at the end of a chain of causes, where the reason is.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
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
        ask_limited(&server(answer), "asking", "/x", 1000).await?.object("asking")
    }

    #[tokio::test]
    async fn an_answer_is_taken_up_to_its_limit() {
        assert_eq!(get(answer("200 OK", "{\"a\": 1}")).await.unwrap()["a"], 1);
        let error = get(answer("200 OK", &"x".repeat(1001))).await.unwrap_err();
        assert!(error.to_string().contains("length limit exceeded"), "{error}");
        assert_eq!(error.reason, Reason::UnexpectedAnswer);
        let error = get(answer("200 OK", "<html>")).await.unwrap_err();
        assert_eq!(error.reason, Reason::UnexpectedAnswer, "{error}");
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
            assert!(error.seen.starts_with("HTTP 403"), "{error}");
            assert_eq!((error.reason, error.code), (Reason::AccessDenied, Some(403)));
        }
    }

    #[test]
    fn answers_are_explained_by_their_code() {
        for (code, expected, temporary) in [
            (401, Reason::CredentialsRefused, true),
            (403, Reason::AccessDenied, true),
            (404, Reason::ObjectMissing, true),
            (409, Reason::RequestRejected, true),
            (422, Reason::RequestRejected, false),
            (429, Reason::APIServerError, true),
            (500, Reason::APIServerError, true),
        ] {
            let status = Status::failure("because", "Reason").with_code(code);
            let error = explain("trying", &kube::Error::Api(status.boxed()));
            assert_eq!((error.reason, error.code), (expected, Some(code)));
            assert_eq!(error.temporary, temporary, "{code}");
            assert!(error.to_string().contains("trying failed: HTTP"), "{error}");
        }
    }

    #[test]
    fn errors_before_an_answer_are_told_apart_by_their_type() {
        use rustls::CertificateError as Certificate;
        let time = || rustls::pki_types::UnixTime::since_unix_epoch(Duration::from_secs(1));
        let certificate = |error: Certificate| std::io::Error::other(rustls::Error::InvalidCertificate(error));
        let name = rustls::pki_types::ServerName::try_from("a.example").unwrap();
        for (error, expected) in [
            (ErrorKind::ConnectionRefused.into(), Reason::ConnectionRefused),
            (ErrorKind::TimedOut.into(), Reason::ConnectionTimedOut),
            (ErrorKind::HostUnreachable.into(), Reason::NetworkUnreachable),
            (ErrorKind::NetworkUnreachable.into(), Reason::NetworkUnreachable),
            (ErrorKind::NetworkDown.into(), Reason::NetworkUnreachable),
            (ErrorKind::ConnectionReset.into(), Reason::ConnectionFailed),
            (certificate(Certificate::UnknownIssuer), Reason::ServerAuthorityUnknown),
            (certificate(Certificate::BadSignature), Reason::ServerAuthorityUnknown),
            (certificate(Certificate::Expired), Reason::ServerCertificateExpired),
            (
                certificate(Certificate::ExpiredContext { time: time(), not_after: time() }),
                Reason::ServerCertificateExpired,
            ),
            (certificate(Certificate::NotValidYet), Reason::ServerCertificateNotYetValid),
            (
                certificate(Certificate::NotValidYetContext { time: time(), not_before: time() }),
                Reason::ServerCertificateNotYetValid,
            ),
            (certificate(Certificate::NotValidForName), Reason::ServerNameMismatch),
            (
                certificate(Certificate::NotValidForNameContext { expected: name, presented: Vec::new() }),
                Reason::ServerNameMismatch,
            ),
            // As the connector of the client library has it.
            (std::io::Error::other(certificate(Certificate::UnknownIssuer)), Reason::ServerAuthorityUnknown),
            (std::io::Error::new(ErrorKind::TimedOut, "deadline has elapsed"), Reason::ConnectionTimedOut),
            (certificate(Certificate::BadEncoding), Reason::TLSFailed),
            (
                std::io::Error::other(rustls::Error::PeerIncompatible(
                    rustls::PeerIncompatible::ServerDoesNotSupportTls12Or13,
                )),
                Reason::TLSFailed,
            ),
        ] {
            let shown = format!("{error:?}");
            let found = explain("trying", &kube::Error::Service(Box::new(error)));
            assert_eq!(found.reason, expected, "{shown}");
        }
    }

    /// The kernel's table of connections tells which timer runs for each: 2 is the keepalive's (proc_pid_net_tcp(5)).
    #[tokio::test]
    async fn a_connection_without_news_is_asked_whether_it_still_is() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = local_client(&format!("http://{}", listener.local_addr().unwrap()).parse().unwrap()).unwrap();
        let asking = tokio::spawn(async move { client.apiserver_version().await });
        let (mut stream, peer) = listener.accept().await.unwrap();
        // Once the question is here, and acknowledged, nothing is on its way and only a keepalive can be waiting.
        let mut question = [0; 4096];
        let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut question).await.unwrap();
        let local = format!("0100007F:{:04X}", peer.port());
        let timer = || {
            let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
            let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let fields = lines.find(|fields| fields.get(1) == Some(&local.as_str())).unwrap();
            fields[5][..2].to_owned()
        };
        // 1: the question is not acknowledged yet.
        while timer() == "01" {
            tokio::task::yield_now().await;
        }
        let timer = timer();
        assert_eq!(timer, "02", "no keepalive runs");
        asking.abort();
    }

    #[tokio::test]
    async fn a_refused_connection_says_so() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A port that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let endpoint = Endpoint::parse(&format!("127.0.0.1:{port}")).unwrap();
        let client = client(&endpoint, Server::Unverified, As::Anonymous).unwrap();
        let error = call("asking for the version", client.apiserver_version()).await.unwrap_err();
        assert_eq!(error.reason, Reason::ConnectionRefused, "{error}");
        assert!(error.temporary);
    }
}
