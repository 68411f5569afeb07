//! From a command line to an exit code.

use std::process::ExitCode;

use crate::cli::{Cli, Command};
use crate::{
    accept, ca_hash, check, completion, create, doctor, enroll, join_command, machines, output, retry, status, token,
    version,
};

/// A command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `enroll` and `cloud-init`.
    #[error(transparent)]
    Enroll(#[from] enroll::Error),
    /// `machines`.
    #[error(transparent)]
    Machines(#[from] machines::Error),
    /// `accept`.
    #[error(transparent)]
    Accept(#[from] accept::Error),
    /// `create`.
    #[error(transparent)]
    Create(#[from] create::Error),
    /// `token`.
    #[error(transparent)]
    Token(#[from] token::Error),
    /// `join-command`.
    #[error(transparent)]
    JoinCommand(#[from] join_command::Error),
    /// `ca-hash`.
    #[error(transparent)]
    CaHash(#[from] ca_hash::Error),
    /// `status`.
    #[error(transparent)]
    Status(#[from] status::Error),
    /// `retry`.
    #[error(transparent)]
    Retry(#[from] retry::Error),
    /// `check`.
    #[error(transparent)]
    Check(#[from] check::Error),
    /// `doctor`.
    #[error(transparent)]
    Doctor(#[from] doctor::Error),
    /// `version`.
    #[error(transparent)]
    Version(#[from] version::Error),
    /// `completion`.
    #[error(transparent)]
    Output(#[from] output::Error),
}

/// Runs the command that was asked for.
pub async fn run(cli: Cli) -> Result<ExitCode, Error> {
    let global = &cli.global;
    match &cli.command {
        Command::Enroll(arguments) => enroll::run(global, arguments).await?,
        Command::Machines(arguments) => machines::run(global, arguments).await?,
        Command::Accept(arguments) => accept::run(global, arguments).await?,
        Command::Create(arguments) => create::run(global, arguments).await?,
        Command::Status(arguments) => return Ok(Box::pin(status::run(global, arguments)).await?),
        Command::Retry(arguments) => retry::run(global, arguments).await?,
        Command::Check(arguments) => return Ok(check::run(global, arguments).await?),
        Command::Doctor(arguments) => return Ok(doctor::run(global, arguments).await?),
        Command::Token(command) => token::run(global, command).await?,
        Command::JoinCommand(arguments) => join_command::run(global, arguments).await?,
        Command::CaHash => ca_hash::run(global).await?,
        Command::CloudInit(arguments) => enroll::run_machine(global, arguments).await?,
        Command::Version(arguments) => version::run(global, arguments).await?,
        Command::Completion(arguments) => completion::run(arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}
