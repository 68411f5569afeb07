//! Looking at what is on the machine before it is touched, and keeping what will have to be restored.

use std::fs::{self, File, Metadata};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::entry::{Access, Before, Mode};
use crate::atomic_file;

/// The largest file of which the content is kept.
pub const MAX_BACKUP_BYTES: u64 = 1024 * 1024;
/// The most entries of the kubelet's folder that are listed.
const MAX_ENTRIES: usize = 4096;

/// Something on the machine could not be looked at or kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be looked at.
    #[error("failed to look at {path}: {source}")]
    Look {
        /// What.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It cannot be kept.
    #[error(transparent)]
    Keep(#[from] atomic_file::Error),
}

/// The machine's root folder: `/`, or a folder that stands for it in a test.
#[derive(Debug, Clone)]
pub struct Root(PathBuf);

impl Root {
    /// The machine itself.
    pub fn machine() -> Self {
        Self(PathBuf::from("/"))
    }

    /// A folder that stands for the machine.
    pub fn at(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// Where an absolute path of the machine is.
    pub fn place(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }
}

/// The contents that are kept, each under its hash, so that keeping one twice is keeping it once.
#[derive(Debug, Clone)]
pub struct Backups(PathBuf);

impl Backups {
    /// Those of an agent's state directory.
    pub fn of(state_directory: &Path) -> Self {
        Self(state_directory.join("backup"))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    fn keep(&self, sha256: &str, content: &[u8]) -> Result<(), atomic_file::Error> {
        atomic_file::folder(&self.0, 0o700)?;
        atomic_file::write(&self.0.join(sha256), content, atomic_file::SECRET)
    }

    /// A content, if it is there and still has its hash.
    pub fn get(&self, sha256: &str) -> std::io::Result<Vec<u8>> {
        let content = fs::read(self.0.join(sha256))?;
        if hash(&content) == sha256 {
            Ok(content)
        } else {
            Err(std::io::Error::new(ErrorKind::InvalidData, "its content is not the one that was kept"))
        }
    }
}

fn hash(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

fn hash_of(mut content: impl BufRead) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    loop {
        let read = content.fill_buf()?;
        if read.is_empty() {
            return Ok(hex::encode(hasher.finalize()));
        }
        hasher.update(read);
        let length = read.len();
        content.consume(length);
    }
}

fn access(metadata: &Metadata) -> Access {
    Access { mode: Mode(metadata.mode() & 0o7777), uid: metadata.uid(), gid: metadata.gid() }
}

/// What is at a path now; a content is kept where it is small enough and `backups` is given.
pub fn look(place: &Path, backups: Option<&Backups>) -> Result<Before, Error> {
    let failed = |source| Error::Look { path: place.to_owned(), source };
    let metadata = match fs::symlink_metadata(place) {
        Ok(metadata) => metadata,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Before::Absent);
        }
        Err(error) => return Err(failed(error)),
    };
    let kind = metadata.file_type();
    if kind.is_dir() {
        return Ok(Before::Folder { access: access(&metadata) });
    }
    if kind.is_symlink() {
        let target = fs::read_link(place).map_err(failed)?;
        return Ok(target.to_str().map_or(Before::Other, |target| Before::Link { target: target.to_owned() }));
    }
    if !kind.is_file() {
        return Ok(Before::Other);
    }
    let small = metadata.len() <= MAX_BACKUP_BYTES;
    let file = File::open(place).map_err(failed)?;
    let sha256 = if let (true, Some(backups)) = (small, backups) {
        let mut content = zeroize::Zeroizing::new(Vec::with_capacity(content_size(&metadata)));
        file.take(MAX_BACKUP_BYTES).read_to_end(&mut content).map_err(failed)?;
        let sha256 = hash(&content);
        backups.keep(&sha256, &content)?;
        sha256
    } else {
        hash_of(BufReader::new(file)).map_err(failed)?
    };
    Ok(Before::File { access: access(&metadata), sha256, backup: small && backups.is_some() })
}

fn content_size(metadata: &Metadata) -> usize {
    usize::try_from(metadata.len()).unwrap_or_default() + 1
}

/// What is directly in a folder, or in the one that a link leads to; no content is kept.
pub fn children(root: &Root, folder: &str) -> Result<Vec<(String, Before)>, Error> {
    let place = root.place(folder);
    let failed = |source| Error::Look { path: place.clone(), source };
    let children = match fs::read_dir(&place) {
        Ok(children) => children,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut found = Vec::new();
    for child in children {
        let child = child.map_err(failed)?;
        let name = child.file_name();
        let Some(name) = name.to_str() else {
            let source = std::io::Error::new(ErrorKind::InvalidData, "its name is no UTF-8: move it away");
            return Err(Error::Look { path: child.path(), source });
        };
        found.push((format!("{folder}/{name}"), look(&child.path(), None)?));
    }
    Ok(found)
}

/// What is in a folder, path by path, and whether that is all of it.
pub struct Tree {
    /// Paths of the machine, parents before their children.
    pub entries: Vec<(String, Before)>,
    /// Whether nothing was left out.
    pub complete: bool,
}

/// Lists a folder, but not what is mounted in it.
pub fn list(root: &Root, folder: &str, mounts: &[String], backups: &Backups) -> Result<Tree, Error> {
    let mut tree = Tree { entries: Vec::new(), complete: true };
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let place = root.place(&folder);
        let failed = |source| Error::Look { path: place.clone(), source };
        let children = match fs::read_dir(&place) {
            Ok(children) => children,
            Err(missing) if missing.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        };
        for child in children {
            let child = child.map_err(failed)?;
            let name = child.file_name();
            let Some(name) = name.to_str().filter(|_| tree.entries.len() < MAX_ENTRIES) else {
                tree.complete = false;
                continue;
            };
            let path = format!("{folder}/{name}");
            let was = look(&child.path(), Some(backups))?;
            if matches!(was, Before::Folder { .. }) && !mounts.contains(&path) {
                open.push(path.clone());
            }
            tree.entries.push((path, was));
        }
    }
    Ok(tree)
}
