//! `kubectl njr check`: whether a cluster is fit for joins and the operator is well.
//!
//! The checks themselves are [`join_checks::cluster`], which the controller shares.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use join_checks::cluster::observe::{Access, Breadth, ObserveError, observe};
use join_checks::cluster::rights::{Right, administrator, installer};
use join_checks::cluster::{Facts, Scope, check};
use join_checks::{Report, Verdict};

use crate::options::GlobalOptions;
use crate::output;
use crate::session::{ConnectError, Session};

/// The check could not be made. What it finds is no error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no connection to be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connections of the check could not be set up.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// The result cannot be shown.
    #[error(transparent)]
    Output(#[from] output::Error),
}

/// How a report is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Every check with what was seen, and what to type where something is wrong.
    Table,
    /// What is wrong, a line each; nothing when all is well.
    Short,
    /// JSON.
    Json,
}

impl From<Format> for join_checks::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Table => Self::Table,
            Format::Short => Self::Short,
            Format::Json => Self::Json,
        }
    }
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Check what matters before join-operator is installed.
    #[arg(long)]
    pre: bool,

    /// How the result is shown.
    #[arg(long, short, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    output: Format,
}

/// Makes the checks and shows them.
pub async fn run(options: &GlobalOptions, arguments: &Arguments) -> Result<ExitCode, Error> {
    let (scope, rights) = if arguments.pre {
        (Scope::BeforeInstallation, installer(&options.namespace))
    } else {
        (Scope::Installed, administrator())
    };
    let report = check(&look(options, rights).await?, scope);
    output::print(&shown(&report, arguments.output))?;
    Ok(code(&report))
}

/// Looks at the cluster that the command line names.
pub async fn look(options: &GlobalOptions, rights: Vec<Right>) -> Result<Facts, Error> {
    let session = Session::open(options).await?;
    let access = Access::new(session.config())?;
    Ok(observe(&access, session.namespace(), Breadth::Administrator, rights).await)
}

/// A report as text; for people with a summary below.
pub fn shown(report: &Report, format: Format) -> String {
    let text = report.render(format.into());
    if format == Format::Table { format!("{text}{}\n", summary(report)) } else { text }
}

/// 1 when something failed.
pub fn code(report: &Report) -> ExitCode {
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn summary(report: &Report) -> String {
    let count = |verdict: Verdict| report.checks.iter().filter(|finding| finding.verdict == verdict).count();
    let parts = [
        (count(Verdict::Passed), "passed"),
        (count(Verdict::Skipped), "skipped"),
        (count(Verdict::Warning), "warned"),
        (count(Verdict::Failed), "failed"),
    ];
    let told: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    format!("{} checks: {}", report.checks.len(), told.join(", "))
}

#[cfg(test)]
mod tests {
    use join_checks::Finding;

    use super::*;

    #[test]
    fn the_table_ends_with_a_summary_and_failures_decide_the_exit_code() {
        let mut report = Report { checks: vec![Finding::passed("a", "x", "y"), Finding::skipped("b", "x", "y")] };
        assert!(shown(&report, Format::Table).ends_with("2 checks: 1 passed, 1 skipped\n"));
        assert_eq!(shown(&report, Format::Short), "");
        assert_eq!(format!("{:?}", code(&report)), format!("{:?}", ExitCode::SUCCESS));
        report.checks.push(Finding::failed("c", "x", "y", "z"));
        assert!(shown(&report, Format::Table).ends_with("3 checks: 1 passed, 1 skipped, 1 failed\n"));
        assert_eq!(format!("{:?}", code(&report)), format!("{:?}", ExitCode::FAILURE));
    }
}
