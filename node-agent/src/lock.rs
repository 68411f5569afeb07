//! One agent at a time: whoever changes the machine holds the lock of the state directory.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// The lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another one has it.
    #[error(
        "another join-agent is at work here and holds {}: end it first (`systemctl stop join-agent`), then try again",
        folder.display()
    )]
    Held {
        /// The state directory.
        folder: PathBuf,
    },
    /// The directory cannot be locked.
    #[error("failed to lock {}: {source}", folder.display())]
    Lock {
        /// The state directory.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The lock, which the kernel takes back when the process ends, however it ends. It is on the directory itself, so it
/// leaves no file.
#[derive(Debug)]
pub struct StateLock(#[allow(dead_code, reason = "held, not used: closing it unlocks")] File);

impl StateLock {
    /// Takes the lock without waiting for it.
    pub fn take(folder: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Lock { folder: folder.to_owned(), source };
        let file = File::open(folder).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(file)),
            Err(Errno::WOULDBLOCK) => Err(Error::Held { folder: folder.to_owned() }),
            Err(error) => Err(failed(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_holds_it_and_it_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let held = StateLock::take(folder.path()).unwrap();
        let error = StateLock::take(folder.path()).unwrap_err().to_string();
        assert!(error.contains("systemctl stop join-agent"), "{error}");
        drop(held);
        StateLock::take(folder.path()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(matches!(StateLock::take(&folder.path().join("none")), Err(Error::Lock { .. })));
    }
}
