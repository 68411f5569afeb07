//! `cargo xtask lab`: a cluster to explore by hand.

use std::process::{ExitCode, Stdio};

use anyhow::Context;
use clap::Subcommand;
use join_e2e::components::{Components, KubernetesMinor};
use join_e2e::lab::layout::Layout;
use join_e2e::lab::overview::Overview;
use join_e2e::lab::{self, Lab};
use join_e2e::prerequisites;
use join_e2e::progress::Step;

use crate::build;

const DEFAULT_NAME: &str = "lab";

#[derive(Subcommand)]
pub enum LabCommand {
    /// Starts a control plane and machines that are ready to join
    Up {
        /// The lab's name
        #[arg(long, default_value = DEFAULT_NAME)]
        name: String,
        /// The Kubernetes version to run
        #[arg(long, value_enum, default_value = "1.37")]
        kubernetes: KubernetesMinor,
        /// How many machines to make: worker-1, worker-2, …
        #[arg(long, default_value_t = 1)]
        machines: u8,
    },
    /// Removes a lab and everything that it made on this host
    Down {
        /// The lab's name
        #[arg(long, default_value = DEFAULT_NAME)]
        name: String,
    },
    /// Lists the labs of this host and what runs in them
    Status,
    /// Runs kubectl with the administrator's rights
    Kubectl {
        /// The lab's name
        #[arg(long, default_value = DEFAULT_NAME)]
        name: String,
        /// kubectl's own arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Runs a command on a machine, as root
    Exec {
        /// The lab's name
        #[arg(long, default_value = DEFAULT_NAME)]
        name: String,
        /// The machine
        machine: String,
        /// The command and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
}

pub fn run(command: LabCommand) -> anyhow::Result<ExitCode> {
    if matches!(command, LabCommand::Down { .. } | LabCommand::Status) {
        // Removing or listing a lab builds and installs nothing: it must be quick, and work where a lab cannot run.
        prerequisites::ensure_root()?;
    } else {
        prerequisites::ensure()?;
        // The program that enters a lab.
        build::binaries("join-e2e")?;
    }
    match command {
        LabCommand::Up { name, kubernetes, machines } => up(&name, kubernetes, machines),
        LabCommand::Down { name } => {
            lab::remove(&name)?;
            Ok(ExitCode::SUCCESS)
        }
        LabCommand::Status => status(),
        LabCommand::Kubectl { name, arguments } => {
            let lab = Lab::open(&name)?;
            pass_through(lab.kubectl()?.args(arguments))
        }
        LabCommand::Exec { name, machine, command } => {
            let lab = Lab::open(&name)?;
            let (program, arguments) = command.split_first().context("no command was given")?;
            pass_through(lab.machine(&machine)?.command(program)?.args(arguments))
        }
    }
}

fn up(name: &str, kubernetes: KubernetesMinor, machines: u8) -> anyhow::Result<ExitCode> {
    let components = Components::build(kubernetes)?;
    let step = Step::begin(format!("starting a Kubernetes {} control plane", components.kubernetes_version));
    let mut lab = Lab::start(name, kubernetes, components)?;
    step.done();
    for number in 1..=machines {
        let step = Step::begin(format!("booting worker-{number}"));
        lab.add_machine(&format!("worker-{number}"))?;
        step.done();
    }
    lab.keep()?;
    let option = if name == DEFAULT_NAME { String::new() } else { format!(" --name {name}") };
    println!(
        "\nThe lab is up. Try:\n  \
         cargo xtask lab kubectl{option} get pods --all-namespaces\n  \
         cargo xtask lab exec{option} worker-1 systemctl status containerd\n  \
         cargo xtask lab down{option}"
    );
    Ok(ExitCode::SUCCESS)
}

fn status() -> anyhow::Result<ExitCode> {
    for layout in Layout::existing() {
        let Overview { kubernetes, processes } = Overview::of(&layout)?;
        println!("lab {} (Kubernetes {kubernetes})", layout.name());
        for process in processes {
            let state = if process.running { "running" } else { "ended" };
            println!("  {:<26}{state:<9}{}", process.name, process.log.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a command on this terminal and ends as it ended.
fn pass_through(command: &mut std::process::Command) -> anyhow::Result<ExitCode> {
    let status = command.stdin(Stdio::inherit()).status()?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}
