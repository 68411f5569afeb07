//! Machines that join at once, each of which is nothing but keys.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use anyhow::Context;
use backon::{ConstantBuilder, Retryable};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{StreamExt, TryStreamExt};
use join_crds::{ConditionType, NodeJoinRequest, conditions, vocabulary};
use join_trust::token::BootstrapToken;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use super::super::measure::{is_over, listed};
use crate::lab::Lab;
use crate::stub_machine::{AT_ONCE, StubMachine};

/// How long nothing at all may happen.
const PATIENCE: Duration = Duration::from_mins(5);

/// How long it took from the creation of the first request.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Until the last machine had its credential.
    pub credentials: Duration,
    /// Until the last request was Ready and its token removed.
    pub ready: Duration,
}

/// Creates a request for each machine, and lets each do what it does in a join: open its credential, ask for its certificate
/// with its own token, and register its Node, which is Ready.
pub async fn join(lab: &Lab, client: &Client, machines: &[StubMachine]) -> anyhow::Result<Times> {
    MassJoin::new(lab, client, machines).run().await
}

struct MassJoin<'a> {
    lab: &'a Lab,
    client: &'a Client,
    machines: HashMap<&'a str, &'a StubMachine>,
    /// Machines whose credential was seen, by the name of their certificate request.
    asked: HashMap<String, &'a StubMachine>,
    registered: HashSet<&'a str>,
    over: HashSet<&'a str>,
    /// Calls that wait for their turn, and those that are under way.
    waiting: VecDeque<BoxFuture<'a, anyhow::Result<()>>>,
    calls: FuturesUnordered<BoxFuture<'a, anyhow::Result<()>>>,
}

impl<'a> MassJoin<'a> {
    fn new(lab: &'a Lab, client: &'a Client, machines: &'a [StubMachine]) -> Self {
        Self {
            lab,
            client,
            machines: machines.iter().map(|machine| (machine.name(), machine)).collect(),
            asked: HashMap::new(),
            registered: HashSet::new(),
            over: HashSet::new(),
            waiting: VecDeque::new(),
            calls: FuturesUnordered::new(),
        }
    }

    async fn run(mut self) -> anyhow::Result<Times> {
        let requests: Api<NodeJoinRequest> = Api::all(self.client.clone());
        let certificates: Api<CertificateSigningRequest> = Api::all(self.client.clone());
        let of_kubelets = format!("spec.signerName={}", vocabulary::SIGNER_KUBELET_CLIENT);
        let versions = watcher(requests.clone(), watcher::Config::default()).boxed();
        let issued = watcher(certificates, watcher::Config::default().fields(&of_kubelets)).boxed();
        // Thousands are listed, which is no part of a join.
        let (versions, issued) = futures::try_join!(listed(versions), listed(issued))?;
        let (mut versions, mut issued) = (versions.applied_objects(), issued.applied_objects());
        let began = Instant::now();
        for machine in self.machines.values() {
            let (requests, object) = (requests.clone(), machine.request()?);
            self.waiting.push_back(Box::pin(async move {
                requests.create(&PostParams::default(), &object).await.map(drop).context("creating a request")
            }));
        }
        let mut credentials = None;
        while self.over.len() < self.machines.len() {
            while self.calls.len() < AT_ONCE
                && let Some(call) = self.waiting.pop_front()
            {
                self.calls.push(call);
            }
            tokio::select! {
                Some(outcome) = self.calls.next() => outcome?,
                version = versions.try_next() => self.see(&version?.context("the watch of requests ended")?)?,
                csr = issued.try_next() => self.certify(&csr?.context("the watch of certificate requests ended")?),
                () = tokio::time::sleep(PATIENCE) => anyhow::bail!(
                    "nothing happened for {PATIENCE:?}: of {} machines {} have a credential, {} a Node, {} are Ready",
                    self.machines.len(), self.asked.len(), self.registered.len(), self.over.len(),
                ),
            }
            if credentials.is_none() && self.asked.len() == self.machines.len() {
                credentials = Some(began.elapsed());
            }
        }
        let ready = began.elapsed();
        Ok(Times { credentials: credentials.unwrap_or(ready), ready })
    }

    /// A version of a request: its machine asks as soon as it has a credential.
    fn see(&mut self, request: &NodeJoinRequest) -> anyhow::Result<()> {
        let Some((&name, &machine)) = self.machines.get_key_value(request.name_any().as_str()) else { return Ok(()) };
        let seen = request.status.as_ref().map_or(&[][..], |status| &status.conditions);
        if is_over(seen) {
            self.over.insert(name);
        }
        if !conditions::is_true(seen, ConditionType::CredentialIssued) {
            return Ok(());
        }
        let Some(token) = machine.token(request)? else { return Ok(()) };
        let csr = machine.client_csr(&token)?;
        if self.asked.insert(csr.name_any(), machine).is_none() {
            self.waiting.push_back(Box::pin(ask(self.lab, token, csr)));
        }
        Ok(())
    }

    /// A version of a certificate request: the Node is there as soon as the certificate is.
    fn certify(&mut self, csr: &CertificateSigningRequest) {
        if csr.status.as_ref().is_none_or(|status| status.certificate.is_none()) {
            return;
        }
        let Some(machine) = self.asked.get(csr.name_any().as_str()).copied() else { return };
        if self.registered.insert(machine.name()) {
            self.waiting.push_back(Box::pin(register(Api::all(self.client.clone()), machine)));
        }
    }
}

/// Asks for a certificate as the machine does: by its own token, over a connection of its own, and again while the API
/// server does not know the token yet.
async fn ask(lab: &Lab, token: BootstrapToken, csr: CertificateSigningRequest) -> anyhow::Result<()> {
    let api = Api::all(lab.client_with_token(&token.expose()).await?);
    let often = ConstantBuilder::default().with_delay(Duration::from_millis(100)).with_max_times(50);
    let is_new = |error: &kube::Error| matches!(error, kube::Error::Api(status) if status.code == 401);
    let created = (async || api.create(&PostParams::default(), &csr).await).retry(often).when(is_new).await;
    created.map(drop).context("asking for a certificate")
}

/// The Node as a kubelet leaves it when all is well; written by the administrator, which is as good to the controller.
async fn register(nodes: Api<Node>, machine: &StubMachine) -> anyhow::Result<()> {
    let node: Node = serde_json::from_value(json!({"metadata": {"name": machine.name()}}))?;
    nodes.create(&PostParams::default(), &node).await.context("registering a Node")?;
    let now = Time(Timestamp::now());
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": machine.address()}],
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "a stub",
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        }],
    }});
    let patched = nodes.patch_status(machine.name(), &PatchParams::default(), &Patch::Merge(&status)).await;
    patched.map(drop).context("making a Node Ready")
}
