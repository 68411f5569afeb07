//! What happens inside a new machine's namespaces before its systemd starts: a root file system of its own, the
//! kernel's file systems, and the files that make it this machine.
//!
//! The root is an overlay: below, read-only, the host's own root (so Debian's systemd, runc and nftables are there);
//! above, a folder in memory that keeps whatever the machine changes, also across its reboots.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount};
use serde::{Deserialize, Serialize};

use super::cgroups;

/// A machine's root, as the host prepares it and `lab-init machine` enters it.
#[derive(Debug, Serialize, Deserialize)]
pub struct MachineRoot {
    /// The host name.
    pub hostname: String,
    /// An existing empty folder that becomes `/`.
    pub root: PathBuf,
    /// A folder in a tmpfs: `upper` and `work` are made in it. It is the machine's disk.
    pub disk: PathBuf,
    /// Folders of the host that the machine sees at a place of its own.
    pub binds: Vec<(PathBuf, PathBuf)>,
    /// Files to write at the first boot, by their absolute path.
    pub files: BTreeMap<PathBuf, Content>,
}

/// A file of a machine.
#[derive(Debug, Serialize, Deserialize)]
pub enum Content {
    /// A plain file, 0644.
    Text(String),
    /// A symbolic link.
    Link(PathBuf),
}

/// A step that failed, with the path that it was about.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} {path}: {source}")]
pub struct Error {
    action: &'static str,
    path: PathBuf,
    source: std::io::Error,
}

/// Names the action and the path of an error.
fn to<E: Into<std::io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> Error {
    let path = path.to_owned();
    move |source| Error { action, path, source: source.into() }
}

impl MachineRoot {
    /// Builds the root and moves the calling process, the machine's PID 1, into it.
    pub fn enter(&self) -> Result<(), Error> {
        let slash = Path::new("/");
        mount_change(slash, MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
            .map_err(to("make private", slash))?;
        let hostname = Path::new("hostname");
        rustix::system::sethostname(self.hostname.as_bytes()).map_err(to("set the", hostname))?;
        let first_boot = self.mount_disk()?;
        self.mount_kernel_file_systems()?;
        for (source, place) in &self.binds {
            let place = self.inside(place);
            fs::create_dir_all(&place).map_err(to("create", &place))?;
            mount_bind(source, &place).map_err(to("bind", &place))?;
        }
        if first_boot {
            self.install()?;
        }
        self.pivot()
    }

    fn inside(&self, place: &Path) -> PathBuf {
        self.root.join(place.strip_prefix("/").unwrap_or(place))
    }

    /// Mounts the overlay; tells whether its disk is new.
    fn mount_disk(&self) -> Result<bool, Error> {
        let (upper, work) = (self.disk.join("upper"), self.disk.join("work"));
        let first_boot = !upper.is_dir();
        for folder in [&upper, &work] {
            fs::create_dir_all(folder).map_err(to("create", folder))?;
        }
        let options = format!("lowerdir=/,upperdir={},workdir={}", upper.display(), work.display());
        mount_kind("overlay", &self.root, MountFlags::empty(), &options)?;
        Ok(first_boot)
    }

    fn mount_kernel_file_systems(&self) -> Result<(), Error> {
        let hidden = MountFlags::NOSUID | MountFlags::NODEV;
        for (kind, place, flags, options) in [
            ("proc", "proc", hidden | MountFlags::NOEXEC, ""),
            ("sysfs", "sys", hidden | MountFlags::NOEXEC, ""),
            ("tmpfs", "run", hidden, "mode=755"),
            ("tmpfs", "tmp", hidden, "mode=1777"),
        ] {
            mount_kind(kind, &self.root.join(place), flags, options)?;
        }
        let devices = self.root.join("dev");
        rustix::mount::mount_bind_recursive("/dev", &devices).map_err(to("bind", &devices))?;

        let hierarchies = cgroups::hierarchies().map_err(to("read", Path::new("/proc/self/mountinfo")))?;
        let base = self.root.join("sys/fs/cgroup");
        if hierarchies.iter().any(|hierarchy| hierarchy.mount_point != Path::new("/sys/fs/cgroup")) {
            mount_kind("tmpfs", &base, hidden, "mode=755")?;
        }
        for hierarchy in hierarchies {
            let place = self.inside(&hierarchy.mount_point);
            fs::create_dir_all(&place).map_err(to("create", &place))?;
            mount_kind(&hierarchy.file_system, &place, hidden | MountFlags::NOEXEC, &hierarchy.options)?;
        }
        Ok(())
    }

    /// Writes the machine's own files, after removing what of the host's units would start by itself.
    fn install(&self) -> Result<(), Error> {
        let units = self.root.join("etc/systemd/system");
        for entry in fs::read_dir(&units).map_err(to("read", &units))?.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "wants" || extension == "requires") {
                fs::remove_dir_all(&path).map_err(to("remove", &path))?;
            }
        }
        for (place, content) in &self.files {
            let path = self.inside(place);
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(to("create", folder))?;
            }
            // Never through a link of the host's, which could lead out of the machine's own root.
            if path.symlink_metadata().is_ok() {
                fs::remove_file(&path).map_err(to("replace", &path))?;
            }
            match content {
                Content::Text(text) => {
                    fs::write(&path, text).map_err(to("write", &path))?;
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).map_err(to("chmod", &path))?;
                }
                Content::Link(target) => symlink(target, &path).map_err(to("link", &path))?,
            }
        }
        Ok(())
    }

    fn pivot(&self) -> Result<(), Error> {
        std::env::set_current_dir(&self.root).map_err(to("enter", &self.root))?;
        // The new root on top of the old one, which is then detached: no folder is needed to put the old one into.
        rustix::process::pivot_root(".", ".").map_err(to("pivot into", &self.root))?;
        unmount(".", UnmountFlags::DETACH).map_err(to("detach the host's root from", &self.root))?;
        std::env::set_current_dir("/").map_err(to("enter", Path::new("/")))
    }
}

fn mount_kind(kind: &str, place: &Path, flags: MountFlags, options: &str) -> Result<(), Error> {
    let options = CString::new(options).map_err(|source| to("mount", place)(std::io::Error::other(source)))?;
    mount(kind, place, kind, flags, Some(options.as_c_str())).map_err(to("mount", place))
}
