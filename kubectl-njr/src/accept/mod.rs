//! `kubectl njr accept`: a request for a machine that has announced itself, with its key pinned.
//!
//! The key is given by who has compared it with the machine, and must be an announced one: a slip of the hand or a
//! stranger's announcement under the same name is refused here, and not first by a request that never gets its machine.

pub mod confirm;
mod decide;

use std::io::IsTerminal as _;

use clap::Args;
use join_crds::{Delivery, Machine, NodeJoinRequest, Role, Trust};
use join_trust::names::NodeName;
use join_trust::pin::PublicKeyPin;
use k8s_openapi::jiff::Timestamp;

use crate::machines::Seen;
use crate::options::{DryRun, DryRunOption, GlobalOptions, ObjectOutput};
use crate::session::{CallError, ConnectError, Session};
use crate::spec_options::{self, SpecOptions};
use crate::{join_configuration, output, request};
use decide::{Choice, Refusal};

/// The machine was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is a reason not to accept it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A flag's value cannot be used.
    #[error(transparent)]
    Spec(#[from] spec_options::Error),
    /// The file of kubeadm's cannot be used.
    #[error(transparent)]
    JoinConfiguration(#[from] join_configuration::Error),
    /// Nobody can be asked.
    #[error(
        "not accepting {name} without being asked: standard input is not a terminal; compare the key, and add --yes"
    )]
    NobodyToAsk {
        /// The node.
        name: NodeName,
    },
    /// The person said no.
    #[error("{name} was not accepted")]
    Declined {
        /// The node.
        name: NodeName,
    },
    /// The question or its answer was lost.
    #[error("failed to ask on the terminal: {0}")]
    Terminal(std::io::Error),
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

/// Arguments of `accept`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Name of the node that the machine has announced itself as
    #[arg(value_name = "NAME")]
    name: NodeName,

    /// Hash of the machine's key, as `join-agent status` prints it on the machine
    #[arg(long, value_name = "SHA256")]
    key: PublicKeyPin,

    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,

    #[command(flatten)]
    spec: SpecOptions,
    #[command(flatten)]
    dry_run: DryRunOption,
    #[command(flatten)]
    output: ObjectOutput,
}

/// Looks for the machine, asks, and writes the request.
pub async fn run(options: &GlobalOptions, arguments: &Arguments) -> Result<(), Error> {
    let session = Session::open(options).await?;
    let dry_run = arguments.dry_run.dry_run;
    let seen = Seen::read(&session).await?;
    let (done, verb) = match decide::decide(&arguments.name, &arguments.key, arguments.spec.replaces(), &seen)? {
        Choice::Unchanged(request) => (request.clone(), "unchanged"),
        Choice::Create(machine) => {
            let machine_spec = Machine { public_key_hash: Some(arguments.key.to_string()), trust: Trust::Pinned };
            let spec =
                arguments.spec.spec(machine_spec, Delivery::Sealed, &arguments.spec.defaults(&arguments.name)?)?;
            if dry_run == DryRun::None && !arguments.yes {
                ask(arguments, &confirm::question(&machine, &spec, Timestamp::now()))?;
            }
            let made = NodeJoinRequest::new(arguments.name.as_str(), spec);
            let made = if dry_run == DryRun::Client { made } else { request::create(&session, made, dry_run).await? };
            (made, "created")
        }
    };
    Ok(output::print(&request::show(&done, verb, dry_run, arguments.output.output)?)?)
}

fn ask(arguments: &Arguments, question: &str) -> Result<(), Error> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::NobodyToAsk { name: arguments.name.clone() });
    }
    let said_yes = confirm::ask(question, &mut std::io::stdin().lock(), &mut std::io::stderr().lock());
    if said_yes.map_err(Error::Terminal)? { Ok(()) } else { Err(Error::Declined { name: arguments.name.clone() }) }
}

/// The role as people write it.
fn role_in_words(role: Role) -> &'static str {
    match role {
        Role::Worker => "worker",
        Role::ControlPlane => "control plane",
    }
}
