//! Where a lab keeps its things, and what its things are called on the host.

use std::net::Ipv4Addr;
use std::path::PathBuf;

/// The folder with one folder per lab. On a disk: images unpacked in memory would cost gigabytes.
const STATE_ROOT: &str = "/var/lib/join-operator-lab";

/// The names and places of one lab. Everything that the lab makes on the host bears its name, so two labs can exist
/// at once and a cleanup can tell its own things from all others.
#[derive(Clone, Debug)]
pub struct Layout {
    name: String,
}

/// A lab's name that cannot be part of a host-wide name.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} cannot name a lab: expected 1 to 20 lower-case letters, digits and inner hyphens")]
pub struct InvalidName(String);

/// The address of the lab's bridge, every machine's default gateway.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 40, 0, 1);
/// The address of the control plane.
///
/// Outside 10.96.0.0/12, kubeadm's default Service network, whose addresses kube-proxy would swallow.
pub const CONTROL_PLANE: Ipv4Addr = Ipv4Addr::new(10, 40, 0, 2);
/// The port of the API server.
pub const API_PORT: u16 = 6443;
/// The network that all pods are in; each machine has a /24 of it.
pub const POD_NETWORK: &str = "10.41.0.0/16";

impl Layout {
    /// Checks the name.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        let well_formed = (1..=20).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !name.starts_with('-')
            && !name.ends_with('-');
        if well_formed { Ok(Self { name: name.to_owned() }) } else { Err(InvalidName(name.to_owned())) }
    }

    /// Every lab that has a folder on this host.
    pub fn existing() -> Vec<Self> {
        let mut labs: Vec<Self> = std::fs::read_dir(STATE_ROOT)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Self::new(entry.file_name().to_str()?).ok())
            .collect();
        labs.sort_by(|a, b| a.name.cmp(&b.name));
        labs
    }

    /// The lab's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The lab's folder.
    pub fn folder(&self) -> PathBuf {
        PathBuf::from(STATE_ROOT).join(&self.name)
    }

    /// The file that records what was made.
    pub fn state_file(&self) -> PathBuf {
        self.folder().join("state.json")
    }

    /// The output of every process of the control plane, and of each machine's console.
    pub fn logs(&self) -> PathBuf {
        self.folder().join("logs")
    }

    /// The log of a process, or of a machine's console.
    pub fn log_file(&self, process: &str) -> PathBuf {
        self.logs().join(format!("{process}.log"))
    }

    /// What the control plane sees as /etc/kubernetes.
    pub fn control_plane_etc(&self) -> PathBuf {
        self.folder().join("control-plane/etc-kubernetes")
    }

    /// What etcd sees as /var/lib/etcd: in memory, since a lab's data need not outlive it.
    pub fn etcd_data(&self) -> PathBuf {
        self.folder().join("control-plane/etcd")
    }

    /// The administrator's kubeconfig, as kubeadm wrote it.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.control_plane_etc().join("admin.conf")
    }

    /// A machine's folder.
    pub fn machine(&self, machine: &str) -> PathBuf {
        self.folder().join("machines").join(machine)
    }

    /// The cgroup of one member (a machine, or the control plane), relative to each hierarchy.
    pub fn cgroup(&self, member: &str) -> String {
        format!("{}/{member}", self.cgroup_root())
    }

    /// The cgroups of one machine, below [`Layout::cgroup`].
    pub fn machine_cgroups(&self, machine: &str) -> MachineCgroups {
        let member = self.cgroup(machine);
        MachineCgroups {
            starter: format!("{member}/starter"),
            system: format!("{member}/machine"),
            commands: format!("{member}/commands"),
        }
    }

    /// The cgroup above those of all members.
    pub fn cgroup_root(&self) -> String {
        format!("join-lab-{}", self.name)
    }

    /// The network namespace of one member.
    pub fn network_namespace(&self, member: &str) -> String {
        format!("join-lab-{}-{member}", self.name)
    }

    /// The network namespace with the bridge that joins all members.
    pub fn bridge_namespace(&self) -> String {
        self.network_namespace("bridge")
    }
}

/// Which process of a machine stands where, relative to each hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineCgroups {
    /// The process outside that waits for the machine's PID 1.
    pub starter: String,
    /// The root of the machine's cgroup namespace. PID 1 is born there and leaves it; no other process may enter it.
    pub system: String,
    /// Commands that are run in the machine from outside; they see themselves in `/../commands`. Not below the
    /// machine's root: systemd removes cgroups that are empty when it shares out those of version 1.
    pub commands: String,
}

/// The member that runs the control plane.
pub const CONTROL_PLANE_MEMBER: &str = "control-plane";

/// The address of the `index`th machine, counted from 0.
pub fn machine_address(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 40, 0, 10 + index)
}

/// The pods' network on the `index`th machine.
pub fn pod_subnet(index: u8) -> String {
    format!("10.41.{}.0/24", 10 + index)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn names_that_could_escape_the_lab_are_refused() {
        for name in ["", "-a", "a-", "A", "a/b", "..", "a b", "a.b", &"a".repeat(21)] {
            assert!(Layout::new(name).is_err(), "{name:?} was accepted");
        }
        for name in ["a", "lab", "lab-2", &"a".repeat(20)] {
            assert!(Layout::new(name).is_ok(), "{name:?} was refused");
        }
    }

    #[test]
    fn no_other_process_of_a_lab_stands_in_a_cgroup_that_a_machine_has_to_share_out() {
        let layout = Layout::new("a").unwrap();
        let machines = ["worker-1", "worker-2", "worker-10"].map(|machine| layout.machine_cgroups(machine));
        let others = machines.iter().flat_map(|machine| [&machine.starter, &machine.commands]);
        let control_plane = layout.cgroup(CONTROL_PLANE_MEMBER);
        for place in others.chain([&control_plane]) {
            for machine in &machines {
                let (place, system) = (Path::new(place), Path::new(&machine.system));
                assert!(!system.starts_with(place), "{place:?} is in the way of {machine:?}");
                // The machine's systemd and kubelet would remove it, or move its processes.
                assert!(!place.starts_with(system), "{place:?} is at the mercy of {machine:?}");
            }
        }
    }

    #[test]
    fn two_labs_share_no_name_on_the_host() {
        let (one, other) = (Layout::new("a").unwrap(), Layout::new("a-b").unwrap());
        assert_ne!(one.folder(), other.folder());
        assert_ne!(one.cgroup_root(), other.cgroup_root());
        assert_ne!(one.network_namespace("b-bridge"), one.bridge_namespace());
    }
}
