//! The runs: joins on a few machines side by side, each disturbed by its fault.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use join_crds::{ConditionType, NodeJoinRequest, Reason, conditions};
use kube::api::{DeleteParams, PostParams};

use super::etcd;
use super::fault::{AGENT_UNIT, Hands};
use super::judge::{self, Ended, Observed, Remains};
use super::observe::{self, Cluster};
use super::plan::{Counts, Fault, plan};
use super::report::{Outcome, Results};
use super::supervisor::{CONTROLLER, Supervisor};
use crate::components::{Components, KubernetesMinor};
use crate::interrupt;
use crate::lab::{Error as LabError, Lab, Machine, own_name, patience, wait_until};
use crate::operator::{Enrollment, Operator};
use crate::snapshot::{Snapshot, changed, snapshot};

/// What to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// From this all faults are drawn.
    pub seed: u64,
    /// How many of each.
    pub counts: Counts,
    /// Only the run of this number.
    pub only: Option<u32>,
    /// How many machines join at once, where their faults do not meet.
    pub at_once: usize,
    /// The Kubernetes version.
    pub minor: KubernetesMinor,
    /// The folder with join-controller, join-agent and kubectl-njr.
    pub binaries: PathBuf,
    /// Where the logs of a violation are kept.
    pub logs: PathBuf,
    /// The command that runs the same again, without `--only`.
    pub command: String,
}

/// How many undisturbed joins the others are compared with.
const UNDISTURBED: usize = 3;
/// How long a join may take once nothing disturbs it any more.
const LIMIT: Duration = Duration::from_mins(3);
/// How long cleaning up may take: the controller looks for what deleted requests left once a minute at the latest.
const SETTLE: Duration = Duration::from_secs(90);
/// How long one question to the API server may take before it is asked again.
const QUESTION: Duration = Duration::from_secs(2);
/// How often the request is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Runs everything that the settings ask for. Interrupted, it ends early and returns what it has.
///
/// # Errors
/// When the lab itself does not work.
pub fn run(settings: &Settings) -> anyhow::Result<Results> {
    interrupt::install()?;
    let components = Components::build(settings.minor)?;
    let version = components.kubernetes_version.clone();
    let lab = Lab::start(&own_name("chaos")?, settings.minor, components)?;
    let operator = Operator::install(&lab, settings.binaries.clone())?;
    operator.start_controller(CONTROLLER, &[])?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let client = runtime.block_on(lab.client())?;
    let etcd = runtime.block_on(etcd::client(&lab))?;
    let supervisor = Supervisor::new(&operator);
    let field = Field {
        settings,
        lab: &lab,
        operator: &operator,
        enrollment: operator.enroll()?,
        hands: Hands { lab: &lab, supervisor: &supervisor, runtime: &runtime, etcd: &etcd },
        cluster: Cluster::new(client),
        alone: RwLock::new(()),
        machines: Mutex::new(0),
    };
    std::thread::scope(|scope| {
        scope.spawn(|| supervisor.run());
        let results = field.all(version);
        supervisor.end();
        results
    })
}

/// What all runs share.
struct Field<'a> {
    settings: &'a Settings,
    lab: &'a Lab,
    operator: &'a Operator<'a>,
    enrollment: Enrollment,
    hands: Hands<'a>,
    cluster: Cluster,
    /// Read by a run whose fault hits one machine, written by one whose fault hits all.
    alone: RwLock<()>,
    /// How many machines were made. Held while one is made.
    machines: Mutex<u32>,
}

/// A machine that waits for a request.
struct Station<'a> {
    machine: Machine<'a>,
    before: Snapshot,
}

impl<'a> Field<'a> {
    fn all(&self, kubernetes: String) -> anyhow::Result<Results> {
        let faults = plan(self.settings.seed, &self.settings.counts);
        let planned = faults.len();
        let wanted = |fault: &Fault| self.settings.only.is_none_or(|only| only == fault.run);
        let queue = Mutex::new(faults.into_iter().filter(wanted).collect::<VecDeque<_>>());
        let first = self.station()?;
        let undisturbed = self.undisturbed(&first)?;
        println!("an undisturbed join takes {:.2} s", undisturbed.as_secs_f64());
        let outcomes = Mutex::new(Vec::new());
        let first = Mutex::new(Some(first));
        let failures: Vec<anyhow::Error> = std::thread::scope(|scope| {
            let lane = || {
                let mut station = first.lock().unwrap_or_else(PoisonError::into_inner).take();
                self.lane(&queue, &mut station, undisturbed, &outcomes)
            };
            let lanes: Vec<_> = (0..self.settings.at_once.max(1)).map(|_| scope.spawn(lane)).collect();
            let ended =
                lanes.into_iter().map(|lane| lane.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a lane panicked"))));
            ended.filter_map(Result::err).collect()
        });
        for failure in failures {
            // What was seen until then is worth having; an interruption is no failure.
            if !interrupt::requested() {
                return Err(failure);
            }
        }
        let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
        outcomes.sort_by_key(|outcome: &Outcome| outcome.fault.run);
        Ok(Results {
            seed: self.settings.seed,
            command: self.settings.command.clone(),
            kubernetes,
            at_once: self.settings.at_once,
            planned: if self.settings.only.is_some() { 1 } else { planned },
            undisturbed,
            outcomes,
        })
    }

    /// Takes one fault after the other until there are none left.
    fn lane(
        &self,
        queue: &Mutex<VecDeque<Fault>>,
        station: &mut Option<Station<'a>>,
        undisturbed: Duration,
        outcomes: &Mutex<Vec<Outcome>>,
    ) -> anyhow::Result<()> {
        while !interrupt::requested() {
            let Some(fault) = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front() else { break };
            let ready = match station.take() {
                Some(ready) => ready,
                None => self.station()?,
            };
            let outcome = if fault.kind.is_local() {
                let _beside = self.alone.read().unwrap_or_else(PoisonError::into_inner);
                self.disturbed(&fault, &ready, undisturbed)
            } else {
                let _alone = self.alone.write().unwrap_or_else(PoisonError::into_inner);
                self.disturbed(&fault, &ready, undisturbed)
            };
            let outcome = match outcome {
                Ok(outcome) => outcome,
                Err(_) if interrupt::requested() => break,
                // A run that could not be observed to its end has not shown that all is well.
                Err(failure) => Outcome::unfinished(fault, format!("the run could not be finished: {failure:#}")),
            };
            println!("{}", outcome.line());
            if outcome.violations.is_empty() {
                *station = Some(ready);
            } else {
                self.keep_logs(&outcome);
                // The next run starts from nothing: what this one left could be why it fails.
                let _ = ready.machine.set_connected(true);
                let _ = ready.machine.power_off();
            }
            outcomes.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
        }
        Ok(())
    }

    fn keep_logs(&self, outcome: &Outcome) {
        let folder = self.settings.logs.join(format!("run-{}", outcome.fault.run));
        let kept = match self.operator.collect_logs(&folder) {
            Ok(()) => folder.display().to_string(),
            Err(failure) => format!("not all could be kept: {failure}"),
        };
        println!("   logs: {kept}");
        println!("   again: {} --only {}", self.settings.command, outcome.fault.run);
    }

    /// A new machine, whose agent waits for a request.
    fn station(&self) -> anyhow::Result<Station<'a>> {
        let mut count = self.machines.lock().unwrap_or_else(PoisonError::into_inner);
        *count += 1;
        let machine = self.lab.add_machine(&format!("chaos-{count}"))?;
        self.operator.install_agent(&machine, &self.enrollment)?;
        waits(&machine)?;
        let before = snapshot(&machine)?;
        Ok(Station { machine, before })
    }

    fn undisturbed(&self, station: &Station<'_>) -> anyhow::Result<Duration> {
        let mut times = Vec::new();
        for _ in 0..UNDISTURBED {
            let seen = self.join(station, None)?;
            let Ended::Ready { after } = seen.observed.ended else {
                anyhow::bail!("an undisturbed join is not Ready: {:?}", seen.observed.ended);
            };
            times.push(after);
        }
        times.sort_unstable();
        Ok(times.get(times.len() / 2).copied().unwrap_or_default())
    }

    fn disturbed(&self, fault: &Fault, station: &Station<'_>, undisturbed: Duration) -> anyhow::Result<Outcome> {
        let seen = self.join(station, Some((fault, undisturbed)))?;
        Ok(Outcome {
            fault: *fault,
            was_hit: seen.disturbance.was_hit,
            told: seen.disturbance.told,
            violations: judge::violations(fault, &seen.observed),
            ended: seen.observed.ended,
            reasons: seen.observed.reasons,
        })
    }

    /// One join, from the creation of its request until the machine is what it was before.
    fn join(&self, station: &Station<'_>, fault: Option<(&Fault, Duration)>) -> anyhow::Result<Seen> {
        let machine = &station.machine;
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
            let way = self.watch(machine.name(), began, fault.map(|(fault, _)| fault), joined, is_over);
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
        let (temporary, certificates) = (observe::temporary_files(machine)?, observe::client_certificates(machine)?);
        // A reset ends the node's pods first, and refuses while there is nobody to ask for them.
        wait_until("containerd to be back", SETTLE, || {
            machine.run(&["systemctl", "is-active", "containerd.service"]).map_err(|failure| failure.to_string())
        })?;
        machine.run(&["join-agent", "reset", "--yes"])?;
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
        };
        Ok(Seen { observed, disturbance })
    }

    /// Creates the request, as a person does who tries again when the API server does not answer.
    fn create(&self, machine: &Machine<'_>) -> anyhow::Result<NodeJoinRequest> {
        let request: NodeJoinRequest = serde_json::from_value(serde_json::json!({
            "apiVersion": "nodejoin.dev/v1alpha1", "kind": "NodeJoinRequest",
            "metadata": {"name": machine.name()},
            "spec": {"role": "Worker", "machine": {"trust": "FirstUse"}, "addresses": [machine.address()]},
        }))?;
        let created = wait_until("the request to be created", SETTLE, || {
            let work = async { self.cluster.requests().create(&PostParams::default(), &request).await };
            self.hands.runtime.block_on(within(work))
        })?;
        Ok(created)
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
    fn watch(
        &self,
        name: &str,
        began: Instant,
        fault: Option<&Fault>,
        joined: &AtomicBool,
        is_over: &AtomicBool,
    ) -> anyhow::Result<Way> {
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
                let is_final = fault.zip(reason).is_some_and(|(fault, reason)| judge::is_final(fault.kind, reason));
                if is_final && over_since.is_some() {
                    return Ok(way);
                }
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
struct Seen {
    observed: Observed,
    disturbance: Disturbance,
}

/// What became of the fault.
#[derive(Debug, Default)]
struct Disturbance {
    was_hit: bool,
    told: Option<(String, String)>,
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
fn waits(machine: &Machine<'_>) -> Result<(), LabError> {
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
