//! A stub: a server that claims to be an API server, and answers as an attacker would.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use join_trust::endpoint::Endpoint;
use rustls::ServerConfig;
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::authority::Data;

pub type Answer = Response<BoxBody<Bytes, Infallible>>;

/// What becomes of a connection.
#[derive(Clone)]
pub enum Way {
    /// TLS with this certificate, and this answer to every request.
    Answer(Arc<ServerConfig>, Arc<dyn Fn() -> Answer + Send + Sync>),
    /// TLS with this certificate, and then these bytes, one after the other and slowly.
    Drip(Arc<ServerConfig>, &'static str),
    /// Nothing is ever said, not even in TLS.
    Silence,
    /// Everything goes to another server, as it is.
    PassOn(SocketAddr),
}

impl Way {
    pub fn answer(config: &Arc<ServerConfig>, answer: impl Fn() -> Answer + Send + Sync + 'static) -> Self {
        Self::Answer(Arc::clone(config), Arc::new(answer))
    }

    pub fn cluster_info(config: &Arc<ServerConfig>, data: Data) -> Self {
        Self::answer(config, move || config_map(&data))
    }
}

/// The ConfigMap with this data.
pub fn config_map(data: &Data) -> Answer {
    let object = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cluster-info", "namespace": "kube-public"},
        "data": data,
    });
    json(StatusCode::OK, object.to_string())
}

pub fn json(code: StatusCode, body: impl Into<Bytes>) -> Answer {
    let answer = Response::builder().status(code).header("content-type", "application/json");
    answer.body(Full::new(body.into()).boxed()).unwrap()
}

/// An answer that goes on for ever.
pub fn endless(chunks: impl Stream<Item = Bytes> + Send + Sync + 'static) -> Answer {
    Response::new(BodyExt::boxed(StreamBody::new(chunks.map(|chunk| Ok(Frame::data(chunk))))))
}

/// A body without an end, as fast as it is taken.
pub fn flood() -> Answer {
    endless(stream::repeat(Bytes::from_static(&[b' '; 16 * 1024])))
}

/// The running stub. It ends with the test's runtime.
pub struct Stub {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<Parts>>>,
}

impl Stub {
    /// Starts a server whose first connections go these ways, one each, and all later ones the last.
    pub async fn start(make: impl FnOnce(&Endpoint) -> Vec<Way>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ways = make(&Endpoint::parse(&address.to_string()).unwrap());
        let stub = Self { address, connections: Arc::default(), heads: Arc::default() };
        let (connections, heads) = (Arc::clone(&stub.connections), Arc::clone(&stub.heads));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = connections.fetch_add(1, Ordering::SeqCst);
                let way = ways.get(number).or(ways.last()).cloned();
                tokio::spawn(serve(stream, way.unwrap_or(Way::Silence), Arc::clone(&heads)));
            }
        });
        stub
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint::parse(&self.address.to_string()).unwrap()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn requests(&self) -> usize {
        self.heads.lock().unwrap().len()
    }

    /// What was asked for: method, path and query of each request.
    pub fn asked(&self) -> Vec<String> {
        self.heads.lock().unwrap().iter().map(|head| format!("{} {}", head.method, head.uri)).collect()
    }

    /// As whom this server was asked, by each request that says so.
    pub fn authorizations(&self) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        let said = heads.iter().filter_map(|head| head.headers.get("authorization"));
        said.map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    /// Whether somebody told this server a secret: a bearer token, or anything else by which to be somebody.
    pub fn was_told_a_secret(&self) -> bool {
        self.heads.lock().unwrap().iter().any(|head| {
            let (headers, text) = (&head.headers, format!("{head:?}"));
            headers.contains_key("authorization") || headers.contains_key("cookie") || text.contains("0123456789abcdef")
        })
    }
}

async fn serve(mut stream: TcpStream, way: Way, heads: Arc<Mutex<Vec<Parts>>>) {
    match way {
        Way::Silence => std::future::pending().await,
        Way::PassOn(address) => {
            let mut other = TcpStream::connect(address).await.unwrap();
            // Either side may hang up.
            let _ = copy_bidirectional(&mut stream, &mut other).await;
        }
        Way::Drip(config, text) => {
            let Ok(mut stream) = TlsAcceptor::from(config).accept(stream).await else { return };
            for byte in text.bytes().chain(std::iter::repeat(b'x')) {
                if stream.write_all(&[byte]).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
                // The pace is the attack.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Way::Answer(config, answer) => {
            let Ok(stream) = TlsAcceptor::from(config).accept(stream).await else { return };
            let service = service_fn(move |request: Request<Incoming>| {
                heads.lock().unwrap().push(request.into_parts().0);
                let answer = answer();
                async move { Ok::<_, Infallible>(answer) }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        }
    }
}
