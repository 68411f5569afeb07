//! kubeadm's SystemVerification: the kernel's version and configuration, and the cgroup controllers.
//!
//! What is required is what `k8s.io/system-validators` 1.12.1 requires, which kubeadm 1.35 to 1.37 use.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use join_checks::Finding;

use super::catalogue::SYSTEM_VERIFICATION;
use super::cluster::KubeletSettings;
use super::version;

/// A kernel's configuration has about 300 KiB; what is longer is something else.
const MAX_CONFIGURATION: u64 = 4 * 1024 * 1024;
/// The first minor version whose kubelet refuses cgroup v1.
const REFUSES_CGROUP_V1: u32 = 35;

/// Options that must be set; one of the names in a row suffices.
const REQUIRED: &[&[&str]] = &[
    &["NAMESPACES"],
    &["NET_NS"],
    &["PID_NS"],
    &["IPC_NS"],
    &["UTS_NS"],
    &["CPUSETS"],
    &["MEMCG"],
    &["INET"],
    &["EXT4_FS"],
    &["PROC_FS"],
    &["NETFILTER_XT_TARGET_REDIRECT", "IP_NF_TARGET_REDIRECT"],
    &["NETFILTER_XT_MATCH_COMMENT"],
    &["FAIR_GROUP_SCHED"],
    &["CGROUPS"],
    &["CGROUP_PIDS"],
    &["CGROUP_SCHED"],
];
/// What else must be set with cgroup v1.
const REQUIRED_V1: &[&[&str]] = &[&["CGROUP_CPUACCT"], &["CGROUP_DEVICE"], &["CGROUP_FREEZER"]];
/// What else must be set with cgroup v2.
const REQUIRED_V2: &[&[&str]] = &[&["CGROUP_BPF"]];

/// Controllers that must be there, by version, and those whose lack is a warning.
const CONTROLLERS_V1: (&[&str], &[&str]) =
    (&["cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids"], &["hugetlb", "blkio"]);
const CONTROLLERS_V2: (&[&str], &[&str]) =
    (&["cpu", "cpuset", "devices", "freezer", "memory", "pids"], &["hugetlb", "io"]);

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The kernel's release, for example `6.1.0-44-amd64`.
    pub release: String,
    /// The options that are set, with `y` or `m`; why they cannot be read otherwise.
    pub configuration: Result<BTreeMap<String, char>, String>,
    /// The cgroups; why they cannot be read otherwise.
    pub cgroups: Result<Cgroups, String>,
}

impl Facts {
    /// Nothing could be looked at.
    pub fn unknown(why: &str) -> Self {
        Self { release: String::new(), configuration: Err(why.to_owned()), cgroups: Err(why.to_owned()) }
    }
}

/// The cgroups of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroups {
    /// Whether they are of version 2.
    pub is_v2: bool,
    /// The controllers that are enabled.
    pub controllers: Vec<String>,
}

/// Looks at the machine. It takes some milliseconds: the configuration is decompressed.
pub fn observe() -> Facts {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let configuration = read_configuration(&release).map(|text| parse_configuration(&text));
    Facts { release, configuration, cgroups: read_cgroups() }
}

/// Where kernels' configurations lie, in the order in which kubeadm looks.
fn configuration_paths(release: &str) -> [PathBuf; 9] {
    [
        "/proc/config.gz".to_owned(),
        format!("/boot/config-{release}"),
        format!("/usr/src/linux-{release}/.config"),
        "/usr/src/linux/.config".to_owned(),
        format!("/usr/lib/modules/{release}/config"),
        format!("/usr/lib/ostree-boot/config-{release}"),
        format!("/usr/lib/kernel/config-{release}"),
        format!("/usr/src/linux-headers-{release}/.config"),
        format!("/lib/modules/{release}/build/.config"),
    ]
    .map(PathBuf::from)
}

fn read_configuration(release: &str) -> Result<String, String> {
    let paths = configuration_paths(release);
    let found = paths.iter().find(|path| path.exists());
    let path = found.ok_or_else(|| format!("there is no /proc/config.gz, /boot/config-{release} or the like"))?;
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    let read = if path.extension().is_some_and(|extension| extension == "gz") {
        GzDecoder::new(file).take(MAX_CONFIGURATION).read_to_string(&mut text)
    } else {
        file.take(MAX_CONFIGURATION).read_to_string(&mut text)
    };
    read.map_err(failed)?;
    Ok(text)
}

/// The options that are set to `y` or `m`.
fn parse_configuration(text: &str) -> BTreeMap<String, char> {
    let option = |line: &str| {
        let (name, value) = line.trim().strip_prefix("CONFIG_")?.split_once('=')?;
        let value = value.chars().next().filter(|value| matches!(value, 'y' | 'm'))?;
        Some((name.to_owned(), value))
    };
    text.lines().filter_map(option).collect()
}

fn read_cgroups() -> Result<Cgroups, String> {
    let read = |path: &Path| std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
    let mounts = read(Path::new("/proc/mounts"))?;
    let (mount_point, is_v2) =
        unified(&mounts, Path::new("/sys/fs/cgroup/memory").is_dir()).ok_or("no cgroup file system is mounted")?;
    if !is_v2 {
        return Ok(Cgroups { is_v2, controllers: parse_v1_controllers(&read(Path::new("/proc/cgroups"))?) });
    }
    let mut controllers: Vec<String> =
        read(&mount_point.join("cgroup.controllers"))?.split_whitespace().map(str::to_owned).collect();
    // The kernel has had it since 4.15, and lists it nowhere.
    controllers.push("devices".to_owned());
    if has_freezer(&mount_point) {
        controllers.push("freezer".to_owned());
    }
    Ok(Cgroups { is_v2, controllers })
}

/// Whether the kernel has v2's freezer: then every cgroup but the root of all has a file for it.
///
/// This process's own cgroup is no place to look: it can be the root, or lie outside of what is mounted.
fn has_freezer(mount_point: &Path) -> bool {
    let children = std::fs::read_dir(mount_point).into_iter().flatten().flatten().map(|entry| entry.path());
    children.chain([mount_point.to_owned()]).any(|cgroup| cgroup.join("cgroup.freeze").exists())
}

/// The mount point of the cgroups that count, and whether they are of version 2. Where both versions are mounted (hybrid)
/// below a tmpfs in the usual place, version 1 is what is used, which its controller `memory` tells.
fn unified(mounts: &str, has_v1_memory: bool) -> Option<(PathBuf, bool)> {
    const USUAL: &str = "/sys/fs/cgroup";
    let mut v1 = None;
    for line in mounts.lines() {
        let mut fields = line.split_whitespace().skip(1);
        let (Some(place), Some(kind)) = (fields.next(), fields.next()) else { continue };
        match (place, kind) {
            (USUAL, "tmpfs") => return Some((PathBuf::from(USUAL), !has_v1_memory)),
            (USUAL, kind) => return Some((PathBuf::from(USUAL), kind == "cgroup2")),
            (place, "cgroup2") => return Some((PathBuf::from(place), true)),
            (place, "cgroup") => v1 = v1.or_else(|| Some(PathBuf::from(place))),
            _ => {}
        }
    }
    v1.map(|place| (place, false))
}

/// `/proc/cgroups`: name, hierarchy, number of cgroups, enabled.
fn parse_v1_controllers(table: &str) -> Vec<String> {
    let rows = table.lines().filter(|line| !line.starts_with('#'));
    let enabled = rows.filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(3).is_some_and(|enabled| *enabled != "0").then(|| fields[0].to_owned())
    });
    enabled.collect()
}

/// Judges what was seen. `kubelet_version` is the installed kubelet's.
pub fn judge(facts: &Facts, kubelet_version: Option<&str>, kubelet: Option<&KubeletSettings>) -> Finding {
    let (mut bad, mut doubtful) = (Vec::new(), Vec::new());
    if !is_supported(&facts.release) {
        doubtful.push(format!("kernel {} is not one of 5.4, 5.10, 5.15 and 6.0 or later", facts.release));
    }
    // Where the cgroups cannot be read nothing is known of their version either; that is said below.
    let is_v2 = facts.cgroups.as_ref().is_ok_and(|cgroups| cgroups.is_v2);
    match &facts.configuration {
        Ok(options) => {
            let further = if is_v2 { REQUIRED_V2 } else { REQUIRED_V1 };
            let is_set = |names: &&[&str]| names.iter().any(|name| options.contains_key(*name));
            let missing: Vec<String> = REQUIRED
                .iter()
                .chain(further)
                .filter(|names| !is_set(names))
                .map(|names| format!("CONFIG_{}", names.join(" or CONFIG_")))
                .collect();
            if !missing.is_empty() {
                bad.push(format!("the kernel was built without {}", missing.join(", ")));
            }
        }
        Err(error) => doubtful.push(format!("the kernel's configuration cannot be read: {error}")),
    }
    // As for kubeadm: which cgroups suffice depends on the kubelet.
    if kubelet_version.is_none() {
        bad.push("the kubelet's version, on which the rest depends, is not known".to_owned());
    }
    match &facts.cgroups {
        Ok(cgroups) => judge_cgroups(cgroups, kubelet_version, kubelet, &mut bad, &mut doubtful),
        Err(error) => bad.push(format!("the cgroups cannot be read: {error}")),
    }
    let told = bad.iter().chain(&doubtful).cloned().collect::<Vec<_>>().join("; ");
    match (bad.is_empty(), doubtful.is_empty()) {
        (true, true) => {
            SYSTEM_VERIFICATION.passed(format!("kernel {}, cgroup v{}", facts.release, if is_v2 { 2 } else { 1 }))
        }
        (true, false) => SYSTEM_VERIFICATION.warning(told),
        (false, _) => SYSTEM_VERIFICATION.failed(told),
    }
}

fn judge_cgroups(
    cgroups: &Cgroups,
    kubelet_version: Option<&str>,
    kubelet: Option<&KubeletSettings>,
    bad: &mut Vec<String>,
    doubtful: &mut Vec<String>,
) {
    if !cgroups.is_v2 {
        let refuses = kubelet_version.and_then(version::minor).is_some_and(|minor| minor >= REFUSES_CGROUP_V1);
        let admitted = kubelet.is_some_and(KubeletSettings::admits_cgroup_v1);
        match (refuses, admitted) {
            (true, false) => bad.push(
                "the machine uses cgroup v1, which kubelets since 1.35 refuse unless failCgroupV1 is false".to_owned(),
            ),
            (true, true) => doubtful.push("cgroup v1, which the cluster admits (failCgroupV1: false)".to_owned()),
            (false, _) => doubtful.push("cgroup v1, which kubelets since 1.35 refuse".to_owned()),
        }
    }
    let (required, optional) = if cgroups.is_v2 { CONTROLLERS_V2 } else { CONTROLLERS_V1 };
    let missing = |wanted: &[&str]| -> Vec<String> {
        let is_missing = |name: &&&str| !cgroups.controllers.iter().any(|there| there == **name);
        wanted.iter().filter(is_missing).map(|name| (*name).to_owned()).collect()
    };
    let (required, optional) = (missing(required), missing(optional));
    if !required.is_empty() {
        bad.push(format!("cgroup controllers are missing: {}", required.join(", ")));
    }
    if !optional.is_empty() {
        doubtful.push(format!("optional cgroup controllers are missing: {}", optional.join(", ")));
    }
}

/// 5.4, 5.10, 5.15, or 6.0.0 and later with three numbers.
fn is_supported(release: &str) -> bool {
    // kubeadm's patterns are prefixes: 5.4 admits 5.40 as well.
    if ["5.4", "5.10", "5.15"].iter().any(|lts| release.starts_with(lts)) {
        return true;
    }
    let mut numbers = release.splitn(3, '.');
    let major = numbers.next().and_then(|number| number.parse::<u32>().ok());
    let minor =
        numbers.next().is_some_and(|number| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()));
    let patch = numbers.next().is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()));
    major.is_some_and(|major| major >= 6) && minor && patch
}

#[cfg(test)]
#[path = "kernel_tests.rs"]
pub mod tests;
