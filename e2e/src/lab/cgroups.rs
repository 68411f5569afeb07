//! A cgroup per machine in every hierarchy, on hosts with cgroup v1, v2 or both.
//!
//! Each machine runs a systemd and a kubelet that believe that all cgroups are theirs and remove those that they do
//! not know. A cgroup namespace per machine, rooted in a cgroup of its own *in every hierarchy*, keeps them apart;
//! the controller-less `unified` hierarchy of a hybrid host counts too.

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

/// Makes the cgroup `path` in every hierarchy.
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
    let controllers = fs::read_to_string(parent.join("cgroup.controllers"))?;
    for controller in controllers.split_whitespace() {
        fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"))?;
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
}
