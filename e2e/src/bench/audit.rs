//! Counting API requests in the API server's audit log.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use anyhow::Context;
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
///
/// The API server renames the log when it is 100 MB long, and begins another one.
pub struct Mark {
    path: PathBuf,
    /// The file that was the log.
    inode: u64,
    offset: u64,
}

impl Mark {
    /// The end of the log as it is now.
    pub fn now(path: PathBuf) -> std::io::Result<Self> {
        let log = fs::metadata(&path)?;
        Ok(Self { path, inode: log.ino(), offset: log.len() })
    }

    /// The requests since, of clients whose user agent begins with one of `agents`. The leader's lease is left out: it
    /// is renewed whether anything joins or not.
    pub fn requests(&self, agents: &[&str]) -> anyhow::Result<Requests> {
        let mut requests = Requests::default();
        for mut file in self.files()? {
            let offset = if file.metadata()?.ino() == self.inode { self.offset } else { 0 };
            file.seek(SeekFrom::Start(offset))?;
            count(BufReader::new(file), agents, &mut requests)?;
        }
        Ok(requests)
    }

    /// The file that was the log, and those that were begun after it. Names of old ones have the time in them.
    fn files(&self) -> anyhow::Result<Vec<File>> {
        let folder = self.path.parent().context("a log without a folder")?;
        let stem = self.path.file_stem().and_then(|stem| stem.to_str()).context("a log without a name")?;
        let old = format!("{stem}-");
        let mut older = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let is_old = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(&old));
            if is_old && path.extension() == self.path.extension() {
                older.push(path);
            }
        }
        older.sort();
        let mut files = Vec::new();
        for path in older.into_iter().chain([self.path.clone()]) {
            let file = File::open(&path).with_context(|| path.display().to_string())?;
            if !files.is_empty() || file.metadata()?.ino() == self.inode {
                files.push(file);
            }
        }
        anyhow::ensure!(!files.is_empty(), "{} and its older parts do not go back to the mark", self.path.display());
        Ok(files)
    }
}

fn count(log: impl BufRead, agents: &[&str], requests: &mut Requests) -> std::io::Result<()> {
    for line in log.lines() {
        // The last line may be half-written.
        let Ok(event) = serde_json::from_str::<Event>(&line?) else { continue };
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
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const LINES: &str = r#"
{"verb":"create","userAgent":"join-agent/0.1.0","user":{"username":"u"},"objectRef":{"resource":"certificatesigningrequests"}}
{"verb":"get","userAgent":"join-agent/0.1.0","user":{"username":"u"},"objectRef":{"resource":"configmaps"}}
{"verb":"patch","userAgent":"join-controller/0.1.0","user":{"username":"u"},"objectRef":{"resource":"leases"}}
{"verb":"create","userAgent":"kubelet/v1.37.2","user":{"username":"u"},"objectRef":{"resource":"nodes"}}
{"verb":"cre"#;

    #[test]
    fn only_the_clients_that_were_asked_for_are_counted() {
        let mut requests = Requests::default();
        count(LINES.as_bytes(), &["join-agent", "join-controller"], &mut requests).unwrap();
        assert_eq!(requests, Requests { writes: 1, reads: 1 });
    }

    #[test]
    fn a_log_that_was_begun_anew_is_counted_with_what_was_before() {
        let folder = tempfile::tempdir().unwrap();
        let [log, old, older] = ["audit.log", "audit-2026-11-29T12-00-00.000.log", "audit-2026-11-28T12-00-00.000.log"]
            .map(|name| folder.path().join(name));
        let lines = format!("{LINES}\n");
        fs::write(&older, &lines).unwrap();
        fs::write(&log, &lines).unwrap();
        let mark = Mark::now(log.clone()).unwrap();
        assert_eq!(mark.requests(&["join-agent"]).unwrap(), Requests::default());
        File::options().append(true).open(&log).unwrap().write_all(lines.as_bytes()).unwrap();
        fs::rename(&log, &old).unwrap();
        fs::write(&log, &lines).unwrap();
        assert_eq!(mark.requests(&["join-agent"]).unwrap(), Requests { writes: 2, reads: 2 });
        fs::remove_file(&old).unwrap();
        assert!(mark.requests(&["join-agent"]).is_err(), "what was in the file that is gone is not counted");
    }
}
