//! What the agent is doing, in a file on the machine: the only place before the machine may speak to the cluster.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use join_checks::terminal::printable;
use join_crds::vocabulary::Reason;
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::atomic_file;
use crate::journal::{self, JoinStep, Journal};

/// Where the running agent says what it does.
pub const PATH: &str = "/run/join-agent/status.json";

/// The agent's state, for people and scripts on the machine. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalStatus {
    /// The node that this machine is to become.
    pub node_name: String,
    /// The pin of the machine's key: what goes into `spec.machine.publicKeyHash`.
    pub public_key_hash: String,
    /// What the agent is at.
    pub step: LocalStep,
    /// Since when it has been at this step.
    pub since: Timestamp,
    /// Why it does not go on, as conditions and [the documentation](join_crds::vocabulary::reasons_markdown) have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What it waits for, or what went wrong.
    pub message: String,
    /// What a person does about the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_step: Option<String>,
    /// Where the documentation explains the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documentation: Option<String>,
}

/// What the agent is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LocalStep {
    /// Looking for the API server.
    Discovering,
    /// Telling the cluster that this machine is there.
    Announcing,
    /// Waiting for a NodeJoinRequest.
    WaitingForRequest,
    /// Carrying the request out.
    Joining,
    /// The last try failed; another one follows.
    Failed,
    /// The machine is the node.
    Joined,
    /// The join is being undone.
    Leaving,
}

impl LocalStatus {
    /// Reads the file; `None` when no agent is running.
    pub fn read() -> std::io::Result<Option<Self>> {
        match std::fs::read(PATH) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(missing) if missing.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The status as text for a terminal.
    pub fn text(&self) -> String {
        let mut text = format!(
            "node      {}\nkey       {}\nstep      {:?}\nsince     {}\n",
            self.node_name, self.public_key_hash, self.step, self.since
        );
        let reason = self.reason.map(Reason::as_str);
        let message = Some(self.message.as_str());
        for (name, value) in [
            ("reason:", reason),
            ("", message),
            ("next:", self.next_step.as_deref()),
            ("see:", self.documentation.as_deref()),
        ] {
            if let Some(value) = value {
                // Some of it was said by whoever answered.
                let _ = writeln!(text, "{name:<10}{}", printable(value));
            }
        }
        text
    }
}

/// What is known on the machine of its agent and its join, whether the agent runs or not.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// What the running agent says.
    #[serde(flatten)]
    status: Option<LocalStatus>,
    /// What the journal says of the join.
    #[serde(skip_serializing_if = "Option::is_none")]
    journal: Option<Progress>,
}

/// How far a join has come.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Progress {
    /// The step that was taken up last.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<JoinStep>,
    /// When it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    /// When a reset was begun that has not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    reset_since: Option<Timestamp>,
}

impl Told {
    /// Reads what the agent says, and its journal, which is for root alone.
    pub fn read(state_directory: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let journal = match Journal::read(state_directory) {
            Err(journal::Error::Access { source, .. }) if source.kind() == ErrorKind::PermissionDenied => None,
            journal => journal?,
        };
        Ok(Self { status: LocalStatus::read()?, journal: journal.as_ref().map(Progress::of) })
    }

    /// Whether an agent is running.
    pub fn is_running(&self) -> bool {
        self.status.is_some()
    }

    /// All of it as text for a terminal.
    pub fn text(&self) -> String {
        let status = self.status.as_ref().map_or_else(
            || "no agent is running here; start it with `systemctl start join-agent`\n".to_owned(),
            LocalStatus::text,
        );
        status + &self.journal.as_ref().map(Progress::text).unwrap_or_default()
    }
}

impl Progress {
    fn of(journal: &journal::State) -> Self {
        Self {
            step: journal.step.as_ref().map(|(step, _, _)| *step),
            since: journal.step.as_ref().map(|(_, _, since)| *since),
            reset_since: journal.reset_since,
        }
    }

    fn text(&self) -> String {
        match (self.reset_since, self.step, self.since) {
            (Some(since), _, _) => {
                format!("journal   a reset was begun at {since} and has not ended: run `join-agent reset` again\n")
            }
            (None, Some(step), Some(since)) => format!("journal   the join {} (since {since})\n", step.words()),
            _ => String::new(),
        }
    }
}

/// Hears of each change of the status.
pub type Listener = Box<dyn Fn(&LocalStatus)>;

/// Keeps the file true, and systemd's status line of the service with it.
pub struct Publisher {
    path: PathBuf,
    status: RefCell<LocalStatus>,
    /// Whether the request is carried out anew because it was changed meanwhile.
    is_anew: Cell<bool>,
    listener: RefCell<Option<Listener>>,
}

impl Publisher {
    /// A publisher for one machine; nothing is written yet.
    pub fn new(path: &Path, node_name: &str, public_key_hash: &str) -> Self {
        let status = LocalStatus {
            node_name: node_name.to_owned(),
            public_key_hash: public_key_hash.to_owned(),
            step: LocalStep::Discovering,
            since: Timestamp::now(),
            reason: None,
            message: String::new(),
            next_step: None,
            documentation: None,
        };
        Self {
            path: path.to_owned(),
            status: RefCell::new(status),
            is_anew: Cell::new(false),
            listener: RefCell::default(),
        }
    }

    /// Tells one listener of every change from now on, which replaces an earlier one.
    pub fn tell(&self, listener: Listener) {
        self.listener.replace(Some(listener));
    }

    /// What was said last.
    pub fn last(&self) -> LocalStatus {
        self.status.borrow().clone()
    }

    /// Takes the file away, since nobody is at work any more. systemd does that for the service.
    pub fn withdraw(&self) -> Result<(), atomic_file::Error> {
        atomic_file::remove(&self.path)
    }

    /// Says what the agent is at. A failure is logged and no more: saying what one does must not stop one from doing it.
    pub fn say(&self, step: LocalStep, message: &str) {
        if step == LocalStep::Joining && self.is_anew.get() {
            let message = format!("the request was changed meanwhile, so this machine begins anew: {message}");
            self.say_because(step, Some(Reason::RequestChanged), &message);
        } else {
            self.say_because(step, None, message);
        }
    }

    /// Says that the request is carried out anew because it was changed meanwhile. That stays told while it is, unless
    /// something is in the way.
    pub fn say_changed(&self) {
        self.is_anew.set(true);
        self.say(LocalStep::Joining, "checking what it asks for now");
    }

    /// Says what the agent begins anew with. What the last try failed of stays told until this one is further.
    pub fn say_again(&self, step: LocalStep, message: &str) {
        if self.status.borrow().step != LocalStep::Failed {
            self.say(step, message);
        }
    }

    /// Says what the agent is at, and why it does not go on; the log has that too.
    pub fn say_because(&self, step: LocalStep, reason: Option<Reason>, message: &str) {
        let mut status = self.status.borrow_mut();
        if status.step == step && status.reason == reason && status.message == message {
            return;
        }
        match reason {
            // What is as it should be, or is nobody's fault.
            Some(reason @ (Reason::RequestAbsent | Reason::RequestChanged)) => {
                tracing::info!(%reason, ?step, next = reason.next_step(), "{message}");
            }
            Some(reason) => tracing::warn!(%reason, ?step, next = reason.next_step(), "{message}"),
            None => {}
        }
        if step != LocalStep::Joining {
            self.is_anew.set(false);
        }
        if status.step != step {
            status.step = step;
            status.since = Timestamp::now();
        }
        message.clone_into(&mut status.message);
        status.reason = reason;
        status.next_step = reason.map(|reason| reason.next_step().to_owned());
        status.documentation = reason.map(Reason::documentation);
        // One line, as systemd wants it.
        let line = reason.map(|reason| format!("{reason}: ")).unwrap_or_default() + &message.replace('\n', " ");
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Status(&line)]);
        if let Err(error) = self.write(&status) {
            tracing::warn!(%error, "the local status could not be written");
        }
        if let Some(listener) = self.listener.borrow().as_ref() {
            listener(&status);
        }
    }

    fn write(&self, status: &LocalStatus) -> Result<(), atomic_file::Error> {
        let json = serde_json::to_vec_pretty(status).unwrap_or_default();
        if let Some(folder) = self.path.parent() {
            // systemd makes it for the service; whoever runs the agent by hand has nobody who does.
            atomic_file::folder(folder, 0o755)?;
        }
        atomic_file::write(&self.path, &json, atomic_file::PUBLIC)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_journal_says_is_told_without_an_agent_too() {
        let since = "2026-01-01T00:00:00Z".parse().unwrap();
        let journal =
            journal::State { step: Some((JoinStep::WriteFiles, "u".to_owned(), since)), ..journal::State::default() };
        let told = Told { status: None, journal: Some(Progress::of(&journal)) };
        assert_eq!(
            told.text(),
            "no agent is running here; start it with `systemctl start join-agent`\n\
             journal   the join was writing the node's files (since 2026-01-01T00:00:00Z)\n"
        );
        let json = serde_json::to_value(&told).unwrap();
        let expected = serde_json::json!({"journal": {"step": "writeFiles", "since": "2026-01-01T00:00:00Z"}});
        assert_eq!(json, expected);
        let reset = journal::State { reset_since: Some(since), ..journal };
        assert!(Progress::of(&reset).text().contains("run `join-agent reset` again"));
        assert!(Told::default().text().starts_with("no agent is running") && !Told::default().is_running());
    }

    #[test]
    fn a_new_message_is_published_and_the_step_keeps_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/status.json");
        let publisher = Publisher::new(&path, "worker-1", "sha256:00");
        let read = || -> LocalStatus { serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap() };
        publisher.say(LocalStep::Failed, "one");
        let first = read();
        assert_eq!((first.step, first.message.as_str()), (LocalStep::Failed, "one"));
        publisher.say(LocalStep::Failed, "two");
        let second = read();
        assert_eq!((second.message.as_str(), second.since), ("two", first.since));
        publisher.say(LocalStep::Joined, "three");
        assert!(read().since > first.since);
        publisher.say_because(LocalStep::Failed, Some(Reason::ConnectionRefused), "four");
        let text = read().text();
        assert!(text.contains("\nreason:   ConnectionRefused\n          four\nnext:     Check the address"), "{text}");
        assert!(text.ends_with("\nsee:      docs/reasons.md#connectionrefused\n"), "{text}");
        publisher.say_again(LocalStep::Discovering, "five");
        assert_eq!((read().step, read().reason), (LocalStep::Failed, Some(Reason::ConnectionRefused)));
        publisher.say(LocalStep::Joined, "three");
        assert!(!read().text().contains("reason") && read().next_step.is_none());
        publisher.say_changed();
        publisher.say_because(LocalStep::Joining, Some(Reason::SignerMissing), "six");
        assert_eq!(read().reason, Some(Reason::SignerMissing));
        publisher.say(LocalStep::Joining, "seven");
        assert_eq!(read().reason, Some(Reason::RequestChanged));
        assert!(read().message.ends_with("begins anew: seven"), "{}", read().message);
        publisher.say(LocalStep::Joined, "eight");
        publisher.say(LocalStep::Joining, "nine");
        assert_eq!((read().reason, read().message.as_str()), (None, "nine"));
        publisher.say(LocalStep::Joined, "three");
        assert!(read().text().contains("Joined") && read().text().contains("sha256:00"));
    }

    #[test]
    fn a_listener_hears_of_each_change_once_and_what_is_withdrawn_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status.json");
        let publisher = Publisher::new(&path, "worker-1", "sha256:00");
        let heard = std::rc::Rc::new(RefCell::new(Vec::new()));
        let ear = heard.clone();
        publisher.tell(Box::new(move |status| ear.borrow_mut().push((status.step, status.message.clone()))));
        for (step, message) in [
            (LocalStep::Failed, "one"),
            (LocalStep::Failed, "one"),
            (LocalStep::Failed, "two"),
            (LocalStep::Joined, "two"),
        ] {
            publisher.say(step, message);
        }
        let expected = [(LocalStep::Failed, "one"), (LocalStep::Failed, "two"), (LocalStep::Joined, "two")];
        assert_eq!(*heard.borrow(), expected.map(|(step, message)| (step, message.to_owned())));
        assert_eq!((publisher.last().step, path.exists()), (LocalStep::Joined, true));
        publisher.withdraw().unwrap();
        assert!(!path.exists());
        publisher.withdraw().unwrap();
    }
}
