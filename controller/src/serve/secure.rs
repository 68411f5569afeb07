//! A TLS server whose clients may be anybody: every wait and every size has a limit.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::access::{Access, Refusal};

/// The most connections at the same time. Whoever comes then waits in the listener's queue.
const MOST_CONNECTIONS: usize = 64;
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the head of a request may take to arrive, the idle time before it included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one connection may last; scrapers connect anew.
const CONNECTION_LIFETIME: Duration = Duration::from_mins(5);
/// How long an answer that is under way may take beyond that.
const LAST_ANSWER: Duration = Duration::from_secs(15);
/// The most that is read of a request's head, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// The most headers of a request.
const MAX_HEADERS: usize = 64;
/// The pause after the listener failed, which it does when the process has no file descriptor left.
const AFTER_ACCEPT_ERROR: Duration = Duration::from_secs(1);

/// Lets those requests through that [`Access`] allows.
pub fn guarded(routes: Router, access: Access) -> Router {
    routes.layer(from_fn_with_state(access, guard))
}

async fn guard(State(access): State<Access>, request: Request, next: Next) -> Response {
    match access.check(request.headers()).await {
        Ok(()) => next.run(request).await,
        Err(refusal) => refused(&refusal),
    }
}

fn refused(refusal: &Refusal) -> Response {
    let text = format!("{refusal}\n");
    if refusal.status() == StatusCode::UNAUTHORIZED {
        (refusal.status(), [(header::WWW_AUTHENTICATE, "Bearer")], text).into_response()
    } else {
        (refusal.status(), text).into_response()
    }
}

/// Serves routes over TLS for ever.
pub async fn serve(listener: TcpListener, tls: Arc<rustls::ServerConfig>, routes: Router) -> Infallible {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let acceptor = TlsAcceptor::from(tls);
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let (acceptor, routes) = (acceptor.clone(), routes.clone());
                tokio::spawn(async move {
                    answer(stream, acceptor, routes).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to /metrics could not be taken");
                sleep(AFTER_ACCEPT_ERROR).await;
            }
        }
    }
}

/// Answers one connection until it ends or a limit ends it.
async fn answer<S>(stream: S, acceptor: TlsAcceptor, routes: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => return tracing::debug!("a TLS handshake took too long"),
    };
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD_BYTES)
        .max_buf_size(MAX_HEAD_BYTES);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes)));
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = sleep(CONNECTION_LIFETIME) => {
            connection.as_mut().graceful_shutdown();
            timeout(LAST_ANSWER, connection).await.ok()
        }
    };
    match ended {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(%error, "a connection to /metrics ended early"),
        None => tracing::debug!("a connection to /metrics was cut off"),
    }
}

#[cfg(test)]
mod tests;
