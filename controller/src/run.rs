//! Puts everything together: waits for the lease, fills the tables, works, and stops in order.

use std::process;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use ipnet::IpNet;
use join_crds::spec::NodeJoinRequest;
use join_trust::ca_bundle::{CaBundle, CaBundleError, CaTrust};
use join_trust::endpoint::{Endpoint, EndpointError};
use kube::runtime::Controller;
use kube::runtime::controller::{Config as ControllerConfig, Error as ControllerError};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::reflector::store::{Store, store};
use kube::{Api, Client};
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::act::certificates::Certificates;
use crate::act::cluster_info::{Publication, writer};
use crate::act::events::Events;
use crate::act::node::Nodes;
use crate::act::records::Records;
use crate::act::tokens::Tokens;
use crate::cache::feed::Triggers;
use crate::cli::Cli;
use crate::client::{self, ClientError};
use crate::clock::Clock;
use crate::feeds::Feeds;
use crate::lease::{Candidate, LeaseError};
use crate::metrics::Metrics;
use crate::plan::Settings;
use crate::reconcile::{Context, Notes, ReconcileError, on_error, reconcile};
use crate::serve::access::Access;
use crate::serve::{Health, ServeError, health_routes, metrics_routes, serve, serve_securely};
use crate::sweep;
use crate::telemetry::VERSION;
use crate::world::World;

/// How long visits that are under way may take to end when the process is asked to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

/// The controller cannot start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The lease.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The HTTP endpoints.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A task ended that never ends.
    #[error("task {0} ended, expected it to run for as long as the process")]
    Task(String),
    /// Signals cannot be received.
    #[error("cannot receive signals: {0}")]
    Signal(std::io::Error),
    /// `--cluster-endpoint`
    #[error("--cluster-endpoint: {0}")]
    Endpoint(EndpointError),
    /// `--forbidden-networks`
    #[error("--forbidden-networks: {network:?} is no network in CIDR notation: {source}")]
    Network {
        /// What was given.
        network: String,
        /// Why it is none.
        source: ipnet::AddrParseError,
    },
    /// The certificate authorities of our own connection.
    #[error("the certificate authorities of the controller's own connection cannot be read: {0}")]
    OwnCa(#[from] CaBundleError),
}

/// Runs until a signal, a lost lease or a failure.
pub async fn run(cli: Cli) -> Result<(), RunError> {
    let metrics = Metrics::new();
    let health = Arc::new(Health::default());
    let config = client::config(cli.kubeconfig.as_deref()).await?;
    let own = OwnCluster::read(&cli, &config)?;
    let settings = settings(&cli, own.publication.is_some())?;
    let client = client::build(
        config,
        metrics.clone(),
        Arc::clone(&health.freshness),
        Clock::new(metrics.clone(), cli.own_clock),
        cli.crash_after_writes,
    )?;
    let stop = stop_signal()?;

    let mut servers = start_servers(&cli, &health, &metrics, &client)?;

    let identity = cli.identity.clone().unwrap_or_else(default_identity);
    let mut candidate = Candidate::new(client.clone(), &cli.namespace, identity.clone());
    tracing::info!(identity, namespace = cli.namespace, "waiting for the lease");
    tokio::select! {
        () = candidate.acquire(|| health.lease_is_known()) => {}
        () = stopped(stop.clone()) => return Ok(()),
        ended = servers.join_next() => return Err(server_ended(ended)),
    }
    tracing::info!(identity, "holding the lease, at work from here on");
    metrics.set_leader(true);
    health.leads();

    let work = Work { cli: &cli, client, metrics, settings, own, identity: &identity };
    let outcome = tokio::select! {
        outcome = work.run(&health, stop) => outcome,
        lost = candidate.hold() => Err(lost.into()),
        ended = servers.join_next() => Err(server_ended(ended)),
    };
    // A lost lease is another's; one that is still ours is given up, so that the next replica starts at once.
    if !matches!(outcome, Err(RunError::Lease(_)))
        && let Err(error) = candidate.release().await
    {
        tracing::warn!(%error, "the lease could not be given up; it expires by itself");
    }
    outcome
}

/// Starts the HTTP endpoints, which answer also while this replica stands by.
fn start_servers(
    cli: &Cli,
    health: &Arc<Health>,
    metrics: &Metrics,
    client: &Client,
) -> Result<JoinSet<Result<(), ServeError>>, ServeError> {
    let mut servers = JoinSet::new();
    let (health, metrics) = (health_routes(Arc::clone(health)), metrics_routes(metrics.clone()));
    // Port 0 is any free one, so two of them are not the same.
    let one_address = cli.health_address == cli.metrics_address && cli.health_address.port() != 0;
    if !cli.metrics_secure && one_address {
        servers.spawn(serve(cli.health_address, health.merge(metrics)));
        return Ok(servers);
    }
    if one_address {
        return Err(ServeError::OneAddress(cli.health_address));
    }
    servers.spawn(serve(cli.health_address, health));
    if cli.metrics_secure {
        let access = Access::new(client.clone());
        servers.spawn(serve_securely(cli.metrics_address, metrics, cli.metrics_certificate_dir.clone(), access));
    } else {
        servers.spawn(serve(cli.metrics_address, metrics));
    }
    Ok(servers)
}

struct Work<'a> {
    cli: &'a Cli,
    client: Client,
    metrics: Metrics,
    settings: Settings,
    own: OwnCluster,
    identity: &'a str,
}

impl Work<'_> {
    async fn run(self, health: &Health, stop: watch::Receiver<bool>) -> Result<(), RunError> {
        let world = World::default();
        let (triggers, triggered) = Triggers::channel();
        let deletions = Arc::new(Notify::new());
        let mut tasks: JoinSet<&'static str> = JoinSet::new();
        let trust = Arc::new(self.own.trust);
        let (reader, store_writer) = store();
        let feeds = Feeds {
            client: &self.client,
            namespace: &self.cli.namespace,
            world: &world,
            triggers: &triggers,
            deletions: &deletions,
            metrics: &self.metrics,
            trust: &trust,
        };
        let filled = feeds.start(&mut tasks, store_writer);
        tokio::select! {
            () = all_filled(filled) => {}
            () = stopped(stop.clone()) => return Ok(()),
            ended = tasks.join_next() => return Err(task_ended(ended)),
        }
        health.caches_are_filled();
        tracing::info!("everything is listed, visiting requests");

        let (cluster_info, writes) =
            writer(self.client.clone(), world.cluster_info.clone(), Arc::clone(&trust), self.metrics.clone());
        tasks.spawn(async move {
            writes.await;
            "cluster-info-writer"
        });
        let client = self.client;
        let context = Arc::new(Context {
            settings: self.settings,
            requests: Api::all(client.clone()),
            records: Records::new(client.clone(), &self.cli.namespace, world.records.clone()),
            tokens: Tokens::new(client.clone(), &self.cli.namespace),
            certificates: Certificates::new(client.clone()),
            nodes: Nodes::new(client.clone(), world.nodes.clone()),
            events: Events::new(client.clone(), self.identity, self.metrics.clone()),
            cluster_info,
            publication: self.own.publication,
            trust,
            metrics: self.metrics,
            notes: Notes::default(),
            world,
            client,
        });
        tasks.spawn({
            let (context, deletions) = (Arc::clone(&context), Arc::clone(&deletions));
            async move {
                sweep::run(context, deletions).await;
                "sweep"
            }
        });
        let visits = visits(reader, triggered, self.cli.concurrency, context, stop.clone());
        tokio::pin!(visits);
        tokio::select! {
            // With nothing under way, the visits end at the signal itself, and either branch may be the first.
            () = &mut visits => {
                if *stop.borrow() { Ok(()) } else { Err(RunError::Task("controller".to_owned())) }
            }
            ended = tasks.join_next() => Err(task_ended(ended)),
            () = stopped(stop.clone()) => {
                tracing::info!("stopping: visits under way may end");
                if timeout(DRAIN_TIMEOUT, &mut visits).await.is_err() {
                    tracing::warn!("visits under way did not end in time and are cut off");
                }
                Ok(())
            }
        }
    }
}

/// Visits requests as they are triggered, until told to stop.
///
/// Our own feeds are the only triggers: kube's controller brings the queue, the concurrency limit and the rule that
/// no request is visited twice at once.
async fn visits(
    reader: Store<NodeJoinRequest>,
    triggered: mpsc::UnboundedReceiver<String>,
    concurrency: u16,
    context: Arc<Context>,
    stop: watch::Receiver<bool>,
) {
    let names = stream::unfold(triggered, |mut triggered| async move {
        triggered.recv().await.map(|name| (ObjectRef::<NodeJoinRequest>::new(&name), triggered))
    });
    Controller::for_stream(stream::pending(), reader)
        .with_config(ControllerConfig::default().concurrency(concurrency))
        .reconcile_on(names)
        .graceful_shutdown_on(stopped(stop))
        .run(reconcile, |request, error, context| on_error(&request, error, &context), context)
        .for_each(|outcome| async {
            match outcome {
                // Failures of visits are logged where the wait is decided; a deleted request is an ordinary thing.
                Ok(_) | Err(ControllerError::ReconcilerFailed(..) | ControllerError::ObjectNotFound(_)) => {}
                Err(error) => log_queue_error(&error),
            }
        })
        .await;
}

fn log_queue_error(error: &ControllerError<ReconcileError, kube::runtime::watcher::Error>) {
    tracing::error!(%error, "the queue of visits failed");
}

async fn all_filled(filled: Vec<watch::Receiver<bool>>) {
    for mut filled in filled {
        // A sender that is gone belongs to a task that ended, which is seen elsewhere.
        if filled.wait_for(|filled| *filled).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn task_ended(ended: Option<Result<&'static str, tokio::task::JoinError>>) -> RunError {
    RunError::Task(match ended {
        Some(Ok(name)) => name.to_owned(),
        Some(Err(error)) => error.to_string(),
        None => "none".to_owned(),
    })
}

fn server_ended(ended: Option<Result<Result<(), ServeError>, tokio::task::JoinError>>) -> RunError {
    match ended {
        Some(Ok(Err(error))) => error.into(),
        Some(Err(error)) => RunError::Task(error.to_string()),
        Some(Ok(Ok(()))) | None => RunError::Task("HTTP server".to_owned()),
    }
}

/// Becomes true at SIGTERM or SIGINT; a second one ends the process at once.
fn stop_signal() -> Result<watch::Receiver<bool>, RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signal)?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        for again in [false, true] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if again {
                process::exit(130);
            }
            sender.send_replace(true);
        }
    });
    Ok(receiver)
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// What the controller's own connection says of the cluster.
struct OwnCluster {
    publication: Option<Publication>,
    trust: CaTrust,
}

impl OwnCluster {
    /// A machine is handed only certificate authorities that the controller trusts itself, whatever cluster-info says.
    /// Where the system's own trust is used there is nothing to compare with.
    fn read(cli: &Cli, config: &kube::Config) -> Result<Self, RunError> {
        let given = cli.cluster_endpoint.as_deref().map(Endpoint::parse).transpose().map_err(RunError::Endpoint)?;
        // A kubeconfig's address is one that is reached from outside; that of the Service is not.
        let from_kubeconfig =
            || cli.kubeconfig.as_ref().and_then(|_| Endpoint::parse_url(&config.cluster_url.to_string()).ok());
        let endpoint = given.or_else(from_kubeconfig);
        let Some(certificates) = &config.root_cert else {
            return Ok(Self { publication: None, trust: CaTrust::UnsafeAny });
        };
        let blocks: Vec<_> = certificates.iter().map(|der| pem::Pem::new("CERTIFICATE", der.clone())).collect();
        let ca = CaBundle::parse_pem(pem::encode_many(&blocks).as_bytes())?;
        let trust = CaTrust::Pinned(ca.pins());
        Ok(Self { publication: endpoint.map(|endpoint| Publication { endpoint, ca }), trust })
    }
}

fn settings(cli: &Cli, can_publish: bool) -> Result<Settings, RunError> {
    let networks = cli.forbidden_networks.iter().map(|network| {
        network.parse::<IpNet>().map_err(|source| RunError::Network { network: network.clone(), source })
    });
    Ok(Settings {
        policy: join_trust::policy::Settings::default(),
        signer_timeout: i64::from(cli.signer_timeout_seconds),
        forbidden_networks: networks.collect::<Result<_, _>>()?,
        most_in_flight: cli.max_joins_in_flight as usize,
        can_publish,
    })
}

/// The host's name, which is the Pod's, and a random part, since two processes on one host must not share a lease.
fn default_identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let random = getrandom::u32().unwrap_or_else(|_| process::id());
    format!("{}-{random:08x}", host.trim())
}

/// The first line of the log. From here on no core file can be left of this process: its memory holds tokens.
pub fn announce() {
    tracing::info!(version = VERSION, target = std::env::consts::ARCH, "join-controller");
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "failed to forbid core files, which would hold tokens; limit them where the controller runs");
    }
}
