//! `fuzz/record.json`: what every run of every target has reached. Runs add up.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::build::repository;

/// The runs of each target, oldest first.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Record(BTreeMap<String, Vec<Run>>);

/// One run of one target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Run {
    /// The day on which it ended.
    pub date: String,
    /// The digest of the source files that the target was built from.
    pub built_from: String,
    pub executions: u64,
    pub seconds: u64,
    /// Of the process, in MiB.
    pub peak_memory: u64,
    /// Inputs that made the target fail.
    pub findings: usize,
}

impl Record {
    pub fn read() -> anyhow::Result<Self> {
        let path = path();
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))
    }

    /// Written beside and renamed: a record of hours is not lost to a full disk.
    pub fn write(&self) -> anyhow::Result<()> {
        let path = path();
        let beside = path.with_extension("json.new");
        let text = serde_json::to_string_pretty(self).context("the record of fuzzing")? + "\n";
        fs::write(&beside, text).with_context(|| format!("writing {}", beside.display()))?;
        fs::rename(&beside, &path).with_context(|| format!("writing {}", path.display()))
    }

    pub fn add(&mut self, target: &str, run: Run) {
        self.0.entry(target.to_owned()).or_default().push(run);
    }

    pub fn runs(&self, target: &str) -> &[Run] {
        self.0.get(target).map_or(&[], Vec::as_slice)
    }

    /// How many inputs a target has had, in all runs.
    pub fn executions(&self, target: &str) -> u64 {
        self.runs(target).iter().map(|run| run.executions).sum()
    }

    /// How many inputs a target has had that was built from these sources.
    pub fn executions_of_build(&self, target: &str, built_from: &str) -> u64 {
        self.runs(target).iter().filter(|run| run.built_from == built_from).map(|run| run.executions).sum()
    }
}

fn path() -> PathBuf {
    repository().join("fuzz/record.json")
}

/// The digest of the files of this repository that a program was built from, as cargo has listed them beside it, and of
/// the versions of everything else.
pub fn digest_of_sources(program: &Path) -> anyhow::Result<String> {
    let list = program.with_extension("d");
    let text = fs::read_to_string(&list).with_context(|| format!("reading {}", list.display()))?;
    let mut sources = sources(&text, repository());
    ensure!(!sources.is_empty(), "{} names no file of {}", list.display(), repository().display());
    sources.extend(["fuzz/Cargo.lock", "fuzz/Cargo.toml"].map(PathBuf::from));
    sources.sort();
    let mut digest = Sha256::new();
    for source in sources {
        let content = fs::read(repository().join(&source)).with_context(|| format!("reading {}", source.display()))?;
        digest.update(source.as_os_str().as_encoded_bytes());
        digest.update([0]);
        digest.update(Sha256::digest(content));
    }
    Ok(hex::encode(&digest.finalize()[..8]))
}

/// The files of a repository that a list of dependencies in the form of a Makefile names, without what was generated.
fn sources(list: &str, repository: &Path) -> Vec<PathBuf> {
    // A space in a name has a backslash before it.
    let files = list.lines().filter_map(|line| line.split_once(": ")).flat_map(|(_, files)| {
        files.replace("\\ ", "\0").split(' ').map(|file| PathBuf::from(file.replace('\0', " "))).collect::<Vec<_>>()
    });
    let own = files.filter_map(|file| file.strip_prefix(repository).ok().map(Path::to_owned));
    own.filter(|file| !file.starts_with("fuzz/target")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_add_up() {
        let mut record = Record::default();
        assert_eq!(record.executions("token"), 0);
        for executions in [7, 5] {
            record.add("token", Run { executions, ..Run::default() });
        }
        assert_eq!(record.executions("token"), 12);
        assert_eq!(record.executions("jws"), 0);
        record.add("token", Run { executions: 3, built_from: "newer".to_owned(), ..Run::default() });
        assert_eq!((record.executions("token"), record.executions_of_build("token", "newer")), (15, 3));
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }

    #[test]
    fn sources_are_those_of_the_repository() {
        let list = "/r/fuzz/target/x/release/token: /r/fuzz/targets/token.rs /r/trust/src/a\\ b.rs \
                    /home/registry/pem/src/lib.rs /r/fuzz/target/x/build/out/generated.rs\n";
        let found = sources(list, Path::new("/r"));
        assert_eq!(found, [Path::new("fuzz/targets/token.rs"), Path::new("trust/src/a b.rs")]);
    }
}
