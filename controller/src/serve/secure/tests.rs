use axum::routing::get;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1 as client;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio_rustls::TlsConnector;

use super::*;
use crate::serve::certificate::Certificate;

/// A server that answers one connection, and the client's end of it.
struct Served {
    near: DuplexStream,
    trust: RootCertStore,
    task: tokio::task::JoinHandle<()>,
}

fn serve_one() -> Served {
    let certificate = Certificate::own(vec!["localhost".to_owned()]).unwrap();
    let mut trust = RootCertStore::empty();
    trust.add(certificate.first()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(certificate.server_config().unwrap()));
    let refuse = |request: Request, next: Next| async move {
        if request.headers().contains_key(header::AUTHORIZATION) {
            next.run(request).await
        } else {
            refused(&Refusal::NoToken)
        }
    };
    let routes = Router::new().route("/metrics", get(async || "measured")).layer(axum::middleware::from_fn(refuse));
    let (near, far) = duplex(64 * 1024);
    Served { near, trust, task: tokio::spawn(answer(far, acceptor, routes)) }
}

impl Served {
    async fn connect(self) -> (tokio_rustls::client::TlsStream<DuplexStream>, tokio::task::JoinHandle<()>) {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(self.trust).with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        (TlsConnector::from(Arc::new(config)).connect(name, self.near).await.unwrap(), self.task)
    }
}

#[tokio::test]
async fn requests_are_answered_over_tls() {
    let (stream, task) = serve_one().connect().await;
    let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await.unwrap();
    let client = tokio::spawn(connection);
    let request = || http::Request::builder().uri("/metrics").header(header::HOST, "localhost");
    let answer = sender.send_request(request().body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(answer.headers()[header::WWW_AUTHENTICATE], "Bearer");
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(text.starts_with(b"no bearer token was sent"), "{text:?}");

    let allowed = request().header(header::AUTHORIZATION, "Bearer t").body(Empty::new()).unwrap();
    let answer = sender.send_request(allowed).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "measured");
    drop(sender);
    client.await.unwrap().unwrap();
    task.await.unwrap();
}

#[tokio::test]
async fn plain_http_gets_no_answer() {
    let mut served = serve_one();
    served.near.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    served.near.read_to_end(&mut answer).await.unwrap();
    // A TLS alert (RFC 8446, 6): record type 21.
    assert_eq!(answer.first(), Some(&21), "{answer:?}");
    served.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_begins_is_cut_off() {
    let served = serve_one();
    served.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_its_request_too_slowly_is_cut_off() {
    let (mut stream, task) = serve_one().connect().await;
    stream.write_all(b"GET /metrics HTTP/1.1\r\n").await.unwrap();
    while !task.is_finished() {
        // One header a second would be a request for ever.
        let _ = stream.write_all(b"X: y\r\n").await;
        sleep(Duration::from_secs(1)).await;
    }
    task.await.unwrap();
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let (mut stream, task) = serve_one().connect().await;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nX: ").await.unwrap();
    let filling = vec![b'y'; MAX_HEAD_BYTES + 1];
    let _ = stream.write_all(&filling).await;
    let _ = stream.flush().await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer).into_owned();
    assert!(text.starts_with("HTTP/1.1 431 "), "{text}");
    task.await.unwrap();
}
