//! A man in the middle who knows the token and not the key of the certificate authority.

use http::StatusCode;
use join_agent::config::Discovery;
use join_agent::discovery::{self, Cluster, Error};
use join_crds::vocabulary::Reason;
use join_trust::ca_bundle::{CaBundleError, CaTrust};
use join_trust::cluster_info::ClusterInfoError;
use join_trust::endpoint::Endpoint;
use join_trust::jws::JwsError;
use join_trust::kubeconfig::KubeconfigError;
use join_trust::pin::PinSet;

use crate::authority::{Authority, Data, signed, text, token};
use crate::stub::{Stub, Way, config_map, json};

/// The agent's search for its cluster; what it would say in its status if it fails.
pub async fn discover(stub: &Stub, pins: PinSet) -> Result<Cluster, Error> {
    let discovery =
        Discovery::Token { endpoint: stub.endpoint(), token: token(), expires: None, trust: CaTrust::Pinned(pins) };
    discovery::discover(&discovery).await.map(|discovered| discovered.cluster)
}

/// Looks for the cluster by an attacker's stub. Whatever happens, he must not be told a secret.
async fn refused(stub: &Stub, real: &Authority) -> Error {
    let failure = discover(stub, real.pins()).await.unwrap_err();
    assert!(stub.connections() > 0, "the attacker was not even asked: {failure}");
    assert!(!stub.was_told_a_secret(), "{failure}");
    assert!(failure.is_temporary(), "an attacker who goes away must not have stopped the agent: {failure}");
    failure
}

/// The failure is of a call, and says what to compare.
fn is_wrong_authority(failure: &Error) -> bool {
    failure.reason() == Reason::ServerAuthorityUnknown
}

fn why(failure: &Error) -> &ClusterInfoError {
    match failure {
        Error::Untrue { source, .. } => source,
        other => panic!("expected a cluster-info that is not believed, found: {other}"),
    }
}

/// Without an attacker, so that the other tests mean something.
#[tokio::test]
async fn the_real_server_is_believed() {
    let real = Authority::new();
    let stub = Stub::start(|server| vec![Way::cluster_info(&real.server(), signed(&text(server, &[&real])))]).await;
    let cluster = discover(&stub, real.pins()).await.unwrap();
    assert_eq!(cluster.endpoint, stub.endpoint());
    assert_eq!(cluster.ca.pins(), real.pins());
    assert_eq!(stub.connections(), 2, "once unverified, once verified");
}

#[tokio::test]
async fn a_second_authority_beside_the_real_one() {
    let (real, evil) = (Authority::new(), Authority::new());
    for order in [[&real, &evil], [&evil, &real]] {
        let stub = Stub::start(|server| vec![Way::cluster_info(&evil.server(), signed(&text(server, &order)))]).await;
        let failure = refused(&stub, &real).await;
        assert!(is_wrong_authority(&failure), "{failure}");
        assert_eq!(stub.requests(), 1, "the verified connection got as far as a request");
    }
}

#[tokio::test]
async fn an_authority_of_his_own() {
    let (real, evil) = (Authority::new(), Authority::new());
    let stub = Stub::start(|server| vec![Way::cluster_info(&evil.server(), signed(&text(server, &[&evil])))]).await;
    let failure = refused(&stub, &real).await;
    let ClusterInfoError::Ca(CaBundleError::NotPinned { found, expected }) = why(&failure) else { panic!("{failure}") };
    assert_eq!((found, expected), (&evil.pins(), &real.pins()));
}

/// The real text, which is public, from a server with a valid certificate of another authority.
#[tokio::test]
async fn a_valid_certificate_of_another_authority() {
    let real = Authority::new();
    for evil in [Authority::new(), Authority::named("somebody")] {
        let stub = Stub::start(|server| vec![Way::cluster_info(&evil.server(), signed(&text(server, &[&real])))]).await;
        let failure = refused(&stub, &real).await;
        assert!(is_wrong_authority(&failure), "{failure}");
    }
}

#[tokio::test]
async fn a_second_cluster() {
    let (real, evil) = (Authority::new(), Authority::new());
    let stub = Stub::start(|server| {
        let (good, bad) = (text(server, &[&real]), text(server, &[&evil]));
        let second =
            bad.lines().skip_while(|line| !line.starts_with("- ")).take_while(|line| !line.starts_with("contexts"));
        let second: Vec<&str> = second.collect();
        let both = good.replace("contexts:", &format!("{}\ncontexts:", second.join("\n")));
        vec![Way::cluster_info(&evil.server(), signed(&both))]
    })
    .await;
    let failure = refused(&stub, &real).await;
    assert_eq!(*why(&failure), ClusterInfoError::Kubeconfig(KubeconfigError::Clusters { count: 2 }), "{failure}");
}

/// He changes the server in the answer that nobody can verify yet, and passes the verified one on untouched.
#[tokio::test]
async fn a_replaced_server() {
    let (real, evil) = (Authority::new(), Authority::new());
    let genuine = Stub::start(|server| vec![Way::cluster_info(&real.server(), signed(&text(server, &[&real])))]).await;
    let his = Endpoint::parse("192.0.2.66:6443").unwrap();
    let first = Way::cluster_info(&evil.server(), signed(&text(&his, &[&real])));
    let stub = Stub::start(|_| vec![first, Way::PassOn(genuine.address)]).await;
    let failure = refused(&stub, &real).await;
    assert_eq!(*why(&failure), ClusterInfoError::Changed, "{failure}");
    assert!(!genuine.was_told_a_secret());
}

/// An old cluster-info was right once: with an authority that has been taken out since, or with another server.
#[tokio::test]
async fn a_replayed_older_cluster_info() {
    let (old, new) = (Authority::new(), Authority::new());
    let genuine = Stub::start(|server| vec![Way::cluster_info(&new.server(), signed(&text(server, &[&new])))]).await;
    // He has the old authority's key, which may be why it was taken out, and its pin is not in the configuration.
    let stub = Stub::start(|server| vec![Way::cluster_info(&old.server(), signed(&text(server, &[&old])))]).await;
    let failure = refused(&stub, &new).await;
    assert!(matches!(why(&failure), ClusterInfoError::Ca(CaBundleError::NotPinned { .. })), "{failure}");
    // Both were in it for the rotation.
    let both = signed(&text(&genuine.endpoint(), &[&old, &new]));
    let stub =
        Stub::start(|_| vec![Way::cluster_info(&old.server(), both.clone()), Way::PassOn(genuine.address)]).await;
    let failure = refused(&stub, &new).await;
    assert_eq!(*why(&failure), ClusterInfoError::Changed, "{failure}");
    let stub = Stub::start(|_| vec![Way::cluster_info(&old.server(), both)]).await;
    let failure = refused(&stub, &new).await;
    assert!(is_wrong_authority(&failure), "{failure}");
}

/// Discovery by a token never becomes discovery by a file: neither by what an answer names, nor after a failure.
#[tokio::test]
async fn a_downgrade_to_a_file() {
    let (real, evil) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.crt");
    std::fs::write(&file, &real.pem).unwrap();
    for (line, field) in [
        (format!("certificate-authority: {}", file.display()), "certificate-authority"),
        ("insecure-skip-tls-verify: true".to_owned(), "insecure-skip-tls-verify"),
        ("tls-server-name: evil".to_owned(), "tls-server-name"),
        ("proxy-url: https://192.0.2.66".to_owned(), "proxy-url"),
    ] {
        let stub = Stub::start(|server| {
            let plain = text(server, &[&real]);
            let changed = plain.replace("    server:", &format!("    {line}\n    server:"));
            assert_ne!(plain, changed);
            vec![Way::cluster_info(&evil.server(), signed(&changed))]
        })
        .await;
        let failure = refused(&stub, &real).await;
        let ClusterInfoError::Kubeconfig(_) = why(&failure) else { panic!("{failure}") };
        assert!(failure.to_string().contains(field), "{failure}");
        assert_eq!(stub.connections(), 1, "{line}");
    }
}

/// An answer that leads elsewhere is an answer like another.
#[tokio::test]
async fn a_redirection() {
    let (real, evil) = (Authority::new(), Authority::new());
    let other = Stub::start(|server| vec![Way::cluster_info(&real.server(), signed(&text(server, &[&real])))]).await;
    let target = other.endpoint().url();
    for code in [301, 302, 307, 308] {
        let location = format!("{target}/api/v1/namespaces/kube-public/configmaps/cluster-info");
        let answer = move || {
            let mut answer = json(code.try_into().unwrap(), "{}");
            answer.headers_mut().insert("location", location.parse().unwrap());
            answer
        };
        let stub = Stub::start(|_| vec![Way::answer(&evil.server(), answer)]).await;
        let failure = refused(&stub, &real).await;
        assert!(matches!(&failure, Error::Call(error) if error.seen.contains(&code.to_string())), "{failure}");
    }
    assert_eq!(other.connections(), 0, "a redirection was followed");
}

/// Whoever has not even the token.
#[tokio::test]
async fn a_text_without_the_tokens_signature() {
    let (real, evil) = (Authority::new(), Authority::new());
    let forgeries: [fn(&mut Data); 3] = [
        |data| drop(data.remove("jws-kubeconfig-abcdef")),
        |data| drop(data.insert("kubeconfig".to_owned(), "clusters: []\n".to_owned())),
        // `{"alg":"none","kid":"abcdef"}`
        |data| {
            let none = "eyJhbGciOiJub25lIiwia2lkIjoiYWJjZGVmIn0..";
            data.insert("jws-kubeconfig-abcdef".to_owned(), none.to_owned());
        },
    ];
    for forge in forgeries {
        let stub = Stub::start(|server| {
            let mut data = signed(&text(server, &[&real]));
            forge(&mut data);
            vec![Way::cluster_info(&evil.server(), data)]
        })
        .await;
        let failure = refused(&stub, &real).await;
        // Whether the token is known is asked of nobody who has not the authority's certificate.
        let is_mismatch =
            matches!(&failure, Error::Untrue { source: ClusterInfoError::Signature(JwsError::Mismatch { .. }), .. });
        assert!(is_mismatch || is_wrong_authority(&failure), "{failure}");
    }
}

/// With the sealed credentials the machine knows the authority: nothing is asked of a server that cannot be verified.
#[tokio::test]
async fn in_the_way_of_the_second_discovery() {
    let (real, evil) = (Authority::new(), Authority::new());
    let stub = Stub::start(|server| {
        let answer = move |data: Data| move || config_map(&data);
        vec![Way::answer(&evil.server(), answer(signed(&text(server, &[&real, &evil]))))]
    })
    .await;
    let cluster = Cluster { endpoint: stub.endpoint(), ca: real.bundle() };
    let failure = discovery::confirm(&cluster, &token()).await.unwrap_err();
    assert!(is_wrong_authority(&failure), "{failure}");
    assert_eq!((stub.connections(), stub.requests()), (1, 0));
}

/// A 403 as the API server answers it to strangers.
fn hidden(server: &Authority) -> Way {
    Way::answer(&server.server(), || {
        json(StatusCode::FORBIDDEN, r#"{"kind":"Status","apiVersion":"v1","status":"Failure","code":403}"#)
    })
}

/// Where strangers may not read cluster-info, the bearer of the request's own token does.
#[tokio::test]
async fn a_cluster_info_that_is_hidden_from_strangers() {
    let real = Authority::new();
    let stub =
        Stub::start(|server| vec![hidden(&real), Way::cluster_info(&real.server(), signed(&text(server, &[&real])))])
            .await;
    let cluster = Cluster { endpoint: stub.endpoint(), ca: real.bundle() };
    let confirmed = discovery::confirm(&cluster, &token()).await.unwrap();
    assert_eq!(confirmed.ca.pins(), real.pins());
    assert!(stub.was_told_a_secret());
}

/// Only a server of the cluster's own authority gets to see the token, whatever it answered before.
#[tokio::test]
async fn a_cluster_info_that_is_hidden_by_an_attacker() {
    let (real, evil) = (Authority::new(), Authority::new());
    for first in [hidden(&evil), hidden(&real)] {
        let stub = Stub::start(|_| vec![first, hidden(&evil)]).await;
        let cluster = Cluster { endpoint: stub.endpoint(), ca: real.bundle() };
        let failure = discovery::confirm(&cluster, &token()).await.unwrap_err();
        assert!(is_wrong_authority(&failure), "{failure}");
        assert!(stub.connections() > 0 && !stub.was_told_a_secret(), "{failure}");
    }
}

/// An API server that has just started does not know the token yet, and says 401 to its bearer.
#[tokio::test]
async fn a_hidden_cluster_info_and_a_token_that_is_not_known() {
    let real = Authority::new();
    let unknown = Way::answer(&real.server(), || json(StatusCode::UNAUTHORIZED, "{}"));
    let stub = Stub::start(|_| vec![unknown]).await;
    let cluster = Cluster { endpoint: stub.endpoint(), ca: real.bundle() };
    let failure = discovery::confirm(&cluster, &token()).await.unwrap_err();
    assert_eq!((failure.reason(), failure.is_temporary()), (Reason::CredentialsRefused, true), "{failure}");
}
