//! After the kubelet runs: the machine becomes a member of etcd, and its static pods are started.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use join_control_plane::kubeconfigs::ADMIN_CONF;
use join_control_plane::manifests::CA_FOLDERS;
use join_control_plane::{ClusterConfiguration, File, Host, Member};
use join_crds::Reason;
use join_trust::endpoint::Endpoint;
use join_trust::kubeconfig::DiscoveryFile;
use join_trust::names::NodeName;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::Error;
use super::prepare::own_endpoint;
use crate::connection::call;
use crate::discovery::{self, Origin};
use crate::etcd::{self, Credentials, Membership, Own};
use crate::journal::{ETCD_FOLDER, EtcdMember, Journal};
use crate::kubelet::Systemd;
use crate::member::ControlPlane;

/// The annotation of kubeadm's etcd pods with the URLs under which they are asked.
pub const CLIENT_URLS: &str = "kubeadm.kubernetes.io/etcd.advertise-client-urls";
/// How long etcd may take to accept the machine, and to let it vote. kubeadm gives each of the two 2 minutes.
const ETCD_TIMEOUT: Duration = Duration::from_mins(4);
/// How long the control plane may take to be healthy; kubeadm's `ControlPlaneComponentHealthCheck`.
const HEALTH_TIMEOUT: Duration = Duration::from_mins(4);
/// The pauses between looks at its pods: from the first to the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// How long etcd may take to answer, or to accept the machine, before that is told.
const SHOULD_ANSWER: Duration = Duration::from_secs(10);
/// How long what is not healthy is not told of: images are unpacked, and an API server takes its time.
const SHOULD_BE_HEALTHY: Duration = Duration::from_secs(30);

/// The unit that makes etcd's folder.
const FOLDER_UNIT: &str = "join-agent-etcd-folder.service";

/// The machine whose control plane is started.
pub struct Started<'a> {
    /// The node.
    pub node_name: &'a NodeName,
    /// The machine, as the others see it.
    pub control_plane: &'a ControlPlane,
    /// A connection to systemd.
    pub systemd: &'a Systemd,
}

/// Makes the machine a member of etcd, starts its API server, controller manager and scheduler, and waits until all of them
/// are Ready. What an earlier call of it has done, it goes on with.
///
/// `tell` is told what is being done, and with a reason when that is held up.
///
/// # Errors
/// When etcd does not take the machine, or a part does not become healthy in time.
pub async fn start(
    machine: &Started<'_>,
    journal: &mut Journal,
    mut tell: impl AsyncFnMut(Option<Reason>, &str),
) -> Result<(), Error> {
    tell(None, "reading the cluster's configuration").await;
    let member = Member {
        node_name: machine.node_name.clone(),
        advertise_address: machine.control_plane.advertise_address,
        bind_port: machine.control_plane.bind_port,
    };
    let admin = Admin::read()?;
    let client = admin.client(None)?;
    let configuration =
        ClusterConfiguration::parse(&cluster_configuration(&client).await?).map_err(join_control_plane::Error::from)?;
    let host = host();
    if configuration.local_etcd().is_some() {
        make_etcds_folder(machine.systemd, journal).await?;
        join_etcd(&client, &configuration, &member, &host, journal, &mut tell).await?;
    }
    for file in
        join_control_plane::manifests(&configuration, &member, &host).map_err(join_control_plane::Error::from)?
    {
        write(journal, &file)?;
    }
    let own = admin.client(Some(&own_endpoint(&member)?))?;
    wait_until_ready(&own, &member, configuration.local_etcd().is_some(), tell).await
}

/// What the static pods take from the machine.
fn host() -> Host {
    let exists = |folder: &&&str| Path::new(folder).is_dir();
    Host {
        ca_folders: CA_FOLDERS.iter().filter(exists).map(|folder| (*folder).to_owned()).collect(),
        environment: std::env::vars().collect(),
        health_check: Host::DEFAULT_HEALTH_CHECK,
    }
}

/// The administrator, whose kubeconfig the join has written.
struct Admin(DiscoveryFile);

impl Admin {
    fn read() -> Result<Self, Error> {
        let written = |reason: String| Error::Written { path: ADMIN_CONF.to_owned(), reason };
        let text =
            std::fs::read_to_string(ADMIN_CONF).map(Zeroizing::new).map_err(|error| written(error.to_string()))?;
        DiscoveryFile::parse(&text).map(Self).map_err(|error| written(error.to_string()))
    }

    /// Speaks to the cluster, or to one of its API servers.
    fn client(&self, endpoint: Option<&Endpoint>) -> Result<Client, Error> {
        let mut file = self.0.clone();
        file.endpoint = endpoint.cloned().unwrap_or(file.endpoint);
        let (_, client) = discovery::client_of_file(Origin::Path(Path::new(ADMIN_CONF)), &file, None)?;
        Ok(client)
    }
}

async fn cluster_configuration(client: &Client) -> Result<String, Error> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-system");
    let found = call("reading ConfigMap kube-system/kubeadm-config", maps.get("kubeadm-config")).await?;
    Ok(found.data.and_then(|mut data| data.remove("ClusterConfiguration")).unwrap_or_default())
}

/// Makes the folder of etcd's data for root alone, as kubeadm does; the kubelet would make it for everybody to look into.
/// One that is there is left as it is.
///
/// It is made outside of the agent's sandbox, in which `/var/lib` is closed: a folder that the unit could open for it would
/// have to be there on workers too.
async fn make_etcds_folder(systemd: &Systemd, journal: &Journal) -> Result<(), Error> {
    if !journal.lacks(ETCD_FOLDER)? {
        return Ok(());
    }
    // As a whole path, since older versions of systemd look for no program that is named over D-Bus.
    let words = ["/bin/mkdir", "--mode=0700", ETCD_FOLDER].map(OsStr::new);
    systemd.run_outside(FOLDER_UNIT, "Makes the folder of etcd's data", &words).await.map_err(Error::EtcdFolder)?;
    journal.crash_switch().wrote(ETCD_FOLDER);
    Ok(())
}

async fn join_etcd(
    client: &Client,
    configuration: &ClusterConfiguration,
    member: &Member,
    host: &Host,
    journal: &mut Journal,
    tell: &mut impl AsyncFnMut(Option<Reason>, &str),
) -> Result<(), Error> {
    tell(None, "joining etcd").await;
    let deadline = Instant::now() + ETCD_TIMEOUT;
    let peer_url = member.etcd_peer_url();
    let endpoints = etcd_endpoints(client, member).await?;
    let folder = format!("{}/etcd", configuration.certificates_dir);
    let Credentials { ca, certificate, key } = Credentials::read(&folder, |path| path.into())
        .map_err(|(path, error)| Error::Written { path, reason: error.to_string() })?;
    let connect =
        async |until| Membership::connect(&endpoints, ca.as_bytes(), certificate.as_bytes(), &key, until).await;
    let mut etcd = telling(deadline, SHOULD_ANSWER, tell, connect).await?;
    let own = Own { name: member.node_name.as_str(), peer_url: &peer_url, data_folder: Path::new(ETCD_FOLDER) };
    // Before etcd knows of the machine: a reset has to take it out again.
    journal.etcd(EtcdMember { peer_url: peer_url.clone(), endpoints: etcd.endpoints() })?;
    let initial_cluster = telling(deadline, SHOULD_ANSWER, tell, async |until| etcd.join(&own, until).await).await?;
    let members: Vec<(String, String)> =
        initial_cluster.members().map(|(name, url)| (name.to_owned(), url.to_owned())).collect();
    let manifest = join_control_plane::etcd_manifest(configuration, member, host, &members)
        .map_err(join_control_plane::Error::from)?;
    let path = manifest.path.display().to_string();
    // Another list, after others have joined, would only start it anew.
    if !(journal.exists(&path) && etcd::has_begun(Path::new(ETCD_FOLDER))) {
        write(journal, &manifest)?;
    }
    tell(None, "waiting for this machine's etcd to have the data of the others, and to vote").await;
    telling(deadline, SHOULD_BE_HEALTHY, tell, async |until| etcd.promote(&peer_url, until).await).await
}

/// Does something with etcd until the deadline, and tells what holds it up when that lasts longer than `quiet`. What was
/// begun is gone on with each time, as after a kill.
async fn telling<T>(
    deadline: Instant,
    quiet: Duration,
    tell: &mut impl AsyncFnMut(Option<Reason>, &str),
    mut once: impl AsyncFnMut(Instant) -> Result<T, etcd::Error>,
) -> Result<T, Error> {
    let mut told = None;
    let mut until = deadline.min(Instant::now() + quiet);
    loop {
        match once(until).await {
            Err(etcd::Error::Deadline { doing, last }) if until < deadline => {
                let seen = last.map_or_else(|| "no answer yet".to_owned(), |last| last.to_string());
                let message = format!("waiting for {doing}: {seen}");
                if told.as_ref() != Some(&message) {
                    tell(Some(Reason::EtcdNotJoined), &message).await;
                    told = Some(message);
                }
                until = deadline.min(Instant::now() + SHOULD_ANSWER);
            }
            outcome => return Ok(outcome?),
        }
    }
}

/// Where the members of etcd are asked, as kubeadm finds them: by the annotation of their pods.
async fn etcd_endpoints(client: &Client, member: &Member) -> Result<Vec<String>, Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "kube-system");
    let list = ListParams::default().labels("component=etcd,tier=control-plane");
    let found = call("looking for the pods of etcd in kube-system", pods.list(&list)).await?;
    let mut endpoints: Vec<String> = found.items.iter().flat_map(client_urls).collect();
    // Its own member does not answer before it votes.
    endpoints.retain(|endpoint| *endpoint != member.etcd_client_url());
    endpoints.sort();
    endpoints.dedup();
    if endpoints.is_empty() { Err(Error::NoEtcd) } else { Ok(endpoints) }
}

fn client_urls(pod: &Pod) -> Vec<String> {
    let annotation = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(CLIENT_URLS));
    annotation.into_iter().flat_map(|urls| urls.split(',')).map(|url| url.trim().to_owned()).collect()
}

fn write(journal: &Journal, file: &File) -> Result<(), Error> {
    Ok(journal.file(&file.path.display().to_string(), file.content.expose(), file.mode)?)
}

/// Waits for the pods that the kubelet makes of the manifests. Their readiness is that of kubeadm's own probes.
async fn wait_until_ready(
    client: &Client,
    member: &Member,
    with_etcd: bool,
    mut tell: impl AsyncFnMut(Option<Reason>, &str),
) -> Result<(), Error> {
    let began = Instant::now();
    let pods: Api<Pod> = Api::namespaced(client.clone(), "kube-system");
    // The API server first: it is the one that is asked for all of them.
    let components = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];
    let names: Vec<String> = components
        .into_iter()
        .chain(with_etcd.then_some("etcd"))
        .map(|component| format!("{component}-{}", member.node_name))
        .collect();
    let mut pauses =
        ExponentialBuilder::default().with_min_delay(PAUSES.0).with_max_delay(PAUSES.1).without_max_times().build();
    let mut waiting = Waiting { quiet_since: began, told: None };
    loop {
        let Some((pod, seen)) = first_not_ready(&pods, &names).await else { return Ok(()) };
        if began.elapsed() >= HEALTH_TIMEOUT {
            return Err(Error::NotHealthy { pod, seen, seconds: HEALTH_TIMEOUT.as_secs() });
        }
        if let Some(is_trouble) = waiting.look(&pod, Instant::now()) {
            let reason = is_trouble.then_some(Reason::ControlPlaneNotHealthy);
            tell(reason, &format!("waiting for pod kube-system/{pod}: {seen}")).await;
        }
        tokio::time::sleep(pauses.next().unwrap_or(PAUSES.1)).await;
    }
}

/// How long the pods have been waited for, and what was told of them.
struct Waiting {
    /// Since when nothing had to be told as a trouble.
    quiet_since: Instant,
    /// The pod that was told of last, and whether as a trouble.
    told: Option<(String, bool)>,
}

impl Waiting {
    /// Whether there is anything to tell of the pod that is waited for, and whether as a trouble.
    fn look(&mut self, pod: &str, now: Instant) -> Option<bool> {
        let is_another = self.told.as_ref().is_none_or(|(told, _)| told != pod);
        let was_trouble = self.told.as_ref().is_some_and(|(_, is_trouble)| *is_trouble);
        if is_another && was_trouble {
            // The trouble is over, and the next pod, which may have needed the other one, has its own time.
            self.quiet_since = now;
        }
        let is_trouble = now.duration_since(self.quiet_since) >= SHOULD_BE_HEALTHY;
        if !is_another && is_trouble == was_trouble {
            return None;
        }
        self.told = Some((pod.to_owned(), is_trouble));
        Some(is_trouble)
    }
}

/// The first pod that is not Ready, and what is seen of it.
async fn first_not_ready(pods: &Api<Pod>, names: &[String]) -> Option<(String, String)> {
    for name in names {
        let seen = match call(&format!("looking at pod kube-system/{name}"), pods.get_opt(name)).await {
            Ok(Some(pod)) => match readiness(&pod) {
                None => continue,
                Some(seen) => seen,
            },
            Ok(None) => "it does not exist; the kubelet makes it when it has registered its Node".to_owned(),
            Err(error) => format!("this machine's own API server does not answer: {error}"),
        };
        return Some((name.clone(), seen));
    }
    None
}

/// What keeps a pod from being Ready; none if it is.
fn readiness(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    if conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True") {
        return None;
    }
    let containers = status.and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
    let waits = containers.iter().find_map(|container| container.state.as_ref()?.waiting.as_ref());
    let words = waits.map(|waits| {
        let reason = waits.reason.as_deref().unwrap_or("waiting");
        waits.message.as_ref().map_or_else(|| reason.to_owned(), |message| format!("{reason}: {message}"))
    });
    let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or("unknown");
    Some(words.unwrap_or_else(|| format!("its phase is {phase}, and its readiness probe has not succeeded")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn not_yet(seen: &str) -> etcd::Error {
        let last = Box::new(etcd::Error::NotAMember(seen.to_owned()));
        etcd::Error::Deadline { doing: "it", last: Some(last) }
    }

    /// What is seen at each try, how often something is told of it, and after how many seconds it is done.
    #[tokio::test(start_paused = true)]
    async fn what_holds_etcd_up_is_told_once_it_lasts() {
        for (seen, expected, seconds) in [
            (&[][..], &[][..], 0),
            (&["a"], &["a"], 30),
            (&["a", "a", "a"], &["a"], 50),
            (&["a", "b", "a"], &["a", "b", "a"], 50),
        ] {
            let began = Instant::now();
            let mut told = Vec::new();
            let mut tell = async |_: Option<Reason>, message: &str| told.push(message.to_owned());
            let mut left = seen.iter();
            let once = async |until| match left.next() {
                None => Ok(7),
                Some(seen) => {
                    tokio::time::sleep_until(until).await;
                    Err(not_yet(seen))
                }
            };
            let done = telling(began + ETCD_TIMEOUT, SHOULD_BE_HEALTHY, &mut tell, once).await;
            assert!(matches!(done, Ok(7)));
            assert_eq!(began.elapsed(), Duration::from_secs(seconds));
            assert_eq!(told.len(), expected.len(), "{told:?}");
            for (told, expected) in told.iter().zip(expected) {
                assert!(told.starts_with(&format!("waiting for it: etcd has no member {expected}:")), "{told}");
            }
        }
    }

    /// Which pod is waited for after how many seconds, and whether that is told, and as a trouble.
    #[test]
    fn each_pod_is_told_of_and_is_a_trouble_once_it_lasts() {
        const QUIETLY: Option<bool> = Some(false);
        const TROUBLE: Option<bool> = Some(true);
        let began = Instant::now();
        for looks in [
            &[(0, "a", QUIETLY), (29, "a", None), (30, "a", TROUBLE), (31, "a", None)][..],
            &[(0, "a", QUIETLY), (10, "b", QUIETLY), (29, "b", None), (30, "b", TROUBLE)],
            // One that comes and goes keeps no trouble from being told.
            &[(0, "a", QUIETLY), (10, "b", QUIETLY), (20, "a", QUIETLY), (30, "b", TROUBLE)],
            // What needed the one that was in the way has its own time from then on.
            &[(30, "a", TROUBLE), (50, "b", QUIETLY), (79, "b", None), (80, "b", TROUBLE), (90, "a", QUIETLY)],
        ] {
            let mut waiting = Waiting { quiet_since: began, told: None };
            for &(seconds, pod, expected) in looks {
                let seen = waiting.look(pod, began + Duration::from_secs(seconds));
                assert_eq!(seen, expected, "{pod} after {seconds} s of {looks:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn etcd_is_not_waited_for_after_the_deadline_nor_when_it_is_no_use() {
        let began = Instant::now();
        let deadline = began + ETCD_TIMEOUT;
        let mut tell = async |_: Option<Reason>, _: &str| ();
        let late = async |until| {
            tokio::time::sleep_until(until).await;
            Err::<(), _>(not_yet("a"))
        };
        let outcome = telling(deadline, SHOULD_ANSWER, &mut tell, late).await;
        assert!(matches!(outcome, Err(Error::Etcd(etcd::Error::Deadline { .. }))));
        assert_eq!(began.elapsed(), ETCD_TIMEOUT);
        let no_use = async |_| Err::<(), _>(etcd::Error::NoEndpoint);
        let outcome = telling(Instant::now() + ETCD_TIMEOUT, SHOULD_ANSWER, &mut tell, no_use).await;
        assert!(matches!(outcome, Err(Error::Etcd(etcd::Error::NoEndpoint))));
        assert_eq!(began.elapsed(), ETCD_TIMEOUT);
    }
}
