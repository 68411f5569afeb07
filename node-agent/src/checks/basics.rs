//! What the machine itself has: rights, programs, the kubelet's port, swap, disk space.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use join_checks::Finding;
use rustix::fs::{StatVfsMountFlags, statvfs};

use super::catalogue::{CP, DISK_SPACE, FAIL_SWAP_ON, IS_PRIVILEGED_USER, Kind, LOSETUP, MOUNT, PORT_10250, SWAP};
use super::cluster::KubeletSettings;

/// Programs that have to be in the search path.
const PROGRAMS: [(Kind, &str); 3] = [(LOSETUP, "losetup"), (MOUNT, "mount"), (CP, "cp")];
/// Where a node's files lie: the join's, the kubelet's and its pods', the runtimes' images.
const FOLDERS: [&str; 4] = ["/etc/kubernetes", "/var/lib/kubelet", "/var/lib/containerd", "/var/lib/containers"];
/// With less than this the join's own files and the kubelet's first ones find no room.
const LEAST_BYTES: u64 = 32 * 1024 * 1024;

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Whether the program is root.
    pub is_root: bool,
    /// Programs that are not in the search path.
    pub missing_programs: Vec<&'static str>,
    /// Why the kubelet's port cannot be taken.
    pub kubelet_port: Option<String>,
    /// Swap devices.
    pub swap: Vec<String>,
    /// The file systems of the node's folders, each once.
    pub file_systems: Vec<FileSystem>,
}

/// A file system, as statvfs(3) tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    /// A folder of the node's in it, or the nearest that exists.
    pub folder: PathBuf,
    /// Whether nothing can be written.
    pub is_read_only: bool,
    /// Its size in bytes.
    pub bytes: u64,
    /// How many of them are free for everybody.
    pub free_bytes: u64,
    /// How many files it can have; 0 where there is no such limit.
    pub inodes: u64,
    /// How many more it can have.
    pub free_inodes: u64,
}

/// Looks at the machine.
pub fn observe() -> Facts {
    Facts {
        is_root: rustix::process::geteuid().is_root(),
        missing_programs: PROGRAMS.iter().map(|(_, name)| *name).filter(|name| !is_in_search_path(name)).collect(),
        kubelet_port: take_port(None, 10250).err().map(|error| error.to_string()),
        swap: std::fs::read_to_string("/proc/swaps").map(|table| swap_devices(&table)).unwrap_or_default(),
        file_systems: file_systems(),
    }
}

fn is_in_search_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_program = |metadata: std::fs::Metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0;
    std::env::split_paths(&path).any(|folder| folder.join(program).metadata().is_ok_and(is_program))
}

/// Only taking the port tells whether it is free. Without an address it is taken on all of them, in both families where the
/// machine has both.
pub fn take_port(address: Option<IpAddr>, port: u16) -> std::io::Result<()> {
    let everywhere = || match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(error),
        // A machine without IPv6 refuses the address, and not the port.
        Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)),
        bound => bound,
    };
    address.map_or_else(everywhere, |address| TcpListener::bind((address, port))).map(drop)
}

fn swap_devices(table: &str) -> Vec<String> {
    table.lines().skip(1).filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

fn file_systems() -> Vec<FileSystem> {
    let mut seen = Vec::new();
    let mut found = Vec::new();
    for folder in FOLDERS {
        let Some(folder) = Path::new(folder).ancestors().find(|folder| folder.exists()) else { continue };
        let (Ok(metadata), Ok(status)) = (folder.metadata(), statvfs(folder)) else { continue };
        if seen.contains(&metadata.dev()) {
            continue;
        }
        seen.push(metadata.dev());
        found.push(FileSystem {
            folder: folder.to_owned(),
            is_read_only: status.f_flag.contains(StatVfsMountFlags::RDONLY),
            bytes: status.f_blocks.saturating_mul(status.f_frsize),
            free_bytes: status.f_bavail.saturating_mul(status.f_frsize),
            inodes: status.f_files,
            free_inodes: status.f_favail,
        });
    }
    found
}

/// With less than this no program that writes gets anywhere.
const NOTHING: u64 = 1024 * 1024;

/// Which of the node's file systems cannot be written to now; none while all can.
pub fn not_writable() -> Option<String> {
    let bad: Vec<String> = file_systems().iter().filter_map(FileSystem::not_writable).collect();
    (!bad.is_empty()).then(|| bad.join("; "))
}

impl FileSystem {
    fn not_writable(&self) -> Option<String> {
        let folder = self.folder.display();
        if self.is_read_only {
            Some(format!("{folder} is read-only"))
        } else if self.free_bytes < NOTHING {
            Some(format!("{folder} has {} KiB left", self.free_bytes / 1024))
        } else if self.inodes > 0 && self.free_inodes == 0 {
            Some(format!("{folder} has no inode left"))
        } else {
            None
        }
    }
}

/// Judges what was seen.
pub fn judge(facts: &Facts, kubelet: Option<&KubeletSettings>) -> Vec<Finding> {
    let mut findings =
        vec![IS_PRIVILEGED_USER.unless((!facts.is_root).then(|| "the program is not root".to_owned()), "root")];
    findings.extend(PROGRAMS.iter().map(|(kind, name)| {
        let is_missing = facts.missing_programs.contains(name);
        kind.unless(is_missing.then(|| format!("{name} is not in the search path")), "found")
    }));
    let taken = facts.kubelet_port.as_ref().map(|error| format!("port 10250 is not free: {error}"));
    findings.push(PORT_10250.unless(taken, "free"));
    findings.extend(swap(facts, kubelet));
    findings.push(disk_space(&facts.file_systems));
    findings
}

fn swap(facts: &Facts, kubelet: Option<&KubeletSettings>) -> [Finding; 2] {
    if facts.swap.is_empty() {
        return [SWAP.passed("none"), FAIL_SWAP_ON.passed("there is no swap")];
    }
    let seen = format!("swap is on: {}", facts.swap.join(", "));
    let refuses = match kubelet {
        None => FAIL_SWAP_ON.skipped("the cluster's kubelet configuration is not known yet"),
        Some(settings) if settings.fails_on_swap() => {
            FAIL_SWAP_ON.failed(format!("{seen}, and failSwapOn is true: the kubelet would not start"))
        }
        Some(_) => FAIL_SWAP_ON.passed("failSwapOn is false"),
    };
    [SWAP.warning(seen), refuses]
}

fn disk_space(file_systems: &[FileSystem]) -> Finding {
    if file_systems.is_empty() {
        return DISK_SPACE.skipped("no file system could be looked at");
    }
    let (mut bad, mut scarce) = (Vec::new(), Vec::new());
    for one in file_systems {
        let folder = one.folder.display();
        let free = one.free_bytes / (1024 * 1024);
        if one.is_read_only {
            bad.push(format!("{folder} is read-only"));
        } else if one.free_bytes < LEAST_BYTES {
            bad.push(format!("{folder} has {free} MiB left"));
        } else if one.inodes > 0 && one.free_inodes == 0 {
            bad.push(format!("{folder} has no inode left"));
        } else if one.free_bytes < one.bytes / 10 {
            scarce.push(format!("{folder} has {free} MiB left, less than 10 %"));
        } else if one.free_inodes < one.inodes / 20 {
            scarce.push(format!("{folder} has {} inodes left, less than 5 %", one.free_inodes));
        }
    }
    if !bad.is_empty() {
        return DISK_SPACE.failed(bad.join("; "));
    }
    if !scarce.is_empty() {
        return DISK_SPACE.warning(scarce.join("; "));
    }
    let least = file_systems.iter().map(|one| one.free_bytes).min().unwrap_or_default();
    DISK_SPACE.passed(format!("at least {} MiB free", least / (1024 * 1024)))
}

#[cfg(test)]
pub mod tests {
    use join_checks::Verdict::{self, Failed, Passed, Skipped, Warning};

    use super::*;
    use crate::checks::tests::verdict;

    pub fn sound() -> Facts {
        Facts {
            is_root: true,
            missing_programs: Vec::new(),
            kubelet_port: None,
            swap: Vec::new(),
            file_systems: vec![file_system()],
        }
    }

    fn file_system() -> FileSystem {
        FileSystem {
            folder: PathBuf::from("/etc"),
            is_read_only: false,
            bytes: 100 << 30,
            free_bytes: 50 << 30,
            inodes: 1000,
            free_inodes: 900,
        }
    }

    fn settings(text: &str) -> KubeletSettings {
        KubeletSettings::parse(text).unwrap()
    }

    #[test]
    fn what_is_missing_is_told_by_its_own_check() {
        type Break = fn(&mut Facts);
        let table: [(&str, Break, Verdict); 9] = [
            ("IsPrivilegedUser", |f| f.is_root = false, Failed),
            ("FileExisting-losetup", |f| f.missing_programs = vec!["losetup"], Failed),
            ("FileExisting-mount", |f| f.missing_programs = vec!["mount"], Failed),
            ("FileExisting-cp", |f| f.missing_programs = vec!["cp"], Failed),
            ("Port-10250", |f| f.kubelet_port = Some("in use".to_owned()), Failed),
            ("Swap", |f| f.swap = vec!["/dev/sda2".to_owned()], Warning),
            ("DiskSpace", |f| f.file_systems[0].is_read_only = true, Failed),
            ("DiskSpace", |f| f.file_systems[0].free_bytes = 1 << 20, Failed),
            ("DiskSpace", |f| f.file_systems[0].free_inodes = 0, Failed),
        ];
        for (id, break_it, expected) in table {
            assert_eq!(verdict(&judge(&sound(), None), id), Passed, "{id}");
            let mut facts = sound();
            break_it(&mut facts);
            let findings = judge(&facts, None);
            assert_eq!(verdict(&findings, id), expected, "{id}");
            let others = findings.iter().filter(|finding| finding.id != id && finding.id != "FailSwapOn");
            assert!(others.into_iter().all(|finding| finding.verdict == Passed), "{id}: {findings:?}");
        }
    }

    #[test]
    fn scarce_space_is_a_warning_at_the_kubelets_own_thresholds() {
        let with = |free_bytes, free_inodes| {
            let facts =
                Facts { file_systems: vec![FileSystem { free_bytes, free_inodes, ..file_system() }], ..sound() };
            verdict(&judge(&facts, None), "DiskSpace")
        };
        assert_eq!(with(10 << 30, 50), Passed);
        assert_eq!(with((10 << 30) - 1, 50), Warning);
        assert_eq!(with(10 << 30, 49), Warning);
        // Btrfs has no fixed number of inodes.
        let endless = FileSystem { inodes: 0, free_inodes: 0, ..file_system() };
        assert_eq!(verdict(&judge(&Facts { file_systems: vec![endless], ..sound() }, None), "DiskSpace"), Passed);
        assert_eq!(verdict(&judge(&Facts { file_systems: Vec::new(), ..sound() }, None), "DiskSpace"), Skipped);
    }

    #[test]
    fn swap_fails_only_where_the_kubelet_would() {
        let facts = Facts { swap: vec!["/dev/sda2".to_owned()], ..sound() };
        let told = |settings: Option<&KubeletSettings>| verdict(&judge(&facts, settings), "FailSwapOn");
        assert_eq!(told(None), Skipped);
        assert_eq!(told(Some(&settings("kind: KubeletConfiguration"))), Failed);
        assert_eq!(told(Some(&settings("failSwapOn: true"))), Failed);
        assert_eq!(told(Some(&settings("failSwapOn: false"))), Passed);
        assert_eq!(verdict(&judge(&sound(), None), "FailSwapOn"), Passed);
    }

    #[test]
    fn a_port_that_somebody_has_is_not_free() {
        let somebody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = somebody.local_addr().unwrap().port();
        let here = Some(Ipv4Addr::LOCALHOST.into());
        let elsewhere = Some(Ipv4Addr::new(127, 0, 0, 2).into());
        assert!(take_port(None, port).is_err() && take_port(here, port).is_err());
        assert!(take_port(elsewhere, port).is_ok());
        drop(somebody);
        assert!(take_port(None, port).is_ok() && take_port(here, port).is_ok());
    }

    #[test]
    fn swap_devices_are_those_after_the_heading() {
        let table = "Filename\t\t\tType\t\tSize\tUsed\tPriority\n/dev/sda2 partition 1 0 -2\n/swapfile file 1 0 -3\n";
        assert_eq!(swap_devices(table), ["/dev/sda2", "/swapfile"]);
        assert!(swap_devices("Filename\tType\n").is_empty());
    }
}
