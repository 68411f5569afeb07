//! What the agent is doing, in a file on the machine: the only place before the machine may speak to the cluster.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::atomic_file;

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
}

impl LocalStatus {
    /// Reads the file; `None` when no agent is running.
    pub fn read() -> std::io::Result<Option<Self>> {
        match std::fs::read(PATH) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => Ok(None),
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
