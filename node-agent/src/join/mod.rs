//! Carrying a request out, from the sealed credentials to a healthy kubelet.
//!
//! Until preflight and discovery have passed nothing on the machine is changed. From then on each step can be repeated:
//! after a crash the next start finds the same keys, the same certificate request and the same files, and
//! [`crate::files::KUBELET_CONF`] is written last.

mod certificate;
mod new_token;
mod write;

use std::cell::RefCell;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use join_crds::spec::Role;
use join_crds::vocabulary::{Reason, client_csr_name};
use join_crds::{AgentStep, Check, CheckResult, NodeJoinRequest, Versions};
use join_trust::ca_bundle::{CaBundleError, CaTrust};
use join_trust::credentials::{CredentialsError, JoinCredentials};
use join_trust::names::NodeName;
use join_trust::sealing::{self, Binding, SealedEnvelope, SealingError};
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, Client};
use secrecy::SecretString;
use tokio::sync::oneshot;

use self::new_token::{DOUBT, once_known};
use crate::atomic_file::{self, is_full};
use crate::checks::catalogue::CLOCK_SKEW;
use crate::checks::{self, Authorities, Expected, KubeletSettings, Place, beforehand};
use crate::connection::{self, As, CallError, Server, SetupError, call};
use crate::control_plane;
use crate::decision::certificate_waits;
use crate::discovery::{self, Cluster};
use crate::files::{self, ClusterConfiguration, Inputs, Rendered};
use crate::identity::Identity;
use crate::journal::{self, CrashSwitch, JoinStep, Journal, Root, UnitState};
use crate::kubelet::{self, Systemd};
use crate::local_status::{LocalStep, Publisher};
use crate::member::{self, Membership};
use crate::report::Reporter;

/// How long discovery with the request's own token is tried: its signature is in cluster-info before it is sealed, but
/// kube-controller-manager's signer may take it out for a moment.
const DISCOVERY_TRIES: usize = 12;
/// How often it is looked why there is no certificate yet.
const LOOK_WHY: Duration = Duration::from_secs(1);

/// A wait for the certificate that is shorter is not told of in the request. A join whose certificate comes at once takes
/// less than a second from here to its end.
const WORTH_TELLING: Duration = Duration::from_millis(500);

/// The request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request has nothing for this machine.
    #[error("the request has no sealed credentials for this machine")]
    NotForUs,
    /// The envelope cannot be opened.
    #[error("the sealed credentials cannot be opened: {0}")]
    Sealed(#[from] SealingError),
    /// What was in the envelope is not understood.
    #[error("the sealed credentials are not understood: {0}")]
    Credentials(#[from] CredentialsError),
    /// The credentials lead to another cluster than discovery did.
    #[error("the sealed credentials name a certificate authority that discovery did not find to be trusted: {0}")]
    OtherCluster(#[from] CaBundleError),
    /// Discovery with the token failed.
    #[error(transparent)]
    Discovery(#[from] discovery::Error),
    /// A client could not be made.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// Checks of this machine failed.
    #[error("preflight failed: {}", .0.iter().map(|check| {
        format!("[{}] {}", check.name, check.message.as_deref().unwrap_or_default())
    }).collect::<Vec<_>>().join("; "))]
    Preflight(Vec<Check>),
    /// The node's name is taken.
    #[error("a Node named {0} exists and is Ready: another machine has this name; expected none")]
    NodeExists(String),
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A ConfigMap lacks its key.
    #[error("ConfigMap kube-system/{map} has no key {key}: this cluster was not made by kubeadm")]
    ConfigMap {
        /// The map.
        map: &'static str,
        /// The key.
        key: &'static str,
    },
    /// No certificate.
    #[error(transparent)]
    Certificate(#[from] certificate::Error),
    /// The files could not be rendered.
    #[error(transparent)]
    Render(#[from] files::Error),
    /// What is done could not be noted, or a file could not be written.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// The membership could not be written.
    #[error(transparent)]
    Write(#[from] atomic_file::Error),
    /// The kubelet's key could not be encoded.
    #[error("failed to encode the machine key: {0}")]
    Key(#[from] join_trust::machine_key::MachineKeyError),
    /// The kubelet does not run.
    #[error(transparent)]
    Kubelet(#[from] kubelet::Error),
    /// The machine does not become a control plane.
    #[error(transparent)]
    ControlPlane(#[from] control_plane::Error),
    /// The request was changed or deleted meanwhile.
    #[error("the request was changed while it was carried out; beginning anew")]
    Superseded,
}

impl Error {
    /// Why, in one word.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Discovery(error) => error.reason(),
            Self::Call(error) => error.reason,
            Self::Certificate(error) => error.reason(),
            Self::OtherCluster(CaBundleError::NotPinned { .. }) => Reason::CAPinMismatch,
            // A clock has a reason of its own, since it is told of before a request is there too.
            Self::Preflight(checks) if checks.iter().all(|check| check.name == CLOCK_SKEW.id) => Reason::ClockSkew,
            Self::Preflight(_) => Reason::PreflightFailed,
            Self::NodeExists(_) => Reason::NodeAlreadyExists,
            Self::ConfigMap { .. } => Reason::ObjectMissing,
            Self::Kubelet(error) => error.reason(),
            Self::ControlPlane(error) => error.reason(),
            Self::Journal(error) if is_full(error) => Reason::MachineNotWritable,
            Self::Write(error) if is_full(error) => Reason::MachineNotWritable,
            _ => Reason::AgentFailed,
        }
    }
}

/// What is known of the machine and its cluster before there is a request.
pub struct Prepared<'a> {
    /// The machine's keys.
    pub identity: &'a Identity,
    /// The node's name.
    pub node_name: &'a NodeName,
    /// The machine's host name.
    pub hostname: &'a str,
    /// Addresses to report.
    pub addresses: &'a [String],
    /// The addresses that the agent's configuration gives to the machine.
    pub node_addresses: &'a [IpAddr],
    /// What takes long to see of the machine.
    pub beforehand: &'a beforehand::Keeper<'a>,
    /// The cluster that discovery found.
    pub cluster: &'a Cluster,
    /// A connection to systemd.
    pub systemd: &'a Systemd,
    /// What runs on the machine.
    pub versions: &'a Versions,
    /// Where the agent says on the machine what it does.
    pub status: &'a Publisher,
    /// Where the agent keeps its state.
    pub state_directory: &'a std::path::Path,
    /// What the request says of the kubelet's certificate, kept up to date by whoever watches it.
    pub client_certificate: &'a RefCell<Option<Condition>>,
    /// For tests: ends the agent after a chosen write.
    pub crash: &'a CrashSwitch,
}

/// Carries the request out.
///
/// `superseded` ends when the request has become another one. Until the certificate is there it ends the try; from then
/// on nothing does, since what follows is short and the machine's own.
pub async fn carry_out(
    machine: &Prepared<'_>,
    request: &NodeJoinRequest,
    superseded: impl Future<Output = ()>,
) -> Result<(), Error> {
    let began = Instant::now();
    let credentials = open(machine, request)?;
    // Only what discovery trusts may follow from what was sealed.
    let trust = CaTrust::Pinned(machine.cluster.ca.pins());
    let sealed = Cluster {
        endpoint: credentials.api_server_endpoint.clone(),
        ca: credentials.ca_bundle.clone().restrict(&trust)?,
    };
    let token = As::Token(SecretString::from(credentials.token.expose().to_string()));
    let client = connection::client(&sealed.endpoint, Server::Verified(&sealed.ca), token)?;
    let mut reporter = Reporter::new(client.clone(), request, machine.versions, machine.addresses.to_vec());
    let node = machine.node_name.as_str();
    let steps = async {
        let journal = Journal::open(machine.state_directory, Root::machine(), node, machine.crash.clone())?;
        let mut progress = Progress { reporter: &mut reporter, journal, began };
        let asking = Box::pin(ask(machine, request, &credentials, &sealed, &client, &mut progress));
        let granted = tokio::select! {
            granted = asking => granted?,
            () = superseded => return Err(Error::Superseded),
        };
        Box::pin(settle(machine, request, &granted, progress)).await
    };
    let outcome = Box::pin(steps).await;
    if let Some(error) = outcome.as_ref().err().filter(|error| !matches!(error, Error::Superseded)) {
        let (reason, message) = (error.reason(), format!("{error}. {}", error.reason().next_step()));
        reporter.step_because(AgentStep::Failed, Some(reason), Some(&message)).await;
    }
    outcome
}

fn open(machine: &Prepared<'_>, request: &NodeJoinRequest) -> Result<JoinCredentials, Error> {
    let status = request.status.as_ref();
    let sealed = status.and_then(|status| status.sealed_credentials.as_ref()).ok_or(Error::NotForUs)?;
    let envelope = SealedEnvelope::from_base64(&sealed.encapsulated_key, &sealed.ciphertext)?;
    let binding = Binding { uid: request.uid(), name: request.node_name(), generation: sealed.generation };
    let plain = sealing::open(&machine.identity.sealing, &binding, &envelope)?;
    Ok(JoinCredentials::parse(&plain)?)
}

/// How a try is told of: to the cluster, to the next start, and to people who measure.
struct Progress<'a> {
    reporter: &'a mut Reporter,
    journal: Journal,
    began: Instant,
}

/// All that the machine's files are made of.
struct Granted {
    cluster: Cluster,
    rendered: Rendered,
    certificate: String,
    /// What only a control plane has.
    control_plane: Option<control_plane::Planned>,
    /// How the kubelet's unit was before this.
    kubelet_unit: Option<UnitState>,
    /// How long the agent worked for it, and how long it waited for the certificate.
    worked: Duration,
    waited: Duration,
}

/// Checks the machine and the cluster, and asks for the certificate. Nothing is written to the machine.
async fn ask(
    machine: &Prepared<'_>,
    request: &NodeJoinRequest,
    credentials: &JoinCredentials,
    sealed: &Cluster,
    client: &Client,
    progress: &mut Progress<'_>,
) -> Result<Granted, Error> {
    let Progress { reporter, journal, began } = progress;
    machine.status.say(LocalStep::Joining, "checking this machine and the cluster");
    let registration = &request.spec.node_registration;
    let socket = files::cri_socket(registration);
    let node_ip = checks::cluster::node_ip(&registration.kubelet_extra_args);
    let expected = Expected {
        node_name: Some(machine.node_name.as_str()),
        machine_key: Some(machine.identity.machine.pin()),
        endpoint: Some(&sealed.endpoint),
        node_ip: &node_ip,
        node_addresses: machine.node_addresses,
        ..Expected::default()
    };
    let place = Place {
        cri_socket: &socket,
        kubelet_version: machine.versions.kubelet.clone(),
        systemd: Ok(machine.systemd),
        hostname: machine.hostname,
    };
    let looking = async { checks::observe(place, &expected, machine.beforehand.get().await).await };
    let (mut facts, cluster, configuration, free, systemd_resolved, kubelet_unit) = tokio::join!(
        looking,
        confirm(sealed, credentials, machine.status),
        once_known(|| cluster_configuration(client), Error::reason),
        once_known(|| name_is_free(client, machine.node_name), Error::reason),
        machine.systemd.is_active("systemd-resolved.service"),
        machine.systemd.state(kubelet::UNIT),
    );
    let (cluster, configuration) = (cluster?, configuration?);
    let kubelet = KubeletSettings::parse(&configuration.kubelet);
    let networks = configuration.cluster.networks();
    let own = request.spec.control_plane.as_ref();
    let asked = control_plane::Asked {
        node_name: machine.node_name,
        local_api_endpoint: own.and_then(|own| own.local_api_endpoint.as_ref()),
        address: machine.addresses.first().and_then(|address| address.parse().ok()),
        certificate_key: credentials.certificate_key.as_ref(),
        trusted: &cluster.ca,
    };
    let intended = match request.spec.role {
        Role::Worker => None,
        Role::ControlPlane => Some(control_plane::Intended::new(&configuration.text, &asked)),
    };
    // Without it the join ends below, after the other checks are told.
    let needs = intended.as_ref().and_then(|intended| intended.as_ref().ok()).map(control_plane::Intended::needs);
    facts.control_plane = needs.as_ref().map(checks::control_plane::observe);
    let expected = Expected {
        authorities: Authorities::Known(&cluster.ca),
        endpoint: Some(&cluster.endpoint),
        control_plane: Some(configuration.cluster.kubernetes_version()),
        kubelet: kubelet.as_ref(),
        networks: &networks,
        new_control_plane: needs.as_ref(),
        ..expected
    };
    let report = checks::judge(&facts, &expected, &registration.ignore_preflight_errors);
    let told = checks::for_status(&report, false);
    reporter.checks(&told);
    reporter.container_runtime(facts.runtime.name_and_version());
    if !report.is_good() {
        machine.beforehand.forget().await;
        return Err(Error::Preflight(told.into_iter().filter(|check| check.result == CheckResult::Failed).collect()));
    }
    free?;
    // Before the certificate is asked for: what cannot be written need not be asked for.
    let control_plane = match intended {
        None => None,
        Some(intended) => Some(control_plane::prepare(client, &intended?, &asked).await?),
    };
    let mut rendered = Rendered::new(&Inputs {
        node_name: machine.node_name,
        hostname: machine.hostname,
        // As with kubeadm, a control plane's kubelet does not depend on the other ones.
        endpoint: control_plane.as_ref().map_or(&cluster.endpoint, |own| &own.endpoint),
        ca: &cluster.ca,
        kubelet_config: &configuration.kubelet,
        cluster: &configuration.cluster,
        registration,
        taints: &request.spec.node_taints(),
        systemd_resolved,
    })?;
    if let Some(own) = &control_plane {
        rendered.ca_crt.clone_from(&own.ca_crt);
    }

    journal.step(JoinStep::AskForCertificate, request.uid())?;
    let worked = began.elapsed();
    let waiting = Instant::now();
    let name = client_csr_name(credentials.token.id().as_str());
    let waits = format!("waiting for certificate request {name} to be approved and signed");
    machine.status.say(LocalStep::Joining, &waits);
    let key = &machine.identity.machine;
    let (is_there, done) = oneshot::channel::<()>();
    let certificate = async {
        let obtained = certificate::obtain(client, credentials.token.id(), key, machine.node_name, &cluster.ca).await;
        drop(is_there);
        obtained
    };
    let certificate = obtained(certificate, tell_of_waiting(machine, reporter, &name, &waits, done)).await;
    Ok(Granted {
        cluster,
        rendered,
        control_plane,
        certificate: certificate?,
        kubelet_unit: kubelet_unit?,
        worked,
        waited: waiting.elapsed(),
    })
}

/// Waits for the certificate, and begins to tell of the wait when there is one: what comes at once, as it does where
/// approver and signer are well, is told of with the end of the join, and costs no write of its own.
async fn obtained<T>(certificate: impl Future<Output = T>, telling: impl Future<Output = ()>) -> T {
    let mut certificate = std::pin::pin!(certificate);
    if let Ok(certificate) = tokio::time::timeout(WORTH_TELLING, &mut certificate).await {
        return certificate;
    }
    let (certificate, ()) = tokio::join!(certificate, telling);
    certificate
}

/// Says that the certificate is waited for, and what holds it up, until it is there.
async fn tell_of_waiting(
    machine: &Prepared<'_>,
    reporter: &mut Reporter,
    name: &str,
    waiting: &str,
    mut done: oneshot::Receiver<()>,
) {
    reporter.step(AgentStep::WaitingForCertificate).await;
    let began = Instant::now();
    // The sender is dropped, and nothing is ever sent.
    while tokio::time::timeout(LOOK_WHY, &mut done).await.is_err() {
        let waits = certificate_waits(machine.client_certificate.borrow().as_ref(), name, began.elapsed());
        let (reason, message) = match &waits {
            Some(waits) => (waits.reason, waits.message.as_str()),
            None => (None, waiting),
        };
        machine.status.say_because(LocalStep::Joining, reason, message);
        // What the controller says is in the request already.
        let is_news = reason == Some(Reason::ControllerSilent);
        let told = is_news.then_some(message);
        reporter.step_because(AgentStep::WaitingForCertificate, reason.filter(|_| is_news), told).await;
    }
}

/// Writes the files, starts the kubelet, and goes on as the node.
async fn settle(
    machine: &Prepared<'_>,
    request: &NodeJoinRequest,
    granted: &Granted,
    progress: Progress<'_>,
) -> Result<(), Error> {
    let Progress { reporter, mut journal, began } = progress;
    let writes_began = Instant::now();
    let membership = Membership {
        node_name: machine.node_name.as_str().to_owned(),
        request_uid: request.uid().to_owned(),
        endpoint: granted.cluster.endpoint.to_string(),
        control_plane: granted.control_plane.as_ref().map(|own| own.member.clone()),
    };
    let key = &machine.identity.machine;
    let unit = granted.kubelet_unit.clone();
    let all = write::All {
        rendered: &granted.rendered,
        control_plane: granted.control_plane.as_ref(),
        certificate: &granted.certificate,
        key,
        membership: &membership,
    };
    write::all(&all, machine.state_directory, &mut journal, unit)?;
    let own = granted.worked + writes_began.elapsed();
    tracing::info!(
        own_ms = own.as_millis(),
        certificate_ms = granted.waited.as_millis(),
        "the files are written; starting the kubelet"
    );
    reporter.own_time(own);
    machine.status.say(LocalStep::Joining, "the node's files are written; waiting for the kubelet to be healthy");
    journal.step(JoinStep::StartKubelet, request.uid())?;
    let tell = async |trouble: &kubelet::Trouble| {
        machine.status.say_because(LocalStep::Joining, Some(trouble.reason), &trouble.message);
        reporter.step_because(AgentStep::StartingKubelet, Some(trouble.reason), Some(&trouble.message)).await;
    };
    kubelet::start(machine.systemd, files::healthz_url(&granted.rendered.config_yaml).as_deref(), tell).await?;
    tracing::info!(total_ms = began.elapsed().as_millis(), "the kubelet is healthy");
    // From here on the node speaks for itself: its token is taken away once its Node is there, which a control plane
    // registers while it is still being started.
    if let Some(cluster) = member::cluster(&membership) {
        reporter.speak_as(member::client(&cluster)?);
    }
    if let Some(own) = &membership.control_plane {
        start_control_plane(machine, request, own, &mut journal, reporter).await?;
    }
    journal.step(JoinStep::Joined, request.uid())?;
    reporter.step(AgentStep::Joined).await;
    Ok(())
}

/// Makes the machine a member of etcd, and starts its API server, controller manager and scheduler.
async fn start_control_plane(
    machine: &Prepared<'_>,
    request: &NodeJoinRequest,
    own: &member::ControlPlane,
    journal: &mut Journal,
    reporter: &mut Reporter,
) -> Result<(), Error> {
    journal.step(JoinStep::StartControlPlane, request.uid())?;
    let tell = async |reason: Option<Reason>, message: &str| {
        machine.status.say_because(LocalStep::Joining, reason, message);
        reporter.step_because(AgentStep::StartingControlPlane, reason, Some(message)).await;
    };
    let started = control_plane::Started { node_name: machine.node_name, control_plane: own, systemd: machine.systemd };
    Ok(control_plane::start(&started, journal, tell).await?)
}

/// Discovery with the request's own token.
async fn confirm(
    cluster: &Cluster,
    credentials: &JoinCredentials,
    status: &Publisher,
) -> Result<Cluster, discovery::Error> {
    let often = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(5))
        .with_max_times(DISCOVERY_TRIES)
        .with_jitter();
    let began = Instant::now();
    let tell = |error: &discovery::Error, _pause| {
        // An API server that has just started does not know the token yet.
        if error.reason() != Reason::CredentialsRefused || began.elapsed() > DOUBT {
            status.say_because(LocalStep::Joining, Some(error.reason()), &error.to_string());
        }
    };
    (|| discovery::confirm(cluster, &credentials.token))
        .retry(often)
        .when(discovery::Error::is_temporary)
        .notify(tell)
        .await
}

/// kubeadm's own check: a Ready Node of this name is another machine.
async fn name_is_free(client: &Client, name: &NodeName) -> Result<(), Error> {
    let nodes: Api<Node> = Api::all(client.clone());
    let found = call(&format!("looking for a Node named {}", name.as_str()), nodes.get_opt(name.as_str())).await?;
    let conditions = found.and_then(|node| node.status).and_then(|status| status.conditions).unwrap_or_default();
    let ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    if ready { Err(Error::NodeExists(name.as_str().to_owned())) } else { Ok(()) }
}

/// What kubeadm keeps in the cluster for those who join.
struct ClusterConfigurations {
    cluster: ClusterConfiguration,
    /// The same as it stands there, for those who need more of it.
    text: String,
    /// `data.kubelet` of the ConfigMap `kubelet-config`.
    kubelet: String,
}

async fn cluster_configuration(client: &Client) -> Result<ClusterConfigurations, Error> {
    let (cluster, kubelet) = tokio::try_join!(
        config_map(client, "kubeadm-config", "ClusterConfiguration"),
        config_map(client, "kubelet-config", "kubelet"),
    )?;
    Ok(ClusterConfigurations { cluster: ClusterConfiguration::parse(&cluster)?, text: cluster, kubelet })
}

async fn config_map(client: &Client, map: &'static str, key: &'static str) -> Result<String, Error> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-system");
    let found = call(&format!("reading ConfigMap kube-system/{map}"), maps.get(map)).await?;
    found.data.and_then(|mut data| data.remove(key)).ok_or(Error::ConfigMap { map, key })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_wait_is_told_of() {
        for (milliseconds, expected) in [(0, false), (400, false), (600, true), (60_000, true)] {
            let told = Cell::new(false);
            let certificate = async {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                milliseconds
            };
            // What is told of is told while the certificate is waited for, not after it.
            assert_eq!(obtained(certificate, async { told.set(true) }).await, milliseconds);
            assert_eq!(told.get(), expected, "{milliseconds} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn telling_slowly_does_not_lose_the_certificate() {
        let certificate = tokio::time::sleep(Duration::from_secs(1));
        let telling = tokio::time::sleep(Duration::from_secs(10));
        let began = tokio::time::Instant::now();
        obtained(certificate, telling).await;
        assert_eq!(began.elapsed(), Duration::from_secs(10));
    }
}
