//! What the lab needs of the host, checked before anything is made.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::lab::cgroups;
use crate::progress::Step;

/// Programs that the lab starts, and the Debian package that has each.
const PROGRAMS: &[(&str, &str)] = &[
    ("/lib/systemd/systemd", "systemd"),
    ("/usr/bin/dbus-daemon", "dbus"),
    ("runc", "runc"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("conntrack", "conntrack"),
    ("iptables", "iptables"),
    ("sysctl", "procps"),
    ("nsenter", "util-linux"),
    ("mount", "mount"),
    ("faketime", "faketime"),
    ("time", "time"),
    ("rpm", "rpm"),
];

/// What is missing, each entry a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
#[error("the lab cannot run on this host:\n  - {}", .0.join("\n  - "))]
pub struct Missing(Vec<String>);

/// Checks the host, and installs missing programs when that is possible.
///
/// # Errors
/// With everything that is missing, at once.
pub fn ensure() -> Result<(), Missing> {
    ensure_root()?;
    install_programs()?;
    let mut missing = missing_kernel_features();
    missing.extend(cgroups::obstacle());
    if missing.is_empty() { Ok(()) } else { Err(Missing(missing)) }
}

/// Checks that this process may make and see labs; all that looking at one or removing it needs.
///
/// # Errors
/// When it may not.
pub fn ensure_root() -> Result<(), Missing> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Missing(vec![
        "it makes network namespaces, mounts and cgroups, which only root may do: run the same command with sudo"
            .to_owned(),
    ]))
}

fn missing_packages() -> Vec<&'static str> {
    let mut packages: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| !exists(program)).map(|(_, package)| *package).collect();
    packages.dedup();
    packages
}

fn exists(program: &str) -> bool {
    let system = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
    system.iter().any(|folder| folder.join(program).is_file())
}

fn install_programs() -> Result<(), Missing> {
    let packages = missing_packages();
    if packages.is_empty() {
        return Ok(());
    }
    let by_hand = format!("install these packages: {}", packages.join(" "));
    if !exists("apt-get") {
        return Err(Missing(vec![by_hand]));
    }
    let step = Step::begin(format!("installing {} with apt-get", packages.join(", ")));
    let apt = |arguments: &[&str]| {
        Command::new("apt-get")
            .args(["-qq", "-o=Dpkg::Use-Pty=0"])
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    let install: Vec<&str> =
        ["install", "--yes", "--no-install-recommends"].into_iter().chain(packages.iter().copied()).collect();
    if !(apt(&["update"]) && apt(&install) && missing_packages().is_empty()) {
        return Err(Missing(vec![format!("apt-get could not install what is missing; {by_hand}")]));
    }
    step.done();
    Ok(())
}

/// Tries each kernel feature in namespaces that vanish with the trying process.
fn missing_kernel_features() -> Vec<String> {
    let trials: &[(&[&str], &str)] = &[
        (
            &["--mount", "--uts", "--ipc", "--pid", "--cgroup", "--net", "--fork", "true"],
            "new mount, UTS, IPC, PID, cgroup and network namespaces are refused: CAP_SYS_ADMIN and a kernel with them are needed",
        ),
        (
            &["--net", "ip", "link", "add", "trial", "type", "veth", "peer", "name", "other"],
            "no veth interface can be made: the kernel module `veth` is needed",
        ),
        (
            &["--net", "ip", "link", "add", "trial", "type", "bridge"],
            "no bridge can be made: the kernel module `bridge` is needed",
        ),
        (
            &["--net", "nft", "add", "table", "inet", "trial"],
            "nftables refuses a table: the kernel module `nf_tables` is needed",
        ),
        (
            &[
                "--mount",
                "sh",
                "-ec",
                "mount -t tmpfs tmpfs /mnt; mkdir /mnt/upper /mnt/work /mnt/root; \
                 mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root",
            ],
            "no overlay over / can be mounted: the kernel module `overlay` is needed, and / must not be an overlay itself",
        ),
    ];
    trials
        .iter()
        .filter_map(|(arguments, explanation)| {
            let output = Command::new("unshare").args(*arguments).stdin(Stdio::null()).output().ok()?;
            let seen = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            (!output.status.success()).then(|| format!("{explanation} (seen: {seen})"))
        })
        .collect()
}
