//! What makes this machine this machine: its two keys, made once and never sent anywhere.

use std::path::{Path, PathBuf};

use join_trust::machine_key::{MachineKey, MachineKeyError};
use join_trust::pin::PublicKeyPin;
use join_trust::sealing::{SealingError, SealingKey};
use zeroize::Zeroizing;

use crate::atomic_file;

/// The machine key's file, in the state directory.
const MACHINE_KEY: &str = "machine.key";
/// The sealing key's file, in the state directory.
const SEALING_KEY: &str = "sealing.key";

/// The keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key file cannot be read.
    #[error("failed to read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A key file cannot be written.
    #[error(transparent)]
    Write(#[from] atomic_file::Error),
    /// The machine key is no key.
    #[error("{path}: {source}; remove the file to give this machine a new identity")]
    MachineKey {
        /// The file.
        path: PathBuf,
        /// Why.
        source: MachineKeyError,
    },
    /// The sealing key is no key.
    #[error("{path}: {source}; remove the file to give this machine a new one")]
    SealingKey {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SealingError,
    },
}

/// The machine's keys.
#[derive(Debug)]
pub struct Identity {
    /// Signs the announcement, and the node's first certificate is for it.
    pub machine: MachineKey,
    /// Opens what is sealed to this machine.
    pub sealing: SealingKey,
}

impl Identity {
    /// The pin of this machine's key, if it has one already.
    pub fn existing_pin(folder: &Path) -> Option<PublicKeyPin> {
        let text = read(&folder.join(MACHINE_KEY)).ok().flatten()?;
        MachineKey::from_pem(&text).ok().map(|key| key.pin())
    }

    /// Removes the keys: from then on this is another machine.
    pub fn remove(folder: &Path) -> Result<(), Error> {
        for key in [MACHINE_KEY, SEALING_KEY] {
            atomic_file::remove(&folder.join(key))?;
        }
        Ok(())
    }

    /// Reads the keys, or makes those that do not exist.
    ///
    /// Each file is complete or absent, so a crash between the two leaves one key, which the next start keeps.
    pub fn load_or_create(folder: &Path) -> Result<Self, Error> {
        atomic_file::folder(folder, 0o700)?;
        let path = folder.join(MACHINE_KEY);
        let wrong = |source| Error::MachineKey { path: path.clone(), source };
        let machine = if let Some(text) = read(&path)? {
            MachineKey::from_pem(&text).map_err(wrong)?
        } else {
            let key = MachineKey::generate().map_err(wrong)?;
            atomic_file::write(&path, key.to_pem().map_err(wrong)?.as_bytes(), atomic_file::SECRET)?;
            key
        };
        let path = folder.join(SEALING_KEY);
        let wrong = |source| Error::SealingKey { path: path.clone(), source };
        let sealing = if let Some(text) = read(&path)? {
            SealingKey::from_pem(&text).map_err(wrong)?
        } else {
            let key = SealingKey::generate().map_err(wrong)?;
            atomic_file::write(&path, key.to_pem().map_err(wrong)?.as_bytes(), atomic_file::SECRET)?;
            key
        };
        Ok(Self { machine, sealing })
    }
}

fn read(path: &Path) -> Result<Option<Zeroizing<String>>, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_same_keys_are_found_again_and_only_root_may_read_them() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Identity::existing_pin(folder.path()), None);
        let first = Identity::load_or_create(folder.path()).unwrap();
        assert_eq!(Identity::existing_pin(folder.path()), Some(first.machine.pin()));
        let second = Identity::load_or_create(folder.path()).unwrap();
        assert_eq!(first.machine.pin(), second.machine.pin());
        assert_eq!(first.sealing.public(), second.sealing.public());
        for file in ["machine.key", "sealing.key"] {
            let mode = std::fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }

    #[test]
    fn a_damaged_key_is_named_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("machine.key");
        std::fs::write(&path, "not a key").unwrap();
        let error = Identity::load_or_create(folder.path()).unwrap_err().to_string();
        assert!(error.contains("machine.key"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"not a key");
    }
}
