//! Answers that are too large, too many or too slow.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use join_agent::discovery::Error;
use join_crds::vocabulary::Reason;
use join_trust::cluster_info::ClusterInfoError;
use join_trust::jws::JwsError;
use join_trust::kubeconfig::KubeconfigError;

use crate::authority::{Authority, signed, text, token};
use crate::between::discover;
use crate::stub::{Stub, Way, config_map, flood, json};

/// As many tokens as a mass join has: their signatures make 1.1 MB, more than an object in etcd can have.
#[tokio::test]
async fn ten_thousand_entries_are_read() {
    let real = Authority::new();
    let stub = Stub::start(|server| {
        let mut data = signed(&text(server, &[&real]));
        let signature = data[&join_trust::jws::data_key(token().id())].clone();
        data.extend((0..10_000).map(|number| (format!("jws-kubeconfig-{number:06}"), signature.clone())));
        vec![Way::cluster_info(&real.server(), data)]
    })
    .await;
    assert_eq!(discover(&stub, real.pins()).await.unwrap().ca.pins(), real.pins());
}

#[tokio::test]
async fn a_text_of_more_than_1_mib_is_not_parsed() {
    let real = Authority::new();
    let stub = Stub::start(|server| {
        let mut data = signed(&text(server, &[&real]));
        let long = format!("{}#{}", data["kubeconfig"], "x".repeat(1024 * 1024));
        data.insert("kubeconfig".to_owned(), long);
        vec![Way::cluster_info(&real.server(), data)]
    })
    .await;
    let failure = discover(&stub, real.pins()).await.unwrap_err();
    let Error::Untrue { source: ClusterInfoError::Signature(JwsError::PayloadSize { length }), .. } = failure else {
        panic!("{failure}");
    };
    assert!(length > 1024 * 1024);
}

/// An answer without an end is cut off at 2 MiB.
#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let real = Authority::new();
    let stub = Stub::start(|_| vec![Way::answer(&real.server(), flood)]).await;
    let failure = discover(&stub, real.pins()).await.unwrap_err();
    assert!(failure.to_string().contains("length limit exceeded"), "{failure}");
}

/// Nothing is unpacked: a compressed answer of a few bytes could be of any size.
#[tokio::test]
async fn a_compressed_answer_is_not_unpacked() {
    let real = Authority::new();
    let stub = Stub::start(|server| {
        let data = signed(&text(server, &[&real]));
        let object = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}, "data": data});
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(object.to_string().as_bytes()).unwrap();
        let packed = packed.finish().unwrap();
        let answer = move || {
            let mut answer = json(http::StatusCode::OK, packed.clone());
            answer.headers_mut().insert("content-encoding", http::HeaderValue::from_static("gzip"));
            answer
        };
        vec![Way::answer(&real.server(), answer)]
    })
    .await;
    let failure = discover(&stub, real.pins()).await.unwrap_err();
    assert!(failure.to_string().contains("the answer is not read"), "{failure}");
}

/// Signed by somebody who has the token: a few hundred bytes that stand for millions of values, and a depth that would
/// end a recursive parser.
#[tokio::test]
async fn yaml_bombs_are_refused() {
    let real = Authority::new();
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let inner = vec![format!("*a{}", level - 1); 10].join(", ");
        laughs = format!("{laughs}a{level}: &a{level} [{inner}]\n");
    }
    let deep = format!("clusters: {}", "[".repeat(500_000));
    let deep_maps = format!("clusters: {}", "{a: ".repeat(100_000));
    let many = format!("clusters: [{}]", "a, ".repeat(300_000));
    for bomb in [laughs, deep, deep_maps, many] {
        let data = signed(&bomb);
        let stub = Stub::start(|_| vec![Way::answer(&real.server(), move || config_map(&data))]).await;
        let failure = discover(&stub, real.pins()).await.unwrap_err();
        let Error::Untrue { source: ClusterInfoError::Kubeconfig(KubeconfigError::Yaml { .. }), .. } = failure else {
            panic!("{failure}");
        };
    }
}

/// Whoever accepts the connection and then takes his time holds the agent up for ten seconds, and no longer.
#[tokio::test]
async fn a_slow_server_is_given_up() {
    let real = Authority::new();
    let ways = [
        Way::Silence,
        Way::Drip(real.server(), "HTTP/1.1 200 OK\r\nx: "),
        Way::Drip(real.server(), "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n{"),
    ];
    let tries = ways.map(|way| async {
        let stub = Stub::start(|_| vec![way]).await;
        let found = tokio::time::timeout(Duration::from_mins(2), discover(&stub, real.pins())).await;
        let failure = found.expect("the agent is held up").unwrap_err();
        assert!(failure.is_temporary());
        failure
    });
    for failure in futures::future::join_all(tries).await {
        assert_eq!(failure.reason(), Reason::ConnectionTimedOut, "{failure}");
    }
}
