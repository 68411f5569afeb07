//! What is on a machine, in every path that a join touches, to compare before with after.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::lab::{self, Machine};

/// Everything that a join may touch, with the agent's own state: its keys are the same before and after.
const TOUCHED: [&str; 4] = ["/etc/kubernetes", "/var/lib/kubelet", "/etc/systemd", "/var/lib/join-agent"];

/// Path, kind, mode, owner and content of everything below some folders of a machine.
pub type Snapshot = BTreeMap<PathBuf, String>;

/// A machine could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is down.
    #[error(transparent)]
    Lab(#[from] lab::Error),
    /// A file could not be read.
    #[error("failed to read {path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
}

/// Looks at a machine.
pub fn snapshot(machine: &Machine<'_>) -> Result<Snapshot, Error> {
    let mut found = Snapshot::new();
    for folder in TOUCHED {
        let root = machine.path(folder)?;
        if root.symlink_metadata().is_ok() {
            let path = Path::new(folder);
            look(&root, path, &mut found).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        }
    }
    Ok(found)
}

fn look(place: &Path, path: &Path, found: &mut Snapshot) -> std::io::Result<()> {
    let metadata = place.symlink_metadata()?;
    let (mode, owner) = (metadata.permissions().mode(), (metadata.uid(), metadata.gid()));
    let content = if metadata.is_dir() {
        for entry in fs::read_dir(place)? {
            let entry = entry?;
            look(&entry.path(), &path.join(entry.file_name()), found)?;
        }
        String::new()
    } else if metadata.is_symlink() {
        fs::read_link(place)?.display().to_string()
    } else {
        String::from_utf8_lossy(&fs::read(place)?).into_owned()
    };
    found.insert(path.to_owned(), format!("{mode:o} {owner:?} {content}"));
    Ok(())
}

/// The paths that differ.
pub fn changed<'a>(before: &'a Snapshot, after: &'a Snapshot) -> Vec<&'a Path> {
    let mut paths: Vec<&PathBuf> = before.keys().chain(after.keys()).collect();
    paths.sort();
    paths.dedup();
    paths.into_iter().filter(|path| before.get(*path) != after.get(*path)).map(PathBuf::as_path).collect()
}

/// What differs, with what it was and is, for a person; empty when nothing does.
pub fn differences(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let describe = |path: &Path| format!("{}: {:?} became {:?}", path.display(), before.get(path), after.get(path));
    changed(before, after).into_iter().map(describe).collect()
}
