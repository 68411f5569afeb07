//! One join, disturbed or not, followed to its end and beyond.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use join_crds::{ConditionType, NodeJoinRequest, Reason, conditions};
use kube::api::{DeleteParams, PostParams};
use secrecy::ExposeSecret;

use super::fault::{self, AGENT_UNIT};
use super::judge::{Ended, Observed, Remains};
use super::members;
use super::observe::{self, Cluster};
use super::plan::Fault;
use super::run::{Field, Station};
use crate::interrupt;
use crate::lab::etcd::Member;
use crate::lab::layout::CONTROL_PLANE;
use crate::lab::{Error as LabError, Machine, patience, wait_until};
use crate::operator::NAMESPACE;
use crate::snapshot::{changed, snapshot};

/// The Secret with the key of the certificates that control planes share.
const CERTIFICATE_KEY: &str = "certificate-key";
/// How long a join may take once nothing disturbs it any more.
const LIMIT: Duration = Duration::from_mins(3);
/// How long cleaning up may take: the controller looks for what deleted requests left once a minute at the latest.
const SETTLE: Duration = Duration::from_secs(90);
/// How long one question to the API server may take before it is asked again.
const QUESTION: Duration = Duration::from_secs(2);
/// How often the request is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl Field<'_> {
    /// One join, from the creation of its request until the machine is what it was before.
    pub(super) fn join(&self, station: &Station<'_>, fault: Option<(&Fault, Duration)>) -> anyhow::Result<Seen> {
        let machine = &station.machine;
        if let Some((fault, _)) = fault {
            fault::arm(fault, machine)?;
        }
        waits(machine)?;
        let joined = AtomicBool::new(false);
        let request = self.create(machine)?;
        let uid = request.uid().to_owned();
        let began = Instant::now();
        let is_over = AtomicBool::new(fault.is_none());
        let (joined, is_over) = (&joined, &is_over);
        let (way, disturbance) = std::thread::scope(|scope| {
            let disturbance = fault.map(|(fault, undisturbed)| {
                scope.spawn(move || {
                    let disturbance = self.disturb(fault, undisturbed, machine, joined);
                    is_over.store(true, Ordering::Relaxed);
                    disturbance
                })
            });
            let way = self.watch(machine.name(), began, joined, is_over);
            let disturbance = disturbance.map_or_else(
                || Ok(Disturbance::default()),
                |thread| thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the fault's thread panicked"))),
            );
            (way, disturbance)
        });
        let disturbance = disturbance?;
        let way = way?;
        let mut tokens = way.tokens;
        tokens.extend(self.ask(
            "the record",
            |cluster, uid| async move { cluster.recorded_token(&uid).await },
            &uid,
        )?);
        let mut joined = self.settled(&uid, |seen| seen.tokens.is_empty() && seen.signatures.is_empty())?;
        joined.records.clear();
        let name = machine.name();
        let requests = {
            let tokens = &tokens;
            self.ask(
                "certificate requests",
                |cluster, _| async move { cluster.certificate_requests(name, tokens).await },
                &uid,
            )?
        };
        let members = self.members(machine)?;
        let (temporary, certificates) = (observe::temporary_files(machine)?, observe::client_certificates(machine)?);
        // A reset ends the node's pods first, and refuses while there is nobody to ask for them.
        wait_until("containerd to be back", SETTLE, || {
            machine.run(&["systemctl", "is-active", "containerd.service"]).map_err(|failure| failure.to_string())
        })?;
        machine.run(&["join-agent", "reset", "--yes"])?;
        let members = match members {
            None => None,
            Some(joined) => {
                let left = self.lab.etcd_members(CONTROL_PLANE)?;
                Some(members::Seen { machine: name.to_owned(), joined, left })
            }
        };
        let after = snapshot(machine)?;
        let changed = changed(&station.before, &after).iter().map(|path| path.display().to_string()).collect();
        self.delete(name)?;
        let deleted = self.settled(&uid, Remains::is_empty)?;
        machine.run(&["systemctl", "start", AGENT_UNIT])?;
        let observed = Observed {
            ended: way.ended,
            reasons: way.reasons,
            tokens,
            requests,
            joined,
            deleted,
            temporary,
            certificates,
            changed,
            members,
        };
        Ok(Seen { observed, disturbance })
    }

    /// Creates the request, as a person does who tries again when the API server does not answer.
    fn create(&self, machine: &Machine<'_>) -> anyhow::Result<NodeJoinRequest> {
        let spec = if self.settings.joins.are_control_planes() {
            self.store_certificate_key()?;
            serde_json::json!({
                "role": "ControlPlane", "machine": {"publicKeyHash": observe::key(machine)?}, "addresses": [machine.address()],
                "controlPlane": {"certificateKeySecret": CERTIFICATE_KEY},
            })
        } else {
            serde_json::json!({"role": "Worker", "machine": {"trust": "FirstUse"}, "addresses": [machine.address()]})
        };
        let request: NodeJoinRequest = serde_json::from_value(serde_json::json!({
            "apiVersion": "nodejoin.dev/v1alpha1", "kind": "NodeJoinRequest",
            "metadata": {"name": machine.name()}, "spec": spec,
        }))?;
        let created = wait_until("the request to be created", SETTLE, || {
            let work = async { self.cluster.requests().create(&PostParams::default(), &request).await };
            self.hands.runtime.block_on(within(work))
        })?;
        Ok(created)
    }

    /// Uploads the certificates that control planes share, as they are removed after two hours, and keeps their key.
    fn store_certificate_key(&self) -> anyhow::Result<()> {
        let key = self.lab.upload_certificates()?;
        let secret = serde_json::json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": CERTIFICATE_KEY, "namespace": NAMESPACE},
            "stringData": {"certificateKey": key.expose_secret()},
        });
        self.operator.apply(&secret.to_string())?;
        Ok(())
    }

    /// The members of etcd once the machine says that it is a control plane; none where it does not become one.
    fn members(&self, machine: &Machine<'_>) -> anyhow::Result<Option<Vec<Member>>> {
        if !self.settings.joins.are_control_planes() {
            return Ok(None);
        }
        // The node is Ready before all pods of the control plane are.
        wait_until("the machine to be a control plane", LIMIT, || match observe::told(machine) {
            Some((step, _)) if step == "Joined" => Ok(()),
            other => Err(format!("{other:?}")),
        })?;
        Ok(Some(self.lab.etcd_members(CONTROL_PLANE)?))
    }

    /// Lets the fault happen at its moment, and takes it back.
    fn disturb(
        &self,
        fault: &Fault,
        undisturbed: Duration,
        machine: &Machine<'_>,
        joined: &AtomicBool,
    ) -> anyhow::Result<Disturbance> {
        pause(undisturbed * fault.moment / 1000, || false);
        let was_hit = self.hands.begin(fault, machine)?;
        let is_clock = fault.offset != 0;
        pause(fault.lasts, || is_clock && joined.load(Ordering::Relaxed));
        // What the machine said before it was helped, if it had not made it by itself.
        let told = observe::told(machine).filter(|(step, _)| step != "Joined");
        // Also when the run is being given up: nothing else brings the network or the room back.
        self.hands.end(fault, machine)?;
        Ok(Disturbance { was_hit, told })
    }

    /// Follows the request until it is Ready, the fault is over and the token has served, or until time is up.
    fn watch(&self, name: &str, began: Instant, joined: &AtomicBool, is_over: &AtomicBool) -> anyhow::Result<Way> {
        let mut way = Way::default();
        let mut first_ready = None;
        let mut over_since: Option<Instant> = None;
        loop {
            if is_over.load(Ordering::Relaxed) {
                over_since.get_or_insert_with(Instant::now);
            }
            let asked = self.hands.runtime.block_on(within(async {
                let request = self.cluster.requests().get(name).await?;
                let node = self.cluster.is_ready(name).await?;
                Ok((request, node))
            }));
            if let Ok((request, node_is_ready)) = asked {
                let status = request.status.unwrap_or_default();
                way.tokens.extend(status.credential.map(|credential| credential.token_id));
                let reason = conditions::reason(&status.conditions, ConditionType::Ready);
                way.reasons.extend(reason);
                let is_ready = conditions::is_true(&status.conditions, ConditionType::Ready) && node_is_ready;
                if is_ready {
                    first_ready.get_or_insert_with(|| began.elapsed());
                    joined.store(true, Ordering::Relaxed);
                }
                let has_served = conditions::reason(&status.conditions, ConditionType::CredentialIssued)
                    == Some(Reason::TokenRemoved);
                if let (true, true, Some(after), Some(_)) = (is_ready, has_served, first_ready, over_since) {
                    return Ok(Way { ended: Ended::Ready { after }, ..way });
                }
                let message = conditions::get(&status.conditions, ConditionType::Ready).map(|one| one.message.clone());
                way.ended = Ended::NotReady { reason, message: message.unwrap_or_default() };
            }
            if over_since.is_some_and(|since| since.elapsed() > patience(LIMIT)) {
                return Ok(way);
            }
            if interrupt::requested() {
                return Err(LabError::Interrupted.into());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// What is left of a request once it is as it should be, or time is up.
    fn settled(&self, uid: &str, is_well: impl Fn(&Remains) -> bool) -> anyhow::Result<Remains> {
        let mut last = None;
        let waited = wait_until("nothing to be left of the request", SETTLE, || {
            let seen = self.hands.runtime.block_on(within(self.cluster.remains(uid)))?;
            let is_well = is_well(&seen);
            let described = format!("{seen:?}");
            last = Some(seen);
            if is_well { Ok(()) } else { Err(described) }
        });
        match (waited, last) {
            (Err(LabError::Interrupted), _) => Err(LabError::Interrupted.into()),
            (_, Some(seen)) => Ok(seen),
            (Err(failure), None) => Err(failure.into()),
            (Ok(()), None) => Ok(Remains::default()),
        }
    }

    /// Asks the cluster something until it answers.
    fn ask<T, F>(&self, what: &str, question: impl Fn(Cluster, String) -> F, uid: &str) -> anyhow::Result<T>
    where
        F: Future<Output = Result<T, kube::Error>>,
    {
        Ok(wait_until(what, SETTLE, || {
            self.hands.runtime.block_on(within(question(self.cluster.clone(), uid.to_owned())))
        })?)
    }

    /// Deletes request and Node, and waits until they are gone.
    fn delete(&self, name: &str) -> anyhow::Result<()> {
        wait_until("request and Node to be gone", SETTLE, || {
            let work = async {
                let parameters = DeleteParams::default();
                let (requests, nodes) = (self.cluster.requests(), self.cluster.nodes());
                if requests.get_opt(name).await?.is_some() {
                    requests.delete(name, &parameters).await?;
                }
                if nodes.get_opt(name).await?.is_some() {
                    nodes.delete(name, &parameters).await?;
                }
                Ok(requests.get_opt(name).await?.is_none() && nodes.get_opt(name).await?.is_none())
            };
            let is_gone = self.hands.runtime.block_on(within(work))?;
            if is_gone { Ok(()) } else { Err("there still".to_owned()) }
        })?;
        Ok(())
    }
}

/// What was seen of one join.
pub(super) struct Seen {
    pub(super) observed: Observed,
    pub(super) disturbance: Disturbance,
}

/// What became of the fault.
#[derive(Debug, Default)]
pub(super) struct Disturbance {
    pub(super) was_hit: bool,
    pub(super) told: Option<(String, String)>,
}

/// What was seen of a request on its way.
struct Way {
    ended: Ended,
    reasons: BTreeSet<Reason>,
    tokens: BTreeSet<String>,
}

impl Default for Way {
    fn default() -> Self {
        let ended = Ended::NotReady { reason: None, message: "the request was never seen".to_owned() };
        Self { ended, reasons: BTreeSet::new(), tokens: BTreeSet::new() }
    }
}

/// Waits for an answer, but not for ever: an API server that was killed or is starting may never give one.
async fn within<T>(work: impl Future<Output = Result<T, kube::Error>>) -> Result<T, String> {
    match tokio::time::timeout(patience(QUESTION), work).await {
        Ok(answer) => answer.map_err(|failure| failure.to_string()),
        Err(_elapsed) => Err("no answer".to_owned()),
    }
}

/// Waits until an agent waits for a request.
pub(super) fn waits(machine: &Machine<'_>) -> Result<(), LabError> {
    wait_until(&format!("the agent of {} to wait for a request", machine.name()), SETTLE, || {
        match observe::told(machine) {
            Some((step, _)) if step == "WaitingForRequest" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
}

/// Lets time pass, in small steps so that an interruption is noticed.
fn pause(time: Duration, is_enough: impl Fn() -> bool) {
    const STEP: Duration = Duration::from_millis(20);
    let began = Instant::now();
    while let Some(left) = time.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
        if interrupt::requested() || is_enough() {
            return;
        }
        std::thread::sleep(left.min(STEP));
    }
}
