//! A file with a secret in it: mode 0600 from its first byte, and either whole or not there.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// The file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is one.
    #[error("{0} exists; name another file, or replace it with --force")]
    Exists(PathBuf),
    /// The operating system refuses.
    #[error("failed to write {path}: {reason}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Where the result goes, ready to take it.
#[derive(Debug)]
pub struct Target {
    path: PathBuf,
    file: NamedTempFile,
    force: bool,
}

impl Target {
    /// Makes sure that the file can be written, before there is anything to write.
    pub fn prepare(path: &Path, force: bool) -> Result<Self, Error> {
        if !force && path.symlink_metadata().is_ok() {
            return Err(Error::Exists(path.to_owned()));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // The library makes it with mode 0600.
        let file = NamedTempFile::new_in(folder).map_err(|error| failure(path, &error))?;
        Ok(Self { path: path.to_owned(), file, force })
    }

    /// Writes the file.
    pub fn write(mut self, text: &str) -> Result<(), Error> {
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.as_file().sync_all());
        written.map_err(|error| failure(&self.path, &error))?;
        let kept = if self.force { self.file.persist(&self.path) } else { self.file.persist_noclobber(&self.path) };
        match kept {
            Ok(_) => Ok(()),
            Err(lost) if lost.error.kind() == std::io::ErrorKind::AlreadyExists => Err(Error::Exists(self.path)),
            Err(lost) => Err(failure(&self.path, &lost.error)),
        }
    }
}

/// The library's own message names its temporary file, which says nothing to anybody.
fn failure(path: &Path, error: &std::io::Error) -> Error {
    let reason = if error.get_ref().is_some() { error.kind().to_string() } else { error.to_string() };
    Error::Write { path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_for_its_owner_alone_and_replaced_on_request_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        Target::prepare(&path, false).unwrap().write("one").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(Target::prepare(&path, false), Err(Error::Exists(_))));
        Target::prepare(&path, true).unwrap().write("two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_came_meanwhile_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        let target = Target::prepare(&path, false).unwrap();
        fs::write(&path, "mine").unwrap();
        assert!(matches!(target.write("two"), Err(Error::Exists(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        let missing = folder.path().join("missing/config.yaml");
        assert!(matches!(Target::prepare(&missing, false), Err(Error::Write { .. })));
    }
}
