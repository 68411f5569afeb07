//! `kubectl njr doctor`: what weakens a cluster in which machines join, and the removal of it.
//!
//! It changes nothing unless `--fix` names a check, shows each step before it is made, and asks.

mod fix;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Args;
use clap::builder::PossibleValuesParser;
use join_checks::cluster::fix::{FIXABLE, FixError, Step, plan};
use join_checks::cluster::{Facts, doctor};
use join_checks::terminal::printable;

use crate::accept::confirm::ask;
use crate::check::{self, Format};
use crate::options::{DryRun, DryRunOption, GlobalOptions};
use crate::output::{self, stderr};
use crate::session::{CallError, ConnectError, Session};

/// The look could not be taken, or the change not be made. What is found is no error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster could not be looked at.
    #[error(transparent)]
    Look(#[from] check::Error),
    /// There is no connection to be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The steps could not be told.
    #[error(transparent)]
    Plan(#[from] FixError),
    /// A step could not be made.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The result cannot be shown.
    #[error(transparent)]
    Output(#[from] output::Error),
    /// Nobody said yes.
    #[error("nothing was changed: the answer was not yes; to change it without being asked, add --yes")]
    Refused,
    /// Nobody can be asked.
    #[error(
        "nothing was changed: standard input is no terminal, so nobody can be asked; add --yes, or --dry-run=server"
    )]
    NobodyToAsk,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Mend what this check warns of; may be given more than once.
    #[arg(long, value_name = "CHECK", value_parser = PossibleValuesParser::new(FIXABLE))]
    fix: Vec<String>,

    #[command(flatten)]
    dry_run: DryRunOption,

    /// Do not ask before something is changed.
    #[arg(long, short)]
    yes: bool,

    /// How the result is shown.
    #[arg(long, short, value_enum, value_name = "FORMAT", default_value_t = Format::Table, conflicts_with = "fix")]
    output: Format,
}

/// Shows what weakens the cluster, or mends it.
pub async fn run(options: &GlobalOptions, arguments: &Arguments) -> Result<ExitCode, Error> {
    let facts = check::look(options, Vec::new()).await?;
    let report = doctor(&facts);
    if arguments.fix.is_empty() || facts.server.found().is_none() {
        output::print(&check::shown(&report, arguments.output))?;
        return Ok(check::code(&report));
    }
    let steps = steps(&facts, &arguments.fix)?;
    if steps.is_empty() {
        stderr::note("there is nothing to mend: each of these checks passes");
        return Ok(ExitCode::SUCCESS);
    }
    let dry_run = arguments.dry_run.dry_run;
    if dry_run == DryRun::None && !arguments.yes {
        confirm(&steps)?;
    }
    let session = Session::open(options).await?;
    for step in &steps {
        if dry_run != DryRun::Client {
            fix::carry_out(&session, step, dry_run).await?;
        }
        output::print(&format!("{}{}\n", printable(&fix::done(step)), dry_run.suffix()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn steps(facts: &Facts, ids: &[String]) -> Result<Vec<Step>, FixError> {
    let mut steps = Vec::new();
    for id in ids {
        for step in plan(facts, id)? {
            // Two checks may blame one binding.
            if !steps.contains(&step) {
                steps.push(step);
            }
        }
    }
    Ok(steps)
}

fn confirm(steps: &[Step]) -> Result<(), Error> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::NobodyToAsk);
    }
    let listed: Vec<String> = steps.iter().map(|step| format!("  {}\n", printable(&step.to_string()))).collect();
    let question = format!("This will:\n{}Go on? [y/N] ", listed.concat());
    let answer = ask(&question, &mut std::io::stdin().lock(), &mut std::io::stderr());
    if answer.is_ok_and(|yes| yes) { Ok(()) } else { Err(Error::Refused) }
}
