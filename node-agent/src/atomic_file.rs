//! Writing a file so that a reader, or the next start after a crash, sees all of it or nothing of it.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// A file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("failed to write or remove {path}: {source}")]
pub struct Error {
    /// The file.
    pub path: PathBuf,
    source: std::io::Error,
}

/// Whether something failed because a file system is full or mounted read-only: a fault of the machine that its
/// administrator mends.
pub fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let is_it = |error: &(dyn std::error::Error + 'static)| {
        error.downcast_ref::<std::io::Error>().is_some_and(|error| {
            matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem)
        })
    };
    std::iter::successors(Some(error), |error| error.source()).any(is_it)
}

/// Only root may read it.
pub const SECRET: u32 = 0o600;
/// Everybody may read it.
pub const PUBLIC: u32 = 0o644;

/// Writes `content` to `path` with a mode. The folder must exist.
///
/// The content is complete on the disk before it takes the file's name, and never readable with another mode. Until then
/// it is in [`staging`], where the next write of this file finds what a crash has left.
pub fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), Error> {
    let step = || {
        let folder = path.parent().unwrap_or(Path::new("/"));
        remove_if_there(&staging(path))?;
        let mut file = tempfile::Builder::new()
            .prefix(&staging_name(path))
            .rand_bytes(0)
            .permissions(Permissions::from_mode(SECRET))
            .tempfile_in(folder)?;
        file.write_all(content)?;
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        // The name is in the folder, which is a file of its own to the disk.
        File::open(folder)?.sync_all()
    };
    step().map_err(|source| Error { path: path.to_owned(), source })
}

/// Lets `link` point to `target`, replacing what it pointed to in one step.
pub fn link(link: &Path, target: &Path) -> Result<(), Error> {
    let step = || {
        let folder = link.parent().unwrap_or(Path::new("/"));
        let staged = staging(link);
        remove_if_there(&staged)?;
        symlink(target, &staged)?;
        fs::rename(&staged, link)?;
        File::open(folder)?.sync_all()
    };
    step().map_err(|source| Error { path: link.to_owned(), source })
}

/// Where a file is until it is complete: beside it, under a name that follows from its own, so that a crash never leaves
/// more than one.
pub fn staging(path: &Path) -> PathBuf {
    path.with_file_name(staging_name(path))
}

fn staging_name(path: &Path) -> OsString {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".join-agent");
    name
}

/// Removes a file or a link; that there is none is as good.
pub fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Err(error),
        _ => Ok(()),
    }
}

/// Removes a file of the agent's own, and what is staged of it.
pub fn remove(path: &Path) -> Result<(), Error> {
    let step = |path: &Path| remove_if_there(path).map_err(|source| Error { path: path.to_owned(), source });
    step(&staging(path))?;
    step(path)
}

/// Whether a plain file has exactly this content and mode.
pub fn is(path: &Path, content: &[u8], mode: u32) -> bool {
    let Ok(metadata) = fs::symlink_metadata(path) else { return false };
    let looks_right =
        metadata.is_file() && metadata.permissions().mode() & 0o7777 == mode && metadata.len() == content.len() as u64;
    let mut found = zeroize::Zeroizing::new(Vec::with_capacity(content.len() + 1));
    let read = |found: &mut Vec<u8>| File::open(path)?.take(content.len() as u64 + 1).read_to_end(found);
    looks_right && read(&mut found).is_ok() && found.as_slice() == content
}

/// Makes a folder and those above it that are missing, each with exactly this mode, whatever the process's umask is.
pub fn folder(path: &Path, mode: u32) -> Result<(), Error> {
    let step = |folder: &Path| {
        fs::DirBuilder::new().mode(mode).create(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(mode))
    };
    let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.is_dir()).collect();
    for folder in missing.into_iter().rev() {
        step(folder).map_err(|source| Error { path: folder.to_owned(), source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_with_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        write(&path, b"one, longer", PUBLIC).unwrap();
        write(&path, b"two", SECRET).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, SECRET);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file was left");
    }

    #[test]
    fn a_link_is_replaced_and_its_old_target_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("current");
        fs::write(folder.path().join("a"), "a").unwrap();
        link(&path, Path::new("a")).unwrap();
        link(&path, Path::new("b")).unwrap();
        assert_eq!(fs::read_link(&path).unwrap(), Path::new("b"));
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"a");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "a temporary folder was left");
    }

    #[test]
    fn what_a_crash_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (path, current) = (folder.path().join("key"), folder.path().join("current"));
        fs::write(staging(&path), "half").unwrap();
        symlink("nowhere", staging(&current)).unwrap();
        write(&path, b"whole", SECRET).unwrap();
        link(&current, Path::new("key")).unwrap();
        assert_eq!(fs::read(&current).unwrap(), b"whole");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "what was staged is still there");
    }

    #[test]
    fn only_the_same_content_and_mode_are_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert!(!is(&path, b"one", PUBLIC));
        write(&path, b"one", PUBLIC).unwrap();
        assert!(is(&path, b"one", PUBLIC));
        for (content, mode) in [(&b"two"[..], PUBLIC), (b"on", PUBLIC), (b"one ", PUBLIC), (b"one", SECRET)] {
            assert!(!is(&path, content, mode), "{content:?} {mode:o}");
        }
        let other = folder.path().join("link");
        symlink(&path, &other).unwrap();
        assert!(!is(&other, b"one", PUBLIC), "a link is no plain file");
    }

    #[test]
    fn new_folders_have_the_mode_and_old_ones_keep_theirs() {
        let base = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let deep = base.path().join("a/b");
        let before = mode(base.path());
        // 0o777 shows that no umask took anything away.
        folder(&deep, 0o777).unwrap();
        folder(&deep, 0o700).unwrap();
        assert_eq!((mode(&deep), mode(deep.parent().unwrap())), (0o777, 0o777));
        assert_eq!(mode(base.path()), before);
    }

    #[test]
    fn a_folder_that_is_missing_is_named() {
        let error = write(Path::new("/nonexistent/file"), b"", SECRET).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/file"), "{error}");
    }

    #[test]
    fn a_full_disk_is_told_from_other_failures() {
        #[derive(Debug, thiserror::Error)]
        #[error(transparent)]
        struct Outer(#[from] Error);
        let error = |kind: ErrorKind| Outer(Error { path: PathBuf::from("/a"), source: kind.into() });
        assert!(is_full(&error(ErrorKind::StorageFull)) && is_full(&error(ErrorKind::ReadOnlyFilesystem)));
        assert!(!is_full(&error(ErrorKind::PermissionDenied)));
    }
}
