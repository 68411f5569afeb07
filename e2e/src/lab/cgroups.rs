//! A cgroup per machine in every hierarchy, on hosts with cgroup v1, v2 or both.
//!
//! Each machine runs a systemd and a kubelet that believe that all cgroups are theirs and remove those that they do
//! not know. A cgroup namespace per machine, rooted in a cgroup of its own *in every hierarchy*, keeps them apart;
//! the controller-less `unified` hierarchy of a hybrid host counts too.
//!
//! Version 2 gives controllers only to the children of a cgroup in which no process stands, the root of the whole
//! hierarchy excepted. systemd leaves the root of its namespace for a cgroup of its own before it hands out
//! controllers, but cannot move processes of other PID namespaces: no other process may ever stand there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// One mounted cgroup hierarchy of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted, for example `/sys/fs/cgroup/memory`.
    pub mount_point: PathBuf,
    /// `cgroup` (v1) or `cgroup2`.
    pub file_system: String,
    /// What a new mount of the same hierarchy needs as data: its controllers or `name=…` (v1), nothing (v2).
    pub options: String,
}

/// The hierarchies that are mounted on this host.
pub fn hierarchies() -> std::io::Result<Vec<Hierarchy>> {
    Ok(parse_mountinfo(&fs::read_to_string("/proc/self/mountinfo")?))
}

/// Reads hierarchies out of a mountinfo(5) table.
fn parse_mountinfo(table: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in table.lines() {
        let Some((mount, file_system)) = line.split_once(" - ") else {
            continue;
        };
        let Some(mount_point) = mount.split(' ').nth(4) else {
            continue;
        };
        let fields: Vec<&str> = file_system.split(' ').collect();
        let [kind @ ("cgroup" | "cgroup2"), _, super_options, ..] = fields[..] else {
            continue;
        };
        let options: Vec<&str> = match kind {
            "cgroup" => super_options.split(',').filter(|option| !is_mount_flag(option)).collect(),
            _ => Vec::new(),
        };
        let hierarchy = Hierarchy {
            mount_point: PathBuf::from(mount_point),
            file_system: kind.to_owned(),
            options: options.join(","),
        };
        // The same hierarchy can be mounted twice; once is enough.
        if !found.iter().any(|known| known.file_system == kind && known.options == hierarchy.options) {
            found.push(hierarchy);
        }
    }
    found
}

/// Options of the superblock that say nothing about which controllers it holds.
fn is_mount_flag(option: &str) -> bool {
    matches!(option, "rw" | "ro" | "xattr" | "clone_children" | "noprefix") || option.starts_with("release_agent=")
}

/// Whether version 1 is mounted, alone or beside version 2 (hybrid): then it is what kubelet and systemd use.
pub fn has_v1() -> bool {
    hierarchies().is_ok_and(|hierarchies| hierarchies.iter().any(|hierarchy| hierarchy.file_system == "cgroup"))
}

/// Why this host's cgroups cannot be used, if so.
///
/// In a container the visible root is an ordinary cgroup, in which the container's processes usually stand.
pub fn obstacle() -> Option<String> {
    let mut roots =
        hierarchies().unwrap_or_default().into_iter().filter(|hierarchy| hierarchy.file_system == "cgroup2");
    let stuck = |root: Hierarchy| {
        let controllers = fs::read_to_string(root.mount_point.join("cgroup.controllers")).ok()?;
        // The root of all cgroups has no such file.
        let is_root_of_all = !root.mount_point.join("cgroup.type").exists();
        let processes = fs::read_to_string(root.mount_point.join("cgroup.procs")).ok()?;
        (!can_delegate(is_root_of_all, &controllers, &processes)).then(|| {
            format!(
                "processes stand in {}, which is not the root of all cgroups, so the controllers ({}) cannot be given to \
                 cgroups below it: move the processes into a child of it, or start the container with the host's cgroups",
                root.mount_point.display(),
                controllers.trim()
            )
        })
    };
    roots.find_map(stuck)
}

/// Whether a v2 cgroup can give its controllers to its children.
fn can_delegate(is_root_of_all: bool, controllers: &str, processes: &str) -> bool {
    is_root_of_all || controllers.trim().is_empty() || processes.trim().is_empty()
}

/// Makes the cgroup `path` in every hierarchy. On v2 it has all controllers, and no process may stand in those above.
pub fn create(path: &str) -> std::io::Result<()> {
    for hierarchy in hierarchies()? {
        let mut folder = hierarchy.mount_point.clone();
        for part in Path::new(path) {
            let parent = folder.clone();
            folder.push(part);
            if hierarchy.file_system == "cgroup2" {
                delegate_controllers(&parent)?;
            }
            if !folder.is_dir() {
                fs::create_dir(&folder)?;
            }
            // A v1 cpuset begins empty, and no process may enter an empty one.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if hierarchy.file_system == "cgroup" && parent.join(file).is_file() {
                    let value = fs::read_to_string(parent.join(file))?;
                    fs::write(folder.join(file), value.trim())?;
                }
            }
        }
    }
    Ok(())
}

/// Lets the children of a v2 cgroup use all controllers that it has.
fn delegate_controllers(parent: &Path) -> std::io::Result<()> {
    for controller in missing_controllers(parent)? {
        fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"))?;
    }
    Ok(())
}

/// The controllers that a v2 cgroup has and its children have not.
fn missing_controllers(parent: &Path) -> std::io::Result<Vec<String>> {
    let read = |file| fs::read_to_string(parent.join(file));
    let (own, given) = (read("cgroup.controllers")?, read("cgroup.subtree_control")?);
    let given: BTreeSet<&str> = given.split_whitespace().collect();
    Ok(own.split_whitespace().filter(|controller| !given.contains(controller)).map(str::to_owned).collect())
}

/// The controllers that [`create`] will enable in the root of the host's v2 hierarchy: a change of something that is
/// not the lab's own.
pub fn controllers_to_enable() -> std::io::Result<Vec<String>> {
    let roots = hierarchies()?.into_iter().filter(|hierarchy| hierarchy.file_system == "cgroup2");
    let missing: Result<Vec<_>, _> = roots.map(|root| missing_controllers(&root.mount_point)).collect();
    Ok(missing?.concat())
}

/// Takes controllers away again from the children of the root of the host's v2 hierarchy; those that others have come
/// to use stay.
pub fn disable_controllers(controllers: &[String]) -> std::io::Result<()> {
    for root in hierarchies()?.into_iter().filter(|hierarchy| hierarchy.file_system == "cgroup2") {
        for controller in controllers {
            match fs::write(root.mount_point.join("cgroup.subtree_control"), format!("-{controller}")) {
                Err(failure) if failure.kind() != std::io::ErrorKind::ResourceBusy => return Err(failure),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Moves the calling process into the cgroup `path` of every hierarchy.
pub fn enter(path: &str) -> std::io::Result<()> {
    for hierarchy in hierarchies()? {
        // "0" stands for the writer itself.
        fs::write(hierarchy.mount_point.join(path).join("cgroup.procs"), "0")?;
    }
    Ok(())
}

/// The processes in the cgroup `path` and below, as the host numbers them.
pub fn processes(path: &str) -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    for hierarchy in hierarchies().unwrap_or_default() {
        visit(&hierarchy.mount_point.join(path), &mut |folder| {
            let list = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            // 0 is a process that is not visible from here; it cannot be signalled from here either.
            found.extend(list.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
        });
    }
    found
}

/// Removes the cgroup `path` and all below it, in every hierarchy. Their processes must have ended.
pub fn remove(path: &str) -> std::io::Result<()> {
    for hierarchy in hierarchies()? {
        let mut folders = Vec::new();
        visit(&hierarchy.mount_point.join(path), &mut |folder| {
            folders.push(folder.to_owned());
        });
        for folder in folders.iter().rev() {
            fs::remove_dir(folder)?;
        }
    }
    Ok(())
}

/// Calls `action` for `folder` and every cgroup below it, parents first.
fn visit(folder: &Path, action: &mut impl FnMut(&Path)) {
    if !folder.is_dir() {
        return;
    }
    action(folder);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            visit(&entry.path(), action);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_and_unified_hosts_are_told_apart() {
        let hybrid = "\
30 24 0:25 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:26 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
32 30 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/lib/agent,name=systemd
33 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
34 30 0:26 / /mnt/cpu-again rw,relatime - cgroup cgroup rw,cpu";
        let found = parse_mountinfo(hybrid);
        let seen: Vec<(&str, &str)> = found.iter().map(|h| (h.file_system.as_str(), h.options.as_str())).collect();
        assert_eq!(seen, [("cgroup", "cpu"), ("cgroup", "name=systemd"), ("cgroup2", "")]);

        let unified = parse_mountinfo("25 24 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n");
        assert_eq!(unified.len(), 1);
        assert_eq!(unified[0].mount_point, Path::new("/sys/fs/cgroup"));
    }

    #[test]
    fn only_a_container_whose_processes_stand_in_its_root_is_refused() {
        for (is_root_of_all, controllers, processes, expected) in [
            (true, "cpu memory\n", "1\n2\n", true),
            (false, "cpu memory\n", "\n", true),
            (false, "\n", "1\n", true),
            (false, "cpu memory\n", "1\n", false),
        ] {
            let seen = can_delegate(is_root_of_all, controllers, processes);
            assert_eq!(seen, expected, "{is_root_of_all} {controllers:?} {processes:?}");
        }
    }

    #[test]
    fn only_controllers_that_the_children_lack_are_enabled() {
        let cgroup = tempfile::tempdir().unwrap();
        for (own, given, expected) in [
            ("cpuset cpu memory pids\n", "memory pids\n", &["cpuset", "cpu"][..]),
            ("cpu\n", "\n", &["cpu"]),
            ("cpu\n", "cpu\n", &[]),
            ("\n", "\n", &[]),
        ] {
            fs::write(cgroup.path().join("cgroup.controllers"), own).unwrap();
            fs::write(cgroup.path().join("cgroup.subtree_control"), given).unwrap();
            assert_eq!(missing_controllers(cgroup.path()).unwrap(), expected, "{own:?} {given:?}");
        }
    }
}
