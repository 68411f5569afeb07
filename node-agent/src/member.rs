//! The machine is the node: the agent goes on with the node's own certificate, and keeps its part of the request true.

use std::cell::RefCell;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::StreamExt;
use join_crds::vocabulary::Reason;
use join_crds::{AgentStep, ConditionType, NodeJoinRequest, Versions, conditions};
use join_trust::names::NodeName;
use join_trust::pin::PublicKeyPin;
use kube::Client;
use serde::{Deserialize, Serialize};
use tokio::time::MissedTickBehavior;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::checks::health::{Health, LOOK};
use crate::checks::pace::Pace;
use crate::connection::{self, As, Server};
use crate::discovery::Cluster;
use crate::files::{CA_CRT, CLIENT_PEM, KUBELET_CONF};
use crate::own_request::{self, News, OwnRequest, Trouble};
use crate::rejoin::Asked;
use crate::report::Reporter;
use crate::{atomic_file, rejoin, removal};

/// The request could not be followed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A client could not be made.
    #[error(transparent)]
    Setup(#[from] connection::SetupError),
    /// The watch does not work any more.
    #[error(transparent)]
    Lost(#[from] own_request::Lost),
}

impl Error {
    /// Why, in one word.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Setup(_) => Reason::AgentFailed,
            Self::Lost(lost) => lost.reason(),
        }
    }
}

/// How often the agent looks whether the kubelet has renewed its certificate.
const RENEWAL_CHECK: Duration = Duration::from_mins(5);

/// What the agent remembers of the join that it carried out; written before [`KUBELET_CONF`], so that the two together
/// mean: this machine is a node, and we made it one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Membership {
    /// The node.
    pub node_name: String,
    /// `metadata.uid` of the request.
    pub request_uid: String,
    /// The API server: host:port.
    pub endpoint: String,
    /// What only a control plane has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane: Option<ControlPlane>,
}

/// What the agent remembers of a control plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ControlPlane {
    /// The address under which the others reach its API server and its etcd.
    pub advertise_address: IpAddr,
    /// The port of its API server.
    pub bind_port: u16,
}

impl Membership {
    fn path(state_directory: &Path) -> PathBuf {
        state_directory.join("membership.json")
    }

    /// Writes the file, unless it is as it should be. Tells whether it did.
    pub fn write(&self, state_directory: &Path) -> Result<bool, atomic_file::Error> {
        let (path, json) = (Self::path(state_directory), serde_json::to_vec_pretty(self).unwrap_or_default());
        if atomic_file::is(&path, &json, atomic_file::SECRET) {
            return Ok(false);
        }
        atomic_file::write(&path, &json, atomic_file::SECRET)?;
        Ok(true)
    }

    /// Removes the file; that there is none is as good.
    pub fn remove(state_directory: &Path) -> Result<(), atomic_file::Error> {
        atomic_file::remove(&Self::path(state_directory))
    }

    /// The membership of a machine whose files are all there and whose certificate is this node's and valid.
    pub fn current(state_directory: &Path, node: &NodeName) -> Option<Self> {
        let json = std::fs::read(Self::path(state_directory)).ok()?;
        let membership: Self = serde_json::from_slice(&json).ok()?;
        let certificate_is_good = std::fs::read(CLIENT_PEM).is_ok_and(|pem| is_valid_for(&pem, node));
        let is_ours = membership.node_name == node.as_str();
        let is_whole = Path::new(KUBELET_CONF).exists() && cluster(&membership).is_some();
        (is_ours && certificate_is_good && is_whole).then_some(membership)
    }
}

/// The first certificate in PEM text, as DER.
pub fn certificate(pem: &[u8]) -> Option<Vec<u8>> {
    let blocks = pem::parse_many(pem).ok()?;
    blocks.into_iter().find(|block| block.tag() == "CERTIFICATE").map(pem::Pem::into_contents)
}

/// The pin of the key of the first certificate in PEM text.
pub fn key_of(pem: &[u8]) -> Option<PublicKeyPin> {
    PublicKeyPin::of_certificate(&certificate(pem)?).ok()
}

fn is_valid_for(pem: &[u8], node: &NodeName) -> bool {
    let Some(der) = certificate(pem) else { return false };
    let Ok((_, certificate)) = X509Certificate::from_der(&der) else { return false };
    let names_node =
        certificate.subject().iter_common_name().any(|name| name.as_str().is_ok_and(|name| name == node.user_name()));
    names_node && certificate.validity().is_valid()
}

/// A client with the node's certificate, as it is on the disk now.
pub fn client(cluster: &Cluster) -> Result<Client, connection::SetupError> {
    connection::client(&cluster.endpoint, Server::Verified(&cluster.ca), As::Certificate(Path::new(CLIENT_PEM)))
}

/// The cluster of a membership, with the certificate authorities that lie on the machine.
pub fn cluster(membership: &Membership) -> Option<Cluster> {
    let ca = join_trust::ca_bundle::CaBundle::parse_pem(&std::fs::read(CA_CRT).ok()?).ok()?;
    Some(Cluster { endpoint: join_trust::endpoint::Endpoint::parse(&membership.endpoint).ok()?, ca })
}

/// What of the node is followed, and told to whom.
pub struct Followed<'a> {
    /// The membership.
    pub membership: &'a Membership,
    /// The cluster.
    pub cluster: &'a Cluster,
    /// What runs on the machine.
    pub versions: &'a Versions,
    /// Addresses to report.
    pub addresses: &'a [String],
    /// The pin of this machine's key.
    pub public_key: PublicKeyPin,
    /// When results of the checks are written; outlives a watch that is lost, so that its bound holds.
    pub pace: &'a RefCell<Pace>,
}

/// Why following ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The kubelet has renewed its certificate, or the machine is no member any more.
    Changed,
    /// Another request asks this machine to join anew.
    JoinAnew,
    /// Another request, of this UID, is this node's from now on.
    Follow(String),
    /// The request is deleted with removal Drain, and the node is drained.
    Removed,
}

/// Watches the node and its own request until the kubelet has renewed its certificate, the watch is lost, or the machine is
/// no member any more. `say` is told what is wrong, and `None` when nothing is.
pub async fn follow(followed: &Followed<'_>, node: &NodeName, say: impl Fn(Option<&Trouble>)) -> Result<Ended, Error> {
    let client = client(followed.cluster)?;
    let generation_of_certificate = std::fs::read_link(CLIENT_PEM).ok();
    let mut own = OwnRequest::watch(&client, node.as_str());
    let mut seen = std::pin::pin!(Health::watch(&client, node));
    let mut health = Health::new(node.clone());
    let mut renewal = tokio::time::interval(RENEWAL_CHECK);
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut trouble_of_watch = None;
    loop {
        tokio::select! {
            news = own.news() => {
                trouble_of_watch = match news? {
                    News::Trouble(error) => Some(error),
                    News::Request => None,
                };
                followed.report(&client, own.known(), &health).await;
            }
            Some(event) = seen.next() => health.see(event),
            _ = look.tick() => {
                health.look().await;
                followed.report(&client, own.known(), &health).await;
            }
            _ = renewal.tick() => {
                if std::fs::read_link(CLIENT_PEM).ok() != generation_of_certificate || !Path::new(KUBELET_CONF).exists() {
                    return Ok(Ended::Changed);
                }
            }
        }
        if removal::is_asked(own.known(), followed.membership) {
            return Ok(Ended::Removed);
        }
        let ours = &followed.public_key;
        let of_request = match rejoin::asked(&client, own.known(), followed.membership, node, ours).await {
            Asked::Nothing => None,
            Asked::ResetFirst => Some(reset_first()),
            Asked::JoinAnew => return Ok(Ended::JoinAnew),
            Asked::Follow => {
                return Ok(Ended::Follow(own.known().map(|request| request.uid().to_owned()).unwrap_or_default()));
            }
        };
        let of_node = health.trouble().map(|text| Trouble { reason: Reason::NodeNotReady, text });
        let troubles =
            [trouble_of_watch.clone(), of_request, of_node, told_of_addresses(own.known(), followed.membership)];
        say(together(troubles.into_iter().flatten()).as_ref());
    }
}

/// Why a control plane does not do what another request asks for.
fn reset_first() -> Trouble {
    let text = "another request asks this machine to join anew, which a control plane does not do by itself, since its member \
                of etcd would stay; run `join-agent reset --start-agent` on this machine, which takes the member out first";
    Trouble { reason: Reason::AgentFailed, text: text.to_owned() }
}

impl Followed<'_> {
    /// Reports when the request does not say yet that its present generation was carried out, and when the checks have
    /// come out otherwise for long enough.
    async fn report(&self, client: &Client, request: Option<&NodeJoinRequest>, health: &Health) {
        let Some(request) = request.filter(|request| request.uid() == self.membership.request_uid) else { return };
        let checks = health.checks(request);
        let written = request.status.as_ref().and_then(|status| status.agent.as_ref()).map(|agent| &agent.checks);
        let written = written.map(Vec::as_slice).unwrap_or_default();
        let have_changed =
            checks.as_ref().is_some_and(|checks| self.pace.borrow_mut().is_due(checks, written, Instant::now()));
        if !have_changed && !needs_report(request, self.membership) {
            return;
        }
        let mut reporter = Reporter::new(client.clone(), request, self.versions, self.addresses.to_vec());
        reporter.keep_history(request);
        if let Some(checks) = checks.filter(|_| have_changed) {
            reporter.checks(&checks);
        }
        reporter.step(AgentStep::Joined).await;
    }
}

/// What the controller says of the addresses with which the Node has registered, if they are not those that were asked for.
fn told_of_addresses(request: Option<&NodeJoinRequest>, membership: &Membership) -> Option<Trouble> {
    let request = request.filter(|request| request.uid() == membership.request_uid)?;
    let registered = conditions::get(&request.status.as_ref()?.conditions, ConditionType::NodeRegistered)?;
    let reason = Reason::NodeAddressMismatch;
    (registered.reason == reason.as_str()).then(|| Trouble { reason, text: registered.message.clone() })
}

/// Several troubles as one, under the word of the first.
fn together(troubles: impl Iterator<Item = Trouble>) -> Option<Trouble> {
    troubles.reduce(|all, next| Trouble { text: format!("{all}; {}: {next}", next.reason), ..all })
}

/// Whether the request does not say yet that its present generation was carried out.
fn needs_report(request: &NodeJoinRequest, membership: &Membership) -> bool {
    let agent = request.status.as_ref().and_then(|status| status.agent.as_ref());
    request.uid() == membership.request_uid
        && agent.is_none_or(|agent| {
            agent.step != AgentStep::Joined || agent.observed_generation != request.metadata.generation
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_membership_needs_all_of_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let node = NodeName::parse("worker-1").unwrap();
        assert_eq!(Membership::current(folder.path(), &node), None);
        let membership = Membership {
            node_name: "worker-1".to_owned(),
            request_uid: "u".to_owned(),
            endpoint: "10.0.0.1:6443".to_owned(),
            control_plane: None,
        };
        membership.write(folder.path()).unwrap();
        // The marker alone, without the kubelet's files, is a join that was interrupted.
        assert_eq!(Membership::current(folder.path(), &node), None);
    }

    #[test]
    fn troubles_are_told_together_and_those_of_another_request_are_not() {
        let membership = Membership { node_name: "a".to_owned(), request_uid: "u".to_owned(), ..Membership::default() };
        let request = |uid: &str, reason: &str| -> NodeJoinRequest {
            serde_json::from_value(serde_json::json!({
                "apiVersion": "nodejoin.dev/v1alpha1", "kind": "NodeJoinRequest",
                "metadata": {"name": "a", "uid": uid}, "spec": {"machine": {"trust": "FirstUse"}},
                "status": {"conditions": [{
                    "type": "NodeRegistered", "status": "True", "reason": reason, "message": "it registered with 192.0.2.1",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }]},
            }))
            .unwrap()
        };
        assert_eq!(told_of_addresses(None, &membership), None);
        assert_eq!(told_of_addresses(Some(&request("u", "NodeRegistered")), &membership), None);
        assert_eq!(told_of_addresses(Some(&request("v", "NodeAddressMismatch")), &membership), None);
        let addresses = told_of_addresses(Some(&request("u", "NodeAddressMismatch")), &membership).unwrap();
        assert_eq!(together([addresses.clone()].into_iter()), Some(addresses.clone()));
        let not_ready = Trouble { reason: Reason::NodeNotReady, text: "NodeReady: no network".to_owned() };
        let expected = Trouble {
            reason: Reason::NodeNotReady,
            text: "NodeReady: no network; NodeAddressMismatch: it registered with 192.0.2.1".to_owned(),
        };
        assert_eq!(together([not_ready, addresses].into_iter()), Some(expected));
        assert_eq!(together(std::iter::empty()), None);
    }

    #[test]
    fn a_report_is_due_once_per_generation_and_only_for_the_own_request() {
        let membership = Membership { node_name: "a".to_owned(), request_uid: "u".to_owned(), ..Membership::default() };
        let request = |uid: &str, agent: serde_json::Value| -> NodeJoinRequest {
            serde_json::from_value(serde_json::json!({
                "apiVersion": "nodejoin.dev/v1alpha1", "kind": "NodeJoinRequest",
                "metadata": {"name": "a", "uid": uid, "generation": 2},
                "spec": {"role": "Worker", "machine": {"trust": "FirstUse"}},
                "status": {"agent": agent},
            }))
            .unwrap()
        };
        let agent = |step: &str, generation: i64| serde_json::json!({"step": step, "observedGeneration": generation, "since": "2026-01-01T00:00:00Z"});
        assert!(needs_report(&request("u", agent("Verifying", 2)), &membership));
        assert!(needs_report(&request("u", agent("Joined", 1)), &membership));
        assert!(!needs_report(&request("u", agent("Joined", 2)), &membership));
        assert!(!needs_report(&request("another", agent("Verifying", 2)), &membership));
    }
}
