//! What is on a machine, in every path that a join touches, to compare before with after.

use std::collections::BTreeMap;
use std::fmt;
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
    look_at(machine, &TOUCHED, &mut |place, path, metadata| {
        let content = if metadata.is_dir() {
            String::new()
        } else if metadata.is_symlink() {
            fs::read_link(place)?.display().to_string()
        } else {
            String::from_utf8_lossy(&fs::read(place)?).into_owned()
        };
        found.insert(path.to_owned(), format!("{} {content}", Permissions::of(metadata)));
        Ok(())
    })?;
    Ok(found)
}

/// Where a control plane has its files, etcd's data among them.
const CONTROL_PLANE: [&str; 2] = ["/etc/kubernetes", "/var/lib/etcd"];

/// What kind of thing a path is, who may use it and to whom it belongs. Shown as `100600 (0, 0)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// Kind and permission bits: `st_mode` of stat(2).
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
}

impl Permissions {
    fn of(metadata: &fs::Metadata) -> Self {
        Self { mode: metadata.permissions().mode(), owner: (metadata.uid(), metadata.gid()) }
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:o} {:?}", self.mode, self.owner)
    }
}

/// What a control plane has on a machine, to compare one way of joining with another: every path below
/// [`CONTROL_PLANE`], without the contents, which are keys and a running database.
pub fn control_plane_files(machine: &Machine<'_>) -> Result<BTreeMap<PathBuf, Permissions>, Error> {
    let mut found = BTreeMap::new();
    look_at(machine, &CONTROL_PLANE, &mut |_, path, metadata| {
        found.insert(path.to_owned(), Permissions::of(metadata));
        Ok(())
    })?;
    Ok(found)
}

/// Is given where the host sees a thing, where the machine sees it, and its metadata.
type Look<'a> = dyn FnMut(&Path, &Path, &fs::Metadata) -> std::io::Result<()> + 'a;

/// Looks at everything below some folders of a machine; those that are not there are left out.
fn look_at(machine: &Machine<'_>, folders: &[&str], look: &mut Look<'_>) -> Result<(), Error> {
    for folder in folders {
        let root = machine.path(folder)?;
        if root.symlink_metadata().is_ok() {
            let path = Path::new(folder);
            walk(&root, path, look).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        }
    }
    Ok(())
}

fn walk(place: &Path, path: &Path, look: &mut Look<'_>) -> std::io::Result<()> {
    let metadata = place.symlink_metadata()?;
    if metadata.is_dir() {
        for entry in fs::read_dir(place)? {
            let entry = entry?;
            walk(&entry.path(), &path.join(entry.file_name()), look)?;
        }
    }
    look(place, path, &metadata)
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
