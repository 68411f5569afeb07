//! `kubectl njr enroll` and `kubectl njr cloud-init`: the file with which a machine finds the cluster.
//!
//! The file holds an enrollment token. Its thief can announce a machine and read requests, nothing else, so that one
//! file may be in the image of many machines.

pub mod document;
mod target;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use join_checks::duration;
use join_crds::vocabulary::GROUP_ENROLL;
use join_trust::endpoint::Endpoint;
use join_trust::names::NodeName;
use zeroize::Zeroizing;

use crate::cluster_info::{self, Published};
use crate::join_line::join_line;
use crate::options::{DryRun, DryRunOption, GlobalOptions};
use crate::output::{self, stderr};
use crate::session::{ConnectError, Session};
use crate::token::make::{self, Made, Wanted};
use document::{AgentConfiguration, Format};
use target::Target;

/// No machine can be enrolled. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no connection to be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// cluster-info cannot be used.
    #[error(transparent)]
    ClusterInfo(#[from] cluster_info::Error),
    /// A token could not be made.
    #[error(transparent)]
    Make(#[from] make::Error),
    /// The file cannot be written.
    #[error(transparent)]
    Target(#[from] target::Error),
    /// The result cannot be shown.
    #[error(transparent)]
    Output(#[from] output::Error),
}

/// Arguments of `enroll`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// What is written: the agent's configuration file, or user data that puts it into place
    #[arg(long, value_enum, default_value_t = Format::Yaml)]
    format: Format,

    /// Print the enrollment token alone, for a configuration file with tokenFile
    #[arg(long, conflicts_with_all = ["format", "api_server_endpoint"])]
    print_token: bool,

    /// Print the line with which a machine joins at once, to be typed there as root, instead of a file
    #[arg(long, conflicts_with_all = ["format", "print_token"])]
    print_join_command: bool,

    #[command(flatten)]
    common: CommonArguments,
}

/// Arguments of `cloud-init`.
#[derive(Debug, Args)]
pub struct MachineArguments {
    /// Name of the node that the machine is to be
    #[arg(value_name = "NAME")]
    name: NodeName,

    /// What is written
    #[arg(long, value_enum, default_value_t = Format::CloudInit)]
    format: Format,

    #[command(flatten)]
    common: CommonArguments,
}

#[derive(Debug, Args)]
struct CommonArguments {
    /// How long the enrollment token lives
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration::parse)]
    ttl: Duration,

    /// For people who list tokens [default: says which command made it]
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,

    /// Where machines reach the API server [default: what kube-public/cluster-info says]
    #[arg(long, value_name = "HOST:PORT")]
    api_server_endpoint: Option<Endpoint>,

    /// File to write, with mode 0600 [default: standard output]
    #[arg(long, value_name = "FILE")]
    output_file: Option<PathBuf>,

    /// Replace the file if it exists
    #[arg(long, requires = "output_file")]
    force: bool,

    #[command(flatten)]
    dry_run: DryRunOption,
}

/// `enroll`: a file for any machine.
pub async fn run(options: &GlobalOptions, arguments: &Arguments) -> Result<(), Error> {
    let shown = if arguments.print_token {
        Shown::Token
    } else if arguments.print_join_command {
        Shown::JoinCommand
    } else {
        Shown::Configuration(arguments.format)
    };
    let description = "enrollment of machines, made by kubectl njr enroll";
    enroll(options, &arguments.common, description, None, shown).await
}

/// `cloud-init`: user data for one machine.
pub async fn run_machine(options: &GlobalOptions, arguments: &MachineArguments) -> Result<(), Error> {
    let description = format!("enrollment of {}, made by kubectl njr cloud-init", arguments.name);
    let format = Shown::Configuration(arguments.format);
    enroll(options, &arguments.common, &description, Some(&arguments.name), format).await
}

#[derive(Clone, Copy)]
enum Shown {
    Token,
    JoinCommand,
    Configuration(Format),
}

async fn enroll(
    options: &GlobalOptions,
    arguments: &CommonArguments,
    description: &str,
    node_name: Option<&NodeName>,
    shown: Shown,
) -> Result<(), Error> {
    let dry_run = arguments.dry_run.dry_run;
    // First, so that no token is made for a file that cannot be written.
    let target = match &arguments.output_file {
        Some(path) if dry_run == DryRun::None => Some(Target::prepare(path, arguments.force)?),
        _ => None,
    };
    let session = Session::open(options).await?;
    let published = Published::read(&session).await?;
    if let Some(warning) = published.strange_authorities(&session) {
        stderr::warning(&warning);
    }
    let wanted = Wanted {
        token: None,
        ttl: arguments.ttl,
        description: arguments.description.clone().unwrap_or_else(|| description.to_owned()),
        groups: vec![GROUP_ENROLL.to_owned()],
        signing: true,
        authentication: true,
    };
    let made = make::make(&session, &published, wanted, dry_run).await?;
    if dry_run != DryRun::None {
        // A file with a token that is not there is worth nothing, so it is not shown.
        let line = format!("secret/{} created{}\n", made.token.id().secret_name(), dry_run.suffix());
        return Ok(output::print(&line)?);
    }
    let endpoint = arguments.api_server_endpoint.as_ref().unwrap_or_else(|| published.endpoint());
    let text = match shown {
        Shown::Token => Zeroizing::new(format!("{}\n", &*made.token.expose())),
        Shown::JoinCommand => {
            let line = join_line("join-agent", endpoint, &made.token, &published.pins());
            Zeroizing::new(format!("{}\n", &*line))
        }
        Shown::Configuration(format) => {
            let configuration =
                AgentConfiguration::new(node_name, endpoint, &made.token, &made.expires, &published.pins());
            configuration.render(format, &made.expires)?
        }
    };
    match target {
        Some(target) => target.write(&text)?,
        None => output::print(&text)?,
    }
    stderr::note(&remark(&made, arguments.output_file.is_some(), shown));
    Ok(())
}

/// What a person should know about the token, and do with the file.
fn remark(made: &Made, is_file: bool, shown: Shown) -> String {
    let id = made.token.id();
    let what = match shown {
        Shown::Token => String::new(),
        Shown::JoinCommand => {
            "To be typed as root on a machine that has join-agent; whoever has the line can announce machines. "
                .to_owned()
        }
        Shown::Configuration(Format::Yaml) => {
            format!("{} belongs on a machine as {}, mode 0600. ", subject(is_file), document::PATH)
        }
        Shown::Configuration(_) => format!("{} is the user data of a machine that has join-agent. ", subject(is_file)),
    };
    format!("{what}The enrollment token {id} ends at {}; to end it now: kubectl njr token delete {id}", made.expires)
}

fn subject(is_file: bool) -> &'static str {
    if is_file { "The file" } else { "This" }
}
