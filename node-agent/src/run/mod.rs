//! The service: from a configuration to a node, and then on with the node.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use join_checks::clock::Skew;
use join_crds::vocabulary::{ConditionType, Reason};
use join_crds::{AgentStep, NodeJoinRequest};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;

use crate::checks::pace::Pace;
use crate::config::Configuration;
use crate::identity::Identity;
use crate::journal::{self, CrashSwitch, JoinStep, Journal, Root};
use crate::kubelet::{self, Systemd};
use crate::local_status::{self, LocalStep, Publisher};
use crate::lock::StateLock;
use crate::member::{self, Ended, Followed, Membership};
use crate::own_request::Trouble;
use crate::report::Reporter;
use crate::{connection, control_plane, files, host, rejoin, removal};
use pauses::{MOST_PAUSE, least_pause};
use refusal::{DOUBT_PAUSE, TokenHistory};

pub use error::Error;

mod becoming;
mod error;
mod pauses;
mod refusal;

/// The running service. There is one on a machine: it holds the lock of the state directory.
pub struct Service {
    configuration: Configuration,
    hostname: String,
    identity: Identity,
    status: Publisher,
    /// Whether the kubelet was seen to run since this program started. It is started once, to end a join that was
    /// interrupted or after a boot; from then on an administrator may stop it.
    kubelet_was_started: Cell<bool>,
    /// When results of the checks of a node are written.
    pace: RefCell<Pace>,
    token: TokenHistory,
    /// How far the clocks are apart, as of the last discovery.
    skew: Cell<Option<Skew>>,
    /// What the request says of the kubelet's certificate.
    client_certificate: RefCell<Option<Condition>>,
    /// For tests: ends the agent after a chosen write.
    crash: CrashSwitch,
    _lock: StateLock,
}

/// The condition that tells of the kubelet's certificate.
fn client_certificate(request: Option<&NodeJoinRequest>) -> Option<Condition> {
    let conditions = request?.status.as_ref()?.conditions.as_slice();
    join_crds::conditions::get(conditions, ConditionType::ClientCertificateIssued).cloned()
}

/// Runs until the process is told to end. Only what has to do with the machine itself ends it with an error.
pub async fn run(configuration: Configuration, hostname: String, crash: CrashSwitch) -> Result<Infallible, Error> {
    let service = Service::start(configuration, hostname, crash)?;
    tracing::info!(node = service.node(), key = service.key(), "the agent has started");
    // Ready means: the configuration is sound and the keys are there. The cluster may be down for days.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let mut pauses = pauses::pauses();
    loop {
        service.one_round(Afterwards::Follow, &mut pauses).await;
    }
}

/// What follows when the machine is a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Afterwards {
    /// The node's request is followed, for as long as there is one.
    Follow,
    /// Nothing: the join was all that was asked for.
    End,
}

/// Says why the agent cannot begin. systemd starts it again, and keeps what was said until then.
fn say_why_not_begun(configuration: &Configuration, error: &Error) {
    let key = Identity::existing_pin(&configuration.state_directory);
    let key = key.map_or_else(|| "not made yet".to_owned(), |key| key.to_string());
    let status = Publisher::new(Path::new(local_status::PATH), configuration.node_name.as_str(), &key);
    status.say_because(
        LocalStep::Failed,
        Some(error.reason()),
        &format!("{error}; the agent is started again by itself"),
    );
}

impl Service {
    /// Takes the machine's keys and the lock, so that nobody else changes the machine meanwhile.
    pub fn start(configuration: Configuration, hostname: String, crash: CrashSwitch) -> Result<Self, Error> {
        let identity = Identity::load_or_create(&configuration.state_directory).map_err(Error::from);
        let identity = identity.inspect_err(|error| say_why_not_begun(&configuration, error))?;
        let lock = StateLock::take(&configuration.state_directory)?;
        let key = identity.machine.pin().to_string();
        let status = Publisher::new(Path::new(local_status::PATH), configuration.node_name.as_str(), &key);
        Ok(Self {
            configuration,
            hostname,
            identity,
            status,
            kubelet_was_started: Cell::new(false),
            pace: RefCell::default(),
            token: TokenHistory::default(),
            skew: Cell::new(None),
            client_certificate: RefCell::default(),
            crash,
            _lock: lock,
        })
    }

    /// Makes the machine a node, however many tries that takes. What it is at meanwhile is told by [`Service::status`].
    pub async fn until_joined(&self) {
        let mut pauses = pauses::pauses();
        while !self.kubelet_was_started.get() {
            self.one_round(Afterwards::End, &mut pauses).await;
        }
        self.status.say(LocalStep::Joined, &self.joined());
    }

    /// What the service says of itself.
    pub fn status(&self) -> &Publisher {
        &self.status
    }

    /// The node's name.
    pub fn node(&self) -> &str {
        self.configuration.node_name.as_str()
    }

    fn joined(&self) -> String {
        format!("this machine is the node {}", self.node())
    }

    /// The pin of the machine's key.
    pub fn key(&self) -> String {
        self.identity.machine.pin().to_string()
    }

    fn membership(&self) -> Option<Membership> {
        Membership::current(&self.configuration.state_directory, &self.configuration.node_name)
    }

    /// One round, and the pause after one that failed.
    async fn one_round(&self, afterwards: Afterwards, pauses: &mut backon::ExponentialBackoff) {
        let began = Instant::now();
        let round = self.round(afterwards).await;
        // What went well for a while and failed then is not what failed before.
        if round.is_ok() || began.elapsed() > MOST_PAUSE {
            *pauses = pauses::pauses();
        }
        if let Err(error) = round {
            tokio::time::sleep(self.failed(&error, pauses)).await;
        }
    }

    async fn round(&self, afterwards: Afterwards) -> Result<(), Error> {
        match Journal::check(&self.configuration.state_directory)? {
            Some(JoinStep::Leave) => self.leave().await?,
            Some(JoinStep::Remove) => return self.be_removed().await,
            _ => {}
        }
        let Some(membership) = self.membership() else { return Box::pin(self.become_member()).await };
        self.finish_join(&membership).await?;
        match afterwards {
            Afterwards::Follow => self.follow_request(&membership).await,
            Afterwards::End => Ok(()),
        }
    }

    /// Says that a try failed, and when the next one follows.
    fn failed(&self, error: &Error, pauses: &mut backon::ExponentialBackoff) -> Duration {
        let reason = self.refined(error.reason());
        if self.token.is_in_doubt(reason) {
            let message = "the API server does not accept the token; one that has just started does not know its tokens \
                           yet, so it is asked again before anything is made of that";
            self.status.say(LocalStep::Failed, message);
            return DOUBT_PAUSE;
        }
        let pause = pauses.next().unwrap_or(MOST_PAUSE).max(least_pause(reason));
        let message = format!("{error} (next try in {} s)", pause.as_secs().max(1));
        self.status.say_because(LocalStep::Failed, Some(reason), &message);
        pause
    }

    /// The reason, and more than that of an enrollment token that is not accepted.
    fn refined(&self, reason: Reason) -> Reason {
        if reason == Reason::CredentialsRefused && self.membership().is_none() {
            self.token.why_refused(&self.configuration.discovery).unwrap_or(reason)
        } else {
            reason
        }
    }

    /// Says what is waited for; a clock that is far off is told at once, though it is in the way later only.
    fn wait_for(&self, reason: Option<Reason>, what: &str) {
        match self.skew.get().filter(|skew| skew.is_too_much()) {
            Some(skew) => {
                let message = format!("{skew}, which will stop the join; {what}");
                self.status.say_because(LocalStep::WaitingForRequest, Some(Reason::ClockSkew), &message);
            }
            None => self.status.say_because(LocalStep::WaitingForRequest, reason, what),
        }
    }

    /// The machine is a node: makes sure that its kubelet runs, and that its join is complete.
    async fn finish_join(&self, membership: &Membership) -> Result<(), Error> {
        if self.kubelet_was_started.get() {
            return Ok(());
        }
        let systemd = Systemd::connect().await?;
        if !systemd.is_active(kubelet::UNIT).await {
            self.status.say_again(LocalStep::Joining, "starting the kubelet of this node");
            let config_yaml = std::fs::read_to_string(files::CONFIG_YAML).unwrap_or_default();
            let tell = async |trouble: &kubelet::Trouble| {
                self.status.say_because(LocalStep::Failed, Some(trouble.reason), &trouble.message);
            };
            kubelet::start(&systemd, files::healthz_url(&config_yaml).as_deref(), tell).await?;
        }
        let mut journal = self.open_journal()?;
        if let Some(own) = &membership.control_plane {
            self.finish_control_plane(membership, own, &systemd, &mut journal).await?;
        }
        journal.step(JoinStep::Joined, &membership.request_uid)?;
        self.kubelet_was_started.set(true);
        Ok(())
    }

    /// The machine is a node, and does what its request asks of it.
    async fn follow_request(&self, membership: &Membership) -> Result<(), Error> {
        let joined = self.joined();
        self.status.say(LocalStep::Joined, &joined);
        // Without its files there is no membership, which the next round finds.
        let Some(cluster) = member::cluster(membership) else { return Ok(()) };
        let addresses: Vec<String> = host::address_towards(&cluster.endpoint).iter().map(IpAddr::to_string).collect();
        let say = |trouble: Option<&Trouble>| match trouble {
            None => self.status.say(LocalStep::Joined, &joined),
            Some(error) => {
                self.status.say_because(LocalStep::Joined, Some(error.reason), &format!("{joined}; {error}"));
            }
        };
        let followed = Followed {
            membership,
            cluster: &cluster,
            versions: &host::versions().await,
            addresses: &addresses,
            public_key: self.identity.machine.pin(),
            pace: &self.pace,
        };
        match Box::pin(member::follow(&followed, &self.configuration.node_name, say)).await? {
            Ended::Changed => Ok(()),
            Ended::JoinAnew => self.leave().await,
            Ended::Follow(request) => self.follow(membership, &request),
            Ended::Removed => Ok(self.open_journal()?.step(JoinStep::Remove, &membership.request_uid)?),
        }
    }

    /// Goes on with a control plane whose join was interrupted, or failed, after its kubelet was started.
    async fn finish_control_plane(
        &self,
        membership: &Membership,
        own: &member::ControlPlane,
        systemd: &Systemd,
        journal: &mut Journal,
    ) -> Result<(), Error> {
        if journal.state().has_come_to(JoinStep::Joined, &membership.request_uid) {
            return Ok(());
        }
        journal.step(JoinStep::StartControlPlane, &membership.request_uid)?;
        let mut reporter = self.reporter(membership).await;
        // A try that begins anew is no news as long as the request says what the one before it failed at.
        let mut says_why = reporter.as_ref().is_some_and(Reporter::says_why);
        let mut report = async |step: AgentStep, reason: Option<Reason>, message: &str| {
            says_why &= reason.is_none();
            if let Some(reporter) = reporter.as_mut().filter(|_| !says_why) {
                reporter.step_because(step, reason, Some(message)).await;
            }
        };
        let tell = async |reason: Option<Reason>, message: &str| {
            self.status.say_because(LocalStep::Joining, reason, message);
            report(AgentStep::StartingControlPlane, reason, message).await;
        };
        let started = control_plane::Started { node_name: &self.configuration.node_name, control_plane: own, systemd };
        let outcome = control_plane::start(&started, journal, tell).await;
        if let Err(error) = &outcome {
            let message = format!("{error}. {}", error.reason().next_step());
            report(AgentStep::Failed, Some(error.reason()), &message).await;
        }
        Ok(outcome?)
    }

    /// Tells the request, as the node; none where the request cannot be read or is another one.
    async fn reporter(&self, membership: &Membership) -> Option<Reporter> {
        let cluster = member::cluster(membership)?;
        let client = member::client(&cluster).ok()?;
        let requests: Api<NodeJoinRequest> = Api::all(client.clone());
        let request =
            connection::call("reading this node's request", requests.get(&membership.node_name)).await.ok()?;
        let addresses = host::address_towards(&cluster.endpoint).iter().map(IpAddr::to_string).collect();
        let is_ours = request.uid() == membership.request_uid;
        let mut reporter = Reporter::new(client, &request, &host::versions().await, addresses);
        reporter.keep_history(&request);
        is_ours.then_some(reporter)
    }

    /// Makes the machine what it was before its join. That ends this process.
    async fn be_removed(&self) -> Result<(), Error> {
        tracing::info!("the request was deleted with removal Drain, and the node is drained: undoing the join");
        self.status.say(LocalStep::Leaving, "the node was removed from the cluster; undoing its join");
        let systemd = Systemd::connect().await?;
        let (node, state_directory) = (&self.configuration.node_name, &self.configuration.state_directory);
        Ok(removal::leave(&systemd, node, state_directory).await?)
    }

    /// Ends the membership of an earlier request.
    async fn leave(&self) -> Result<(), Error> {
        tracing::info!("another request asks this machine to join anew; its old membership is ended");
        self.status.say(LocalStep::Joining, "ending the old membership, since another request asks to join anew");
        let systemd = Systemd::connect().await?;
        Ok(rejoin::leave(&systemd, &mut self.open_journal()?, &self.configuration.state_directory).await?)
    }

    /// Goes on as the node of another request.
    fn follow(&self, membership: &Membership, request: &str) -> Result<(), Error> {
        tracing::info!(uid = request, "another request is this node's from now on; nothing on the machine changes");
        Ok(rejoin::follow(&mut self.open_journal()?, membership, request, &self.configuration.state_directory)?)
    }

    fn open_journal(&self) -> Result<Journal, journal::Error> {
        Journal::open(&self.configuration.state_directory, Root::machine(), self.node(), self.crash.clone())
    }
}
