//! The HTTP endpoints: `/livez`, `/readyz` and `/metrics`.
//!
//! The health endpoints are plain HTTP for the kubelet and hold nothing secret. The metrics name nodes' rules and rates:
//! they are served over TLS ([`certificate`], [`secure`]) to whom the API server lets read them ([`access`]), unless
//! `--metrics-secure=false` asks for plain HTTP.

pub mod access;
pub mod certificate;
pub mod secure;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use self::access::Access;
use self::certificate::{Certificate, CertificateError};
use crate::client::{WATCH_TIMEOUT, WatchFreshness};
use crate::metrics::Metrics;

/// A watch is opened anew every [`WATCH_TIMEOUT`]; three missed ones in a row are no coincidence.
const STALE_AFTER: Duration = WATCH_TIMEOUT.saturating_mul(3);

/// The endpoints could not be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The server ended.
    #[error("the HTTP server on {address} ended: {source}")]
    Ended {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// There is no certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// One address for plain HTTP and for TLS.
    #[error(
        "--metrics-address and --health-address are both {0}, where health is plain HTTP and metrics are TLS: give them \
         different ports, or set --metrics-secure=false"
    )]
    OneAddress(SocketAddr),
}

/// What the health endpoints look at.
#[derive(Debug, Default)]
pub struct Health {
    /// When each watch was last answered.
    pub freshness: Arc<WatchFreshness>,
    lease_known: AtomicBool,
    leading: AtomicBool,
    caches_filled: AtomicBool,
}

impl Health {
    /// Notes that the lease has been read; a replica that stands by is ready from here on.
    pub fn lease_is_known(&self) {
        self.lease_known.store(true, Ordering::Release);
    }

    /// Notes that this replica leads; it is ready again once its caches are filled.
    pub fn leads(&self) {
        self.leading.store(true, Ordering::Release);
        self.lease_is_known();
    }

    /// Notes that the caches are filled.
    pub fn caches_are_filled(&self) {
        self.caches_filled.store(true, Ordering::Release);
    }

    fn ready(&self) -> Result<(), &'static str> {
        if !self.lease_known.load(Ordering::Acquire) {
            return Err("the lease has not been read yet\n");
        }
        if self.leading.load(Ordering::Acquire) && !self.caches_filled.load(Ordering::Acquire) {
            return Err("the caches are not filled yet\n");
        }
        Ok(())
    }

    fn alive(&self, now: Instant) -> Result<(), String> {
        let stale = self.freshness.stale(now, STALE_AFTER);
        if stale.is_empty() {
            return Ok(());
        }
        let lines: Vec<_> =
            stale.iter().map(|(watch, age)| format!("{watch} was last answered {} s ago", age.as_secs())).collect();
        Err(lines.join(
            "
",
        ))
    }
}

async fn livez(State(health): State<Arc<Health>>) -> impl IntoResponse {
    match health.alive(Instant::now()) {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

async fn readyz(State(health): State<Arc<Health>>) -> impl IntoResponse {
    match health.ready() {
        Ok(()) => (StatusCode::OK, "ok\n"),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

async fn metrics(State(metrics): State<Metrics>) -> impl IntoResponse {
    match metrics.encode() {
        Ok(text) => Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)),
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, format!("cannot encode the metrics: {error}\n"))),
    }
}

/// The routes of the health endpoints.
pub fn health_routes(health: Arc<Health>) -> Router {
    Router::new().route("/livez", get(livez)).route("/readyz", get(readyz)).with_state(health)
}

/// The route of the metrics.
pub fn metrics_routes(shared: Metrics) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(shared)
}

/// Serves routes over TLS, to those that `access` lets in, until the process ends.
///
/// The certificate is that of a folder, or one that is made now for the names by which this host is asked.
pub async fn serve_securely(
    address: SocketAddr,
    routes: Router,
    folder: Option<PathBuf>,
    access: Access,
) -> Result<(), ServeError> {
    let certificate = match folder {
        Some(folder) => Certificate::read(&folder).await?,
        None => Certificate::own(own_names())?,
    };
    let tls = Arc::new(certificate.server_config()?);
    let listener = bind(address).await?;
    tokio::select! {
        never = secure::serve(listener, tls, secure::guarded(routes, access)) => match never {},
        () = certificate.follow() => Ok(()),
    }
}

/// The host's name, which is the Pod's, and localhost, for who forwards a port.
fn own_names() -> Vec<String> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim().to_owned();
    let mut names = vec!["localhost".to_owned()];
    if !host.is_empty() && host.is_ascii() {
        names.insert(0, host);
    }
    names
}

async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Bind { address, source })
}

/// Serves routes over plain HTTP until the process ends.
pub async fn serve(address: SocketAddr, routes: Router) -> Result<(), ServeError> {
    let listener = bind(address).await?;
    axum::serve(listener, routes).await.map_err(|source| ServeError::Ended { address, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_ready_when_it_stands_by_or_has_filled_its_caches() {
        let health = Health::default();
        assert!(health.ready().is_err());
        health.lease_is_known();
        assert_eq!(health.ready(), Ok(()));
        health.leads();
        assert!(health.ready().is_err());
        health.caches_are_filled();
        assert_eq!(health.ready(), Ok(()));
    }

    #[test]
    fn a_replica_without_watches_is_alive() {
        assert_eq!(Health::default().alive(Instant::now()), Ok(()));
    }
}
