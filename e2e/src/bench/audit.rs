//! Counting API requests in the API server's audit log.

use std::fs;
use std::io::{Seek, SeekFrom};
use std::path::PathBuf;

use serde::Deserialize;

/// How many requests a join took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// create, update, patch and delete.
    pub writes: usize,
    /// get, list and watch.
    pub reads: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    verb: String,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: Option<ObjectRef>,
    user: User,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize)]
struct ObjectRef {
    #[serde(default)]
    resource: String,
}

/// A place in the audit log, from which later requests are counted.
pub struct Mark {
    path: PathBuf,
    offset: u64,
}

impl Mark {
    /// The end of the log as it is now.
    pub fn now(path: PathBuf) -> std::io::Result<Self> {
        let offset = fs::metadata(&path)?.len();
        Ok(Self { path, offset })
    }

    /// The requests since, of clients whose user agent begins with one of `agents`. The leader's lease is left out: it
    /// is renewed whether anything joins or not.
    pub fn requests(&self, agents: &[&str]) -> anyhow::Result<Requests> {
        let mut file = fs::File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let text = std::io::read_to_string(file)?;
        Ok(count(&text, agents))
    }
}

fn count(log: &str, agents: &[&str]) -> Requests {
    let mut requests = Requests::default();
    // The last line may be half-written.
    for event in log.lines().filter_map(|line| serde_json::from_str::<Event>(line).ok()) {
        let resource = event.object_ref.map(|object| object.resource).unwrap_or_default();
        let ours = agents.iter().any(|agent| event.user_agent.starts_with(agent));
        if !ours || resource == "leases" || event.user.username == "system:apiserver" {
            continue;
        }
        match event.verb.as_str() {
            "create" | "update" | "patch" | "delete" | "deletecollection" => requests.writes += 1,
            _ => requests.reads += 1,
        }
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_clients_that_were_asked_for_are_counted() {
        let log = r#"
{"verb":"create","userAgent":"join-agent/0.1.0","user":{"username":"u"},"objectRef":{"resource":"certificatesigningrequests"}}
{"verb":"get","userAgent":"join-agent/0.1.0","user":{"username":"u"},"objectRef":{"resource":"configmaps"}}
{"verb":"patch","userAgent":"join-controller/0.1.0","user":{"username":"u"},"objectRef":{"resource":"leases"}}
{"verb":"create","userAgent":"kubelet/v1.37.2","user":{"username":"u"},"objectRef":{"resource":"nodes"}}
{"verb":"cre"#;
        assert_eq!(count(log, &["join-agent", "join-controller"]), Requests { writes: 1, reads: 1 });
    }
}
