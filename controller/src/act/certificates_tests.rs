use http::{Method, Request, Response, StatusCode};
use kube::client::Body;
use rstest::rstest;

use super::*;

const CSR: &str = "csr-1";

fn decided() -> NodeJoinRequest {
    crate::plan::tests::request("worker-7", &json!({}))
}

/// The certificate request that was decided.
fn csr() -> CsrEntry {
    let object = json!({
        "metadata": {"name": CSR, "uid": "u", "resourceVersion": "7", "creationTimestamp": "2026-11-29T12:00:00Z"},
        "spec": {"signerName": "kubernetes.io/kube-apiserver-client-kubelet", "request": "", "usages": []},
    });
    CsrEntry::read(serde_json::from_value(object).unwrap()).unwrap()
}

/// An API server that has this request, or none, and takes every approval. Returns what came of an attempt to approve, and
/// the approvals.
async fn attempt(seen: Option<NodeJoinRequest>) -> (Result<(), ActError>, Vec<String>) {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let service = tower::service_fn(move |asked: Request<Body>| {
        let (sender, seen) = (sender.clone(), seen.clone());
        async move {
            let path = asked.uri().path().to_owned();
            let (status, body) = match (asked.method(), seen) {
                (&Method::GET, Some(seen)) if path.ends_with("/nodejoinrequests/worker-7") => {
                    (StatusCode::OK, serde_json::to_vec(&seen)?)
                }
                (&Method::GET, _) => (
                    StatusCode::NOT_FOUND,
                    serde_json::to_vec(
                        &json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}),
                    )?,
                ),
                _ => {
                    sender.send(path).map_err(|_| "nobody listens")?;
                    (StatusCode::OK, serde_json::to_vec(&CertificateSigningRequest::default())?)
                }
            };
            Response::builder().status(status).body(Body::from(body)).map_err(tower::BoxError::from)
        }
    });
    let certificates = Certificates::new(Client::new(service, "default"));
    let outcome = certificates.approve(&csr(), &decided(), "sha256:00", &Shared::default()).await;
    receiver.close();
    let mut approvals = Vec::new();
    while let Some(path) = receiver.recv().await {
        approvals.push(path);
    }
    (outcome, approvals)
}

#[tokio::test]
async fn what_still_stands_is_approved() {
    let (outcome, approvals) = attempt(Some(decided())).await;
    outcome.unwrap();
    assert_eq!(approvals, [format!("/apis/certificates.k8s.io/v1/certificatesigningrequests/{CSR}/approval")]);
}

/// The watch of requests may be behind that of certificate requests.
#[rstest]
#[case::deleted(None, "it was deleted")]
#[case::made_again(Some(json!({"uid": "another"})), "another one was made")]
#[case::being_deleted(Some(json!({"deletionTimestamp": "2026-11-29T12:00:00Z"})), "being deleted")]
#[case::changed(Some(json!({"generation": 2})), "spec was changed")]
#[tokio::test]
async fn what_does_not_stand_any_more_is_not_approved(#[case] metadata: Option<Value>, #[case] expected: &str) {
    let seen = metadata.map(|changes| {
        let mut seen = serde_json::to_value(decided()).unwrap();
        seen["metadata"].as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        serde_json::from_value(seen).unwrap()
    });
    let (outcome, approvals) = attempt(seen).await;
    let error = outcome.unwrap_err();
    assert!(error.to_string().contains(expected), "{error}");
    assert!(error.is_race(), "the next visit looks again");
    assert_eq!(approvals, Vec::<String>::new());
}

/// While a Node is drained for the deletion of its request, its kubelet goes on.
#[test]
fn a_deletion_that_was_known_is_no_change() {
    let mut request = decided();
    request.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2026-11-29T12:00:00Z")).unwrap());
    assert_eq!(change_since(&request, Some(&request)), None);
}
