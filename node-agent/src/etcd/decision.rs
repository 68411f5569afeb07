//! What comes next, from etcd's members as they are listed and from what this machine has. No IO.

use std::fmt;
use std::path::Path;

use super::error::Error;
use super::messages::{Member, StatusResponse};

/// Which member this machine is to be.
#[derive(Debug, Clone, Copy)]
pub struct Own<'a> {
    /// Its name: the node's.
    pub name: &'a str,
    /// Where it listens for the other members, `https://<address>:2380`. It is what a member is known by.
    pub peer_url: &'a str,
    /// Where its etcd keeps its data (`--data-dir`), on this machine.
    pub data_folder: &'a Path,
}

/// Whether there are data of etcd on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// There are none: etcd has never been started, or the disk is another one.
    None,
    /// A member has been started with them.
    Some,
}

/// The next step of a join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// To add a learner.
    Add,
    /// To remove this machine's member of before, whose data are gone, and then to add it anew: etcd cannot run as
    /// a member that has been started with an empty folder.
    Replace(Member),
    /// To start etcd.
    Start(InitialCluster),
}

/// The members, for etcd's `--initial-cluster`: each peer URL with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitialCluster(Vec<(String, String)>);

impl InitialCluster {
    /// Name and peer URL of each.
    pub fn members(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, url)| (name.as_str(), url.as_str()))
    }

    fn of(members: &[Member], own: &Own<'_>) -> Self {
        let entries = members.iter().flat_map(|member| {
            let name = match member.name.as_str() {
                _ if is_own(member, own.peer_url) => own.name.to_owned(),
                // It has been added and not been started: kubeadm names it so too.
                "" => format!("{:x}", member.id),
                name => name.to_owned(),
            };
            member.peer_urls.iter().map(move |url| (name.clone(), url.clone()))
        });
        Self(entries.collect())
    }
}

/// As the flag has it.
impl fmt::Display for InitialCluster {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries: Vec<_> = self.0.iter().map(|(name, url)| format!("{name}={url}")).collect();
        formatter.write_str(&entries.join(","))
    }
}

/// What is to be done until this machine's etcd can be started.
pub fn next(members: &[Member], own: &Own<'_>, data: Data) -> Result<Step, Error> {
    let others = members.iter().filter(|member| !is_own(member, own.peer_url));
    if let Some(other) = others.into_iter().find(|member| member.name == own.name) {
        let peer_url = other.peer_urls.join(", ");
        return Err(Error::NameTaken { name: own.name.to_owned(), peer_url, id: other.id });
    }
    match (find(members, own.peer_url), data) {
        (None, Data::None) => Ok(Step::Add),
        (None, Data::Some) => {
            Err(Error::ForeignData { folder: own.data_folder.to_owned(), peer_url: own.peer_url.to_owned() })
        }
        (Some(member), Data::None) if is_started(member) => {
            refuse_last(members, member)?;
            Ok(Step::Replace(member.clone()))
        }
        (Some(_), _) => Ok(Step::Start(InitialCluster::of(members, own))),
    }
}

/// What is left to be done once this machine's etcd has been started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// To promote the learner of this identifier.
    Promote(u64),
    /// To look how the cluster is, in which the member of this identifier votes.
    Health(u64),
}

/// What is to be done until this machine's member votes.
pub fn progress(members: &[Member], peer_url: &str) -> Result<Progress, Error> {
    let member = find(members, peer_url).ok_or_else(|| Error::NotAMember(peer_url.to_owned()))?;
    match member {
        member if !is_started(member) => Err(Error::NotStarted { peer_url: peer_url.to_owned() }),
        member if member.is_learner => Ok(Progress::Promote(member.id)),
        member => Ok(Progress::Health(member.id)),
    }
}

/// Whether the cluster is healthy, by what each voting member has answered: most are well, `own` among them. That is
/// kubeadm's measure (`getClusterStatus`), which does not ask for the own one.
pub fn judge(own: u64, answers: &[(Member, Result<StatusResponse, String>)]) -> Result<(), Error> {
    let trouble = |(member, answer): &(Member, Result<StatusResponse, String>)| match answer {
        Err(seen) => Some(format!("{}: {seen}", label(member))),
        Ok(status) if !status.errors.is_empty() => Some(format!("{}: {}", label(member), status.errors.join(", "))),
        Ok(status) if status.leader == 0 => Some(format!("{}: it knows of no leader", label(member))),
        Ok(_) => None,
    };
    let troubles: Vec<_> = answers.iter().filter_map(trouble).collect();
    let is_well = answers.iter().any(|answer| answer.0.id == own && trouble(answer).is_none());
    let well = answers.len() - troubles.len();
    if is_well && well > answers.len() / 2 { Ok(()) } else { Err(Error::Unhealthy(troubles)) }
}

/// Which member is to be removed.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// The one with this peer URL.
    PeerUrl(&'a str),
    /// The one with this name; one that has never been started has none.
    Name(&'a str),
}

/// The member that is to be removed, if it is there.
pub fn leaving(members: &[Member], which: Which<'_>) -> Result<Option<u64>, Error> {
    let found: Vec<_> = match which {
        Which::PeerUrl(url) => find(members, url).into_iter().collect(),
        Which::Name(name) => members.iter().filter(|member| is_started(member) && member.name == name).collect(),
    };
    match (found.as_slice(), which) {
        ([], _) => Ok(None),
        ([member], _) => {
            refuse_last(members, member)?;
            Ok(Some(member.id))
        }
        (several, Which::Name(name) | Which::PeerUrl(name)) => {
            let peer_urls = several.iter().flat_map(|member| member.peer_urls.clone()).collect();
            Err(Error::Ambiguous { name: name.to_owned(), peer_urls })
        }
    }
}

/// Where to ask: the client URLs of the members that are started and vote. A learner answers hardly any question.
pub fn client_urls(members: &[Member]) -> impl Iterator<Item = &str> {
    let asked = members.iter().filter(|member| is_started(member) && !member.is_learner);
    asked.flat_map(|member| &member.client_urls).map(String::as_str)
}

fn refuse_last(members: &[Member], leaving: &Member) -> Result<(), Error> {
    let others = members.iter().any(|member| !member.is_learner && member.id != leaving.id);
    if leaving.is_learner || others { Ok(()) } else { Err(Error::LastVotingMember(label(leaving))) }
}

fn find<'a>(members: &'a [Member], peer_url: &str) -> Option<&'a Member> {
    members.iter().find(|member| is_own(member, peer_url))
}

/// Whether a member is the one with a peer URL. etcd lets no two have one in common.
fn is_own(member: &Member, peer_url: &str) -> bool {
    member.peer_urls.iter().any(|url| url == peer_url)
}

/// There is no field for it: a member publishes its name when it is started.
fn is_started(member: &Member) -> bool {
    !member.name.is_empty()
}

fn label(member: &Member) -> String {
    member.peer_urls.join(", ")
}

#[cfg(test)]
#[path = "decision_tests.rs"]
mod tests;
