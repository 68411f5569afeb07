//! Taking the machine's member out of etcd.
//!
//! The other members are asked first. This machine's own, which may run still, knows them where all those that were noted
//! are gone; it answers before it ends.

use std::time::Duration;

use http::Uri;
use join_control_plane::Member;
use tokio::time::Instant;

use super::plan::Leaving;
use crate::etcd::{self, Credentials, Membership, Which};
use crate::journal::{EtcdMember, Root};

/// How long etcd may take to answer, and then to remove the member; kubeadm's `EtcdAPICall`.
const TIMEOUT: Duration = Duration::from_mins(2);

/// The machine's member stays in etcd.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate or its key cannot be read.
    #[error(
        "failed to read {path}, with which etcd is asked to remove member {peer_url}: {source}; expected it as the join has \
         written it. {KEEP}"
    )]
    Certificate {
        /// The file.
        path: String,
        /// The member.
        peer_url: String,
        /// Why.
        source: std::io::Error,
    },
    /// Nobody has answered, or etcd has refused.
    #[error("failed to remove member {peer_url} from etcd, asked at {}: {source}. {}", asked.join(", "), way_on(source))]
    Membership {
        /// The member.
        peer_url: String,
        /// Whom was asked.
        asked: Vec<String>,
        /// What was seen.
        source: Box<etcd::Error>,
    },
}

/// What to do where etcd is not to be asked from this machine.
const KEEP: &str = "The kubelet and its files are as they were. If it cannot be mended, reset with --keep-etcd-member, and \
                    remove the member with `etcdctl member remove` on another control plane";

fn way_on(error: &etcd::Error) -> &'static str {
    match error {
        etcd::Error::LastVotingMember(_) => {
            "If the cluster shall end with this machine, reset with --keep-etcd-member: its data are removed then"
        }
        _ => KEEP,
    }
}

/// Removes the member; that it is gone already is as good.
pub async fn leave(root: &Root, leaving: &Leaving) -> Result<(), Error> {
    let Leaving { member, certificates } = leaving;
    let Credentials { ca, certificate, key } = Credentials::read(certificates, |path| root.place(path))
        .map_err(|(path, source)| Error::Certificate { path, peer_url: member.peer_url.clone(), source })?;
    let asked = asked(member);
    let deadline = Instant::now() + TIMEOUT;
    let left = async {
        let mut etcd = Membership::connect(&asked, ca.as_bytes(), certificate.as_bytes(), &key, deadline).await?;
        etcd.leave(Which::PeerUrl(&member.peer_url), deadline).await
    };
    left.await.map_err(|source| Error::Membership {
        peer_url: member.peer_url.clone(),
        asked: asked.clone(),
        source: Box::new(source),
    })
}

/// Whom to ask, in this order.
fn asked(member: &EtcdMember) -> Vec<String> {
    let host = |url: &str| url.parse::<Uri>().ok().and_then(|url| url.host().map(str::to_owned));
    let own = host(&member.peer_url);
    let others = member.endpoints.iter().filter(|url| own.is_none() || host(url) != own);
    let own = own.iter().map(|host| format!("https://{host}:{}", Member::ETCD_CLIENT_PORT));
    others.cloned().chain(own).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://10.0.0.2:2380", &["https://10.0.0.1:2379"], &["https://10.0.0.1:2379", "https://10.0.0.2:2379"])]
    #[case(
        "https://10.0.0.2:2380",
        &["https://10.0.0.2:2379", "https://10.0.0.20:2379"],
        &["https://10.0.0.20:2379", "https://10.0.0.2:2379"]
    )]
    #[case("https://[fd00::2]:2380", &["https://[fd00::2]:2379"], &["https://[fd00::2]:2379"])]
    #[case("no URL", &["https://10.0.0.1:2379"], &["https://10.0.0.1:2379"])]
    fn the_others_are_asked_before_the_own_one(
        #[case] peer_url: &str,
        #[case] endpoints: &[&str],
        #[case] expected: &[&str],
    ) {
        let endpoints = endpoints.iter().map(|url| (*url).to_owned()).collect();
        assert_eq!(asked(&EtcdMember { peer_url: peer_url.to_owned(), endpoints }), expected);
    }
}
