//! `kubectl njr token`: bootstrap tokens, as `kubeadm token` has them.
//!
//! Differences to kubeadm: secrets are shown on request only, a token always ends, its group is never kubeadm's unless
//! that is asked for, and its signature is in cluster-info at once.

mod create;
mod delete;
mod list;
pub mod make;
mod stored;

use clap::Subcommand;

use crate::cluster_info;
use crate::options::GlobalOptions;
use crate::output;
use crate::session::{CallError, ConnectError};

/// Something about tokens could not be done. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no connection to be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// cluster-info cannot be used.
    #[error(transparent)]
    ClusterInfo(#[from] cluster_info::Error),
    /// A token could not be made.
    #[error(transparent)]
    Make(#[from] make::Error),
    /// A token could not be made from the command line.
    #[error(transparent)]
    Create(#[from] create::Error),
    /// What was given is no token and no id of one.
    #[error(transparent)]
    Delete(#[from] delete::Error),
    /// The result cannot be shown.
    #[error(transparent)]
    Output(#[from] output::Error),
}

/// The commands of `token`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists the bootstrap tokens of the cluster, without their secrets
    List(list::Arguments),
    /// Makes a bootstrap token and prints it
    Create(create::Arguments),
    /// Deletes bootstrap tokens
    Delete(delete::Arguments),
}

/// Runs one of them.
pub async fn run(options: &GlobalOptions, command: &Command) -> Result<(), Error> {
    match command {
        Command::List(arguments) => list::run(options, arguments).await,
        Command::Create(arguments) => create::run(options, arguments).await,
        Command::Delete(arguments) => delete::run(options, arguments).await,
    }
}
