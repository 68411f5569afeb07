//! The command line.

use clap::{Parser, Subcommand};

use crate::options::GlobalOptions;
use crate::version;

/// Joins machines to a Kubernetes cluster by request.
#[derive(Debug, Parser)]
#[command(name = "kubectl-njr", bin_name = "kubectl njr", version, max_term_width = 100)]
#[command(infer_subcommands = false, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: GlobalOptions,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Prints the versions of this program, of the API and of the controller
    Version(version::Arguments),
}
