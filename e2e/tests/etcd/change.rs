//! Members that come and go.

use std::time::Duration;

use futures::future::try_join;
use join_agent::etcd::{Error, Own, Refusal, Which, has_begun};
use libtest_mimic::Failed;
use tokio::time::Instant;

use super::block_on;
use super::cluster::{Cluster, deadline};

/// Calls again and again, each time given twice as long as before, until one is not cut off; returns what came of it.
async fn cut_off<T>(mut call: impl AsyncFnMut(Instant) -> Result<T, Error>) -> Result<T, Error> {
    let mut given = Duration::from_millis(1);
    loop {
        match call(Instant::now() + given).await {
            Err(Error::Deadline { .. }) => given *= 2,
            outcome => return outcome,
        }
    }
}

pub fn killed_at_any_instant_it_goes_on() -> Result<(), Failed> {
    let (cluster, _first) = Cluster::of(1, "etcd-killed", 1)?;
    block_on(async {
        // What is cut off at a deadline is as far as what is killed; each time another agent goes on.
        let added = cut_off(async |until| {
            let mut membership = cluster.connect(&[1]).await?;
            cluster.add(&mut membership, 2, until).await
        });
        let added = added.await?;
        let mut entries: Vec<_> = added.members().map(|(name, url)| format!("{name}={url}")).collect();
        entries.sort_unstable();
        assert_eq!(entries, ["one=https://127.0.1.1:2380", "two=https://127.0.1.2:2380"]);
        let mut membership = cluster.connect(&[1]).await?;
        assert_eq!(cluster.add(&mut membership, 2, deadline()).await?, added);
        assert_eq!(membership.endpoints(), cluster.client_urls(&[1]), "a learner is asked");

        let peer_url = cluster.peer_url(2);
        let not_started = membership.promote(&peer_url, Instant::now() + Duration::from_millis(300)).await;
        assert!(matches!(&not_started, Err(Error::Deadline { .. })), "{not_started:?}");

        // etcd itself is killed as soon as it runs, and started again.
        drop(cluster.start(2, &added)?);
        let _second = cluster.start(2, &added)?;
        cut_off(async |until| cluster.connect(&[1]).await?.promote(&peer_url, until).await).await?;
        assert_eq!(cluster.voting(2).await?, cluster.client_urls(&[1, 2]));

        // All of it once more changes nothing.
        let mut membership = cluster.connect(&[1]).await?;
        assert_eq!(cluster.add(&mut membership, 2, deadline()).await?.members().count(), 2);
        membership.promote(&peer_url, deadline()).await?;
        assert_eq!(cluster.voting(1).await?, cluster.client_urls(&[1, 2]));
        Ok(())
    })
}

pub fn two_at_once_and_one_that_was_abandoned() -> Result<(), Failed> {
    let (cluster, _first) = Cluster::of(2, "etcd-two-at-once", 1)?;
    block_on(async {
        // The second machine is killed between its addition and the start of its etcd.
        let abandoned = cluster.add(&mut cluster.connect(&[1]).await?, 2, deadline()).await?;
        let mut third = cluster.connect(&[1]).await?;
        let mut given = Duration::from_millis(100);
        let refused = loop {
            let refused = cluster.add(&mut third, 3, Instant::now() + given).await.err().ok_or("two learners")?;
            assert!(refused.is_retriable(), "{refused}");
            match refused.refusal() {
                Some(_) => break refused,
                None => given *= 2,
            }
        };
        assert_eq!(refused.refusal(), Some(Refusal::TooManyLearners), "{refused}");
        assert!(refused.to_string().contains(&cluster.client_url(1)), "{refused}");

        let (_second, _third) = try_join(Box::pin(cluster.join(2, &[1])), Box::pin(cluster.join(3, &[1]))).await?;
        assert_eq!(cluster.voting(3).await?, cluster.client_urls(&[1, 2, 3]));
        assert_eq!(abandoned.members().count(), 2);
        Ok(())
    })
}

pub fn a_machine_installed_anew_is_a_new_member() -> Result<(), Failed> {
    let (cluster, mut running) = Cluster::of(3, "etcd-installed-anew", 3)?;
    block_on(async {
        let mut membership = cluster.connect(&[1, 2, 3]).await?;
        membership.promote(&cluster.peer_url(3), deadline()).await?;

        // Somebody says that the disk is empty while the member runs.
        let (elsewhere, peer_url) = (tempfile::tempdir()?, cluster.peer_url(3));
        let own = Own { name: "three", peer_url: &peer_url, data_folder: elsewhere.path() };
        let runs = membership.join(&own, deadline()).await;
        assert!(matches!(&runs, Err(Error::StillRuns { .. })), "{runs:?}");
        assert_eq!(cluster.voting(1).await?, cluster.client_urls(&[1, 2, 3]));

        drop(running.pop());
        std::fs::remove_dir_all(cluster.data_folder(3))?;
        let _third = cluster.join(3, &[3, 1, 2]).await?;
        assert_eq!(cluster.voting(3).await?, cluster.client_urls(&[1, 2, 3]));
        Ok(())
    })
}

pub fn removed_down_to_the_last_one() -> Result<(), Failed> {
    let (cluster, _running) = Cluster::of(4, "etcd-removed", 3)?;
    block_on(async {
        // Through itself, as a machine does that is reset.
        let mut membership = cluster.connect(&[3]).await?;
        membership.leave(Which::Name("three"), deadline()).await?;
        membership.leave(Which::Name("three"), deadline()).await?;
        assert_eq!(cluster.voting(1).await?, cluster.client_urls(&[1, 2]));

        let data_are_left = cluster.add(&mut membership, 3, deadline()).await;
        assert!(matches!(&data_are_left, Err(Error::ForeignData { .. })), "{data_are_left:?}");

        let second = cluster.peer_url(2);
        membership.leave(Which::PeerUrl(&second), deadline()).await?;
        membership.leave(Which::PeerUrl(&second), deadline()).await?;
        assert_eq!(cluster.voting(1).await?, cluster.client_urls(&[1]));

        let last = membership.leave(Which::Name("one"), deadline()).await;
        assert!(matches!(&last, Err(Error::LastVotingMember(url)) if *url == cluster.peer_url(1)), "{last:?}");
        let gone = membership.promote(&second, deadline()).await;
        assert!(matches!(&gone, Err(Error::NotAMember(url)) if *url == second), "{gone:?}");
        assert_eq!(cluster.voting(1).await?, cluster.client_urls(&[1]));
        Ok(())
    })
}

/// Another machine leaves between the addition of one and the start of its etcd, which ends with a list that is not right any
/// more. What it leaves behind must not pass for an etcd that needs no list.
pub fn members_change_before_its_first_start() -> Result<(), Failed> {
    let (cluster, _running) = Cluster::of(8, "etcd-members-change", 2)?;
    block_on(async {
        let mut membership = cluster.connect(&[1]).await?;
        let old = cluster.add(&mut membership, 3, deadline()).await?;
        membership.leave(Which::Name("two"), deadline()).await?;
        cluster.start(3, &old)?.wait()?;
        assert!(cluster.data_folder(3).join("member").exists());
        assert!(!has_begun(&cluster.data_folder(3)), "it would be started with the old list for ever");

        let new = cluster.add(&mut membership, 3, deadline()).await?;
        assert_ne!(new, old);
        let _third = cluster.start(3, &new)?;
        membership.promote(&cluster.peer_url(3), deadline()).await?;
        assert!(has_begun(&cluster.data_folder(3)));
        assert_eq!(cluster.voting(3).await?, cluster.client_urls(&[1, 3]));
        Ok(())
    })
}
