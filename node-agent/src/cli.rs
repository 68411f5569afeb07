//! The command line of `join-agent`.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::config::DEFAULT_PATH;
use crate::once::flags::JoinArguments;

/// Joins this machine to a Kubernetes cluster when a NodeJoinRequest asks for it.
#[derive(Parser)]
#[command(name = "join-agent", version)]
pub struct Arguments {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Runs the service: announces the machine, waits for its request, carries it out, and stays with the node
    Run {
        #[command(flatten)]
        configuration: ConfigurationArguments,
        /// How much to log: error, warn, info, debug or trace
        #[arg(long, env = "JOIN_AGENT_LOG", default_value = "info")]
        log_level: String,
        /// How to log
        #[arg(long, value_enum, default_value = "text")]
        log_format: LogFormat,
        /// For tests only: abort the process right after the N-th write of a join to this machine
        #[arg(long, env = "JOIN_AGENT_CRASH_AFTER_WRITES", value_name = "N", hide = true)]
        crash_after_writes: Option<u64>,
    },
    /// Joins this machine once, as `kubeadm join` does: announces it, waits for its request, carries it out, and ends
    Join(Box<JoinArguments>),
    /// Says what the running agent is doing and what it waits for
    Status {
        /// How to print it
        #[arg(long, short, value_enum, default_value = "text")]
        output: Output,
    },
    /// Checks whether this machine can become a node, or is a sound one; changes nothing. Exit code 1 when a check failed
    Check {
        #[command(flatten)]
        configuration: ConfigurationArguments,
        /// How to print it
        #[arg(long, short, value_enum, default_value = "table")]
        output: CheckOutput,
        /// Checks whose failure does not matter, by name; `all` names every one
        #[arg(long, value_delimiter = ',', value_name = "NAMES")]
        ignore_preflight_errors: Vec<String>,
        /// The container runtime's socket; containerd's when not given
        #[arg(long, value_name = "SOCKET")]
        cri_socket: Option<String>,
    },
    /// Makes this machine what it was before its join: asks first, and undoes what the journal of the join names
    Reset(ResetArguments),
    /// Prints the version
    Version,
}

#[derive(clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct ResetArguments {
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Do what `kubeadm reset` does on a worker, whoever joined this machine: remove all that the kubelet has here. A
    /// control plane is refused
    #[arg(long)]
    pub all: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Remove the machine's keys too, so that it is another machine to the cluster
    #[arg(long)]
    pub forget_keys: bool,
    /// Leave pods alone, for a machine whose container runtime is gone
    #[arg(long)]
    pub keep_pods: bool,
    /// Leave this control plane's member in etcd, where etcd cannot be asked: it has to be removed with `etcdctl member
    /// remove` on another control plane then
    #[arg(long, conflicts_with = "all")]
    pub keep_etcd_member: bool,
    /// Start the agent again afterwards, so that the machine announces itself and waits for another request
    #[arg(long)]
    pub start_agent: bool,
    /// The configuration file, for the agent's state directory
    #[arg(long, default_value = DEFAULT_PATH)]
    pub config: PathBuf,
    /// Where the agent keeps its state; by default what the configuration file says, or /var/lib/join-agent
    #[arg(long, value_name = "FOLDER")]
    pub state_directory: Option<PathBuf>,
    /// For tests only: abort the process right after the N-th action
    #[arg(long, env = "JOIN_AGENT_CRASH_AFTER_WRITES", value_name = "N", hide = true)]
    pub crash_after_writes: Option<u64>,
}

#[derive(clap::Args)]
pub struct ConfigurationArguments {
    /// The configuration file
    #[arg(long, default_value = DEFAULT_PATH)]
    pub config: PathBuf,
    /// Allow a configuration that pins no certificate authority: whoever holds the token can then pretend to be the
    /// API server
    #[arg(long)]
    pub allow_unsafe_discovery: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// How checks are printed.
#[derive(Clone, Copy, ValueEnum)]
pub enum CheckOutput {
    /// Every check, and what to do where one did not pass
    Table,
    /// Only what did not pass, a line each
    Short,
    /// For programs
    Json,
}

impl From<CheckOutput> for join_checks::Format {
    fn from(output: CheckOutput) -> Self {
        match output {
            CheckOutput::Table => Self::Table,
            CheckOutput::Short => Self::Short,
            CheckOutput::Json => Self::Json,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Output {
    Text,
    Json,
}
