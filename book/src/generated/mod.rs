//! Pages that are made from the code.

mod command_line;
mod metrics;
mod request;
mod rights;
mod table;

use clap::CommandFactory as _;

use crate::ReadError;

/// Why a page could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The type of the requests.
    #[error("failed to make the type of the requests: {0}")]
    Crd(#[from] join_crds::generate::Error),
    /// The golden file of rights cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The golden file of rights has a line that is no right.
    #[error("expected `who: where: verb group/resource` in the list of rights, got {line:?}")]
    Right {
        /// The line.
        line: String,
    },
    /// The metrics cannot be encoded.
    #[error("failed to encode the metrics: {0}")]
    Metrics(#[from] std::fmt::Error),
    /// The type of the requests is not what it should be.
    #[error("failed to read the type of the requests: {0}")]
    Json(#[from] serde_json::Error),
}

/// Every generated page: its path below the root of the repository, and its text.
///
/// # Errors
/// When the code that a page is made from holds something that cannot be shown.
pub fn files() -> Result<Vec<(String, String)>, Error> {
    let command_lines = [
        ("join-agent", join_agent::cli::Arguments::command(), "node-agent/src/cli.rs"),
        ("join-controller", join_controller::cli::Cli::command(), "controller/src/cli.rs"),
        ("kubectl-njr", join_kubectl::cli::Cli::command(), "kubectl-njr/src/cli.rs"),
    ];
    let mut files = vec![
        ("docs/reference/request.md".to_owned(), request::page()?),
        ("docs/reference/rights.md".to_owned(), rights::page()?),
        ("docs/reference/metrics.md".to_owned(), metrics::page()?),
    ];
    for (name, program, source) in command_lines {
        files.push((format!("docs/reference/{name}.md"), command_line::page(program, source)));
    }
    Ok(files)
}

/// The first line of a generated page.
fn note(source: &str) -> String {
    format!("<!-- Generated from {source} by `cargo xtask generate`. Do not edit. -->\n")
}
