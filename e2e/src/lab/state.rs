//! What a lab has made, in a file, so that another process can use it or remove it after the first one was killed.
//!
//! A thing is recorded before it is made: after a crash the file may name a thing that does not exist, never the
//! other way round.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::layout::Layout;

/// The record of one lab.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The Kubernetes minor version, for example `1.37`.
    pub kubernetes: String,
    /// The process that uses the lab and will remove it; `None` once the lab is kept.
    pub owner: Option<Owner>,
    /// Network namespaces, by name.
    pub network_namespaces: Vec<String>,
    /// Controllers that were enabled in the root of the host's cgroup v2 hierarchy.
    #[serde(default)]
    pub controllers: Vec<String>,
    /// Members with a cgroup: machines and the control plane.
    pub members: Vec<String>,
    /// Machines, by name.
    pub machines: BTreeMap<String, MachineState>,
    /// Processes of the control plane, by name: process ids.
    pub processes: BTreeMap<String, i32>,
}

/// A process, told apart from a later one with the same id by its start time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    process: u32,
    /// In clock ticks since the host's boot: field 22 of proc_pid_stat(5).
    start_time: String,
}

impl Owner {
    /// The running process.
    pub fn this_process() -> Option<Self> {
        let process = std::process::id();
        Some(Self { process, start_time: start_time(process)? })
    }

    /// Whether the process is still there.
    pub fn is_alive(&self) -> bool {
        start_time(self.process).is_some_and(|start_time| start_time == self.start_time)
    }
}

fn start_time(process: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field, the program's name in parentheses, may itself contain spaces and parentheses.
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(19).map(str::to_owned)
}

/// The record of one machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineState {
    /// Its place in the address plan, from 0.
    pub index: u8,
    /// Its systemd's process id on the host, while it is up.
    pub init: Option<i32>,
}

impl State {
    /// Reads a lab's record; `None` when there is none.
    pub fn read(layout: &Layout) -> std::io::Result<Option<Self>> {
        match std::fs::read(layout.state_file()) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Writes the record, all or nothing.
    pub fn write(&self, layout: &Layout) -> std::io::Result<()> {
        let folder = layout.folder();
        let mut file = tempfile::NamedTempFile::new_in(&folder)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.as_file().sync_all()?;
        file.persist(layout.state_file())?;
        Ok(())
    }
}

/// The mount points below `folder` in a mountinfo(5) table, the newest first.
pub fn mounts_below(table: &str, folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found: Vec<std::path::PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(std::path::PathBuf::from)
        .filter(|place| place.starts_with(folder))
        .collect();
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_id_that_was_given_to_another_process_is_not_the_owner() {
        let owner = Owner::this_process().unwrap();
        assert!(owner.is_alive());
        assert!(!Owner { start_time: "1".to_owned(), ..owner.clone() }.is_alive());
        assert!(!Owner { process: u32::MAX, ..owner }.is_alive());
    }

    #[test]
    fn only_mounts_of_the_lab_itself_are_found_newest_first() {
        let table = "\
1 0 0:1 / / rw - ext4 /dev/vda rw
2 1 0:2 / /var/lib/join-operator-lab/a/x rw - tmpfs tmpfs rw
3 1 0:3 / /var/lib/join-operator-lab/ab/x rw - tmpfs tmpfs rw
4 2 0:4 / /var/lib/join-operator-lab/a/x/y rw - tmpfs tmpfs rw";
        let found = mounts_below(table, Path::new("/var/lib/join-operator-lab/a"));
        assert_eq!(found, [Path::new("/var/lib/join-operator-lab/a/x/y"), Path::new("/var/lib/join-operator-lab/a/x")]);
    }
}
