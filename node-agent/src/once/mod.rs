//! `join-agent join`: the service's work for one join, typed by a person as `kubeadm join` is.
//!
//! It is the very same code as the service's, so that a join that is interrupted here is finished by the service, and the
//! other way round. Nothing of it stays when the machine is a node.

pub mod command_line;
pub mod flags;
mod progress;

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use join_crds::vocabulary::Reason;
use tokio::signal::unix::{SignalKind, signal};

use crate::config;
use crate::host;
use crate::journal::CrashSwitch;
use crate::local_status::LocalStep;
use crate::run::{self, Service};
use flags::{JoinArguments, STANDARD_INPUT};

/// The machine is not a node. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line is of no use.
    #[error(transparent)]
    Flags(#[from] flags::Error),
    /// The machine's own affairs are in the way.
    #[error(transparent)]
    Run(#[from] run::Error),
    /// The program cannot be told to end.
    #[error("failed to watch for signals: {0}")]
    Signals(std::io::Error),
    /// The time that was given is over, or somebody ended the program.
    #[error("{0}")]
    Unfinished(String),
}

/// Joins this machine, and prints what happens.
pub async fn join(arguments: JoinArguments) -> Result<(), Error> {
    let hostname = host::hostname();
    let (timeout, crash) = (arguments.timeout, CrashSwitch::after(arguments.crash_after_writes));
    let is_from_standard_input = arguments.reads_standard_input();
    let read = |path: &Path| match path {
        input if is_from_standard_input && input == Path::new(STANDARD_INPUT) => {
            config::read_small(Path::new("standard input"), std::io::stdin().lock())
        }
        path => config::read_secret(path),
    };
    let (configuration, notes) = arguments.configuration(&hostname, &read)?;
    let service = Service::start(configuration, hostname, crash)?;
    let (node, key) = (service.node().to_owned(), service.key());
    say(&progress::beginning(&node, &key));
    for text in &notes {
        say(&progress::note(text));
    }
    service.status().tell(Box::new(move |status| {
        say(&progress::line(status));
        if status.step == LocalStep::WaitingForRequest && status.reason == Some(Reason::RequestAbsent) {
            say(&progress::how_to_accept(&node, &key));
        }
    }));
    let ended = until_ended(&service, timeout).await;
    // What is left of a status that nobody keeps true any more is a lie.
    if let Err(error) = service.status().withdraw() {
        tracing::warn!(%error, "the local status could not be removed");
    }
    match ended? {
        None => {
            say(&progress::ending(service.node()));
            Ok(())
        }
        Some(why) => Err(Error::Unfinished(progress::unfinished(&why, &service.status().last()))),
    }
}

/// Why the join is not complete, unless it is.
async fn until_ended(service: &Service, timeout: Option<Duration>) -> Result<Option<String>, Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let given_up = async {
        match timeout {
            Some(timeout) => {
                tokio::time::sleep(timeout).await;
                format!("this machine is no node after {} s", timeout.as_secs())
            }
            None => std::future::pending().await,
        }
    };
    Ok(tokio::select! {
        () = service.until_joined() => None,
        why = given_up => Some(why),
        _ = terminate.recv() => Some("ended before this machine was a node".to_owned()),
        _ = interrupt.recv() => Some("interrupted before this machine was a node".to_owned()),
    })
}

/// A terminal that is gone is no reason not to join.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
