//! Looking at a machine that is to be reset.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;

use super::plan::{AGENT_UNIT, EMPTIED, Observed, REMOVED};
use super::{Error, pods};
use crate::files::{self, INSTANCE_CONFIG_YAML};
use crate::journal::{Before, ETCD_FOLDER, KUBELET_FOLDER, Root, State, look};
use crate::kubelet::{Systemd, UNIT};
use crate::{atomic_file, mounts};

/// What the plan of an undo is made from.
pub async fn for_undo(journal: &State, root: &Root, systemd: &Systemd, keep_pods: bool) -> Result<Observed, Error> {
    let mut observed = running(root, systemd, keep_pods).await?;
    of_files(&mut observed, journal, root)?;
    Ok(observed)
}

/// What the plan of a reset without a journal is made from.
pub async fn for_all(root: &Root, systemd: &Systemd, keep_pods: bool) -> Result<Observed, Error> {
    let mut observed = running(root, systemd, keep_pods).await?;
    // Without a journal nobody knows whether the folder itself is a disk of its own; kubeadm leaves it mounted as well.
    observed.mounts.retain(|point| point != KUBELET_FOLDER);
    for path in REMOVED {
        observed.now.insert(path.to_owned(), look(&root.place(path), None)?);
    }
    for folder in EMPTIED {
        for (path, is_folder) in children(root, folder)? {
            observed.added.insert(path, is_folder);
        }
    }
    Ok(observed)
}

/// What runs and what is mounted.
async fn running(root: &Root, systemd: &Systemd, keep_pods: bool) -> Result<Observed, Error> {
    let agent = systemd.state(AGENT_UNIT).await?;
    let sandboxes = if keep_pods { Vec::new() } else { pods::list(&cri_socket(root)).await? };
    Ok(Observed {
        agent_is_active: agent.is_some_and(|unit| !matches!(unit.active_state.as_str(), "inactive" | "failed")),
        kubelet: systemd.state(UNIT).await?,
        sandboxes,
        mounts: mounts::at_or_below(KUBELET_FOLDER).map_err(|source| Error::Mounts { source })?,
        ..Observed::default()
    })
}

/// What is at the journal's paths, and what came to lie beside them.
pub fn of_files(observed: &mut Observed, journal: &State, root: &Root) -> Result<(), Error> {
    for path in journal.before.keys() {
        let place = root.place(path);
        observed.now.insert(path.clone(), look(&place, None)?);
        let staged = atomic_file::staging(std::path::Path::new(path)).display().to_string();
        // What is staged in the kubelet's folder is found with all else there.
        if !staged.starts_with(KUBELET_FOLDER) && fs::symlink_metadata(root.place(&staged)).is_ok() {
            observed.staged.push(staged);
        }
    }
    if is_folder(journal, ETCD_FOLDER) {
        observed.etcd_data = children(root, ETCD_FOLDER)?;
        observed.etcd_data.retain(|path, _| !journal.before.contains_key(path));
    }
    // Where nothing was listed, nothing was touched.
    let Some(listing) = &journal.listing else { return Ok(()) };
    let mut open = vec![KUBELET_FOLDER.to_owned()];
    while let Some(folder) = open.pop() {
        // A folder that was not there goes as a whole.
        if !is_folder(journal, &folder) {
            continue;
        }
        for (path, is_folder) in children(root, &folder)? {
            match journal.before.get(&path) {
                None => {
                    observed.added.insert(path, is_folder);
                }
                Some(_) if is_folder && !listing.mounts.contains(&path) => open.push(path),
                Some(_) => {}
            }
        }
    }
    Ok(())
}

/// Whether a folder was there before the join, or a link that may lead to one.
fn is_folder(journal: &State, path: &str) -> bool {
    matches!(journal.before.get(path), Some(Before::Folder { .. } | Before::Link { .. }))
}

/// What is in a folder: path, and whether it is a folder itself. A link is none.
fn children(root: &Root, folder: &str) -> Result<BTreeMap<String, bool>, Error> {
    let place = root.place(folder);
    let failed = |source| Error::Look { path: place.clone(), source };
    let entries = match fs::read_dir(&place) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(BTreeMap::new());
        }
        Err(error) => return Err(failed(error)),
    };
    let mut found = BTreeMap::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            let source = std::io::Error::new(ErrorKind::InvalidData, "its name is no UTF-8: remove it by hand");
            return Err(Error::Look { path: entry.path(), source });
        };
        found.insert(format!("{folder}/{name}"), entry.file_type().map_err(failed)?.is_dir());
    }
    Ok(found)
}

/// The socket that the kubelet was told to use, or kubeadm's default.
pub fn cri_socket(root: &Root) -> String {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Instance {
        container_runtime_endpoint: String,
    }
    let text = fs::read_to_string(root.place(INSTANCE_CONFIG_YAML)).ok();
    let instance = text.and_then(|text| serde_saphyr::from_str::<Instance>(&text).ok());
    instance.map_or_else(|| files::DEFAULT_CRI_SOCKET.to_owned(), |instance| instance.container_runtime_endpoint)
}
