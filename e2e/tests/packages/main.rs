//! The agent's packages, installed with the real package managers on a machine of the lab, whose disk is thrown away.
//!
//! `cargo xtask test` makes the packages; by hand: `cargo xtask package --profile dev`.

mod debian;
mod rpm;
mod sandbox;

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use join_e2e::components::{Components, KubernetesMinor};
use join_e2e::lab::{Lab, Machine, own_name};
use join_e2e::suite::in_turns;
use libtest_mimic::{Failed, Trial};

/// Where the lab's machines look for the API server; the token is one that the cluster does not know.
const CONFIGURATION: &str = r"
apiVersion: agent.nodejoin.dev/v1alpha1
kind: AgentConfiguration
discovery:
  bootstrapToken:
    apiServerEndpoint: control-plane:6443
    token: abcdef.0123456789abcdef
    caCertHashes: ['sha256:0000000000000000000000000000000000000000000000000000000000000000']
";

type Test = fn(&Machine<'_>) -> Result<(), Failed>;

/// Tests that need a machine. Each leaves it without the package.
const ON_A_MACHINE: &[(&str, Test)] = &[
    ("deb_installed_upgraded_removed_and_purged", debian::installed_upgraded_removed_and_purged),
    ("rpm_installed_and_erased", rpm::installed_and_erased),
];

fn main() -> anyhow::Result<ExitCode> {
    let lab: Arc<Mutex<Option<Lab>>> = Arc::default();
    let mut trials = vec![
        Trial::test("the_sandbox_is_tight", sandbox::is_tight),
        Trial::test("rpm_has_the_same_files_as_deb", rpm::has_the_same_files_as_deb),
    ];
    trials.extend(ON_A_MACHINE.iter().map(|(name, test)| {
        let lab = Arc::clone(&lab);
        Trial::test(*name, move || on_a_machine(&lab, *test))
    }));
    in_turns(trials)
}

fn on_a_machine(lab: &Mutex<Option<Lab>>, test: fn(&Machine<'_>) -> Result<(), Failed>) -> Result<(), Failed> {
    const NAME: &str = "worker-1";
    let mut slot = lab.lock().unwrap_or_else(PoisonError::into_inner);
    if slot.is_none() {
        let minor = KubernetesMinor::V1_37;
        let new = Lab::start(&own_name("t-packages")?, minor, Components::build(minor)?)?;
        new.add_machine(NAME)?;
        *slot = Some(new);
    }
    let lab = slot.as_ref().ok_or("there is no lab")?;
    test(&lab.machine(NAME)?)
}

/// Copies a file of the host into the machine.
fn bring(machine: &Machine<'_>, file: &Path, place: &str) -> Result<(), Failed> {
    std::fs::copy(file, machine.path(place)?)?;
    Ok(())
}

/// What systemd says of the agent's unit: loaded or not, enabled or not, active or not.
fn unit(machine: &Machine<'_>) -> Result<String, Failed> {
    let properties = "--property=LoadState,UnitFileState,ActiveState";
    let show = machine.run(&["systemctl", "show", properties, "join-agent.service"])?.stdout;
    let value = |name: &str| show.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or("?");
    Ok(["LoadState", "UnitFileState", "ActiveState"].map(value).join(" "))
}

/// The id of the agent's process.
fn process(machine: &Machine<'_>) -> Result<String, Failed> {
    Ok(machine.run(&["systemctl", "show", "--property=MainPID", "--value", "join-agent.service"])?.stdout)
}

/// A file's mode in octal.
fn mode(machine: &Machine<'_>, path: &str) -> Result<String, Failed> {
    Ok(machine.run(&["stat", "--format=%a", path])?.stdout.trim().to_owned())
}

/// Writes the agent's configuration as an administrator does, and starts the agent.
fn configure_and_start(machine: &Machine<'_>) -> Result<(), Failed> {
    std::fs::write(machine.path("/etc/join-agent/config.yaml")?, CONFIGURATION)?;
    if let Err(failure) = machine.run(&["systemctl", "enable", "--now", "join-agent.service"]) {
        return Err(format!("{failure}\n{}", machine.journal("join-agent.service")?).into());
    }
    assert_eq!(unit(machine)?, "loaded enabled active");
    assert_eq!(mode(machine, "/etc/join-agent/config.yaml")?, "600");
    assert_eq!(mode(machine, "/var/lib/join-agent")?, "700");
    assert_eq!(mode(machine, "/etc/kubernetes")?, "755");
    assert_eq!(mode(machine, "/var/lib/kubelet")?, "700");
    Ok(())
}
