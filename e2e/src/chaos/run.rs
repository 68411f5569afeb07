//! The runs: joins on a few machines side by side, each disturbed by its fault.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use super::etcd;
use super::fault::Hands;
use super::join::waits;
use super::judge::{self, Ended};
use super::observe::Cluster;
use super::plan::{ControlPlaneCounts, Counts, Fault, Kind, plan, plan_of_control_planes};
use super::report::{Outcome, Results};
use super::supervisor::{CONTROLLER, Supervisor};
use crate::components::{Components, KubernetesMinor};
use crate::interrupt;
use crate::lab::{Lab, Machine, own_name};
use crate::operator::{Enrollment, Operator};
use crate::snapshot::{Snapshot, snapshot};

/// Which joins are disturbed, and how many by each fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joins {
    /// Those of workers.
    Workers(Counts),
    /// Those of a second control plane, one after the other.
    ControlPlanes(ControlPlaneCounts),
}

impl Joins {
    fn plan(self, seed: u64) -> Vec<Fault> {
        match self {
            Self::Workers(counts) => plan(seed, &counts),
            Self::ControlPlanes(counts) => plan_of_control_planes(seed, counts),
        }
    }

    pub(super) fn are_control_planes(self) -> bool {
        matches!(self, Self::ControlPlanes(_))
    }
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// From this all faults are drawn.
    pub seed: u64,
    /// Which joins, and how many of each fault.
    pub joins: Joins,
    /// Only the run of this number.
    pub only: Option<u32>,
    /// How many machines join at once, where their faults do not meet; control planes, which share etcd, join alone.
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
    if settings.joins.are_control_planes() {
        lab.add_etcd_pod_stub()?;
    }
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
pub(super) struct Field<'a> {
    pub(super) settings: &'a Settings,
    pub(super) lab: &'a Lab,
    pub(super) operator: &'a Operator<'a>,
    enrollment: Enrollment,
    pub(super) hands: Hands<'a>,
    pub(super) cluster: Cluster,
    /// Read by a run whose fault hits one machine, written by one whose fault hits all.
    alone: RwLock<()>,
    /// How many machines were made. Held while one is made.
    machines: Mutex<u32>,
}

/// A machine that waits for a request.
pub(super) struct Station<'a> {
    pub(super) machine: Machine<'a>,
    pub(super) before: Snapshot,
}

/// The faults that are left.
struct Queue<'a> {
    faults: &'a Mutex<VecDeque<Fault>>,
    /// How many were left out.
    needless: &'a AtomicUsize,
}

impl Queue<'_> {
    fn next(&self) -> Option<Fault> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// After the last write of a join there are no others.
    fn leave_out(&self, kind: Kind) {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let before = faults.len();
        faults.retain(|fault| fault.kind != kind);
        self.needless.fetch_add(before - faults.len(), Ordering::Relaxed);
    }
}

impl<'a> Field<'a> {
    fn all(&self, kubernetes: String) -> anyhow::Result<Results> {
        let joins = self.settings.joins;
        let at_once = if joins.are_control_planes() { 1 } else { self.settings.at_once.max(1) };
        let faults = joins.plan(self.settings.seed);
        let planned = faults.len();
        let needless = AtomicUsize::new(0);
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
                self.lane(&Queue { faults: &queue, needless: &needless }, &mut station, undisturbed, &outcomes)
            };
            let lanes: Vec<_> = (0..at_once).map(|_| scope.spawn(lane)).collect();
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
            at_once,
            are_control_planes: joins.are_control_planes(),
            planned: if self.settings.only.is_some() { 1 } else { planned - needless.into_inner() },
            undisturbed,
            outcomes,
        })
    }

    /// Takes one fault after the other until there are none left.
    fn lane(
        &self,
        queue: &Queue<'_>,
        station: &mut Option<Station<'a>>,
        undisturbed: Duration,
        outcomes: &Mutex<Vec<Outcome>>,
    ) -> anyhow::Result<()> {
        while !interrupt::requested() {
            let Some(fault) = queue.next() else { break };
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
            if fault.kind == Kind::AfterWrite && !outcome.was_hit {
                queue.leave_out(Kind::AfterWrite);
            }
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
        let name = format!("chaos-{count}");
        let machine = if self.settings.joins.are_control_planes() {
            self.lab.add_control_plane_machine(&name)?
        } else {
            self.lab.add_machine(&name)?
        };
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
}
