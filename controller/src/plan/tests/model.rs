//! The model: what each step does to the cluster, and what machines do.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use join_crds::conditions;
use join_crds::spec::{NodeJoinRequest, Role};
use join_crds::status::SealedCredentials;
use join_crds::vocabulary::{ConditionType, Reason};
use join_trust::announcement;
use join_trust::ca_bundle::{CaBundle, CaTrust};
use join_trust::cluster_info::{ClusterInfo, render};
use join_trust::endpoint::Endpoint;
use join_trust::jws;
use join_trust::machine_key::MachineKey;
use join_trust::names::{
    ANNOUNCEMENT_SIGNER, AUTHENTICATED_GROUP, BOOTSTRAPPERS_GROUP, CLIENT_SIGNER, CONTROL_PLANE_GROUP, JOIN_GROUP,
    NodeName, announcement_object_name,
};
use join_trust::sealing::SealingKey;
use join_trust::token::BootstrapToken;
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use crate::cache::csr::{AnnouncementEntry, CsrEntry, Issued};
use crate::cache::node::NodeEntry;
use crate::plan::status::time;
use crate::plan::{
    Drained, KeyLook, Left, Memory, Observed, Published, Settings, Step, missing_taints, next_step, status,
};
use crate::record::{Record, Token};

/// The time at which every model starts.
pub(crate) const START: i64 = 1_800_000_000;
/// The node of every model.
pub(crate) const NODE: &str = "worker-7";

static INFO: LazyLock<Arc<ClusterInfo>> = LazyLock::new(|| info("192.0.2.1:6443"));

/// A cluster-info with a certificate authority of its own.
fn info(endpoint: &str) -> Arc<ClusterInfo> {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let ca = CaBundle::parse_pem(params.self_signed(&key).unwrap().pem().as_bytes()).unwrap();
    let text = render(&Endpoint::parse(endpoint).unwrap(), &ca).unwrap();
    Arc::new(ClusterInfo::parse(&text, &CaTrust::UnsafeAny).unwrap())
}

/// A request as the API server would hand it out.
pub(crate) fn request(name: &str, spec: &Value) -> NodeJoinRequest {
    let mut object = json!({
        "apiVersion": "nodejoin.dev/v1alpha1",
        "kind": "NodeJoinRequest",
        "metadata": { "name": name, "uid": "1d6f7a0e-0000-4000-8000-000000000007", "generation": 1 },
        "spec": { "machine": { "trust": "FirstUse" } },
    });
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    serde_json::from_value(object).unwrap()
}

/// A machine with its keys.
pub(crate) struct Machine {
    pub(crate) key: MachineKey,
    pub(crate) sealing: SealingKey,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self { key: MachineKey::generate().unwrap(), sealing: SealingKey::generate().unwrap() }
    }

    pub(crate) fn pin(&self) -> String {
        self.key.pin().to_string()
    }
}

/// The cluster around one request.
pub(crate) struct Model {
    pub(crate) now: i64,
    pub(crate) settings: Settings,
    pub(crate) request: NodeJoinRequest,
    pub(crate) record: Option<Record>,
    pub(crate) announcements: Vec<Arc<AnnouncementEntry>>,
    pub(crate) csrs: Vec<Arc<CsrEntry>>,
    pub(crate) node: Option<NodeEntry>,
    /// The record of an earlier request, of which the Node came.
    pub(crate) former: Option<Record>,
    pub(crate) published: Published,
    pub(crate) memory: Memory,
    pub(crate) queue_full: bool,
    pub(crate) signer_works: bool,
    /// What each look at the node's pods finds.
    pub(crate) pods_left: Vec<Left>,
    /// The hash of the certificate key, or why there is none.
    pub(crate) certificate_key: Result<String, String>,
    /// Ids of tokens whose Secret exists.
    pub(crate) tokens: Vec<String>,
    /// Every certificate request that was ever approved, by UID.
    pub(crate) approved: Vec<String>,
    node_name: NodeName,
    serial: u32,
}

impl Model {
    pub(crate) fn new(spec: &Value) -> Self {
        Self {
            now: START,
            settings: Settings {
                policy: join_trust::policy::Settings::default(),
                signer_timeout: 30,
                forbidden_networks: Vec::new(),
                most_in_flight: 1000,
                can_publish: true,
            },
            request: request(NODE, spec),
            record: None,
            announcements: Vec::new(),
            csrs: Vec::new(),
            node: None,
            former: None,
            published: Published::Usable { info: Arc::clone(&INFO), data: Arc::default() },
            memory: Memory::default(),
            queue_full: false,
            signer_works: true,
            pods_left: Vec::new(),
            certificate_key: Ok("hash".to_owned()),
            tokens: Vec::new(),
            approved: Vec::new(),
            node_name: NodeName::parse(NODE).unwrap(),
            serial: 0,
        }
    }

    pub(crate) fn observe<T>(&self, look: impl FnOnce(&Observed<'_>) -> T) -> T {
        // Those of an earlier token are nobody's any more, as in `World::snapshot`.
        let token = self.record.as_ref().and_then(|record| record.token.as_ref()).map(|token| token.id.user_name());
        let of_us = |csr: &&Arc<CsrEntry>| {
            Some(&csr.request.username) == token.as_ref() || csr.request.username == self.node_name.user_name()
        };
        let csrs: Vec<_> = self.csrs.iter().filter(of_us).cloned().collect();
        look(&Observed {
            now: self.now,
            settings: &self.settings,
            request: &self.request,
            node_name: &self.node_name,
            record: self.record.as_ref(),
            announcements: &self.announcements,
            csrs: &csrs,
            node: self.node.as_ref(),
            former: self.former.as_ref(),
            published: &self.published,
            memory: &self.memory,
            queue_full: self.queue_full,
            forbidden_networks: &self.settings.forbidden_networks,
            foreign_addresses: &BTreeMap::new(),
        })
    }

    /// Makes the next step, if there is one.
    pub(crate) fn step(&mut self) -> Option<&'static str> {
        let step = self.observe(next_step)?;
        self.perform(&step);
        Some(step.name())
    }

    /// Makes all steps and writes the status, as one visit does. Returns the names of the steps.
    pub(crate) fn visit(&mut self) -> Vec<&'static str> {
        let mut steps = Vec::new();
        while let Some(step) = self.step() {
            steps.push(step);
            assert!(steps.len() < 24, "no end: {steps:?}");
        }
        self.write_status();
        steps
    }

    pub(crate) fn write_status(&mut self) {
        let next = self.observe(status);
        for condition in &next.conditions {
            let reason: Reason = condition.reason.parse().unwrap();
            let of_type = reason.conditions().iter().any(|known| known.as_str() == condition.type_);
            assert!(of_type, "{reason} is not documented as a reason of {}", condition.type_);
        }
        let agent = self.request.status.take().and_then(|status| status.agent);
        self.request.status = Some(join_crds::status::NodeJoinRequestStatus { agent, ..next });
    }

    /// The process ends and another one starts.
    pub(crate) fn restart(&mut self) {
        self.memory = Memory::default();
    }

    pub(crate) fn condition(&self, condition_type: ConditionType) -> (String, Reason) {
        let conditions = &self.request.status.as_ref().unwrap().conditions;
        let condition = conditions::get(conditions, condition_type).unwrap();
        (condition.status.clone(), conditions::reason(conditions, condition_type).unwrap())
    }

    /// Reason of `Ready`, and whether it is stalled.
    pub(crate) fn summary(&self) -> (Reason, bool) {
        (self.condition(ConditionType::Ready).1, self.condition(ConditionType::Stalled).0 == "True")
    }

    pub(crate) fn token_id(&self) -> String {
        self.record.as_ref().unwrap().token.as_ref().unwrap().id.as_str().to_owned()
    }

    pub(crate) fn is_signed(&self) -> bool {
        self.signatures().contains_key(&format!("jws-kubeconfig-{}", self.token_id()))
    }

    fn signatures(&self) -> BTreeMap<String, String> {
        let Published::Usable { data, .. } = &self.published else { return BTreeMap::new() };
        data.as_ref().clone()
    }

    fn set_signatures(&mut self, data: BTreeMap<String, String>) {
        self.published = Published::Usable { info: self.info(), data: Arc::new(data) };
    }

    fn info(&self) -> Arc<ClusterInfo> {
        match &self.published {
            Published::Usable { info, .. } => Arc::clone(info),
            Published::Missing | Published::Unusable(_) => Arc::clone(&INFO),
        }
    }

    /// The cluster gets another certificate authority; the signatures over the old text stay where they are.
    pub(crate) fn change_certificate_authority(&mut self) {
        self.published = Published::Usable { info: info("192.0.2.1:6443"), data: Arc::new(self.signatures()) };
    }

    /// Somebody writes the same thing in other words.
    pub(crate) fn reword_cluster_info(&mut self) {
        let text = format!("{}# edited by hand\n", self.info().text());
        let info = Arc::new(ClusterInfo::parse(&text, &CaTrust::UnsafeAny).unwrap());
        self.published = Published::Usable { info, data: Arc::new(self.signatures()) };
    }

    /// Somebody else takes all signatures out of cluster-info.
    pub(crate) fn lose_signatures(&mut self) {
        self.set_signatures(BTreeMap::new());
    }

    pub(crate) fn announce(&mut self, machine: &Machine) {
        let addresses = ["192.0.2.17".parse().unwrap()];
        let pem = announcement::build(&machine.key, &machine.sealing.public(), &self.node_name, &addresses).unwrap();
        let name = announcement_object_name(&self.node_name, &machine.key.pin());
        let object = self.object(&name, ANNOUNCEMENT_SIGNER, &pem, "system:bootstrap:enroll");
        self.announcements.push(Arc::new(AnnouncementEntry::read(&object).unwrap()));
    }

    /// A machine uses the token to ask for a client certificate. Returns the request's UID.
    pub(crate) fn ask(&mut self, key: &MachineKey, common_name: &str) -> String {
        let pem = key.client_csr(&NodeName::parse(common_name).unwrap()).unwrap();
        let user = format!("system:bootstrap:{}", self.token_id());
        let name = format!("csr-{}", self.serial);
        let mut object = self.object(&name, CLIENT_SIGNER, &pem, &user);
        object.spec.usages = Some(vec!["digital signature".to_owned(), "client auth".to_owned()]);
        let mut groups = vec![BOOTSTRAPPERS_GROUP, JOIN_GROUP, AUTHENTICATED_GROUP];
        groups.extend((self.request.spec.role == Role::ControlPlane).then_some(CONTROL_PLANE_GROUP));
        object.spec.groups = Some(groups.into_iter().map(str::to_owned).collect());
        let entry = CsrEntry::read(object).unwrap();
        let uid = entry.request.uid.clone();
        self.csrs.push(Arc::new(entry));
        uid
    }

    fn object(
        &mut self,
        name: &str,
        signer: &str,
        pem: &str,
        user: &str,
    ) -> k8s_openapi::api::certificates::v1::CertificateSigningRequest {
        self.serial += 1;
        let mut object = k8s_openapi::api::certificates::v1::CertificateSigningRequest::default();
        object.metadata.name = Some(name.to_owned());
        object.metadata.uid = Some(format!("uid-{}", self.serial));
        object.metadata.creation_timestamp = Some(time(self.now));
        object.spec.signer_name = signer.to_owned();
        object.spec.username = Some(user.to_owned());
        object.spec.request = ByteString(pem.as_bytes().to_vec());
        object
    }

    /// The kubelet registers its Node.
    pub(crate) fn register(&mut self, uid: &str) {
        self.node = Some(NodeEntry {
            name: NODE.to_owned(),
            uid: uid.to_owned(),
            version: "1".to_owned(),
            created_at: self.now,
            labels: BTreeMap::new(),
            taints: Vec::new(),
            unschedulable: false,
            ready: false,
            readiness: "KubeletNotReady: no network plugin".to_owned(),
            addresses: vec![[192, 0, 2, 17].into()],
            kubelet_version: Some("v1.37.2".to_owned()),
        });
    }

    /// A bound machine gets its certificate and becomes a Ready node.
    pub(crate) fn join(&mut self, machine: &Machine) {
        self.ask(&machine.key, NODE);
        self.visit();
        self.register("node-uid");
        self.become_ready();
        self.visit();
    }

    /// The agent writes its part of the status.
    pub(crate) fn says(&mut self, agent: &Value) {
        let mut agent = agent.clone();
        agent["since"] = json!("2026-01-01T00:00:00Z");
        self.request.status.as_mut().unwrap().agent = Some(serde_json::from_value(agent).unwrap());
    }

    pub(crate) fn become_ready(&mut self) {
        self.node.as_mut().unwrap().ready = true;
    }

    pub(crate) fn change_csr(&mut self, uid: &str, change: impl FnOnce(&mut CsrEntry)) {
        let csr = self.csrs.iter_mut().find(|csr| csr.request.uid == uid).unwrap();
        change(Arc::make_mut(csr));
    }

    pub(crate) fn sign(&mut self, uid: &str) {
        let not_after = self.now + 31_536_000;
        self.change_csr(uid, |csr| {
            csr.request.issued = true;
            csr.certificate = Some(Issued { not_after, serial: "7f".to_owned() });
        });
    }

    fn live_token(&self) -> (Token, BootstrapToken) {
        let token = self.record.as_ref().unwrap().token.clone().unwrap();
        let whole = token.whole().unwrap();
        (token, whole)
    }

    fn set_finalizer(&mut self, held: bool) {
        self.request.metadata.finalizers = held.then(|| vec![join_crds::vocabulary::FINALIZER.to_owned()]);
    }

    pub(crate) fn perform(&mut self, step: &Step) {
        let uid = self.request.uid().to_owned();
        match step {
            Step::Mint { machine, first_seen, expires_at, cluster } => {
                let token = BootstrapToken::generate().unwrap();
                let retry = crate::plan::asked_to_retry(&self.request);
                let fresh = || Record { retry, ..Record::new(&uid, self.node_name.clone(), *first_seen) };
                let base = self.record.take().unwrap_or_else(fresh);
                self.record = Some(Record {
                    machine: machine.clone(),
                    token: Some(Token {
                        id: token.id().clone(),
                        secret: Some(token.secret().clone()),
                        minted_at: self.now,
                        expires_at: *expires_at,
                    }),
                    cluster: Some(cluster.clone()),
                    chosen: None,
                    ..base
                });
                let certificate_key = self.memory.certificate_key.take();
                self.memory = Memory { held: self.memory.held, certificate_key, ..Memory::default() };
            }
            Step::LookForCertificateKey => {
                self.memory.certificate_key = Some(KeyLook { at: self.now, found: self.certificate_key.clone() });
            }
            Step::CreateToken => {
                let id = self.token_id();
                if !self.tokens.contains(&id) {
                    self.tokens.push(id);
                }
                self.memory.token = Some(true);
            }
            Step::Publish => self.lose_signatures(),
            Step::Sign => {
                let (token, whole) = self.live_token();
                let mut data = self.signatures();
                data.insert(jws::data_key(&token.id), jws::sign(&whole, self.info().text()).unwrap());
                self.set_signatures(data);
            }
            Step::Seal => {
                let sealed = SealedCredentials {
                    generation: self.request.generation(),
                    encapsulated_key: "k".to_owned(),
                    ciphertext: "c".to_owned(),
                };
                self.memory.sealed = Some((self.token_id(), sealed));
            }
            Step::WriteCommand => self.memory.command = Some(true),
            Step::Choose(chosen) => self.record.as_mut().unwrap().chosen = Some(chosen.clone()),
            Step::Unchoose => self.record.as_mut().unwrap().chosen = None,
            Step::NoteIssued => self.record.as_mut().unwrap().chosen.as_mut().unwrap().issued = true,
            Step::Approve { uid, .. } => {
                let now = self.now;
                self.approved.push(uid.clone());
                self.change_csr(uid, |csr| {
                    csr.request.approved = true;
                    csr.approved_at = Some(now);
                });
                if self.signer_works {
                    self.sign(uid);
                }
            }
            Step::Deny { uid, finding, .. } => self.change_csr(uid, |csr| {
                csr.request.denied = true;
                csr.verdict = Some(finding.rule.as_str().to_owned());
            }),
            Step::EquipLabels => {
                self.node.as_mut().unwrap().labels.extend(self.request.spec.node_labels());
                self.memory.equipped = self.request.metadata.generation;
            }
            Step::EquipTaints => {
                let node = self.node.as_mut().unwrap();
                node.taints.extend(missing_taints(&self.request.spec, node));
            }
            Step::DeleteToken => {
                let id = self.token_id();
                self.tokens.retain(|token| *token != id);
                self.memory.token = Some(false);
            }
            Step::DeleteCommand => self.memory.command = Some(false),
            Step::NoteNode { uid } => {
                let record = self.record.as_mut().unwrap();
                record.chosen.as_mut().unwrap().issued = true;
                record.node_uid = Some(uid.clone());
                record.token.as_mut().unwrap().secret = None;
            }
            Step::Unsign => {
                let mut data = self.signatures();
                data.remove(&format!("jws-kubeconfig-{}", self.token_id()));
                self.set_signatures(data);
            }
            Step::Hold => self.set_finalizer(true),
            Step::Release { .. } => self.set_finalizer(false),
            Step::Cordon => self.node.as_mut().unwrap().unschedulable = true,
            Step::Drain => self.memory.drained = Some(Drained { at: self.now, left: self.pods_left.clone() }),
            Step::NoteDrained => self.record.as_mut().unwrap().drained_at = Some(self.now),
            Step::DeleteNode | Step::Displace => self.node = None,
            Step::Adopt => self.record = Some(self.former.as_ref().unwrap().adopted(&uid, self.now)),
            Step::Retry { value, attempt, .. } => {
                self.record = self.record.take().map(|record| record.retried(value, *attempt, self.now));
            }
            Step::IgnoreRetry { value, .. } => self.record.as_mut().unwrap().retry = Some(value.clone()),
        }
    }
}
