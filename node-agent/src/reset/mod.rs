//! `join-agent reset`: makes the machine what it was before its join.
//!
//! The journal says what was there; the machine says what is there now; the difference is the plan ([`plan`], pure), which
//! is shown before it is carried out. First the machine is brought to rest (agent, etcd's member, kubelet, pods, mounts),
//! then it is looked at again, and only then are files removed and restored. The journal goes last: a reset that was
//! killed is begun again and ends where an undisturbed one ends.

mod act;
mod etcd;
mod observe;
pub mod plan;
pub mod pods;
mod text;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use crate::files::{CLIENT_PEM, KUBELET_CONF};
use crate::journal::{self, Before, CrashSwitch, Journal, LookError, Root, State};
use crate::kubelet::{self, Systemd};
use crate::lock::{self, StateLock};
use crate::{atomic_file, identity};
use plan::{AGENT_UNIT, Action, Observed, Plan, Wishes};
use text::Left;

/// The pods that make a machine a control plane. `kubeadm reset` looks for etcd's.
const CONTROL_PLANE: [&str; 2] =
    ["/etc/kubernetes/manifests/kube-apiserver.yaml", "/etc/kubernetes/manifests/etcd.yaml"];
/// How often the machine is looked at until it is at rest: what is stopped may have started something before it ended.
const MOST_ROUNDS: usize = 5;

/// The machine was not reset, or not completely: the journal is there still, and the next reset goes on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The journal is of no use.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// Something could not be looked at.
    #[error(transparent)]
    LookAt(#[from] LookError),
    /// Something could not be looked at.
    #[error("failed to look at {path}: {source}")]
    Look {
        /// What.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The table of mounts cannot be read.
    #[error("failed to read which file systems are mounted (/proc/self/mountinfo): {source}")]
    Mounts {
        /// Why.
        source: std::io::Error,
    },
    /// A unit could not be looked at, stopped or disabled.
    #[error(transparent)]
    Systemd(#[from] kubelet::Error),
    /// There is no systemd to ask.
    #[error("there is no systemd to ask for the state of units")]
    NoSystemd,
    /// The machine's member stays in etcd.
    #[error(transparent)]
    Etcd(#[from] etcd::Error),
    /// Pods could not be listed or removed.
    #[error(transparent)]
    Pods(#[from] pods::Error),
    /// Something cannot be unmounted.
    #[error(
        "failed to unmount {point}: {source}; see which processes use it with `fuser --mount {point}`, then reset again"
    )]
    Unmount {
        /// Where it is mounted.
        point: String,
        /// Why.
        source: std::io::Error,
    },
    /// Something is mounted where all is to be removed.
    #[error("{tree} is not removed, since something is mounted at {point}: run `umount {point}`, then reset again")]
    StillMounted {
        /// What was to be removed.
        tree: String,
        /// Where something is mounted.
        point: String,
    },
    /// The machine does not come to rest.
    #[error(
        "after {MOST_ROUNDS} rounds there is still something to {action}: something starts it again; stop that first"
    )]
    Restless {
        /// What.
        action: String,
    },
    /// Something could not be removed or restored.
    #[error("failed to remove or restore {path}: {source}; mend that, then reset again")]
    Change {
        /// What.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The membership could not be removed.
    #[error(transparent)]
    Membership(#[from] atomic_file::Error),
    /// The agent's own files could not be removed.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// Another agent is at work.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// Somebody else joined the machine.
    #[error(
        "this machine was joined by somebody else: {found} exists, and there is no journal in {}; `join-agent reset --all` \
         does what `kubeadm reset` does, to everything that the kubelet has here",
        state_directory.display()
    )]
    NotOurs {
        /// What was found.
        found: &'static str,
        /// Where the journal would be.
        state_directory: PathBuf,
    },
    /// Somebody else made the machine a control plane.
    #[error(
        "this machine is a control plane: {found} exists, and no journal in {} says that this agent made it one. Run \
         `kubeadm reset`, which takes its etcd member out of the cluster first", state_directory.display()
    )]
    ControlPlane {
        /// What was found.
        found: &'static str,
        /// Where the journal would be.
        state_directory: PathBuf,
    },
    /// The machine's join can be undone, which `--all` does not do.
    #[error(
        "this agent made this machine a control plane, and --all is for workers: run `join-agent reset` without --all, which \
         takes the machine's member out of etcd first"
    )]
    AllOfControlPlane,
    /// The user is not root.
    #[error("a reset needs root: run `sudo join-agent reset`")]
    NotRoot,
    /// Nobody is there to be asked.
    #[error(
        "a reset asks before it begins, and the input is no terminal: look at `join-agent reset --dry-run`, then add --yes"
    )]
    NobodyToAsk,
    /// The user said no.
    #[error("nothing was changed")]
    Declined,
    /// Text could not be written or read.
    #[error("failed to talk to the terminal: {0}")]
    Terminal(std::io::Error),
}

/// What a user asks for.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct Options {
    /// Only say what would be done.
    pub dry_run: bool,
    /// Do what `kubeadm reset` does, whoever joined the machine.
    pub all: bool,
    /// Do not ask.
    pub yes: bool,
    /// Remove the machine's keys as well.
    pub forget_keys: bool,
    /// Leave the machine's member in etcd.
    pub keep_etcd_member: bool,
    /// Leave pods alone.
    pub keep_pods: bool,
    /// Start the agent's service again afterwards.
    pub start_agent: bool,
    /// Where the agent keeps its state.
    pub state_directory: PathBuf,
    /// For tests: end after so many actions.
    pub crash: CrashSwitch,
}

/// What a reset goes by.
enum Basis {
    Journal(Box<State>),
    Everything,
}

impl Basis {
    async fn plan(&self, options: &Options, systemd: &Systemd) -> Result<Plan, Error> {
        let root = Root::machine();
        Ok(match self {
            Self::Journal(journal) => {
                let observed = observe::for_undo(journal, &root, systemd, options.keep_pods).await?;
                let wishes = Wishes { forget_keys: options.forget_keys, keep_etcd_member: options.keep_etcd_member };
                plan::undo(journal, &observed, wishes)
            }
            Self::Everything => {
                let observed: Observed = observe::for_all(&root, systemd, options.keep_pods).await?;
                plan::all(&observed, options.forget_keys)
            }
        })
    }

    /// Takes in what was noted meanwhile: by the agent, before it was stopped, and by the reset itself.
    fn read_again(&mut self, options: &Options) -> Result<(), Error> {
        if let Self::Journal(journal) = self
            && let Some(noted) = Journal::read(&options.state_directory)?
        {
            **journal = noted;
        }
        Ok(())
    }

    /// What the reset leaves.
    fn left(&self, options: &Options) -> Left<'_> {
        let forget_keys = options.forget_keys;
        match self {
            Self::Everything => Left { forget_keys, ..Left::default() },
            Self::Journal(journal) => Left {
                node: journal.node.as_deref(),
                forget_keys,
                is_control_plane: CONTROL_PLANE.into_iter().any(|path| journal.before.contains_key(path)),
                // Without the flag it is removed, or the reset fails.
                etcd_member: journal.etcd.as_ref().filter(|_| options.keep_etcd_member),
            },
        }
    }
}

/// Resets the machine.
pub async fn reset(options: &Options) -> Result<(), Error> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    let Some(mut basis) = basis(options)? else {
        println!("nothing to undo: this machine has joined no cluster");
        if options.forget_keys && !options.dry_run {
            identity::Identity::remove(&options.state_directory)?;
            println!("the machine's keys were removed: it will announce itself as another machine");
        }
        return start_agent(options).await;
    };
    let systemd = Systemd::connect().await?;
    let plan = basis.plan(options, &systemd).await?;
    print!("{}", text::plan(&plan, matches!(basis, Basis::Everything)));
    if options.dry_run {
        print!("{}", text::left(&basis.left(options)));
        println!("\nnothing was changed (--dry-run)");
        return Ok(());
    }
    if !options.yes {
        ask()?;
    }
    carry_out(&mut basis, options, &systemd, &plan).await?;
    print!("{}", text::left(&basis.left(options)));
    println!("\nthe machine is what it was before its join");
    start_agent(options).await
}

/// Starts the agent again, where that is asked for.
async fn start_agent(options: &Options) -> Result<(), Error> {
    if options.start_agent && !options.dry_run {
        Systemd::connect().await?.start(AGENT_UNIT).await?;
    }
    Ok(())
}

/// What there is to undo; `None` when there is nothing.
fn basis(options: &Options) -> Result<Option<Basis>, Error> {
    let journal = match Journal::read(&options.state_directory) {
        // Where it cannot be understood, the other way is the one that is left.
        Err(_) if options.all => None,
        read => read?,
    };
    let found = CONTROL_PLANE.into_iter().filter(|path| Path::new(path).exists());
    refuse_control_plane(found, journal.as_ref(), options)?;
    if options.all {
        return Ok(Some(Basis::Everything));
    }
    if let Some(journal) = journal {
        return Ok(Some(Basis::Journal(Box::new(journal))));
    }
    match [KUBELET_CONF, CLIENT_PEM].into_iter().find(|path| Path::new(path).exists()) {
        Some(found) => Err(Error::NotOurs { found, state_directory: options.state_directory.clone() }),
        None => Ok(None),
    }
}

/// Refuses a control plane that somebody else made, and one of ours to be reset as a worker is. `found` are its manifests.
fn refuse_control_plane(
    found: impl Iterator<Item = &'static str>,
    journal: Option<&State>,
    options: &Options,
) -> Result<(), Error> {
    let mut is_ours = journal.is_some_and(|journal| journal.etcd.is_some());
    for found in found {
        // One that was there before is an earlier control plane's, whose member of etcd nobody noted.
        if journal.and_then(|journal| journal.before.get(found)) != Some(&Before::Absent) {
            return Err(Error::ControlPlane { found, state_directory: options.state_directory.clone() });
        }
        is_ours = true;
    }
    if is_ours && options.all { Err(Error::AllOfControlPlane) } else { Ok(()) }
}

async fn carry_out(basis: &mut Basis, options: &Options, systemd: &Systemd, first: &Plan) -> Result<(), Error> {
    let root = Root::machine();
    let cri_socket = observe::cri_socket(&root);
    let machine = act::Machine {
        root: &root,
        systemd: Some(systemd),
        state_directory: &options.state_directory,
        cri_socket: &cri_socket,
        crash: &options.crash,
    };
    let act = async |action: &Action| -> Result<(), Error> {
        println!("{action}");
        machine.act(action).await?;
        options.crash.wrote("an action of the reset");
        Ok(())
    };
    // The service first, since it holds the lock; then nothing of ours runs beside this.
    if first.actions.contains(&Action::StopAgent) {
        act(&Action::StopAgent).await?;
    }
    let has_state = options.state_directory.is_dir();
    let _lock = if has_state { Some(StateLock::take(&options.state_directory)?) } else { None };
    match (Journal::begin_reset(&options.state_directory, options.crash.clone()), &*basis) {
        // A journal that cannot be read keeps the agent from joining as well.
        (Ok(()), _) | (Err(_), Basis::Everything) => {}
        (Err(error), Basis::Journal(_)) => return Err(error.into()),
    }
    basis.read_again(options)?;
    let mut plan = basis.plan(options, systemd).await?;
    for round in 0.. {
        let Some(restless) = plan.actions.iter().find(|action| action.is_quieting()) else { break };
        if round == MOST_ROUNDS {
            return Err(Error::Restless { action: restless.to_string() });
        }
        for action in plan.actions.iter().filter(|action| action.is_quieting()) {
            act(action).await?;
        }
        basis.read_again(options)?;
        plan = basis.plan(options, systemd).await?;
    }
    for action in &plan.actions {
        act(action).await?;
    }
    Ok(())
}

fn ask() -> Result<(), Error> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::NobodyToAsk);
    }
    print!("\nReset this machine? [y/N] ");
    std::io::stdout().flush().map_err(Error::Terminal)?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(Error::Terminal)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(Error::Declined) }
}

#[cfg(test)]
#[path = "reset_tests.rs"]
mod tests;
