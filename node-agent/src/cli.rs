//! The command line of `join-agent`.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::config::DEFAULT_PATH;

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
    /// Says what the running agent is doing and what it waits for
    Status {
        /// How to print it
        #[arg(long, short, value_enum, default_value = "text")]
        output: Output,
    },
    /// Checks the configuration file and this machine; changes nothing
    Check {
        #[command(flatten)]
        configuration: ConfigurationArguments,
        /// How to print it
        #[arg(long, short, value_enum, default_value = "text")]
        output: Output,
    },
    /// Prints the version
    Version,
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

#[derive(Clone, Copy, ValueEnum)]
pub enum Output {
    Text,
    Json,
}
