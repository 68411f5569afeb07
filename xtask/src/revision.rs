//! From which commit something is built: what makes two builds of one commit the same.

use std::process::Command;

use anyhow::{Context, ensure};
use time::OffsetDateTime;

use crate::build;

/// A commit, as it goes into what is built from it.
pub struct Revision {
    /// The commit's hash, followed by `-dirty` when the tracked files differ from it; `unknown` without git.
    pub name: String,
    /// `SOURCE_DATE_EPOCH` if it is set (<https://reproducible-builds.org/specs/source-date-epoch/>), else the time of
    /// the commit.
    pub time: OffsetDateTime,
}

impl Revision {
    /// Asks git about the repository that xtask was built from.
    ///
    /// # Errors
    /// Without git or outside a repository, unless `SOURCE_DATE_EPOCH` says the time.
    pub fn current() -> anyhow::Result<Self> {
        let commit = git(&["log", "-1", "--format=%H %ct"]);
        let Ok(epoch) = std::env::var("SOURCE_DATE_EPOCH") else {
            return from_commit(&commit.context("set SOURCE_DATE_EPOCH to build outside a git repository")?, None);
        };
        let time = time(&epoch).context("SOURCE_DATE_EPOCH")?;
        match commit {
            Ok(commit) => from_commit(&commit, Some(time)),
            Err(_) => Ok(Self { name: "unknown".to_owned(), time }),
        }
    }
}

fn from_commit(line: &str, given: Option<OffsetDateTime>) -> anyhow::Result<Revision> {
    let (hash, seconds) = line.split_once(' ').with_context(|| format!("git printed {line:?} for the last commit"))?;
    let changed = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    let suffix = if changed { "-dirty" } else { "" };
    Ok(Revision { name: format!("{hash}{suffix}"), time: given.map_or_else(|| time(seconds), Ok)? })
}

fn time(seconds: &str) -> anyhow::Result<OffsetDateTime> {
    let number: i64 = seconds.parse().with_context(|| format!("{seconds:?} is no number of seconds since 1970"))?;
    OffsetDateTime::from_unix_timestamp(number).with_context(|| format!("{number} is no time"))
}

fn git(arguments: &[&str]) -> anyhow::Result<String> {
    let output =
        Command::new("git").current_dir(build::repository()).args(arguments).output().context("starting git")?;
    ensure!(
        output.status.success(),
        "`git {}` failed ({}): {}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
