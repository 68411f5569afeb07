//! What the controller needs for hundreds and thousands of machines, and how it fares with them.
//!
//! The cluster is real, the machines are not: each is nothing but keys ([`crate::stub_machine`]), and its Node is written
//! for it. kube-controller-manager runs without its controller for the health of nodes, which would call machines without
//! a kubelet lost.

mod mass_join;
mod report;

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use kube::Client;
use rustix::process::Signal;

use super::audit::{Mark, Requests};
use crate::components::{Components, KubernetesMinor};
use crate::lab::{Lab, wait_until};
use crate::operator::{Enrollment, Operator};
use crate::process::Process;
use crate::progress::Step;
use crate::stub_machine::{self, StubMachine};
use mass_join::Times;

pub use report::markdown;

const CONTROLLER: &str = "controller";
const CONTROLLER_MANAGER: &str = "kube-controller-manager";
/// How long the controller is watched while nothing happens.
const IDLE: Duration = Duration::from_mins(1);

/// What was measured when so many machines were nodes.
#[derive(Debug, Clone)]
pub struct Level {
    /// How many machines there are by now.
    pub machines: usize,
    /// How many of them joined at once.
    pub joined: usize,
    /// How long these took.
    pub times: Times,
    /// The controller's processor time meanwhile.
    pub processor_time: Duration,
    /// Its requests meanwhile.
    pub requests: Requests,
    /// Its memory afterwards, and the most that it had so far, in KiB.
    pub memory: (u64, u64),
    /// Its processor time and its requests in a minute in which nothing happened.
    pub idle: (Duration, Requests),
    /// How long one more machine took, by itself.
    pub alone: Times,
    /// What the controller needs to go on after it was started anew.
    pub restart: Restart,
}

/// A controller that was ended and started again.
#[derive(Debug, Clone)]
pub struct Restart {
    /// From its start until the credential of a request that was there when it started.
    pub until_credential: Duration,
    /// The most memory that it had by then, in KiB.
    pub peak_memory: u64,
    /// Its requests meanwhile, those for the one join among them.
    pub requests: Requests,
}

/// Measures at each number of machines, which must ascend.
pub fn run(minor: KubernetesMinor, binaries: &Path, levels: &[usize]) -> anyhow::Result<(Vec<Level>, String)> {
    crate::interrupt::install()?;
    let components = Components::build(minor)?;
    let version = components.kubernetes_version.clone();
    let lab = Lab::start("scale", minor, components)?;
    lab.kill_process(CONTROLLER_MANAGER)?;
    lab.start_process(
        CONTROLLER_MANAGER,
        &["--controllers=*,bootstrapsigner,tokencleaner,-node-lifecycle-controller"],
    )?;
    let operator = Operator::install(&lab, binaries.to_owned())?;
    operator.start_controller(CONTROLLER, &[])?;
    let enrollment = operator.enroll()?;
    lab.wait_for_controller_manager()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let scale = Scale::new(&lab, &operator, &enrollment, &runtime)?;
    let mut measured: Vec<Level> = Vec::new();
    for &machines in levels {
        let joined = machines - measured.last().map_or(0, |level| level.machines);
        let step = Step::begin(format!("{joined} machines join at once, {machines} in all"));
        measured.push(scale.level(machines, joined)?);
        step.done();
    }
    Ok((measured, version))
}

struct Scale<'a> {
    lab: &'a Lab,
    operator: &'a Operator<'a>,
    runtime: &'a tokio::runtime::Runtime,
    client: Client,
    enrolled: Client,
}

impl<'a> Scale<'a> {
    fn new(
        lab: &'a Lab,
        operator: &'a Operator<'a>,
        enrollment: &Enrollment,
        runtime: &'a tokio::runtime::Runtime,
    ) -> anyhow::Result<Self> {
        let client = runtime.block_on(lab.client())?;
        let enrolled = runtime.block_on(lab.client_with_token(&enrollment.token()))?;
        Ok(Self { lab, operator, runtime, client, enrolled })
    }

    fn controller(&self) -> anyhow::Result<Process> {
        Ok(Process::new(self.lab.process_id(CONTROLLER)?))
    }

    fn mark(&self) -> anyhow::Result<Mark> {
        Ok(Mark::now(self.lab.layout().control_plane_etc().join("audit.log"))?)
    }

    fn level(&self, machines: usize, joined: usize) -> anyhow::Result<Level> {
        let names = (machines - joined..machines).map(|index| (format!("machine-{index}"), address(index)));
        let new: Vec<StubMachine> =
            names.map(|(name, address)| StubMachine::new(&name, address)).collect::<anyhow::Result<_>>()?;
        self.runtime.block_on(stub_machine::announce(&self.enrolled, &new))?;
        let (mark, before) = (self.mark()?, self.controller()?.processor_time()?);
        let times = self.join(&new)?;
        let processor_time = self.controller()?.processor_time()?.saturating_sub(before);
        let requests = mark.requests(&["join-controller"])?;
        let memory = (self.controller()?.memory("VmRSS")?, self.controller()?.memory("VmHWM")?);
        let idle = self.idle()?;
        let alone = self.announced(&format!("alone-{machines}"))?;
        let alone = self.join(&[alone])?;
        let restart = self.restart(machines)?;
        Ok(Level { machines, joined, times, processor_time, requests, memory, idle, alone, restart })
    }

    fn join(&self, machines: &[StubMachine]) -> anyhow::Result<Times> {
        self.runtime.block_on(mass_join::join(self.lab, &self.client, machines))
    }

    /// One machine more, which has announced itself.
    fn announced(&self, name: &str) -> anyhow::Result<StubMachine> {
        let machine = StubMachine::new(name, Ipv4Addr::new(192, 0, 2, 1).into())?;
        self.runtime.block_on(stub_machine::announce(&self.enrolled, std::slice::from_ref(&machine)))?;
        Ok(machine)
    }

    fn idle(&self) -> anyhow::Result<(Duration, Requests)> {
        let (mark, before) = (self.mark()?, self.controller()?.processor_time()?);
        std::thread::sleep(IDLE);
        let processor_time = self.controller()?.processor_time()?.saturating_sub(before);
        Ok((processor_time, mark.requests(&["join-controller"])?))
    }

    /// Ends the controller as a Deployment does, and starts it again when a request waits for it.
    fn restart(&self, machines: usize) -> anyhow::Result<Restart> {
        let machine = self.announced(&format!("waits-{machines}"))?;
        self.lab.signal_process(CONTROLLER, Signal::TERM)?;
        wait_until("the controller to end", Duration::from_mins(1), || {
            if self.lab.has_ended(CONTROLLER) { Ok(()) } else { Err("it runs".to_owned()) }
        })?;
        let mark = self.mark()?;
        self.operator.restart_controller(CONTROLLER, None)?;
        let times = self.join(std::slice::from_ref(&machine))?;
        Ok(Restart {
            until_credential: times.credentials,
            peak_memory: self.controller()?.memory("VmHWM")?,
            requests: mark.requests(&["join-controller"])?,
        })
    }
}

/// An address of the networks for measurements (RFC 2544), another for each of the first 131,072 machines.
fn address(index: usize) -> IpAddr {
    const FIRST: u32 = u32::from_be_bytes([198, 18, 0, 0]);
    Ipv4Addr::from(FIRST + u32::try_from(index % (1 << 17)).unwrap_or_default()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_has_an_address_of_its_own() {
        assert_eq!(address(0).to_string(), "198.18.0.0");
        assert_eq!(address(131_071).to_string(), "198.19.255.255");
    }
}
