//! Writing the files of a join, in the order that makes a crash harmless.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use join_trust::machine_key::MachineKey;
use k8s_openapi::jiff::Zoned;
use zeroize::Zeroizing;

use super::Error;
use crate::atomic_file::{PUBLIC, SECRET};
use crate::control_plane::Planned;
use crate::files::{self, Rendered};
use crate::journal::{Before, Journal, UnitState};
use crate::member::Membership;

/// The folders of the files, parents first, with the modes that kubeadm gives them.
const FOLDERS: [(&str, u32); 4] = [
    ("/etc/kubernetes", 0o755),
    ("/etc/kubernetes/pki", 0o755),
    ("/var/lib/kubelet", 0o700),
    (files::PKI_FOLDER, 0o755),
];

/// Everything that is written before the kubelet is started.
pub struct All<'a> {
    /// The node's files.
    pub rendered: &'a Rendered,
    /// What only a control plane has.
    pub control_plane: Option<&'a Planned>,
    /// The kubelet's certificate, in PEM.
    pub certificate: &'a str,
    /// Its key.
    pub key: &'a MachineKey,
    /// What the agent remembers.
    pub membership: &'a Membership,
}

/// The folders of a control plane's files, parents first, with kubeadm's modes: what has no secret in it but certificates is
/// open to be looked into, manifests are not.
fn folders_of(own: &Planned) -> Vec<(String, u32)> {
    let known = FOLDERS.map(|(path, _)| Path::new(path));
    let parents = own.files.iter().filter_map(|file| file.path.parent()).flat_map(Path::ancestors);
    let below = parents.filter(|folder| folder.starts_with("/etc/kubernetes") && !known.contains(folder));
    let mut folders: BTreeMap<String, u32> = below.map(|folder| (folder.display().to_string(), 0o755)).collect();
    folders.extend(own.later.iter().filter_map(|path| Some((Path::new(path).parent()?.display().to_string(), 0o700))));
    folders.into_iter().collect()
}

/// Writes everything, after noting in the journal what is there. The kubelet's kubeconfig comes last: where it is, all is
/// there. What is as it should be already is left alone.
pub fn all(
    all: &All<'_>,
    state_directory: &Path,
    journal: &mut Journal,
    kubelet_unit: Option<UnitState>,
) -> Result<(), Error> {
    let All { rendered, membership, .. } = all;
    let pem = pem(all.certificate, all.key)?;
    let pem_path = pem_path(journal, pem.as_bytes());
    let public = [
        (files::CA_CRT, &rendered.ca_crt),
        (files::INSTANCE_CONFIG_YAML, &rendered.instance_config_yaml),
        (files::CONFIG_YAML, &rendered.config_yaml),
        (files::KUBEADM_FLAGS_ENV, &rendered.kubeadm_flags_env),
    ];
    let folders = FOLDERS.iter().map(|(path, _)| *path);
    let files = public.iter().map(|(path, _)| *path);
    let others = [pem_path.as_str(), files::CLIENT_PEM, files::KUBELET_CONF];
    let mut paths: Vec<String> = folders.chain(files).chain(others).map(str::to_owned).collect();
    let own_folders = all.control_plane.map(folders_of).unwrap_or_default();
    if let Some(own) = all.control_plane {
        paths.extend(own_folders.iter().map(|(path, _)| path.clone()));
        paths.extend(own.files.iter().map(|file| file.path.display().to_string()));
        paths.extend(own.later.iter().cloned());
        // Made when etcd is joined, outside of the agent's own sandbox.
        paths.extend(own.etcd_folder.map(str::to_owned));
    }
    journal.before_writing(&membership.request_uid, &paths, kubelet_unit)?;

    for (path, mode) in FOLDERS {
        journal.folder(path, mode)?;
    }
    journal.file(&pem_path, pem.as_bytes(), SECRET)?;
    journal.link(files::CLIENT_PEM, &pem_path)?;
    for (path, content) in public {
        journal.file(path, content.as_bytes(), PUBLIC)?;
    }
    for (path, mode) in &own_folders {
        journal.folder(path, *mode)?;
    }
    for file in all.control_plane.map(|own| own.files.as_slice()).unwrap_or_default() {
        journal.file(&file.path.display().to_string(), file.content.expose(), file.mode)?;
    }
    if membership.write(state_directory)? {
        journal.crash_switch().wrote("the membership");
    }
    journal.file(files::KUBELET_CONF, rendered.kubelet_conf.as_bytes(), SECRET)?;
    Ok(())
}

/// Certificate and key in one file, as the kubelet's own store has them.
fn pem(certificate: &str, key: &MachineKey) -> Result<Zeroizing<String>, Error> {
    let mut content = Zeroizing::new(String::with_capacity(16 * 1024));
    content.push_str(certificate);
    content.push_str(&key.to_sec1_pem()?);
    Ok(content)
}

/// The name under which a join that was interrupted has written this very certificate or was about to, else a new one.
fn pem_path(journal: &Journal, content: &[u8]) -> String {
    let is_dated = |path: &str| {
        let name = Path::new(path).strip_prefix(files::PKI_FOLDER).ok().and_then(Path::to_str);
        path != files::CLIENT_PEM && name.is_some_and(|name| name.starts_with("kubelet-client-"))
    };
    let ours = journal.state().before.iter().filter(|(path, was)| **was == Before::Absent && is_dated(path));
    let known = ours.map(|(path, _)| path).find(|path| journal.has(path, content, SECRET) || !journal.exists(path));
    known.cloned().unwrap_or_else(|| client_pem_path(&Zoned::now()).display().to_string())
}

/// The kubelet names the file by local time, to the second.
fn client_pem_path(now: &Zoned) -> PathBuf {
    Path::new(files::PKI_FOLDER).join(format!("kubelet-client-{}.pem", now.strftime("%Y-%m-%d-%H-%M-%S")))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;
    use k8s_openapi::jiff::tz::TimeZone;

    use super::*;

    #[test]
    fn the_file_is_named_as_the_kubelet_names_it() {
        let instant: Timestamp = "2026-11-24T09:35:42Z".parse().unwrap();
        let now = instant.to_zoned(TimeZone::UTC);
        let expected = Path::new("/var/lib/kubelet/pki/kubelet-client-2026-11-24-09-35-42.pem");
        assert_eq!(client_pem_path(&now), expected);
    }
}
