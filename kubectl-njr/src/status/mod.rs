//! `kubectl njr status`: how far one join has come, and what it waits for.
//!
//! Reading ([`gather`]), understanding ([`model`], pure) and drawing ([`render`], pure) are apart.

pub mod events;
pub mod gather;
pub mod model;
pub mod render;
pub mod steps;
#[cfg(test)]
mod tests;
mod watch;

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::options::GlobalOptions;
use crate::output::{self, Screen};
use crate::session::{CallError, ConnectError, Session};
use model::{Outcome, Tree, tree};
use render::{Look, render};

/// The status could not be told.
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
    /// Nothing has this name.
    #[error(
        "there is no NodeJoinRequest {name:?}, and no machine has announced itself under that name; see which have with: kubectl njr machines"
    )]
    Absent {
        /// The name.
        name: String,
    },
    /// The API server does not know the type.
    #[error(
        "the API server knows no NodeJoinRequest, so join-operator is not installed; see what is missing with: kubectl njr check"
    )]
    NotInstalled,
    /// The request was there and is not any more.
    #[error("NodeJoinRequest {name:?} was deleted while it was watched")]
    Deleted {
        /// The name.
        name: String,
    },
    /// A watch ended for good.
    #[error("failed to watch {what}: {reason}; try without --watch")]
    Watch {
        /// What was watched.
        what: &'static str,
        /// Why.
        reason: String,
    },
}

/// How the status is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A tree of the steps.
    Tree,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Name of the request, which is the node's.
    #[arg(value_name = "NAME")]
    name: String,

    /// Go on until the node is Ready (exit code 0) or the request is Stalled (exit code 1). On a terminal the tree is
    /// drawn anew, elsewhere each change is a line.
    #[arg(long, short, conflicts_with = "output")]
    watch: bool,

    /// How the status is shown [default: tree].
    #[arg(long, short, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
}

/// Shows the status.
pub async fn run(options: &GlobalOptions, arguments: &Arguments) -> Result<ExitCode, Error> {
    let session = Session::open(options).await?;
    let look = look(options);
    if arguments.watch {
        return watch::run(&session, &arguments.name, look).await;
    }
    let tree = tree(&Box::pin(gather::gather(&session, &arguments.name)).await?);
    if tree.outcome == Outcome::Absent {
        gather::is_installed(&session).await?.then_some(()).ok_or(Error::NotInstalled)?;
        return Err(Error::Absent { name: arguments.name.clone() });
    }
    output::print(&show(&tree, arguments.output.unwrap_or(Format::Tree), look)?)?;
    Ok(ExitCode::SUCCESS)
}

fn show(tree: &Tree, format: Format, look: Look) -> Result<String, output::Error> {
    match format {
        Format::Tree => Ok(render(tree, look)),
        Format::Json => output::json(tree),
        Format::Yaml => output::yaml(tree),
    }
}

fn look(options: &GlobalOptions) -> Look {
    let screen = Screen::of_stdout(options.color);
    let width = terminal_size::terminal_size().filter(|_| screen.is_terminal).map(|(width, _)| usize::from(width.0));
    let locale =
        ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(std::env::var_os).find(|value| !value.is_empty());
    Look { screen, width: width.unwrap_or(render::DEFAULT_WIDTH), unicode: is_unicode(locale.as_deref()) }
}

/// Whether a locale's name says that the terminal takes UTF-8. Without a locale, it is the C locale: ASCII.
fn is_unicode(locale: Option<&std::ffi::OsStr>) -> bool {
    let name = locale.and_then(|locale| locale.to_str()).unwrap_or_default().to_ascii_lowercase();
    name.ends_with("utf-8") || name.ends_with("utf8") || name.contains("utf-8@") || name.contains("utf8@")
}
