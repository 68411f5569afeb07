//! etcd's members, of which a control plane with its own etcd is to be one.
//!
//! ```text
//!                                   ┌───────── another member is a learner, too few run: again after a pause
//!                                   ▼                         │
//!  join ──▶ listed? ── no ──▶ add as learner ── added ──▶ listed, not started ──▶ the list for etcd's manifest
//!              │                    ▲
//!              │ started, and no data here
//!              └──▶ nobody answers there? ──▶ remove
//!
//!  promote ──▶ started? ──▶ learner? ──▶ promote ──▶ voting ──▶ most answer, ours among them
//! ```
//!
//! As in kubeadm (`util/etcd/etcd.go`, `phases/etcd/local.go`) a member is known by its peer URL, is added as a learner,
//! and what is done already is found by listing before each step. So both can be called again after a kill at any instant.
//!
//! Other than kubeadm:
//! - **A machine that was installed anew** under its old address is still listed as a member that has been started. Without
//!   the data of that member etcd ends as soon as the leader tells it of the log that it has lost (raft: "tocommit is out of
//!   range"), and under another leader it would vote a second time. kubeadm lists the peer URL, skips the addition and waits
//!   for that etcd; here the old member is removed and added anew, once nobody answers in its name. What an etcd that was
//!   started so has left in the folder cannot be told from data: then the machine has to be reset before.
//! - **Data of a membership that has ended** are refused before a member is added that could not start with them.
//! - **A name that another member has** is refused before: etcd takes a list with one name twice for one member.
//! - **The last voting member** is not removed.
//! - **The list of members** is written anew until etcd has begun its log: one that another machine has left or joined since
//!   would keep it out.
//! - A member whose voting fails is waited for until the caller's deadline, not for a number of tries.

mod client;
mod credentials;
mod decision;
mod error;
mod messages;
mod tries;

use std::path::Path;

use futures::future::join_all;
use secrecy::SecretString;
use tokio::time::Instant;
use tracing::info;

use self::client::{Client, Endpoint, Trouble};
pub use self::credentials::{CLIENT_CRT, Credentials};
use self::decision::{Data, Progress, Step};
pub use self::decision::{InitialCluster, Own, Which};
pub use self::error::{Cause, Error, Failure, Refusal};
use self::messages::{
    Member, MemberAddRequest, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest, StatusRequest,
    StatusResponse,
};
use self::tries::{Tries, Try};

/// etcd's members, looked at and changed through those that answer.
pub struct Membership {
    client: Client,
}

impl Membership {
    /// Connects to etcd through endpoints of which at least one answers, and learns the others from it.
    ///
    /// `ca_pem` is etcd's own authority (`etcd/ca.crt`), certificate and key are for one of its clients, as
    /// `etcd/healthcheck-client`.
    ///
    /// # Errors
    /// When certificates or endpoints cannot be used, at once; when nobody answers until the deadline.
    pub async fn connect(
        endpoints: &[String],
        ca_pem: &[u8],
        client_certificate_pem: &[u8],
        client_key_pem: &SecretString,
        deadline: Instant,
    ) -> Result<Self, Error> {
        let client = Client::new(endpoints, ca_pem, client_certificate_pem, client_key_pem)?;
        let mut made = Self { client };
        let mut tries = Tries::until(deadline, "etcd to answer");
        while tries.once(async { made.members().await.map(Try::Done) }).await?.is_none() {}
        Ok(made)
    }

    /// Where etcd is asked: the client URLs of the voting members, as they were listed last.
    pub fn endpoints(&self) -> Vec<String> {
        self.client.endpoints().collect()
    }

    /// Makes this machine a member that can be started, and returns the list for its `--initial-cluster`, with
    /// `--initial-cluster-state=existing`. What another call of it has done, it goes on with.
    ///
    /// etcd compares the list with its members when it is started for the first time. While this machine's member is a
    /// learner nobody else can add one; when etcd was not started although it could have been, call this again and write the
    /// manifest anew.
    ///
    /// # Errors
    /// When this machine cannot be a member as things are, at once; when etcd refuses until the deadline
    /// ([`Error::refusal`] says why), for example because another machine is joining.
    pub async fn join(&mut self, own: &Own<'_>, deadline: Instant) -> Result<InitialCluster, Error> {
        let mut tries = Tries::until(deadline, "etcd to take this machine as a member");
        loop {
            if let Some(initial_cluster) = tries.once(self.join_once(own)).await? {
                return Ok(initial_cluster);
            }
        }
    }

    /// Waits until this machine's etcd, which has been started, is a member that votes in a healthy cluster; promotes it
    /// when it has received what the others have.
    ///
    /// # Errors
    /// When there is no such member, at once; when it is not started, not promoted or not well until the deadline.
    pub async fn promote(&mut self, peer_url: &str, deadline: Instant) -> Result<(), Error> {
        let mut tries = Tries::until(deadline, "this machine's member of etcd to vote");
        while tries.once(self.promote_once(peer_url)).await?.is_none() {}
        Ok(())
    }

    /// Removes a member, for reset. That it is not there is success.
    ///
    /// # Errors
    /// When it is the last one that votes, or a name is of several, at once; when etcd refuses until the deadline.
    pub async fn leave(&mut self, which: Which<'_>, deadline: Instant) -> Result<(), Error> {
        let mut tries = Tries::until(deadline, "etcd to remove the member");
        while tries.once(self.leave_once(which)).await?.is_none() {}
        Ok(())
    }

    async fn join_once(&mut self, own: &Own<'_>) -> Result<Try<InitialCluster>, Error> {
        let members = self.members().await?;
        match decision::next(&members, own, data(own.data_folder)?)? {
            Step::Start(initial_cluster) => return Ok(Try::Done(initial_cluster)),
            Step::Add => {
                let peer_urls = vec![own.peer_url.to_owned()];
                self.client.ask(MemberAddRequest { peer_urls, is_learner: true }).await?;
                info!(peer_url = own.peer_url, "added as a learner to etcd");
            }
            Step::Replace(member) => {
                self.ensure_silent(&member, own).await?;
                self.remove(member.id).await?;
                info!(peer_url = own.peer_url, "removed the member of etcd whose data are gone");
            }
        }
        Ok(Try::Again)
    }

    async fn promote_once(&mut self, peer_url: &str) -> Result<Try<()>, Error> {
        let members = self.members().await?;
        match decision::progress(&members, peer_url)? {
            Progress::Promote(id) => {
                let promoted = self.client.ask(MemberPromoteRequest { id }).await.map(drop);
                tolerate(promoted, Refusal::NotLearner)?;
                Ok(Try::Again)
            }
            Progress::Health(id) => {
                let voting: Vec<_> = members.into_iter().filter(|member| !member.is_learner).collect();
                let statuses = join_all(voting.iter().map(|member| self.status(member))).await;
                let answers: Vec<_> = voting.into_iter().zip(statuses).collect();
                decision::judge(id, &answers).map(Try::Done)
            }
        }
    }

    async fn leave_once(&mut self, which: Which<'_>) -> Result<Try<()>, Error> {
        match decision::leaving(&self.members().await?, which)? {
            None => Ok(Try::Done(())),
            Some(id) => self.remove(id).await.map(|()| Try::Again),
        }
    }

    /// Lists the members, and asks those of them from then on that answer questions.
    async fn members(&mut self) -> Result<Vec<Member>, Error> {
        let members = self.client.ask(MemberListRequest { linearizable: true }).await?.members;
        let endpoints = decision::client_urls(&members).filter_map(|url| Endpoint::parse(url).ok());
        self.client.set_endpoints(endpoints.collect());
        Ok(members)
    }

    async fn remove(&self, id: u64) -> Result<(), Error> {
        tolerate(self.client.ask(MemberRemoveRequest { id }).await.map(drop), Refusal::NotFound)
    }

    /// How a member is, or what was seen instead.
    async fn status(&self, member: &Member) -> Result<StatusResponse, String> {
        let mut seen = "it has not been started".to_owned();
        for endpoint in member.client_urls.iter().filter_map(|url| Endpoint::parse(url).ok()) {
            match self.client.ask_at(&endpoint, StatusRequest {}).await {
                Ok(status) => return Ok(status),
                Err(Trouble::NoAnswer(cause)) => seen = cause.to_string(),
                Err(Trouble::Refused(refusal)) => seen = refusal.to_string(),
            }
        }
        Err(seen)
    }

    /// Makes sure that a member whose data are not here is not somewhere else.
    async fn ensure_silent(&self, member: &Member, own: &Own<'_>) -> Result<(), Error> {
        let answered = self.status(member).await.ok().and_then(|status| status.header);
        match answered {
            Some(header) if header.member_id == member.id => Err(Error::StillRuns {
                peer_url: own.peer_url.to_owned(),
                endpoint: member.client_urls.join(", "),
                folder: own.data_folder.to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

/// What has been done already by another call is done.
fn tolerate(outcome: Result<(), Error>, done: Refusal) -> Result<(), Error> {
    match outcome {
        Err(Error::Refused { refusal, .. }) if refusal == done => Ok(()),
        outcome => outcome,
    }
}

/// Whether there are data of etcd in a folder. It makes `member` there before it is anything to the cluster, so that an
/// etcd which keeps its log elsewhere (`--wal-dir`) is seen too.
fn data(folder: &Path) -> Result<Data, Error> {
    let member = folder.join("member");
    match std::fs::read_dir(&member) {
        Ok(mut entries) => Ok(if entries.next().is_some() { Data::Some } else { Data::None }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Data::None),
        Err(source) => Err(Error::Data { folder: member, source }),
    }
}

/// Whether the etcd of a folder has begun its log (`member/wal`). It does so once it has compared the list of members that it
/// was started with to what the others say, and does not look at the list from then on (`bootstrap` in
/// server/etcdserver/bootstrap.go); `member` is there before.
pub fn has_begun(data_folder: &Path) -> bool {
    data_folder.join("member/wal").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_are_what_etcd_has_left() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(data(&folder.path().join("none")).unwrap(), Data::None);
        assert_eq!(data(folder.path()).unwrap(), Data::None);
        std::fs::create_dir(folder.path().join("member")).unwrap();
        assert_eq!(data(folder.path()).unwrap(), Data::None);
        std::fs::create_dir(folder.path().join("member/snap")).unwrap();
        assert_eq!(data(folder.path()).unwrap(), Data::Some);
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(matches!(data(&file), Err(Error::Data { .. })));
    }

    /// A join runs in a task of its own as well.
    #[test]
    fn what_is_waited_for_may_change_its_thread() {
        fn movable<T: Send>(_: impl FnOnce(&'static mut Membership, &'static Own<'static>) -> T) {}
        movable(|membership, own| membership.join(own, Instant::now()));
        movable(|membership, own| membership.promote(own.peer_url, Instant::now()));
        movable(|membership, own| membership.leave(Which::Name(own.name), Instant::now()));
    }
}
