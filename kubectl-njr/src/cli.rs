//! The command line.

use clap::{Parser, Subcommand};

use crate::options::GlobalOptions;
use crate::{accept, check, completion, create, doctor, enroll, join_command, machines, retry, status, token, version};

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
    /// Makes the file with which machines find the cluster, with an enrollment token in it
    Enroll(enroll::Arguments),
    /// Lists the machines that have announced themselves
    Machines(machines::Arguments),
    /// Makes the request for a machine that has announced itself, with its key
    Accept(Box<accept::Arguments>),
    /// Makes a request
    Create(Box<create::Arguments>),
    /// Shows how far a join has come, what it waits for, and what to type next
    Status(status::Arguments),
    /// Asks for another try of a request that has failed for good
    Retry(retry::Arguments),
    /// Checks whether the cluster is fit for joins and join-operator is well
    Check(check::Arguments),
    /// Shows what weakens the cluster, and mends what --fix names
    Doctor(doctor::Arguments),
    /// Lists, makes and deletes bootstrap tokens
    #[command(subcommand)]
    Token(token::Command),
    /// Prints the command with which stock kubeadm joins a machine by its request
    JoinCommand(join_command::Arguments),
    /// Prints the hashes by which a machine recognises the cluster's certificate authorities
    CaHash,
    /// Makes user data for one machine: the file of enroll with the node's name in it
    CloudInit(enroll::MachineArguments),
    /// Prints the versions of this program, of the API and of the controller
    Version(version::Arguments),
    /// Prints a script by which a shell completes the commands of this program
    Completion(completion::Arguments),
}
