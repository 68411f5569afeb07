//! Options that more than one command takes, with kubectl's names.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use join_checks::duration;
use join_crds::vocabulary::DEFAULT_NAMESPACE;

use crate::output::Format;

/// What every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalOptions {
    /// Kubeconfig file to use [default: the files in $KUBECONFIG, or ~/.kube/config].
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig file to use [default: its current one].
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,

    /// Cluster of the kubeconfig file to use [default: that of the context].
    #[arg(long, global = true, value_name = "NAME")]
    pub cluster: Option<String>,

    /// User of the kubeconfig file to act as [default: that of the context].
    #[arg(long, global = true, value_name = "NAME")]
    pub user: Option<String>,

    /// Name of a user to impersonate.
    #[arg(long = "as", global = true, value_name = "USER")]
    pub impersonate: Option<String>,

    /// Group to impersonate; may be given more than once.
    #[arg(long = "as-group", global = true, value_name = "GROUP", requires = "impersonate")]
    pub impersonate_group: Vec<String>,

    /// Namespace in which join-operator is installed.
    #[arg(long, short, global = true, value_name = "NAME", default_value = DEFAULT_NAMESPACE)]
    pub namespace: String,

    /// How long the API server may take to answer one request, such as 30s or 1m; 0 stands for no limit.
    #[arg(long, global = true, value_name = "DURATION", default_value = "30s", value_parser = duration::parse)]
    pub request_timeout: Duration,

    /// When output is coloured. With auto: on a terminal, unless the variable NO_COLOR is set.
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = Color::Auto)]
    pub color: Color,
}

/// When output is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Also in files and pipes.
    Always,
    /// Not at all.
    Never,
}

/// How a list is shown.
#[derive(Debug, Clone, Copy, Args)]
pub struct ListOutput {
    /// How the result is shown [default: a table].
    #[arg(long, short, value_enum, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// How one object is shown.
#[derive(Debug, Clone, Copy, Args)]
pub struct ObjectOutput {
    /// How the result is shown [default: one line].
    #[arg(long, short, value_enum, value_name = "FORMAT")]
    pub output: Option<ObjectFormat>,
}

/// The formats in which one object can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ObjectFormat {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// The kind and the name.
    Name,
}

/// Whether a command changes anything.
#[derive(Debug, Clone, Copy, Args)]
pub struct DryRunOption {
    /// Whether to change nothing: client shows what would be sent, server has it checked by the API server.
    #[arg(long, value_enum, value_name = "WHERE", default_value_t = DryRun::None)]
    pub dry_run: DryRun,
}

/// Where a command stops short of changing something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    /// Nowhere: the change is made.
    None,
    /// Before it is sent.
    Client,
    /// Before it is stored.
    Server,
}

impl DryRun {
    /// What kubectl puts behind the line that tells what was done.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Client => " (dry run)",
            Self::Server => " (server dry run)",
        }
    }

    /// Whether the API server shall not store what it is sent.
    pub const fn is_server(self) -> bool {
        matches!(self, Self::Server)
    }
}
