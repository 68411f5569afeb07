//! May this machine become a node? Observed first, judged then; nothing has been changed on the machine yet.
//!
//! The checks have kubeadm's names, so that a list of waivers means the same to both.

use std::net::{IpAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;

use join_crds::CheckResult::{Failed, Passed, Warning};
use join_crds::{Check, CheckResult};
use join_trust::pin::PublicKeyPin;

use crate::files;
use crate::kubelet::{Systemd, UNIT};

/// A kubeconfig with a token, which kubeadm leaves when it is interrupted.
const BOOTSTRAP_CONF: &str = "/etc/kubernetes/bootstrap-kubelet.conf";
/// What the kubelet starts, and kubeadm looks for.
const PROGRAMS: [&str; 3] = ["losetup", "mount", "cp"];
/// By how many minor versions a kubelet may be behind the API server (Kubernetes' version skew policy).
const MOST_BEHIND: u32 = 3;

/// What was seen on the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is one thing that is or is not there")]
pub struct Facts {
    /// Whether the agent is root.
    pub is_root: bool,
    /// Whether [`files::KUBELET_CONF`] exists.
    pub kubelet_conf: bool,
    /// Whether there is a kubeconfig with which a kubelet would ask for a certificate itself.
    pub bootstrap_conf: bool,
    /// The content of [`files::CA_CRT`].
    pub ca_crt: Option<String>,
    /// The key of the certificate in [`files::CLIENT_PEM`]; `Some(None)` when there is a file without one.
    pub client_key: Option<Option<PublicKeyPin>>,
    /// The container runtime's socket, and why it cannot be connected to.
    pub cri: (String, Option<String>),
    /// The kubelet's version.
    pub kubelet_version: Option<String>,
    /// Whether systemd knows the kubelet's unit.
    pub kubelet_unit: bool,
    /// Why the kubelet's port cannot be taken.
    pub kubelet_port: Option<String>,
    /// Swap devices.
    pub swap: Vec<String>,
    /// `net.ipv4.ip_forward`
    pub ip_forward: Option<String>,
    /// `net.ipv6.conf.default.forwarding`
    pub ip6_forward: Option<String>,
    /// Programs that the kubelet starts and that are not in the search path.
    pub missing_programs: Vec<&'static str>,
}

/// What the machine is measured against; what is not known is not judged.
#[derive(Default)]
pub struct Expected<'a> {
    /// The machine's key.
    pub machine_key: Option<PublicKeyPin>,
    /// The cluster's certificate authorities, as they would be written.
    pub ca_crt: Option<&'a str>,
    /// The API server's address, when that is an address and no name.
    pub endpoint: Option<IpAddr>,
    /// The control plane's version, for example `v1.37.2`.
    pub control_plane: Option<&'a str>,
    /// Names of checks whose failure is only a warning; `all` means every one.
    pub ignore: &'a [String],
}

/// Looks at the machine. The kubelet's version is given, since finding it out starts a large program.
pub async fn observe(cri_socket: &str, kubelet_version: Option<String>, systemd: &Systemd) -> Facts {
    let socket = cri_socket.trim_start_matches("unix://").to_owned();
    Facts {
        is_root: rustix::process::geteuid().is_root(),
        kubelet_conf: Path::new(files::KUBELET_CONF).exists(),
        bootstrap_conf: Path::new(BOOTSTRAP_CONF).exists(),
        ca_crt: std::fs::read_to_string(files::CA_CRT).ok(),
        client_key: std::fs::read(files::CLIENT_PEM).ok().map(|pem| crate::member::key_of(&pem)),
        cri: (socket.clone(), UnixStream::connect(&socket).err().map(|error| error.to_string())),
        kubelet_version,
        kubelet_unit: systemd.exists(UNIT).await,
        kubelet_port: port_error(10250),
        swap: std::fs::read_to_string("/proc/swaps").map(|table| swap_devices(&table)).unwrap_or_default(),
        ip_forward: setting("/proc/sys/net/ipv4/ip_forward"),
        ip6_forward: setting("/proc/sys/net/ipv6/conf/default/forwarding"),
        missing_programs: PROGRAMS.iter().copied().filter(|program| !is_in_search_path(program)).collect(),
    }
}

fn setting(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|value| value.trim().to_owned())
}

fn is_in_search_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Only taking the port tells whether it is free.
fn port_error(port: u16) -> Option<String> {
    TcpListener::bind(("0.0.0.0", port)).err().map(|error| error.to_string())
}

fn swap_devices(table: &str) -> Vec<String> {
    table.lines().skip(1).filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

/// Judges what was seen. A failed check's message says what was seen, what was expected and what to type.
pub fn judge(facts: &Facts, expected: &Expected<'_>) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut add = |name: &str, severity: CheckResult, problem: Option<String>| {
        let waived = severity == Failed
            && expected.ignore.iter().any(|ignored| ignored.eq_ignore_ascii_case(name) || ignored == "all");
        checks.push(Check {
            name: name.to_owned(),
            result: match (&problem, waived) {
                (None, _) => Passed,
                (Some(_), true) => Warning,
                (Some(_), false) => severity,
            },
            message: problem.map(|text| text.chars().take(512).collect()),
        });
    };
    add("IsPrivilegedUser", Failed, (!facts.is_root).then(|| "the agent is not root: run it as root".to_owned()));
    add(
        "FileAvailable--etc-kubernetes-kubelet.conf",
        Failed,
        facts.kubelet_conf.then(|| {
            "the machine is or was a node: /etc/kubernetes/kubelet.conf exists, expected none; if it is to join anew, \
             run `kubeadm reset` first"
                .to_owned()
        }),
    );
    add(
        "FileAvailable--etc-kubernetes-bootstrap-kubelet.conf",
        Failed,
        facts.bootstrap_conf.then(|| {
            format!(
                "{BOOTSTRAP_CONF} exists, left by an interrupted `kubeadm join`; expected none; run `kubeadm reset`"
            )
        }),
    );
    add("FileAvailable--etc-kubernetes-pki-ca.crt", Failed, other_ca(facts, expected));
    add("FileAvailable--var-lib-kubelet-pki-kubelet-client-current.pem", Failed, other_client(facts, expected));
    add(
        "CRI",
        Failed,
        facts.cri.1.as_ref().map(|error| {
            let socket = &facts.cri.0;
            format!("cannot connect to the container runtime at {socket}: {error}; run `systemctl status containerd`")
        }),
    );
    for program in PROGRAMS {
        let is_missing = facts.missing_programs.contains(&program);
        let problem = is_missing.then(|| format!("{program} is not in the search path: install it"));
        add(&format!("FileExisting-{program}"), Failed, problem);
    }
    add("KubeletVersion", Failed, version_problem(facts.kubelet_version.as_deref(), expected.control_plane));
    add(
        "Service-kubelet",
        Failed,
        (!facts.kubelet_unit).then(|| format!("systemd knows no {UNIT}: install the kubelet's package")),
    );
    add(
        "Port-10250",
        Failed,
        facts
            .kubelet_port
            .as_ref()
            .map(|error| format!("the kubelet's port 10250 is not free: {error}; run `ss -ltnp`")),
    );
    add(
        "Swap",
        Warning,
        (!facts.swap.is_empty()).then(|| format!("swap is on: {}; run `swapoff -a`", facts.swap.join(", "))),
    );
    // As for kubeadm, the API server's address tells which family the cluster uses; a name does not.
    match expected.endpoint {
        Some(IpAddr::V4(_)) => add(
            "FileContent--proc-sys-net-ipv4-ip_forward",
            Failed,
            not_forwarding("net.ipv4.ip_forward", facts.ip_forward.as_deref()),
        ),
        Some(IpAddr::V6(_)) => add(
            "FileContent--proc-sys-net-ipv6-conf-default-forwarding",
            Failed,
            not_forwarding("net.ipv6.conf.default.forwarding", facts.ip6_forward.as_deref()),
        ),
        None => {}
    }
    checks
}

fn not_forwarding(name: &str, value: Option<&str>) -> Option<String> {
    let value = value.unwrap_or("absent");
    (value != "1").then(|| format!("{name} is {value}, expected 1; run `sysctl -w {name}=1`"))
}

/// Why a kubelet of this version cannot work with this control plane.
fn version_problem(kubelet: Option<&str>, control_plane: Option<&str>) -> Option<String> {
    let Some(kubelet) = kubelet else {
        return Some("`kubelet --version` printed no version: install the kubelet".to_owned());
    };
    let Some(ours) = minor(kubelet) else {
        return Some(format!("the kubelet's version is {kubelet:?}, expected one like v1.37.2"));
    };
    let control_plane = control_plane?;
    // Who writes the cluster's configuration may write what they want into it.
    let theirs = minor(control_plane)?;
    if ours > theirs {
        return Some(format!(
            "the kubelet {kubelet} is newer than the control plane {control_plane}, expected 1.{theirs} or older: \
             upgrade the control plane first"
        ));
    }
    (ours + MOST_BEHIND < theirs).then(|| {
        format!(
            "the kubelet {kubelet} is too old for the control plane {control_plane}, expected 1.{} or newer: upgrade the \
             kubelet",
            theirs - MOST_BEHIND
        )
    })
}

/// The second number of `v1.37.2`.
fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("v1.")?.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

fn other_ca(facts: &Facts, expected: &Expected<'_>) -> Option<String> {
    let (found, expected) = (facts.ca_crt.as_ref()?, expected.ca_crt?);
    (found.trim() != expected.trim()).then(|| {
        "/etc/kubernetes/pki/ca.crt is another cluster's; if this machine is to leave that one, run `kubeadm reset`"
            .to_owned()
    })
}

/// A certificate of an earlier cluster would be used by the kubelet instead of the new one. One for this machine's own
/// key is what an interrupted join of ours left.
fn other_client(facts: &Facts, expected: &Expected<'_>) -> Option<String> {
    let found = facts.client_key.as_ref()?;
    let expected = expected.machine_key?;
    (*found != Some(expected)).then(|| {
        "/var/lib/kubelet/pki holds a client certificate that was not made for this machine's key, left by an earlier \
         join; run `kubeadm reset`"
            .to_owned()
    })
}

/// The names of the checks that forbid the join.
pub fn failures(checks: &[Check]) -> Vec<&Check> {
    checks.iter().filter(|check| check.result == Failed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> PublicKeyPin {
        PublicKeyPin::of_spki(&[byte])
    }

    fn sound() -> Facts {
        Facts {
            is_root: true,
            kubelet_conf: false,
            bootstrap_conf: false,
            ca_crt: None,
            client_key: None,
            cri: ("/run/containerd/containerd.sock".to_owned(), None),
            kubelet_version: Some("v1.37.2".to_owned()),
            kubelet_unit: true,
            kubelet_port: None,
            swap: Vec::new(),
            ip_forward: Some("1".to_owned()),
            ip6_forward: None,
            missing_programs: Vec::new(),
        }
    }

    fn failed(facts: &Facts, ignore: &[&str]) -> Vec<String> {
        let ignore: Vec<String> = ignore.iter().map(|name| (*name).to_owned()).collect();
        let expected = Expected {
            machine_key: Some(key(1)),
            ca_crt: Some("ours\n"),
            endpoint: Some(IpAddr::from([10, 0, 0, 1])),
            control_plane: Some("v1.37.2"),
            ignore: &ignore,
        };
        failures(&judge(facts, &expected)).into_iter().map(|check| check.name.clone()).collect()
    }

    #[test]
    fn a_sound_machine_passes_every_check() {
        assert_eq!(failed(&sound(), &[]), Vec::<String>::new());
    }

    #[test]
    fn each_fault_fails_its_own_check_and_can_be_waived_by_name() {
        type Fault = fn(&mut Facts);
        let broken: [(&str, Fault); 12] = [
            ("IsPrivilegedUser", |f| f.is_root = false),
            ("FileAvailable--etc-kubernetes-kubelet.conf", |f| f.kubelet_conf = true),
            ("FileAvailable--etc-kubernetes-bootstrap-kubelet.conf", |f| f.bootstrap_conf = true),
            ("FileAvailable--etc-kubernetes-pki-ca.crt", |f| f.ca_crt = Some("theirs\n".to_owned())),
            ("FileAvailable--var-lib-kubelet-pki-kubelet-client-current.pem", |f| f.client_key = Some(Some(key(2)))),
            ("CRI", |f| f.cri.1 = Some("refused".to_owned())),
            ("FileExisting-mount", |f| f.missing_programs = vec!["mount"]),
            ("KubeletVersion", |f| f.kubelet_version = None),
            ("KubeletVersion", |f| f.kubelet_version = Some("v1.38.0".to_owned())),
            ("Service-kubelet", |f| f.kubelet_unit = false),
            ("Port-10250", |f| f.kubelet_port = Some("in use".to_owned())),
            ("FileContent--proc-sys-net-ipv4-ip_forward", |f| f.ip_forward = Some("0".to_owned())),
        ];
        for (name, break_it) in broken {
            let mut facts = sound();
            break_it(&mut facts);
            assert_eq!(failed(&facts, &[]), [name]);
            assert_eq!(failed(&facts, &[&name.to_uppercase()]), Vec::<String>::new(), "{name} was not waived");
            assert_eq!(failed(&facts, &["all"]), Vec::<String>::new());
            assert_eq!(failed(&facts, &["Other"]), [name]);
        }
    }

    #[test]
    fn what_an_interrupted_join_of_ours_left_is_no_fault() {
        let facts = Facts { ca_crt: Some("ours".to_owned()), client_key: Some(Some(key(1))), ..sound() };
        assert_eq!(failed(&facts, &[]), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_known_is_not_judged() {
        let facts = Facts {
            ca_crt: Some("theirs".to_owned()),
            client_key: Some(None),
            ip_forward: Some("0".to_owned()),
            kubelet_version: Some("v1.99.0".to_owned()),
            ..sound()
        };
        let checks = judge(&facts, &Expected::default());
        assert_eq!(failures(&checks), Vec::<&Check>::new());
    }

    #[test]
    fn forwarding_is_judged_in_the_family_of_the_api_server() {
        let names = |endpoint: Option<IpAddr>| -> Vec<String> {
            let expected = Expected { endpoint, ..Expected::default() };
            failures(&judge(&sound(), &expected)).into_iter().map(|check| check.name.clone()).collect()
        };
        assert_eq!(names(Some(IpAddr::from([10, 0, 0, 1]))), Vec::<String>::new());
        assert_eq!(
            names(Some(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]))),
            ["FileContent--proc-sys-net-ipv6-conf-default-forwarding"]
        );
        assert_eq!(names(None), Vec::<String>::new());
    }

    #[test]
    fn a_kubelet_may_be_three_minors_behind_and_not_one_ahead() {
        for (kubelet, control_plane, expected) in [
            ("v1.37.2", "v1.37.0", None),
            ("v1.34.0", "v1.37.2", None),
            ("v1.33.9", "v1.37.2", Some("expected 1.34 or newer")),
            ("v1.38.0-alpha.1", "v1.37.2", Some("newer than the control plane")),
            ("v1.37.2", "latest", None),
            ("v2.0.0", "v1.37.2", Some("expected one like")),
        ] {
            let problem = version_problem(Some(kubelet), Some(control_plane));
            match expected {
                None => assert_eq!(problem, None, "{kubelet} {control_plane}"),
                Some(part) => assert!(problem.as_ref().is_some_and(|text| text.contains(part)), "{problem:?}"),
            }
        }
        assert_eq!(version_problem(Some("v1.99.0"), None), None);
    }

    #[test]
    fn swap_is_a_warning() {
        let facts = Facts { swap: swap_devices("Filename Type\n/dev/vdb partition 1 0 -2\n"), ..sound() };
        assert_eq!(facts.swap, ["/dev/vdb"]);
        assert_eq!(failed(&facts, &[]), Vec::<String>::new());
    }
}
