//! `kubectl njr version`: this program's version, and what the cluster has.

use clap::Args;
use join_checks::terminal::printable;

use crate::options::GlobalOptions;
use crate::output;
use crate::session::{CallError, ConnectError, Session};

/// The versions could not be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no connection to be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The result cannot be shown.
    #[error(transparent)]
    Output(#[from] output::Error),
}

/// Arguments of `version`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Print this program's version only, without asking the cluster
    #[arg(long)]
    client: bool,
}

/// Prints the versions.
pub async fn run(options: &GlobalOptions, arguments: &Arguments) -> Result<(), Error> {
    output::print(concat!("Client Version: v", env!("CARGO_PKG_VERSION"), "\n"))?;
    if !arguments.client {
        let session = Session::open(options).await?;
        let version = session.call("ask for the version", session.client().apiserver_version()).await?;
        output::print(&format!("Server Version: {}\n", printable(&version.git_version)))?;
    }
    Ok(())
}
