//! A join as a tree: the request, and below it each step with its state.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

use super::gather::Gathered;
use super::steps;

/// How far the whole has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Outcome {
    /// There is neither a request nor an announcement.
    Absent,
    /// A machine has announced itself, and nobody has asked for it.
    Announced,
    /// It goes on by itself, or waits.
    Waiting,
    /// The machine is the node, and the node is Ready.
    Ready,
    /// It will not move until a person does something.
    Stalled,
}

/// How one step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum State {
    /// Done.
    Done,
    /// Under way, or waiting for something.
    Waiting,
    /// It went wrong.
    Failed,
    /// Its turn has not come, or it is not needed.
    Pending,
}

/// An Event, as far as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventSeen {
    /// Its reason.
    pub reason: String,
    /// What it tells.
    pub note: String,
    /// Whether it is a Warning.
    pub warning: bool,
    /// When it was seen last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Time>,
}

/// One step of a join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// What it is about.
    pub name: &'static str,
    /// How it stands.
    pub state: State,
    /// The reason of its condition, or a word like it.
    pub reason: String,
    /// The object that it is about: a key, a token's public part, a certificate request, a Node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Since when it stands so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// What was seen. For a step that is done, what is worth knowing; else what it waits for or failed at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<String>,
    /// The newest Event about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<EventSeen>,
    /// What to do next, in the words of the documentation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// What to type next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// A join as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tree {
    /// The name of the request and of the node.
    pub name: String,
    /// How far it has come.
    pub outcome: Outcome,
    /// The reason of the summary, which `kubectl get njr` shows as STATUS.
    pub status: String,
    /// When it was looked at.
    pub observed_at: Time,
    /// Since when there is a request, or an announcement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// The steps, in the order of a join.
    pub steps: Vec<Step>,
    /// What could not be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub obstacles: Vec<String>,
}

impl Tree {
    /// The same tree at a later moment, for a clock that goes on while nothing happens.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Self {
        Self { observed_at: Time(now), ..self.clone() }
    }
}

/// What was gathered, as a tree.
pub fn tree(gathered: &Gathered) -> Tree {
    let (outcome, status, since) = steps::summary(gathered);
    Tree {
        name: gathered.name.clone(),
        outcome,
        status,
        observed_at: Time(gathered.now),
        since,
        steps: if outcome == Outcome::Absent { Vec::new() } else { steps::all(gathered) },
        obstacles: gathered.obstacles.clone(),
    }
}
