//! Faults, carried out on a lab and taken back.

use std::fs;
use std::time::Duration;

use kube::Client;

use super::etcd;
use super::observe;
use super::plan::{Fault, Kind, Victim};
use super::supervisor::{CONTROLLER, Supervisor};
use crate::lab::{Lab, Machine, wait_until};

/// The agent's unit.
pub const AGENT_UNIT: &str = "join-agent.service";
/// Tells the agent to end after a write. It is gone when the agent has ended, so that it does so once.
const SWITCH: &str = "/run/end-after-write";
/// How long an agent may take to its last write.
const LONGEST_JOIN: Duration = Duration::from_mins(3);

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
            Kind::AfterWrite => ends_after_a_write(machine),
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
            Kind::AfterWrite => {
                let switch = machine.path(SWITCH)?;
                if switch.exists() {
                    fs::remove_file(switch)?;
                }
                // The machine is compared with what it was.
                fs::remove_dir_all(machine.path(format!("/etc/systemd/system/{AGENT_UNIT}.d"))?)?;
                machine.run(&["systemctl", "daemon-reload"])?;
                Ok(())
            }
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

/// What a fault needs before the request is created.
pub fn arm(fault: &Fault, machine: &Machine<'_>) -> anyhow::Result<()> {
    if fault.kind != Kind::AfterWrite {
        return Ok(());
    }
    fs::write(machine.path(SWITCH)?, format!("JOIN_AGENT_CRASH_AFTER_WRITES={}\n", fault.write))?;
    let folder = machine.path(format!("/etc/systemd/system/{AGENT_UNIT}.d"))?;
    fs::create_dir_all(&folder)?;
    let drop_in = format!("[Service]\nEnvironmentFile=-{SWITCH}\nExecStopPost=+/bin/rm -f {SWITCH}\n");
    fs::write(folder.join("write.conf"), drop_in)?;
    // A stop would remove the switch by the new unit, so that it is the new unit that is started first.
    machine.run(&["systemctl", "stop", AGENT_UNIT])?;
    machine.run(&["systemctl", "daemon-reload"])?;
    machine.run(&["systemctl", "start", AGENT_UNIT])?;
    Ok(())
}

/// Waits until the agent has ended after its write; tells whether it did, or made all its writes before.
fn ends_after_a_write(machine: &Machine<'_>) -> anyhow::Result<bool> {
    let switch = machine.path(SWITCH)?;
    Ok(wait_until("the agent to end after a write or to join", LONGEST_JOIN, || match observe::told(machine) {
        _ if !switch.exists() => Ok(true),
        Some((step, _)) if step == "Joined" => Ok(false),
        other => Err(format!("{other:?}")),
    })?)
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
