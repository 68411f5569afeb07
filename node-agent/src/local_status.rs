//! What the agent is doing, in a file on the machine: the only place before the machine may speak to the cluster.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

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
    /// What it waits for, or what went wrong and what to do.
    pub message: String,
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
        format!(
            "node      {}\nkey       {}\nstep      {:?}\nsince     {}\n          {}\n",
            self.node_name, self.public_key_hash, self.step, self.since, self.message
        )
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

/// Keeps the file true, and systemd's status line of the service with it.
#[derive(Debug)]
pub struct Publisher {
    path: PathBuf,
    status: RefCell<LocalStatus>,
}

impl Publisher {
    /// A publisher for one machine; nothing is written yet.
    pub fn new(path: &Path, node_name: &str, public_key_hash: &str) -> Self {
        let status = LocalStatus {
            node_name: node_name.to_owned(),
            public_key_hash: public_key_hash.to_owned(),
            step: LocalStep::Discovering,
            since: Timestamp::now(),
            message: String::new(),
        };
        Self { path: path.to_owned(), status: RefCell::new(status) }
    }

    /// Says what the agent is at. A failure is logged and no more: saying what one does must not stop one from doing it.
    pub fn say(&self, step: LocalStep, message: &str) {
        let mut status = self.status.borrow_mut();
        if status.step == step && status.message == message {
            return;
        }
        if status.step != step {
            status.step = step;
            status.since = Timestamp::now();
        }
        message.clone_into(&mut status.message);
        // One line, as systemd wants it.
        let line = message.replace('\n', " ");
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Status(&line)]);
        if let Err(error) = self.write(&status) {
            tracing::warn!(%error, "the local status could not be written");
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
        assert!(read().text().contains("Joined") && read().text().contains("sha256:00"));
    }
}
