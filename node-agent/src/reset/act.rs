//! Carrying a plan out. Each action finds its work done without complaint, so a reset that was killed is begun again.

use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::Path;

use super::plan::{AGENT_UNIT, Action};
use super::{Error, etcd, pods};
use crate::atomic_file;
use crate::identity::Identity;
use crate::journal::{Access, Backups, Before, CrashSwitch, Journal, Root, look};
use crate::kubelet::{Systemd, UNIT};
use crate::member::Membership;
use crate::mounts;

/// What actions are carried out on.
pub struct Machine<'a> {
    /// Its root folder.
    pub root: &'a Root,
    /// Its systemd; none in a test of files.
    pub systemd: Option<&'a Systemd>,
    /// Where the agent keeps its state.
    pub state_directory: &'a Path,
    /// The container runtime's socket.
    pub cri_socket: &'a str,
    /// For tests: ends the program after so many writes.
    pub crash: &'a CrashSwitch,
}

impl Machine<'_> {
    /// Does one thing.
    pub async fn act(&self, action: &Action) -> Result<(), Error> {
        match action {
            Action::StopAgent => self.systemd()?.stop(AGENT_UNIT).await?,
            Action::LeaveEtcd(leaving) => {
                etcd::leave(self.root, leaving).await?;
                self.crash.wrote("the members of etcd");
                Journal::left_etcd(self.state_directory, self.crash.clone())?;
            }
            Action::StopKubelet => self.systemd()?.stop(UNIT).await?,
            Action::DisableKubelet => self.systemd()?.disable(UNIT).await?,
            Action::RemovePod(sandbox) => pods::remove(self.cri_socket, sandbox).await?,
            Action::Unmount(point) => {
                mounts::unmount_one(point).map_err(|source| Error::Unmount { point: point.clone(), source })?;
            }
            Action::Restore { path, was } => self.restore(path, was)?,
            Action::Remove(path) => self.on(path, atomic_file::remove_if_there)?,
            Action::RemoveTree(path) => {
                // Looked at now, not when the plan was made: nothing that is mounted is anybody's to remove.
                let mounted = mounts::at_or_below(path).map_err(|source| Error::Mounts { source })?;
                if let Some(point) = mounted.first() {
                    return Err(Error::StillMounted { tree: path.clone(), point: point.clone() });
                }
                self.on(path, |place| unless_gone(fs::remove_dir_all(place)))?;
            }
            Action::RemoveFolder(path) => self.on(path, |place| match fs::remove_dir(place) {
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
                other => unless_gone(other),
            })?,
            Action::Forget => {
                Membership::remove(self.state_directory)?;
                Journal::forget(self.state_directory)?;
            }
            Action::ForgetKeys => Identity::remove(self.state_directory)?,
        }
        Ok(())
    }

    fn systemd(&self) -> Result<&Systemd, Error> {
        self.systemd.ok_or(Error::NoSystemd)
    }

    fn on(&self, path: &str, step: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<(), Error> {
        let place = self.root.place(path);
        step(&place).map_err(|source| Error::Change { path: place, source })
    }

    fn restore(&self, path: &str, was: &Before) -> Result<(), Error> {
        let backups = Backups::of(self.state_directory);
        self.on(path, |place| match was {
            Before::Absent | Before::Other => Ok(()),
            Before::Folder { access } => {
                clear(place, |kind| kind.is_dir())?;
                if !place.is_dir() {
                    fs::create_dir(place)?;
                }
                give(place, *access)
            }
            Before::Link { target } => {
                clear(place, |kind| kind.is_symlink())?;
                atomic_file::link(place, Path::new(target)).map_err(std::io::Error::other)
            }
            Before::File { access, sha256, .. } => {
                clear(place, |kind| kind.is_file())?;
                let now = look(place, None).map_err(std::io::Error::other)?;
                let same_content = matches!(now, Before::File { sha256: found, .. } if found == *sha256);
                if !same_content {
                    let content = zeroize::Zeroizing::new(backups.get(sha256)?);
                    atomic_file::write(place, &content, atomic_file::SECRET).map_err(std::io::Error::other)?;
                }
                give(place, *access)
            }
        })
    }
}

/// Removes what is at a place if it is of another kind.
fn clear(place: &Path, is_right: impl Fn(fs::FileType) -> bool) -> std::io::Result<()> {
    match fs::symlink_metadata(place) {
        Ok(found) if is_right(found.file_type()) => Ok(()),
        Ok(found) if found.is_dir() => fs::remove_dir(place),
        Ok(_) => fs::remove_file(place),
        Err(error) => unless_gone(Err(error)),
    }
}

/// Sets owner and mode; the owner first, since a change of it takes special bits away.
fn give(place: &Path, access: Access) -> std::io::Result<()> {
    lchown(place, Some(access.uid), Some(access.gid))?;
    fs::set_permissions(place, Permissions::from_mode(access.mode.0))?;
    File::open(place)?.sync_all()
}

fn unless_gone(outcome: std::io::Result<()>) -> std::io::Result<()> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
