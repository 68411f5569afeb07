//! Faults, carried out on a lab and taken back.

use std::fs;
use std::time::Duration;

use kube::Client;

use super::etcd;
use super::plan::{Fault, Kind, Victim};
use super::supervisor::{CONTROLLER, Supervisor};
use crate::lab::{Lab, Machine, wait_until};

/// The agent's unit.
pub const AGENT_UNIT: &str = "join-agent.service";

/// What faults need.
pub struct Hands<'a> {
    /// The lab.
    pub lab: &'a Lab,
    /// Who brings the control plane's processes back.
    pub supervisor: &'a Supervisor<'a>,
    /// Runs what is asynchronous.
    pub runtime: &'a tokio::runtime::Runtime,
    /// etcd itself.
    pub etcd: &'a Client,
}

impl Hands<'_> {
    /// Lets a fault happen. Tells whether there was something to hit: a kubelet that does not run yet cannot be killed.
    pub fn begin(&self, fault: &Fault, machine: &Machine<'_>) -> anyhow::Result<bool> {
        match fault.kind {
            Kind::Kill(Victim::Agent) => kill_unit(machine, AGENT_UNIT),
            Kind::Kill(Victim::Kubelet) => kill_unit(machine, "kubelet.service"),
            Kind::Kill(Victim::Containerd) => kill_unit(machine, "containerd.service"),
            Kind::Kill(Victim::Controller) => self.kill(CONTROLLER, fault.lasts),
            Kind::Kill(Victim::ApiServer) => self.kill("kube-apiserver", fault.lasts),
            Kind::Kill(Victim::Etcd) => self.kill("etcd", fault.lasts),
            Kind::Kill(Victim::ControllerManager) => self.kill("kube-controller-manager", fault.lasts),
            Kind::Cut => machine.set_connected(false).map(|()| true).map_err(Into::into),
            Kind::MachineDiskFull => machine.set_free_space(Some(0)).map(|()| true).map_err(Into::into),
            Kind::EtcdFull => self.runtime.block_on(etcd::set_full(self.etcd, true)).map(|()| true),
            Kind::AgentClock => {
                machine.set_clock_of_unit(AGENT_UNIT, Some(&format!("{:+}s", fault.offset)))?;
                machine.run(&["systemctl", "restart", AGENT_UNIT])?;
                Ok(true)
            }
            Kind::ControllerClock => {
                self.supervisor.set_controller_clock(fault.offset)?;
                Ok(true)
            }
        }
    }

    /// Takes a fault back. What was killed comes back by itself.
    pub fn end(&self, fault: &Fault, machine: &Machine<'_>) -> anyhow::Result<()> {
        match fault.kind {
            Kind::Kill(_) => Ok(()),
            Kind::Cut => Ok(machine.set_connected(true)?),
            Kind::MachineDiskFull => Ok(machine.set_free_space(None)?),
            // Left raised, it would be every later run's fault.
            Kind::EtcdFull => Ok(wait_until("etcd to take back its alarm", Duration::from_secs(30), || {
                self.runtime.block_on(etcd::set_full(self.etcd, false)).map_err(|failure| failure.to_string())
            })?),
            Kind::AgentClock => {
                machine.set_clock_of_unit(AGENT_UNIT, None)?;
                // The machine is compared with what it was, and an empty folder is something.
                fs::remove_dir(machine.path(format!("/etc/systemd/system/{AGENT_UNIT}.d"))?)?;
                machine.run(&["systemctl", "restart", AGENT_UNIT])?;
                Ok(())
            }
            Kind::ControllerClock => Ok(self.supervisor.set_controller_clock(0)?),
        }
    }

    fn kill(&self, process: &str, delay: Duration) -> anyhow::Result<bool> {
        let there = !self.lab.has_ended(process);
        self.supervisor.kill(process, delay)?;
        Ok(there)
    }
}

/// Kills a unit's processes; systemd brings them back as the unit says.
fn kill_unit(machine: &Machine<'_>, unit: &str) -> anyhow::Result<bool> {
    let id = machine.run(&["systemctl", "show", "--property=MainPID", "--value", unit])?.stdout;
    if id.trim() == "0" {
        return Ok(false);
    }
    // It may have ended by itself in between.
    Ok(machine.run(&["kill", "-KILL", id.trim()]).is_ok())
}
