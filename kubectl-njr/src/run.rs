//! From a command line to an exit code.

use std::process::ExitCode;

use crate::cli::{Cli, Command};
use crate::version;

/// A command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `version`.
    #[error(transparent)]
    Version(#[from] version::Error),
}

/// Runs the command that was asked for.
pub async fn run(cli: Cli) -> Result<ExitCode, Error> {
    match &cli.command {
        Command::Version(arguments) => version::run(&cli.global, arguments).await?,
    }
    Ok(ExitCode::SUCCESS)
}
