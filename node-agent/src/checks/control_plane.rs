//! What a machine that becomes a control plane has to have besides: processors, memory, ports, and no data of another
//! etcd. kubeadm's `InitNodeChecks` (`cmd/kubeadm/app/preflight/checks.go`), as it makes them in a join.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use join_checks::Finding;
use join_control_plane::Member;

use super::basics::take_port;
use super::catalogue::Kind;
use super::catalogue::control_plane::{
    ETCD_FOLDER, MEM, NUM_CPU, PORT_API_SERVER, PORT_CONTROLLER_MANAGER, PORT_ETCD_CLIENT, PORT_ETCD_PEER,
    PORT_SCHEDULER,
};
use crate::journal;

/// `ControlPlaneNumCPU` of kubeadm.
const LEAST_PROCESSORS: u32 = 2;
/// `ControlPlaneMem` of kubeadm, which says MB and counts MiB.
const LEAST_MEBIBYTES: u64 = 1700;
/// No more names than this are shown.
const MOST_NAMES: usize = 4;
/// Why nothing was judged.
const NOT_SEEN: &str = "the machine was not looked at";
/// The kubelet's port, which its own check looks at.
const KUBELET: u16 = 10250;
const SCHEDULER: u16 = 10259;
const CONTROLLER_MANAGER: u16 = 10257;
const ETCD_CLIENT: u16 = Member::ETCD_CLIENT_PORT;
const ETCD_PEER: u16 = Member::ETCD_PEER_PORT;

/// The control plane that a machine is to become, as far as the machine has to have room for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewControlPlane {
    /// The address under which the others reach its API server and its etcd.
    pub advertise_address: IpAddr,
    /// The port of its API server.
    pub bind_port: u16,
    /// Where the cluster's configuration has its programs listen.
    pub bind_addresses: BindAddresses,
    /// Whether it runs a member of etcd.
    pub with_etcd: bool,
}

/// The `bind-address` in the programs' `extraArgs`; without one the port is looked at on all addresses, as kubeadm does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BindAddresses {
    /// kube-apiserver's.
    pub api_server: Option<IpAddr>,
    /// kube-controller-manager's.
    pub controller_manager: Option<IpAddr>,
    /// kube-scheduler's.
    pub scheduler: Option<IpAddr>,
}

/// A port that the control plane needs.
struct Port {
    kind: Kind,
    number: u16,
    /// Where; on all of them if there is none.
    addresses: Vec<IpAddr>,
}

impl NewControlPlane {
    fn ports(&self) -> Vec<Port> {
        let port = |kind, number, address: Option<IpAddr>| Port { kind, number, addresses: Vec::from_iter(address) };
        let BindAddresses { api_server, controller_manager, scheduler } = self.bind_addresses;
        let mut ports = vec![
            port(PORT_API_SERVER, self.bind_port, api_server),
            port(PORT_SCHEDULER, SCHEDULER, scheduler),
            port(PORT_CONTROLLER_MANAGER, CONTROLLER_MANAGER, controller_manager),
        ];
        if self.with_etcd {
            let advertised = self.advertise_address;
            let loopback: IpAddr =
                if advertised.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
            ports.push(Port { kind: PORT_ETCD_CLIENT, number: ETCD_CLIENT, addresses: vec![advertised, loopback] });
            ports.push(port(PORT_ETCD_PEER, ETCD_PEER, Some(advertised)));
        }
        ports
    }

    /// Whose port the API server's is as well.
    fn rival(&self) -> Option<&'static str> {
        match self.bind_port {
            KUBELET => Some("the kubelet"),
            SCHEDULER => Some("kube-scheduler"),
            CONTROLLER_MANAGER => Some("kube-controller-manager"),
            ETCD_CLIENT | ETCD_PEER if self.with_etcd => Some("etcd"),
            _ => None,
        }
    }
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// On how many processors this program may run.
    pub processors: Option<u32>,
    /// The machine's memory in MiB.
    pub mebibytes: u64,
    /// The ports that could not be taken.
    pub taken: Vec<Taken>,
    /// Some of what lies in etcd's folder, or why that cannot be told.
    pub etcd_folder: Result<Vec<String>, String>,
}

/// A port that could not be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The port.
    pub port: u16,
    /// Where; on no address in particular if there is none.
    pub address: Option<IpAddr>,
    /// What the operating system said.
    pub kind: ErrorKind,
    /// The same in its words.
    pub error: String,
}

/// Looks at the machine. The ports are taken for a moment, which is the only way to tell.
pub fn observe(own: &NewControlPlane) -> Facts {
    let try_to_take = |port: u16, address: Option<IpAddr>| {
        let error = take_port(address, port).err()?;
        Some(Taken { port, address, kind: error.kind(), error: error.to_string() })
    };
    let taken = own.ports().into_iter().flat_map(|Port { number, addresses, .. }| match addresses.as_slice() {
        [] => Vec::from_iter(try_to_take(number, None)),
        some => some.iter().filter_map(|address| try_to_take(number, Some(*address))).collect(),
    });
    let memory = rustix::system::sysinfo();
    Facts {
        // Not what a control group leaves of them, which is the agent's own.
        processors: rustix::thread::sched_getaffinity(None).ok().map(|set| set.count()),
        mebibytes: bytes(memory.totalram, memory.mem_unit) / (1024 * 1024),
        taken: taken.collect(),
        etcd_folder: names_in(Path::new(journal::ETCD_FOLDER)),
    }
}

/// The kernel counts memory in units of its own where a word is too small for bytes.
fn bytes(count: impl Into<u64>, unit: u32) -> u64 {
    count.into().saturating_mul(u64::from(unit.max(1)))
}

/// Some of the names in a folder; none if there is no such folder.
fn names_in(folder: &Path) -> Result<Vec<String>, String> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.to_string()),
    };
    let name = |entry: std::io::Result<std::fs::DirEntry>| match entry {
        Ok(entry) => Ok(entry.file_name().to_string_lossy().into_owned()),
        Err(error) => Err(error.to_string()),
    };
    entries.take(MOST_NAMES + 1).map(name).collect()
}

/// Judges what was seen. As for kubeadm, etcd's ports and folder are no matter where the cluster's etcd runs elsewhere.
pub fn judge(facts: Option<&Facts>, own: &NewControlPlane) -> Vec<Finding> {
    let mut findings = match facts {
        Some(facts) => vec![processors(facts.processors), memory(facts.mebibytes)],
        None => vec![NUM_CPU.skipped(NOT_SEEN), MEM.skipped(NOT_SEEN)],
    };
    findings.extend(own.ports().iter().map(|port| {
        let finding = match facts {
            Some(facts) => judge_port(port, &facts.taken),
            None => port.kind.skipped(NOT_SEEN),
        };
        match (port.kind == PORT_API_SERVER, own.rival()) {
            (false, _) => finding,
            (true, None) => finding.named(format!("Port-{}", port.number)),
            // The other program's check has that name.
            (true, Some(rival)) => PORT_API_SERVER.failed_with(
                format!("the request's bindPort {} is {rival}'s own port", port.number),
                "choose another controlPlane.localAPIEndpoint.bindPort in the request",
            ),
        }
    }));
    if own.with_etcd {
        findings.push(facts.map_or_else(|| ETCD_FOLDER.skipped(NOT_SEEN), |facts| etcd_folder(&facts.etcd_folder)));
    }
    findings
}

fn processors(found: Option<u32>) -> Finding {
    match found {
        None => NUM_CPU.skipped("the operating system does not tell how many processors there are"),
        Some(found) if found < LEAST_PROCESSORS => {
            NUM_CPU.failed(format!("the number of processors, {found}, is less than {LEAST_PROCESSORS}"))
        }
        Some(found) => NUM_CPU.passed(found.to_string()),
    }
}

fn memory(found: u64) -> Finding {
    let too_little = format!("the machine's memory, {found} MiB, is less than {LEAST_MEBIBYTES} MiB");
    MEM.unless((found < LEAST_MEBIBYTES).then_some(too_little), format!("{found} MiB"))
}

fn judge_port(port: &Port, taken: &[Taken]) -> Finding {
    let kind = port.kind;
    let of_port = || taken.iter().filter(|taken| taken.port == port.number);
    let place = |taken: &Taken| taken.address.map(|address| format!(" of {address}")).unwrap_or_default();
    // Of several the one that tells most.
    let worst = of_port().find(|taken| taken.kind == ErrorKind::AddrInUse).or_else(|| of_port().next());
    match worst {
        None => kind.passed("free"),
        Some(taken) if taken.kind == ErrorKind::PermissionDenied => {
            kind.skipped(format!("the agent's rights do not let it try port {}", port.number))
        }
        Some(Taken { kind: ErrorKind::AddrNotAvailable, address: Some(address), .. }) => kind.failed_with(
            format!("{address}, on which port {} is needed, is on no interface of this machine", port.number),
            "give an address that `ip address` shows: controlPlane.localAPIEndpoint.advertiseAddress in the request, or \
             bind-address in the extraArgs of the cluster's configuration",
        ),
        Some(taken) if taken.kind == ErrorKind::AddrInUse => {
            kind.failed(format!("port {}{} is in use", port.number, place(taken)))
        }
        Some(taken) => kind.failed(format!("port {}{} cannot be taken: {}", port.number, place(taken), taken.error)),
    }
}

fn etcd_folder(found: &Result<Vec<String>, String>) -> Finding {
    let folder = journal::ETCD_FOLDER;
    match found {
        Err(error) => ETCD_FOLDER.failed(format!("{folder} cannot be looked into: {error}")),
        Ok(names) if names.is_empty() => ETCD_FOLDER.passed("empty, or none"),
        Ok(names) => {
            let shown: Vec<&str> = names.iter().take(MOST_NAMES).map(String::as_str).collect();
            let more = if names.len() > MOST_NAMES { " and more" } else { "" };
            ETCD_FOLDER.failed(format!("{folder} is not empty: it has {}{more}", shown.join(", ")))
        }
    }
}

#[cfg(test)]
#[path = "control_plane_tests.rs"]
pub(crate) mod tests;
