//! The service: from a configuration to a node, and then on with the node.

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::TryStreamExt;
use join_crds::{NodeJoinRequest, Versions};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};

use crate::config::Configuration;
use crate::discovery::{self, Discovered};
use crate::identity::{self, Identity};
use crate::join::{self, Prepared};
use crate::kubelet::{self, Systemd};
use crate::local_status::{LocalStatus, LocalStep};
use crate::member::{self, Membership};
use crate::{announce, connection, host};

/// How often the agent looks whether its announcement is still there: kube-controller-manager removes pending requests
/// after a day.
const ANNOUNCEMENT_CHECK: Duration = Duration::from_mins(10);

/// Why one round of the service ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The keys cannot be had.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// The cluster was not found or not believed.
    #[error(transparent)]
    Discovery(#[from] discovery::Error),
    /// The machine could not be announced.
    #[error(transparent)]
    Announce(#[from] announce::Error),
    /// The request was not carried out.
    #[error(transparent)]
    Join(#[from] join::Error),
    /// The kubelet does not run.
    #[error(transparent)]
    Kubelet(#[from] kubelet::Error),
    /// A client could not be made.
    #[error(transparent)]
    Setup(#[from] connection::SetupError),
    /// The watch of the request ended.
    #[error("the watch of the request ended")]
    WatchEnded,
}

/// The running service.
struct Service {
    configuration: Configuration,
    hostname: String,
    identity: Identity,
    systemd: Systemd,
    versions: Versions,
}

/// Runs until the process is told to end. Only what has to do with the machine itself ends it with an error.
pub async fn run(configuration: Configuration, hostname: String) -> Result<Infallible, Error> {
    let identity = Identity::load_or_create(&configuration.state_directory)?;
    let (systemd, versions) = tokio::join!(Systemd::connect(), host::versions());
    let service = Service { configuration, hostname, identity, systemd: systemd?, versions };
    tracing::info!(
        node = service.configuration.node_name.as_str(),
        key = %service.identity.machine.pin(),
        "the agent has started"
    );
    // Ready means: the configuration is sound and the keys are there. The cluster may be down for days.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let mut pauses = pauses();
    loop {
        let round = match Membership::current(&service.configuration.state_directory, &service.configuration.node_name)
        {
            Some(membership) => service.be_member(&membership).await,
            None => Box::pin(service.become_member()).await,
        };
        match round {
            Ok(()) => pauses = self::pauses(),
            Err(error) => {
                tracing::warn!(%error, "this did not succeed");
                let pause = pauses.next().unwrap_or(MOST_PAUSE);
                service.say(LocalStep::Failed, &format!("{error} (next try in {} s)", pause.as_secs().max(1)));
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// The longest pause between two tries.
const MOST_PAUSE: Duration = Duration::from_mins(1);

fn pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(500))
        .with_max_delay(MOST_PAUSE)
        .without_max_times()
        .with_jitter()
        .build()
}

impl Service {
    fn say(&self, step: LocalStep, message: &str) {
        let status = LocalStatus {
            node_name: self.configuration.node_name.as_str().to_owned(),
            public_key_hash: self.identity.machine.pin().to_string(),
            step,
            since: Timestamp::now(),
            message: message.to_owned(),
        };
        status.publish();
    }

    /// The machine is a node: makes sure that its kubelet runs, and follows its request.
    async fn be_member(&self, membership: &Membership) -> Result<(), Error> {
        self.say(LocalStep::Joined, &format!("this machine is the node {}", membership.node_name));
        if !self.systemd.is_active(kubelet::UNIT).await {
            self.systemd.restart_kubelet().await?;
            kubelet::wait_until_healthy().await?;
        }
        // Without its files there is no membership, which the next round finds.
        let Some(cluster) = member::cluster(membership) else { return Ok(()) };
        let addresses: Vec<String> = host::address_towards(&cluster.endpoint).iter().map(IpAddr::to_string).collect();
        Ok(member::follow(membership, &cluster, &self.versions, &addresses).await?)
    }

    /// The machine is no node yet: finds the cluster, announces the machine, and carries its request out.
    async fn become_member(&self) -> Result<(), Error> {
        self.say(LocalStep::Discovering, "looking for the API server");
        let discovered = discovery::discover(&self.configuration.discovery).await?;
        let addresses = if self.configuration.node_addresses.is_empty() {
            host::address_towards(&discovered.cluster.endpoint).into_iter().collect()
        } else {
            self.configuration.node_addresses.clone()
        };
        self.say(LocalStep::Announcing, "announcing this machine to the cluster");
        self.announce(&discovered, &addresses).await?;
        Box::pin(self.wait_and_join(&discovered, &addresses)).await
    }

    async fn announce(&self, discovered: &Discovered, addresses: &[IpAddr]) -> Result<(), Error> {
        let node = &self.configuration.node_name;
        let name = announce::announce(&discovered.client, &self.identity, node, addresses).await?;
        tracing::info!(name, "this machine is announced");
        Ok(())
    }

    /// Watches the machine's own request, and carries it out when there is something for this machine in it.
    async fn wait_and_join(&self, discovered: &Discovered, addresses: &[IpAddr]) -> Result<(), Error> {
        let node = &self.configuration.node_name;
        let reported: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        let prepared = Prepared {
            identity: &self.identity,
            node_name: node,
            hostname: &self.hostname,
            addresses: &reported,
            cluster: &discovered.cluster,
            systemd: &self.systemd,
            versions: &self.versions,
            state_directory: &self.configuration.state_directory,
        };
        let api: Api<NodeJoinRequest> = Api::all(discovered.client.clone());
        let own = watcher::Config::default().fields(&format!("metadata.name={}", node.as_str()));
        let mut requests = std::pin::pin!(watcher(api, own).default_backoff().applied_objects());
        let mut announcement = tokio::time::interval(ANNOUNCEMENT_CHECK);
        announcement.tick().await;
        self.say(LocalStep::WaitingForRequest, &format!("waiting for the NodeJoinRequest {}", node.as_str()));
        loop {
            tokio::select! {
                request = requests.try_next() => match request {
                    Ok(Some(request)) => match self.wait_reason(&request) {
                        None => {
                            self.say(LocalStep::Joining, "carrying the request out");
                            return Ok(Box::pin(join::carry_out(&prepared, &request)).await?);
                        }
                        Some(reason) => self.say(LocalStep::WaitingForRequest, &reason),
                    },
                    Ok(None) => return Err(Error::WatchEnded),
                    // The watch goes on by itself, with a growing pause.
                    Err(error) => {
                        tracing::warn!(%error, "the watch of the request failed");
                        let message = format!("cannot watch the NodeJoinRequest {}: {error}", node.as_str());
                        self.say(LocalStep::WaitingForRequest, &message);
                    }
                },
                _ = announcement.tick() => self.announce(discovered, addresses).await?,
            }
        }
    }

    /// Why the request cannot be carried out yet; `None` when it can.
    fn wait_reason(&self, request: &NodeJoinRequest) -> Option<String> {
        let name = request.node_name();
        let ours = self.identity.machine.pin().to_string();
        if let Some(pinned) = request.spec.machine.public_key_hash.as_deref().filter(|pinned| *pinned != ours) {
            return Some(format!(
                "the NodeJoinRequest {name} is for the machine with key {pinned}, this one has {ours}"
            ));
        }
        let status = request.status.as_ref();
        let bound = status.and_then(|status| status.machine.as_ref()).map(|machine| machine.public_key_hash.as_str());
        match (bound, status.and_then(|status| status.sealed_credentials.as_ref())) {
            (Some(bound), _) if bound != ours => {
                Some(format!("the NodeJoinRequest {name} is bound to another machine, with key {bound}"))
            }
            (Some(_), Some(_)) => None,
            _ => Some(format!("the NodeJoinRequest {name} is there; waiting for the controller to bind this machine")),
        }
    }
}
