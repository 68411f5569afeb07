//! One join, measured.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use join_crds::{ConditionType, NodeJoinRequest, Reason, conditions};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DeleteParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};

use super::audit::{Mark, Requests};
use crate::kubeadm;
use crate::lab::{Lab, Machine, command};
use crate::operator::{Enrollment, Operator};
use crate::process::kibibytes;

const PATIENCE: Duration = Duration::from_mins(2);

/// A join by join-agent. All durations are from the creation of the request.
#[derive(Clone, Debug)]
pub struct OurJoin {
    /// The token was issued and sealed.
    pub credential: Duration,
    /// The kubelet's client certificate was issued.
    pub certificate: Duration,
    /// The Node appeared.
    pub registered: Duration,
    /// The Node was Ready.
    pub ready: Duration,
    /// What the agent itself took, as it reports: discovery, TLS bootstrap and files, without waiting for others.
    pub agent: Option<Duration>,
    /// API requests of agent and controller.
    pub requests: Requests,
    /// The agent's memory while it waited for the request, in KiB.
    pub idle_memory: u64,
    /// The most memory that the agent ever had, in KiB.
    pub peak_memory: u64,
}

/// A join by `kubeadm join`. All durations are from the start of the program.
#[derive(Clone, Debug)]
pub struct KubeadmJoin {
    /// The Node appeared.
    pub registered: Duration,
    /// The Node was Ready.
    pub ready: Duration,
    /// kubeadm ended.
    pub exit: Duration,
    /// API requests of kubeadm.
    pub requests: Requests,
    /// The most memory that kubeadm ever had, in KiB.
    pub peak_memory: u64,
}

/// A start of a kubelet that has all that it needs. All durations are from the start of its unit.
#[derive(Clone, Debug)]
pub struct Floor {
    /// The Node appeared.
    pub registered: Duration,
    /// The Node was Ready.
    pub ready: Duration,
}

/// What all measurements share.
pub struct Bench<'a> {
    lab: &'a Lab,
    operator: &'a Operator<'a>,
    enrollment: &'a Enrollment,
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl<'a> Bench<'a> {
    pub fn new(lab: &'a Lab, operator: &'a Operator<'a>, enrollment: &'a Enrollment) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let client = runtime.block_on(lab.client())?;
        Ok(Self { lab, operator, enrollment, runtime, client })
    }

    fn audit_mark(&self) -> anyhow::Result<Mark> {
        Ok(Mark::now(self.lab.layout().control_plane_etc().join("audit.log"))?)
    }

    /// A join by our agent, and then the floor on the same machine.
    pub fn our_join(&self, name: &str) -> anyhow::Result<(OurJoin, Floor)> {
        let machine = self.lab.add_machine(name)?;
        self.operator.install_agent(&machine, self.enrollment)?;
        self.runtime.block_on(self.announced(name))?;
        let idle_memory = memory_of_agent(&machine, "VmRSS")?;
        let mark = self.audit_mark()?;
        let times = self.runtime.block_on(self.watch_our_join(name, &machine))?;
        let requests = mark.requests(&["join-agent", "join-controller"])?;
        let join = OurJoin {
            credential: times.credential,
            certificate: times.certificate,
            registered: times.node.0,
            ready: times.node.1,
            agent: self.agent_time(name)?,
            requests,
            idle_memory,
            peak_memory: memory_of_agent(&machine, "VmHWM")?,
        };
        let floor = self.floor(&machine)?;
        machine.power_off()?;
        Ok((join, floor))
    }

    async fn announced(&self, name: &str) -> anyhow::Result<()> {
        let api: Api<CertificateSigningRequest> = Api::all(self.client.clone());
        let prefix = format!("{}{name}-", join_crds::vocabulary::ANNOUNCEMENT_PREFIX);
        let mut all = watcher(api, watcher::Config::default()).applied_objects().boxed();
        let found = async {
            while let Some(request) = all.try_next().await? {
                if request.metadata.name.is_some_and(|name| name.starts_with(&prefix)) {
                    return Ok(());
                }
            }
            anyhow::bail!("the watch of certificate requests ended")
        };
        tokio::time::timeout(PATIENCE, found).await?
    }

    async fn watch_our_join(&self, name: &str, machine: &Machine<'_>) -> anyhow::Result<OurTimes> {
        let api: Api<NodeJoinRequest> = Api::all(self.client.clone());
        let request: NodeJoinRequest = serde_json::from_value(serde_json::json!({
            "apiVersion": "nodejoin.dev/v1alpha1", "kind": "NodeJoinRequest", "metadata": {"name": name},
            "spec": {"role": "Worker", "machine": {"trust": "FirstUse"}, "addresses": [machine.address()]},
        }))?;
        let mut versions = watcher(api.clone(), by_name(name)).applied_objects().boxed();
        let mut nodes = self.node_watch(name).await?;
        let began = Instant::now();
        api.create(&PostParams::default(), &request).await?;
        let issued = async {
            let (mut credential, mut certificate) = (None, None);
            while let Some(request) = versions.try_next().await? {
                let seen = request.status.map(|status| status.conditions).unwrap_or_default();
                let is_true = |condition| conditions::is_true(&seen, condition);
                credential = credential.or_else(|| is_true(ConditionType::CredentialIssued).then(|| began.elapsed()));
                certificate =
                    certificate.or_else(|| is_true(ConditionType::ClientCertificateIssued).then(|| began.elapsed()));
                // The join is over, and its requests can be counted, when the token has been removed as well.
                if let (Some(credential), Some(certificate), true) = (credential, certificate, is_over(&seen)) {
                    return Ok((credential, certificate));
                }
            }
            anyhow::bail!("the watch of the request ended")
        };
        let both = futures::future::try_join(issued, node_times(&mut nodes, began));
        let ((credential, certificate), node) = tokio::time::timeout(PATIENCE, both).await??;
        Ok(OurTimes { credential, certificate, node })
    }

    /// A join by stock kubeadm with a token of its own, whose signature is in cluster-info before it starts.
    pub fn kubeadm_join(&self, name: &str) -> anyhow::Result<KubeadmJoin> {
        let machine = self.lab.add_machine(name)?;
        let line = kubeadm::join_line(self.lab)?;
        let mark = self.audit_mark()?;
        let mut join = machine.command("time")?;
        join.args(["--format=%M", "--output=/run/kubeadm-memory"])
            .args(line.split_whitespace())
            .args(kubeadm::accept_cgroup_v1());
        let (times, exit) = self.runtime.block_on(async {
            let mut nodes = self.node_watch(name).await?;
            let began = Instant::now();
            let program = tokio::task::spawn_blocking(move || command::run(&mut join).map(|_| began.elapsed()));
            let times = tokio::time::timeout(PATIENCE, node_times(&mut nodes, began)).await??;
            anyhow::Ok((times, program.await??))
        })?;
        let requests = mark.requests(&["kubeadm"])?;
        let peak = machine.run(&["cat", "/run/kubeadm-memory"])?.stdout.trim().parse()?;
        machine.power_off()?;
        Ok(KubeadmJoin { registered: times.0, ready: times.1, exit, requests, peak_memory: peak })
    }

    /// Starts the kubelet of a joined machine again, after its Node was deleted.
    fn floor(&self, machine: &Machine<'_>) -> anyhow::Result<Floor> {
        machine.run(&["systemctl", "stop", "join-agent.service", "kubelet.service"])?;
        let nodes: Api<Node> = Api::all(self.client.clone());
        self.runtime.block_on(nodes.delete(machine.name(), &DeleteParams::default()))?;
        let mut start = machine.command("systemctl")?;
        start.args(["start", "kubelet.service"]);
        let times = self.runtime.block_on(async {
            let mut nodes = self.node_watch(machine.name()).await?;
            let began = Instant::now();
            let program = tokio::task::spawn_blocking(move || command::run(&mut start));
            let times = tokio::time::timeout(PATIENCE, node_times(&mut nodes, began)).await??;
            program.await??;
            anyhow::Ok(times)
        })?;
        Ok(Floor { registered: times.0, ready: times.1 })
    }

    /// A watch that is established before anything happens.
    async fn node_watch(&self, name: &str) -> anyhow::Result<NodeWatch> {
        let api: Api<Node> = Api::all(self.client.clone());
        listed(watcher(api, by_name(name)).boxed()).await
    }

    /// What the agent says that it took, among the observations in its status.
    fn agent_time(&self, name: &str) -> anyhow::Result<Option<Duration>> {
        let api: Api<NodeJoinRequest> = Api::all(self.client.clone());
        let request = self.runtime.block_on(api.get(name))?;
        let observations = request.status.and_then(|status| status.agent).map(|agent| agent.observations);
        let own = observations.unwrap_or_default().into_iter().find(|one| one.name == OWN_TIME);
        Ok(own.and_then(|one| one.value.trim_end_matches(" ms").parse().ok()).map(Duration::from_millis))
    }
}

/// The name of the agent's observation of its own time.
const OWN_TIME: &str = "ownTime";

type NodeWatch = Events<Node>;

pub(super) type Events<K> = futures::stream::BoxStream<'static, watcher::Result<watcher::Event<K>>>;

/// A watch that has listed what there is.
pub(super) async fn listed<K>(mut events: Events<K>) -> anyhow::Result<Events<K>> {
    while let Some(event) = events.try_next().await? {
        if matches!(event, watcher::Event::InitDone) {
            return Ok(events);
        }
    }
    anyhow::bail!("a watch ended before it had listed what there is")
}

struct OurTimes {
    credential: Duration,
    certificate: Duration,
    node: (Duration, Duration),
}

fn by_name(name: &str) -> watcher::Config {
    watcher::Config::default().fields(&format!("metadata.name={name}"))
}

pub(super) fn is_over(seen: &[Condition]) -> bool {
    conditions::is_true(seen, ConditionType::Ready)
        && conditions::reason(seen, ConditionType::CredentialIssued) == Some(Reason::TokenRemoved)
}

/// When the Node appeared and when it was Ready.
async fn node_times(events: &mut NodeWatch, began: Instant) -> anyhow::Result<(Duration, Duration)> {
    let mut registered = None;
    while let Some(event) = events.try_next().await? {
        let (watcher::Event::Apply(node) | watcher::Event::InitApply(node)) = event else { continue };
        let registered = *registered.get_or_insert_with(|| began.elapsed());
        let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
        if conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True") {
            return Ok((registered, began.elapsed()));
        }
    }
    anyhow::bail!("the watch of nodes ended")
}

/// One figure of the running agent's memory, in KiB: a line of proc_pid_status(5).
fn memory_of_agent(machine: &Machine<'_>, line: &str) -> anyhow::Result<u64> {
    let id = machine.run(&["systemctl", "show", "--property=MainPID", "--value", "join-agent.service"])?.stdout;
    let status = machine.run(&["cat", &format!("/proc/{}/status", id.trim())])?.stdout;
    kibibytes(&status, line)
}
