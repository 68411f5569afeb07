//! What is mounted below a folder. A pod's volume can be somebody's data: nothing is removed before it is unmounted.

use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::mount::{UnmountFlags, unmount};

/// The kernel's list of this process's mounts (proc_pid_mountinfo(5)).
const TABLE: &str = "/proc/self/mountinfo";

/// One line of the table.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    id: String,
    parent: String,
    /// Major and minor number of the file system.
    device: String,
    /// The folder of the file system that is shown.
    root: PathBuf,
    point: PathBuf,
}

impl Mount {
    fn parse(line: &[u8]) -> Option<Self> {
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').take(5).collect();
        let [id, parent, device, root, point] = words[..] else { return None };
        let text = |word: &[u8]| String::from_utf8_lossy(word).into_owned();
        Some(Self {
            id: text(id),
            parent: text(parent),
            device: text(device),
            root: unescape(root),
            point: unescape(point),
        })
    }

    /// Whether what is mounted here is what would be here without it: a folder that is mounted onto itself. systemd
    /// does so to open a folder in a unit's sandbox, and a kubelet with its own folder.
    fn is_onto_itself(&self, table: &[Self]) -> bool {
        table.iter().any(|parent| {
            let below = self.point.strip_prefix(&parent.point);
            parent.id == self.parent
                && parent.device == self.device
                && below.is_ok_and(|below| parent.root.join(below).components().eq(self.root.components()))
        })
    }
}

/// Mount points strictly below a folder of the machine, in the machine's own words, those mounted last first. A folder
/// that is a symbolic link is followed, as the kernel did when it mounted.
pub fn below(folder: &str) -> io::Result<Vec<String>> {
    let mut points = at_or_below(folder)?;
    points.retain(|point| point != folder);
    Ok(points)
}

/// The same, with the folder itself if something is mounted there.
pub fn at_or_below(folder: &str) -> io::Result<Vec<String>> {
    find(folder, |_, _| true)
}

/// The same, without folders that are mounted onto themselves: file systems that hold something of their own. The
/// agent's sandbox has such mounts, which the machine has not.
pub fn file_systems_at_or_below(folder: &str) -> io::Result<Vec<String>> {
    find(folder, |mount, table| !mount.is_onto_itself(table))
}

fn find(folder: &str, wanted: impl Fn(&Mount, &[Mount]) -> bool) -> io::Result<Vec<String>> {
    let real = match std::fs::canonicalize(folder) {
        Ok(real) => real,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let table = mounts(&std::fs::read(TABLE)?);
    let inside = table.iter().filter(|mount| wanted(mount, &table)).filter_map(|mount| {
        let rest = mount.point.strip_prefix(&real).ok()?;
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

/// The mounts of a table, in its order.
fn mounts(table: &[u8]) -> Vec<Mount> {
    table.split(|byte| *byte == b'\n').filter_map(Mount::parse).collect()
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
        let points: Vec<PathBuf> = mounts(table).into_iter().map(|mount| mount.point).collect();
        assert_eq!(points, [Path::new("/proc"), Path::new("/var/lib/kubelet/a b\\c")]);
    }

    #[test]
    fn a_folder_that_is_mounted_onto_itself_holds_nothing_of_its_own() {
        let table = mounts(
            b"1 0 0:40 / / ro - overlay overlay rw\n\
              2 1 0:40 /var/lib/kubelet /var/lib/kubelet rw - overlay overlay rw\n\
              3 1 8:1 / /data rw - ext4 /dev/sda1 rw\n\
              4 3 8:1 /own /data/own rw - ext4 /dev/sda1 rw\n\
              5 3 8:1 /other /data/from-elsewhere rw - ext4 /dev/sda1 rw\n\
              6 1 8:1 /kubelet /kubelet rw - ext4 /dev/sda1 rw\n",
        );
        let onto_themselves: Vec<&Path> =
            table.iter().filter(|mount| mount.is_onto_itself(&table)).map(|mount| mount.point.as_path()).collect();
        assert_eq!(onto_themselves, [Path::new("/var/lib/kubelet"), Path::new("/data/own")]);
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
