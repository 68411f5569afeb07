//! The first program of every process in a lab: it enters a cgroup, namespaces and mounts, and then becomes the
//! program that was asked for. A binary of its own, since entering a namespace changes the process for good.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand};
use join_e2e::lab::{cgroups, machine_root, network};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Enters a cgroup and, where one is named, a network namespace.
    Enter {
        #[arg(long)]
        cgroup: String,
        #[arg(long)]
        network_namespace: Option<String>,
        #[arg(last = true, required = true)]
        program: Vec<OsString>,
    },
    /// Shows folders in the place of others; expects a mount namespace of its own.
    Bind {
        /// SOURCE:PLACE
        #[arg(long = "bind")]
        binds: Vec<String>,
        #[arg(last = true, required = true)]
        program: Vec<OsString>,
    },
    /// Becomes a machine's PID 1; expects new mount, UTS, IPC, PID and cgroup namespaces, the latter rooted in a cgroup
    /// that no other process stands in.
    Machine {
        /// A `MachineRoot` as JSON.
        #[arg(long)]
        root: PathBuf,
    },
}

fn main() -> ExitCode {
    let failure = match run(Arguments::parse().action) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    eprintln!("lab-init: {failure:#}");
    ExitCode::FAILURE
}

fn run(action: Action) -> anyhow::Result<std::convert::Infallible> {
    let program = match action {
        Action::Enter { cgroup, network_namespace, program } => {
            cgroups::enter(&cgroup)?;
            if let Some(name) = network_namespace {
                network::enter_namespace(&name)?;
            }
            program
        }
        Action::Bind { binds, program } => {
            for bind in binds {
                let (source, place) = bind.split_once(':').ok_or_else(|| anyhow::anyhow!("{bind}: no colon"))?;
                std::fs::create_dir_all(place)?;
                rustix::mount::mount_bind(source, place)?;
            }
            program
        }
        Action::Machine { root } => {
            let root: machine_root::MachineRoot = serde_json::from_slice(&std::fs::read(root)?)?;
            root.enter()?;
            // PID 1 learns from its environment that it is in a container and leaves the kernel's things alone.
            let failure = Command::new("/lib/systemd/systemd")
                .env_clear()
                .env("container", "lab")
                .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
                .exec();
            return Err(failure.into());
        }
    };
    Err(Command::new(&program[0]).args(&program[1..]).exec().into())
}
