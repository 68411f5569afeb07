//! What the agent is doing, in a file on the machine: the only place before the machine may speak to the cluster.

use std::path::Path;

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
    /// Since when.
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
    /// Writes the file. A failure is logged and no more: saying what one does must not stop one from doing it.
    pub fn publish(&self) {
        let Ok(json) = serde_json::to_vec_pretty(self) else { return };
        if let Err(error) = atomic_file::write(Path::new(PATH), &json, atomic_file::PUBLIC) {
            tracing::warn!(%error, "the local status could not be written");
        }
    }

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
