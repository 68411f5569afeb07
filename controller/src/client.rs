//! The client of the API server, with one layer that sees every request.
//!
//! The layer does what needs to be done for all requests alike: it counts them, it notes when each watch was last
//! answered (a quiet watch and a dead one look alike from above, see [`WatchFreshness`]) and what time the API server has
//! (see [`clock`](crate::clock)), and it can abort the process after a given write, so that a test can stop the controller
//! between any two of them.

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::header::DATE;
use http::{Method, Request, Response, StatusCode};
use k8s_openapi::jiff::Timestamp;
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig};
use tower::{Layer, Service};

use crate::clock::Clock;
use crate::metrics::Metrics;

/// How long the API server keeps one watch open. Every watch is answered anew at least this often.
pub const WATCH_TIMEOUT: Duration = Duration::from_secs(200);

/// How this program names itself to the API server, for its audit log.
const USER_AGENT: &str = concat!("join-controller/", env!("CARGO_PKG_VERSION"));

/// A client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The kubeconfig file cannot be used.
    #[error("cannot use kubeconfig {path}: {source}")]
    Kubeconfig {
        /// The file.
        path: String,
        /// Why not.
        source: kube::config::KubeconfigError,
    },
    /// There is no ServiceAccount.
    #[error("no --kubeconfig was given and no Pod's ServiceAccount was found: {0}")]
    InCluster(kube::config::InClusterError),
    /// The connection cannot be set up.
    #[error("cannot set up the connection to the API server: {0}")]
    Setup(#[source] kube::Error),
}

/// When each watch was last answered by the API server.
#[derive(Debug, Default)]
pub struct WatchFreshness(Mutex<HashMap<String, Instant>>);

impl WatchFreshness {
    fn note(&self, watch: String, at: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(watch, at);
    }

    /// The watches that were not answered for longer than `limit`, with the time since.
    pub fn stale(&self, now: Instant, limit: Duration) -> Vec<(String, Duration)> {
        let watches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stale: Vec<_> = watches
            .iter()
            .map(|(watch, at)| (watch.clone(), now.saturating_duration_since(*at)))
            .filter(|(_, age)| *age > limit)
            .collect();
        stale.sort();
        stale
    }
}

/// Reads the configuration: a file if one is given, else the Pod's ServiceAccount.
pub async fn config(kubeconfig: Option<&Path>) -> Result<kube::Config, ClientError> {
    let mut config = match kubeconfig {
        Some(path) => {
            let failed = |source| ClientError::Kubeconfig { path: path.display().to_string(), source };
            let file = Kubeconfig::read_from(path).map_err(failed)?;
            kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(failed)?
        }
        None => kube::Config::incluster().map_err(ClientError::InCluster)?,
    };
    // A call that hangs would hold a reconciliation; the controller's own backoff is what retries.
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(10));
    config.headers.push((http::header::USER_AGENT, http::HeaderValue::from_static(USER_AGENT)));
    Ok(config)
}

/// Makes the client.
pub fn build(
    config: kube::Config,
    metrics: Metrics,
    freshness: Arc<WatchFreshness>,
    clock: Clock,
    crash_after_writes: Option<u64>,
) -> Result<kube::Client, ClientError> {
    let observer = Observer { metrics, freshness, clock, writes: Arc::default(), crash_after_writes };
    Ok(ClientBuilder::try_from(config).map_err(ClientError::Setup)?.with_layer(&ObserveLayer(observer)).build())
}

#[derive(Clone)]
struct Observer {
    metrics: Metrics,
    freshness: Arc<WatchFreshness>,
    clock: Clock,
    writes: Arc<AtomicU64>,
    crash_after_writes: Option<u64>,
}

impl Observer {
    fn answered(&self, call: &Call, status: StatusCode) {
        self.metrics.api_request(&call.method, &call.resource, status);
        if !status.is_success() {
            return;
        }
        if let Some(watch) = &call.watch {
            self.freshness.note(watch.clone(), Instant::now());
        }
        if call.is_counted_write() {
            let written = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
            if Some(written) == self.crash_after_writes {
                tracing::warn!(
                    written,
                    resource = call.resource,
                    "aborting after this write, as --crash-after-writes asks"
                );
                std::process::abort();
            }
        }
    }
}

/// What of a request is of interest.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Call {
    method: Method,
    /// Plural name of the resource and its subresource, such as `certificatesigningrequests/approval`.
    resource: String,
    /// Path and selectors, if it is a watch.
    watch: Option<String>,
}

impl Call {
    fn of<B>(request: &Request<B>) -> Self {
        let uri = request.uri();
        let query = uri.query().unwrap_or_default();
        let watch = query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1")).then(|| {
            let selectors: Vec<_> = query.split('&').filter(|pair| pair.contains("Selector=")).collect();
            format!("{}?{}", uri.path(), selectors.join("&"))
        });
        Self { method: request.method().clone(), resource: resource_of(uri.path()), watch }
    }

    /// Leases are renewed by the clock, Events are no part of a join, and reviews are questions of who reads the metrics:
    /// counting them would make a test's N depend on time.
    fn is_counted_write(&self) -> bool {
        let uncounted = ["leases", "events", "tokenreviews", "subjectaccessreviews"];
        self.method != Method::GET && !uncounted.contains(&self.resource.as_str())
    }
}

/// The plural name and subresource in an API path: `/api/v1/...` or `/apis/<group>/<version>/...`.
fn resource_of(path: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let prefix = match parts.first() {
        Some(&"api") => 2,
        Some(&"apis") => 3,
        _ => return "other".to_owned(),
    };
    parts.drain(..prefix.min(parts.len()));
    if parts.first() == Some(&"namespaces") && parts.len() > 2 {
        parts.drain(..2);
    }
    match parts.as_slice() {
        [] => "discovery".to_owned(),
        [resource] | [resource, _] => (*resource).to_owned(),
        [resource, _, subresource, ..] => format!("{resource}/{subresource}"),
    }
}

struct ObserveLayer(Observer);

impl<S> Layer<S> for ObserveLayer {
    type Service = ObserveService<S>;

    fn layer(&self, inner: S) -> ObserveService<S> {
        ObserveService { inner, observer: self.0.clone() }
    }
}

#[derive(Clone)]
struct ObserveService<S> {
    inner: S,
    observer: Observer,
}

impl<S, B> Service<Request<Body>> for ObserveService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let call = Call::of(&request);
        let observer = self.observer.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let sent = Timestamp::now();
            let response = answer.await?;
            if let Some(date) = response.headers().get(DATE).and_then(|date| date.to_str().ok()) {
                observer.clock.answered(date, sent);
            }
            observer.answered(&call, response.status());
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("/api/v1/nodes", "nodes")]
    #[case("/api/v1/nodes/a", "nodes")]
    #[case("/api/v1/namespaces/kube-system/secrets", "secrets")]
    #[case("/api/v1/namespaces/kube-system/secrets/s", "secrets")]
    #[case("/api/v1/namespaces", "namespaces")]
    #[case("/api/v1/namespaces/a", "namespaces")]
    #[case("/apis/certificates.k8s.io/v1/certificatesigningrequests/x/approval", "certificatesigningrequests/approval")]
    #[case("/apis/nodejoin.dev/v1alpha1/nodejoinrequests/a/status", "nodejoinrequests/status")]
    #[case("/apis/nodejoin.dev/v1alpha1", "discovery")]
    #[case("/version", "other")]
    fn resources_are_recognised(#[case] path: &str, #[case] expected: &str) {
        assert_eq!(resource_of(path), expected);
    }

    #[rstest]
    #[case("POST", "/api/v1/namespaces/kube-system/secrets", true)]
    #[case("PATCH", "/apis/nodejoin.dev/v1alpha1/nodejoinrequests/a/status", true)]
    #[case("DELETE", "/api/v1/namespaces/kube-system/secrets/s", true)]
    #[case("GET", "/api/v1/nodes", false)]
    #[case("PUT", "/apis/coordination.k8s.io/v1/namespaces/n/leases/l", false)]
    #[case("POST", "/apis/events.k8s.io/v1/namespaces/default/events", false)]
    #[case("POST", "/apis/authentication.k8s.io/v1/tokenreviews", false)]
    fn only_writes_of_a_join_are_counted(#[case] method: &str, #[case] path: &str, #[case] expected: bool) {
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        assert_eq!(Call::of(&request).is_counted_write(), expected);
    }

    #[test]
    fn a_watch_is_known_by_its_path_and_selectors() {
        let uri = "/api/v1/nodes?watch=true&timeoutSeconds=200&fieldSelector=a%3Db&resourceVersion=7";
        let call = Call::of(&Request::builder().uri(uri).body(()).unwrap());
        assert_eq!(call.watch.as_deref(), Some("/api/v1/nodes?fieldSelector=a%3Db"));
        assert_eq!(Call::of(&Request::builder().uri("/api/v1/nodes?limit=5").body(()).unwrap()).watch, None);
    }

    #[test]
    fn a_watch_is_stale_when_it_was_not_answered_for_too_long() {
        let start = Instant::now();
        let freshness = WatchFreshness::default();
        freshness.note("old".to_owned(), start);
        freshness.note("new".to_owned(), start + Duration::from_secs(500));
        let stale = freshness.stale(start + Duration::from_secs(601), Duration::from_mins(10));
        assert_eq!(stale, [("old".to_owned(), Duration::from_secs(601))]);
    }
}
