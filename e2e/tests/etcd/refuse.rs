//! What is refused, and by whom.

use std::time::Duration;

use join_agent::etcd::{Cause, Error, Failure, Own};
use libtest_mimic::Failed;
use tokio::time::Instant;

use super::block_on;
use super::certificates::{Authority, ForClient};
use super::cluster::{Cluster, deadline};

pub fn before_anything_is_changed() -> Result<(), Failed> {
    let (cluster, _first) = Cluster::of(5, "etcd-refused", 1)?;
    block_on(async {
        let mut membership = cluster.connect(&[1]).await?;
        let (peer_url, data_folder) = (cluster.peer_url(2), cluster.data_folder(2));
        let own = Own { name: "one", peer_url: &peer_url, data_folder: &data_folder };
        let taken = membership.join(&own, deadline()).await;
        let first = cluster.peer_url(1);
        assert!(matches!(&taken, Err(Error::NameTaken { peer_url, .. }) if *peer_url == first), "{taken:?}");

        let own = Own { name: "two", peer_url: "ftp://127.0.5.2:2380", data_folder: &data_folder };
        let bad = membership.join(&own, deadline()).await.err().ok_or("no URL of a peer")?;
        assert!(!bad.is_retriable(), "{bad}");
        assert!(bad.to_string().contains("https://<address>:<port>"), "{bad}");

        assert_eq!(cluster.add(&mut membership, 2, deadline()).await?.members().count(), 2);
        Ok(())
    })
}

pub fn who_is_not_trusted_is_told_apart() -> Result<(), Failed> {
    let (cluster, _first) = Cluster::of(6, "etcd-trust", 1)?;
    block_on(async {
        let _ready = cluster.connect(&[1]).await?;
        let (endpoints, other) = (cluster.client_urls(&[1]), Authority::new()?);
        let only = |error: Error| match error {
            Error::Unanswered { failures, .. } if failures.len() == 1 => Ok(failures),
            error => Err(Failed::from(format!("{error:?}"))),
        };

        let server = cluster.connect_with(&endpoints, &other, &cluster.client, deadline()).await;
        let server = only(server.err().ok_or("another authority is believed")?)?;
        assert!(
            matches!(&server[..], [Failure { endpoint, cause: Cause::NotBelieved(_) }] if *endpoint == endpoints[0])
        );

        let client = cluster.connect_with(&endpoints, &cluster.authority, &other.client()?, deadline()).await;
        let client = only(client.err().ok_or("a stranger is let in")?)?;
        assert!(matches!(&client[..], [Failure { cause: Cause::NotAdmitted(_), .. }]), "{client:?}");

        let nobody = ForClient { certificate: String::new(), key: cluster.client.key.clone() };
        let nobody = cluster.connect_with(&endpoints, &cluster.authority, &nobody, deadline()).await.err();
        assert!(matches!(&nobody, Some(Error::Identity(_))), "{nobody:?}");
        Ok(())
    })
}

pub fn who_does_not_answer_is_passed_over() -> Result<(), Failed> {
    let (cluster, first) = Cluster::of(7, "etcd-unanswered", 1)?;
    block_on(async {
        let membership = cluster.connect(&[3, 2, 1]).await?;
        assert_eq!(membership.endpoints(), cluster.client_urls(&[1]));
        drop(first);
        let mut given = Duration::from_millis(100);
        let seen = loop {
            let until = Instant::now() + given;
            let endpoints = cluster.client_urls(&[1, 2]);
            let gone = cluster.connect_with(&endpoints, &cluster.authority, &cluster.client, until).await;
            match gone.err().ok_or("nobody answers")? {
                error @ Error::Deadline { last: Some(_), .. } => break error,
                Error::Deadline { .. } => given *= 2,
                error => return Err(error.into()),
            }
        };
        assert!(seen.is_retriable());
        for endpoint in cluster.client_urls(&[1, 2]) {
            assert!(seen.to_string().contains(&format!("{endpoint}: cannot connect: Connection refused")), "{seen}");
        }
        Ok(())
    })
}
