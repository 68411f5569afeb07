//! What is mounted below a folder. A pod's volume can be somebody's data: nothing is removed before it is unmounted.

use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::mount::{UnmountFlags, unmount};

/// The kernel's list of this process's mounts (proc_pid_mountinfo(5)).
const TABLE: &str = "/proc/self/mountinfo";

/// Mount points strictly below a folder of the machine, in the machine's own words, those mounted last first. A folder
/// that is a symbolic link is followed, as the kernel did when it mounted.
pub fn below(folder: &str) -> io::Result<Vec<String>> {
    let mut points = at_or_below(folder)?;
    points.retain(|point| point != folder);
    Ok(points)
}

/// The same, with the folder itself if something is mounted there.
pub fn at_or_below(folder: &str) -> io::Result<Vec<String>> {
    let real = match std::fs::canonicalize(folder) {
        Ok(real) => real,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let table = std::fs::read(TABLE)?;
    let inside = points(&table).into_iter().filter_map(|point| {
        let rest = point.strip_prefix(&real).ok()?;
        let all: PathBuf = Path::new(folder).join(rest).components().collect();
        Some(all.to_string_lossy().into_owned())
    });
    let mut inside: Vec<String> = inside.collect();
    inside.reverse();
    Ok(inside)
}

/// Unmounts one of them. That nothing is mounted there any more is as good.
pub fn unmount_one(point: &str) -> io::Result<()> {
    match unmount(point, UnmountFlags::NOFOLLOW) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The mount points of a table, in its order: the fifth word of each line.
fn points(table: &[u8]) -> Vec<PathBuf> {
    let lines = table.split(|byte| *byte == b'\n');
    lines.filter_map(|line| line.split(|byte| *byte == b' ').nth(4)).map(unescape).collect()
}

/// The kernel writes blanks and backslashes in a path as a backslash and three octal digits.
fn unescape(word: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| *first == b'\\');
        path.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    PathBuf::from(std::ffi::OsString::from_vec(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_as_the_kernel_writes_them() {
        let table = b"22 1 0:21 / /proc rw,nosuid - proc proc rw\n\
                      90 22 0:50 / /var/lib/kubelet/a\\040b\\134c rw shared:1 - tmpfs tmpfs rw\n\
                      broken line\n";
        assert_eq!(points(table), [Path::new("/proc"), Path::new("/var/lib/kubelet/a b\\c")]);
    }

    #[test]
    fn what_is_mounted_below_the_root_is_found_with_the_last_first() {
        let found = below("/").unwrap();
        assert!(found.iter().any(|point| point == "/proc"), "{found:?}");
        assert!(!found.contains(&"/".to_owned()));
        assert!(at_or_below("/proc").unwrap().contains(&"/proc".to_owned()));
        assert_eq!(below("/nonexistent").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn unmounting_what_is_not_mounted_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("gone");
        // Without the right to unmount, the kernel says so before it looks.
        let allowed = rustix::process::geteuid().is_root();
        if allowed {
            unmount_one(&folder.path().display().to_string()).unwrap();
            unmount_one(&gone.display().to_string()).unwrap();
        }
    }
}
