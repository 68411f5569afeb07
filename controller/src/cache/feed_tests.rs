use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::client::Body;
use tower::service_fn;

use super::*;

const LIST: &str = r#"{"apiVersion":"v1","kind":"ConfigMapList","metadata":{"resourceVersion":"7"},"items":[]}"#;
const FAILURE: &str = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"down","code":500}"#;
const GONE: &str = r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","message":"too old","code":410}}"#;

/// How many requests an API server gets in an hour that answers listings and watches like this.
async fn requests_in_an_hour(list: (u16, &'static str), watch: (u16, &'static str)) -> u32 {
    let asked = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&asked);
    let service = service_fn(move |request: Request<Body>| {
        counter.fetch_add(1, Ordering::SeqCst);
        let is_watch = request.uri().query().unwrap_or_default().contains("watch=");
        let (code, body) = if is_watch { watch } else { list };
        async move {
            let status = StatusCode::from_u16(code).unwrap();
            let answer = Response::builder().status(status).body(Body::from(format!("{body}\n").into_bytes()));
            Ok::<_, Infallible>(answer.unwrap())
        }
    });
    let api: Api<ConfigMap> = Api::default_namespaced(Client::new(service, "default"));
    let (filled, _is_filled) = watch::channel(false);
    let feed = run("tests", api, watch_config(), Metrics::new(), filled, drop);
    let _ = tokio::time::timeout(Duration::from_hours(1), feed).await;
    asked.load(Ordering::SeqCst)
}

/// The clock is a test's: an hour of errors passes in no time. A pause of eight seconds or more allows 450 rounds of a
/// listing and a watch; without pauses that grow there would be thousands.
#[tokio::test(start_paused = true)]
async fn endless_errors_of_a_watch_cost_little() {
    for (what, list, watch) in [
        ("no listing", (500, FAILURE), (500, FAILURE)),
        ("no watch", (200, LIST), (500, FAILURE)),
        ("watches that have expired", (200, LIST), (200, GONE)),
        ("nonsense", (200, LIST), (200, "<html>")),
    ] {
        let requests = requests_in_an_hour(list, watch).await;
        assert!((200..1000).contains(&requests), "{what}: {requests} requests in an hour");
    }
}
