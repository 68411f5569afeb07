//! What brings the control plane's processes back when they die: the part of a kubelet with static pods, and of a
//! Deployment.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::lab::{self, PROCESSES};
use crate::operator::Operator;

/// How often it is looked whether everything runs.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The controller's name among the lab's processes.
pub const CONTROLLER: &str = "controller";

/// Starts whatever ended, after a delay that each fault sets.
pub struct Supervisor<'a> {
    operator: &'a Operator<'a>,
    /// Held while something is killed or started, so that the two never meet.
    hands: Mutex<()>,
    delay: AtomicU64,
    clock: AtomicI64,
    ended: AtomicBool,
}

impl<'a> Supervisor<'a> {
    /// A supervisor of a control plane that runs already.
    pub fn new(operator: &'a Operator<'a>) -> Self {
        let (delay, clock, ended) = (AtomicU64::new(0), AtomicI64::new(0), AtomicBool::new(false));
        Self { operator, hands: Mutex::new(()), delay, clock, ended }
    }

    /// Kills a process; it comes back after `delay`, and so does what ends because of it.
    pub fn kill(&self, process: &str, delay: Duration) -> Result<(), lab::Error> {
        let _hands = self.hands.lock().unwrap_or_else(PoisonError::into_inner);
        self.delay.store(u64::try_from(delay.as_millis()).unwrap_or_default(), Ordering::Relaxed);
        let lab = self.operator.lab();
        if lab.has_ended(process) { Ok(()) } else { lab.kill_process(process) }
    }

    /// Gives the controller a clock that is off by so many seconds, by a restart.
    pub fn set_controller_clock(&self, offset: i64) -> Result<(), lab::Error> {
        self.clock.store(offset, Ordering::Relaxed);
        self.kill(CONTROLLER, Duration::ZERO)
    }

    /// Watches over the processes until [`Supervisor::end`].
    pub fn run(&self) {
        let names: Vec<&str> = PROCESSES.into_iter().chain([CONTROLLER]).collect();
        let mut dead: Vec<Option<Instant>> = vec![None; names.len()];
        while !self.ended.load(Ordering::Relaxed) {
            for (name, since) in names.iter().zip(&mut dead) {
                self.look(name, since);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn look(&self, name: &str, dead: &mut Option<Instant>) {
        let _hands = self.hands.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.operator.lab().has_ended(name) {
            *dead = None;
            return;
        }
        let delay = Duration::from_millis(self.delay.load(Ordering::Relaxed));
        if dead.get_or_insert_with(Instant::now).elapsed() < delay {
            return;
        }
        let started = match (name, self.clock.load(Ordering::Relaxed)) {
            (CONTROLLER, 0) => self.operator.restart_controller(CONTROLLER, None),
            (CONTROLLER, offset) => self.operator.restart_controller(CONTROLLER, Some(&format!("{offset:+}s"))),
            _ => self.operator.lab().start_process(name, &[]).map_err(Into::into),
        };
        if let Err(failure) = started {
            eprintln!("{name} could not be started again, it is tried again: {failure}");
        }
    }

    /// Ends [`Supervisor::run`].
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}
