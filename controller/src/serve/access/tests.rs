use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderValue, Request, Response};
use kube::client::Body;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

/// An API server that knows two tokens, and counts what it is asked.
#[derive(Clone, Default)]
struct Server {
    asked: Arc<AtomicUsize>,
    down: bool,
}

impl Server {
    fn access(&self) -> Access {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect_bytes().await?;
                let body: Value = serde_json::from_slice(&body)?;
                server.asked.fetch_add(1, Ordering::SeqCst);
                let (status, answer) = if server.down { (500, json!({})) } else { (201, respond(&path, body)) };
                let answer = Body::from(serde_json::to_vec(&answer)?);
                Response::builder().status(status).body(answer).map_err(tower::BoxError::from)
            }
        });
        Access::new(Client::new(service, "default"))
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn respond(path: &str, mut body: Value) -> Value {
    body["status"] = match path {
        "/apis/authentication.k8s.io/v1/tokenreviews" => match body["spec"]["token"].as_str() {
            Some("scraper") => json!({"authenticated": true, "user": {
                "username": "system:serviceaccount:monitoring:prometheus", "uid": "u",
                "groups": ["system:serviceaccounts"], "extra": {"k": ["v"]},
            }}),
            Some("visitor") => json!({"authenticated": true, "user": {"username": "system:serviceaccount:a:b"}}),
            _ => json!({"authenticated": false, "error": "invalid bearer token"}),
        },
        "/apis/authorization.k8s.io/v1/subjectaccessreviews" => {
            let expected = json!({
                "user": "system:serviceaccount:monitoring:prometheus", "uid": "u",
                "groups": ["system:serviceaccounts"], "extra": {"k": ["v"]},
                "nonResourceAttributes": {"path": "/metrics", "verb": "get"},
            });
            json!({"allowed": body["spec"] == expected})
        }
        _ => json!(null),
    };
    body
}

fn headers(authorization: &str) -> HeaderMap {
    HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(authorization).unwrap())])
}

#[rstest]
#[case("Basic c2NyYXBlcg==", Refusal::NoToken)]
#[case("Bearer", Refusal::NoToken)]
#[case("Bearer  ", Refusal::NoToken)]
#[case("Bearer stranger", Refusal::Unknown)]
#[case("Bearer visitor", Refusal::Forbidden("system:serviceaccount:a:b".to_owned()))]
#[tokio::test(start_paused = true)]
async fn who_may_not_read_is_told_why(#[case] authorization: &str, #[case] expected: Refusal) {
    let server = Server::default();
    let refusal = server.access().check(&headers(authorization)).await.unwrap_err();
    assert_eq!(refusal, expected);
    assert!(!refusal.to_string().contains("stranger") && !refusal.to_string().contains("visitor"), "{refusal}");
}

#[tokio::test]
async fn a_request_without_a_token_or_with_two_asks_nobody() {
    let server = Server::default();
    assert_eq!(server.access().check(&HeaderMap::new()).await, Err(Refusal::NoToken));
    let mut two = headers("Bearer scraper");
    two.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer visitor"));
    assert_eq!(server.access().check(&two).await, Err(Refusal::NoToken));
    let long = headers(&format!("Bearer {}", "x".repeat(MAX_TOKEN_BYTES + 1)));
    assert_eq!(server.access().check(&long).await, Err(Refusal::Unknown));
    assert_eq!(server.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_right_is_remembered_for_a_minute_and_a_refusal_is_not() {
    let server = Server::default();
    let access = server.access();
    for _ in 0..3 {
        assert_eq!(access.check(&headers("bearer scraper")).await, Ok(()));
    }
    assert_eq!(server.asked(), 2, "one review of the token, one of the right");
    sleep(REMEMBERED).await;
    assert_eq!(access.check(&headers("Bearer scraper")).await, Ok(()));
    assert_eq!(server.asked(), 4);
    for asked in [5, 6] {
        assert_eq!(access.check(&headers("Bearer stranger")).await, Err(Refusal::Unknown));
        assert_eq!(server.asked(), asked);
    }
}

#[tokio::test(start_paused = true)]
async fn strangers_cost_the_api_server_a_bounded_number_of_questions() {
    let server = Server::default();
    let access = server.access();
    let began = Instant::now();
    let checks = (0..20).map(|number| {
        let access = access.clone();
        async move { access.check(&headers(&format!("Bearer stranger-{number}"))).await }
    });
    futures::future::join_all(checks).await;
    let rounds = u32::try_from(20 / MOST_REVIEWS).unwrap();
    assert!(began.elapsed() >= AFTER_REFUSAL * rounds, "{:?}", began.elapsed());
    assert_eq!(server.asked(), 20);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_down_lets_nobody_in() {
    let server = Server { down: true, ..Server::default() };
    let refusal = server.access().check(&headers("Bearer scraper")).await.unwrap_err();
    assert_eq!((refusal.status(), refusal), (StatusCode::SERVICE_UNAVAILABLE, Refusal::Unavailable));
}

#[tokio::test]
async fn what_is_remembered_is_bounded() {
    let access = Server::default().access();
    let now = Instant::now();
    for number in 0..=u8::try_from(MOST_REMEMBERED).unwrap() {
        access.0.remember([number; 32], now + Duration::from_millis(number.into()));
    }
    assert_eq!(access.0.allowed.lock().unwrap().len(), MOST_REMEMBERED);
    assert!(!access.0.remembers(&[0; 32], now), "the oldest makes room");
    assert!(access.0.remembers(&[1; 32], now));
}
