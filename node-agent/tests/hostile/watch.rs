//! An API server that is the right one and does nothing right: it answers each watch with an error, for ever.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use http::{Request, Response, StatusCode};
use join_agent::checks::health::Health;
use join_agent::own_request::{News, OwnRequest};
use join_trust::names::NodeName;
use kube::Client;
use kube::client::Body;
use tower::service_fn;

/// What the server answers to a watch, each time after a listing that is right.
fn answers() -> [(StatusCode, &'static str); 4] {
    let gone = r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","message":"too old","code":410}}"#;
    let broken = r#"{"type":"ADDED","object":{"apiVersion":"nodejoin.dev/v1alpha1","kind":"NodeJoinRequest","metadata":{"name":"worker-7"},"spec":7}}"#;
    [
        (StatusCode::OK, gone),
        (StatusCode::OK, broken),
        (StatusCode::OK, "<html>"),
        (StatusCode::INTERNAL_SERVER_ERROR, r#"{"kind":"Status","apiVersion":"v1","status":"Failure","code":500}"#),
    ]
}

/// A client of that server, and how often the server was asked.
fn client(code: StatusCode, body: &'static str) -> (Client, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&asked);
    let service = service_fn(move |request: Request<Body>| {
        counter.fetch_add(1, Ordering::SeqCst);
        let is_watch = request.uri().query().unwrap_or_default().contains("watch=");
        async move {
            let list = r#"{"apiVersion":"v1","kind":"List","metadata":{"resourceVersion":"7"},"items":[]}"#;
            let (code, body) = if is_watch { (code, format!("{body}\n")) } else { (StatusCode::OK, list.to_owned()) };
            let answer = Response::builder().status(code).body(Body::from(body.into_bytes()));
            Ok::<_, Infallible>(answer.unwrap())
        }
    });
    (Client::new(service, "default"), asked)
}

/// The clock is a test's: an hour of errors passes in no time, and costs the API server few requests.
#[tokio::test(start_paused = true)]
async fn endless_errors_of_a_watch_cost_little() {
    for (code, body) in answers() {
        let (client, asked) = client(code, body);
        let mut own = OwnRequest::watch(&client, "worker-7");
        let mut troubles = Vec::new();
        let hour = async {
            loop {
                match own.news().await {
                    Ok(News::Trouble(said)) => troubles.push(said.text),
                    Ok(News::Request) => {}
                    // The agent starts its round anew, with a pause that grows to a minute.
                    Err(lost) => {
                        troubles.push(lost.to_string());
                        break;
                    }
                }
            }
        };
        let _ = tokio::time::timeout(Duration::from_hours(1), hour).await;
        assert!(!troubles.is_empty(), "{body}: nothing was said");
        assert!(troubles.iter().all(|said| said.contains("watching the NodeJoinRequest worker-7")), "{troubles:?}");
        cost_little(&asked, body);
    }
}

/// The same of the watch of the machine's Node, which goes on for as long as the machine is a node.
#[tokio::test(start_paused = true)]
async fn endless_errors_of_the_nodes_watch_cost_little() {
    for (code, body) in answers() {
        let (client, asked) = client(code, body);
        let node = NodeName::parse("worker-7").unwrap();
        let hour = Health::watch(&client, &node).for_each(|_| std::future::ready(()));
        let _ = tokio::time::timeout(Duration::from_hours(1), hour).await;
        assert!(asked.load(Ordering::SeqCst) > 50, "{body}: it was given up");
        cost_little(&asked, body);
    }
}

/// A pause grows from 0.8 to 30 seconds, and a listing comes with each watch.
fn cost_little(asked: &AtomicU32, body: &str) {
    let requests = asked.load(Ordering::SeqCst);
    assert!(requests < 400, "{body}: {requests} requests in an hour");
}
