//! The folder in which one component is being built, beside its final place.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use tempfile::TempDir;

/// A build that nobody else makes at the same time. Dropped, it is removed with all that was built.
pub struct Building {
    folder: TempDir,
    /// The kernel lets go of the lock when its process ends, however it ends.
    _lock: File,
}

impl Building {
    /// Waits until no other process builds the component, and removes what killed builds of it have left.
    ///
    /// # Errors
    /// When the cache cannot be written.
    pub fn begin(cache: &Path, component: &str) -> io::Result<Self> {
        let lock = File::create(cache.join(format!("{component}.lock")))?;
        lock.lock()?;
        let prefix = format!(".building-{component}.");
        for entry in fs::read_dir(cache)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(Self { folder: tempfile::Builder::new().prefix(&prefix).tempdir_in(cache)?, _lock: lock })
    }

    /// Where to build.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Moves what was built to its final place, whole.
    ///
    /// # Errors
    /// When it cannot be moved there; it is removed then.
    pub fn finish(self, finished: &Path) -> io::Result<()> {
        fs::rename(self.folder.path(), finished)?;
        // The folder has a new name, so there is nothing left to remove under the old one.
        let _ = self.folder.keep();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(cache: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_killed_build_left_goes_with_the_next_one_of_that_component() {
        let cache = tempfile::tempdir().unwrap();
        for left in [".building-pod.a1", ".building-etcd.b2", "pod-0123"] {
            fs::create_dir(cache.path().join(left)).unwrap();
            fs::write(cache.path().join(left).join("program"), "half").unwrap();
        }
        let building = Building::begin(cache.path(), "pod").unwrap();
        fs::write(building.folder().join("program"), "whole").unwrap();
        building.finish(&cache.path().join("pod-4567")).unwrap();
        assert_eq!(names(cache.path()), [".building-etcd.b2", "pod-0123", "pod-4567", "pod.lock"]);
        assert_eq!(fs::read_to_string(cache.path().join("pod-4567/program")).unwrap(), "whole");
    }

    #[test]
    fn a_failed_build_leaves_no_entry() {
        let cache = tempfile::tempdir().unwrap();
        let building = Building::begin(cache.path(), "pod").unwrap();
        fs::write(building.folder().join("program"), "half").unwrap();
        drop(building);
        assert_eq!(names(cache.path()), ["pod.lock"]);
    }

    #[test]
    fn the_same_component_is_built_once_at_a_time_and_others_beside_it() {
        let cache = tempfile::tempdir().unwrap();
        let pod = Building::begin(cache.path(), "pod").unwrap();
        let lock = File::open(cache.path().join("pod.lock")).unwrap();
        assert!(lock.try_lock().is_err(), "a second build of the same component would have begun");
        let _etcd = Building::begin(cache.path(), "etcd").unwrap();
        drop(pod);
        lock.try_lock().unwrap();
    }
}
