//! Folders and files of the host inside the static pods (kubeadm's `phases/controlplane/volumes.go`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use k8s_openapi::api::core::v1::{HostPathVolumeSource, Volume, VolumeMount};

use super::Host;
use crate::arguments::last;
use crate::configuration::{ClusterConfiguration, Etcd, ExternalEtcd, HostPathMount};

/// Where distributions keep the certificates that `/etc/ssl/certs` links to.
pub const CA_FOLDERS: [&str; 5] = [
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
];
const SSL_CERTS: &str = "/etc/ssl/certs";
const FOLDER: &str = "DirectoryOrCreate";
const FILE: &str = "FileOrCreate";

/// Volumes by name. A name that comes again replaces what was there, which is how an administrator changes kubeadm's own.
#[derive(Default)]
pub(super) struct Volumes(BTreeMap<String, HostPathMount>);

impl Volumes {
    fn add(&mut self, name: &str, path: &str, path_type: &str, read_only: bool) {
        let mount = HostPathMount {
            name: name.to_owned(),
            host_path: path.to_owned(),
            mount_path: path.to_owned(),
            read_only,
            path_type: path_type.to_owned(),
        };
        self.0.insert(mount.name.clone(), mount);
    }

    fn extend(mut self, extra: &[HostPathMount]) -> Self {
        self.0.extend(extra.iter().map(|mount| (mount.name.clone(), mount.clone())));
        self
    }

    pub(super) fn volumes(&self) -> Vec<Volume> {
        self.0.values().map(volume).collect()
    }

    pub(super) fn mounts(&self) -> Vec<VolumeMount> {
        self.0.values().map(volume_mount).collect()
    }
}

fn volume(mount: &HostPathMount) -> Volume {
    let source = HostPathVolumeSource { path: mount.host_path.clone(), type_: Some(mount.path_type.clone()) };
    Volume { name: mount.name.clone(), host_path: Some(source), ..Volume::default() }
}

fn volume_mount(mount: &HostPathMount) -> VolumeMount {
    VolumeMount {
        name: mount.name.clone(),
        mount_path: mount.mount_path.clone(),
        // Go writes no false.
        read_only: Some(mount.read_only).filter(|read_only| *read_only),
        ..VolumeMount::default()
    }
}

/// Certificates of the cluster and of the host, which kube-apiserver and kube-controller-manager have.
fn certificates(configuration: &ClusterConfiguration, host: &Host) -> Volumes {
    let mut volumes = Volumes::default();
    volumes.add("k8s-certs", &configuration.certificates_dir, FOLDER, true);
    volumes.add("ca-certs", SSL_CERTS, FOLDER, true);
    for folder in CA_FOLDERS.iter().filter(|folder| host.ca_folders.contains(**folder)) {
        volumes.add(&folder.replace('/', "-")[1..], folder, FOLDER, true);
    }
    volumes
}

pub(super) fn api_server(configuration: &ClusterConfiguration, host: &Host) -> Volumes {
    let mut volumes = certificates(configuration, host);
    if let Etcd::External(etcd) = &configuration.etcd {
        for (at, folder) in external_etcd(etcd, &configuration.certificates_dir).iter().enumerate() {
            volumes.add(&format!("etcd-certs-{at}"), folder, FOLDER, true);
        }
    }
    volumes.extend(&configuration.api_server.extra_volumes)
}

pub(super) fn controller_manager(configuration: &ClusterConfiguration, host: &Host, kubeconfig: &str) -> Volumes {
    let mut volumes = certificates(configuration, host);
    volumes.add("kubeconfig", kubeconfig, FILE, true);
    let component = &configuration.controller_manager;
    if configuration.version.minor().has_flex_volumes() {
        let default = "/usr/libexec/kubernetes/kubelet-plugins/volume/exec";
        let folder = last(&component.extra_args, "flex-volume-plugin-dir");
        let folder = folder.map_or(default, |argument| argument.value.as_str());
        // Plugins listen on sockets there.
        volumes.add("flexvolume-dir", folder, FOLDER, false);
    }
    volumes.extend(&component.extra_volumes)
}

pub(super) fn scheduler(configuration: &ClusterConfiguration, kubeconfig: &str) -> Volumes {
    let mut volumes = Volumes::default();
    volumes.add("kubeconfig", kubeconfig, FILE, true);
    volumes.extend(&configuration.scheduler.extra_volumes)
}

/// etcd's two folders, which it may write to.
pub(super) fn etcd(data_dir: &str, certificates_dir: &str) -> Volumes {
    let mut volumes = Volumes::default();
    volumes.add("etcd-data", data_dir, FOLDER, false);
    volumes.add("etcd-certs", &format!("{certificates_dir}/etcd"), FOLDER, false);
    volumes
}

/// The folders of an external etcd's certificates, without those that are mounted anyway and those below another. Like
/// kubeadm this compares texts: `/etc/etcd2` counts as below `/etc/etcd`.
fn external_etcd(etcd: &ExternalEtcd, certificates_dir: &str) -> BTreeSet<String> {
    let mounted = |folder: &str| {
        let mut there = CA_FOLDERS.iter().copied().chain([SSL_CERTS, certificates_dir]);
        there.any(|mounted| folder.starts_with(mounted))
    };
    let mut folders = BTreeSet::<String>::new();
    for path in [&etcd.ca_file, &etcd.cert_file, &etcd.key_file] {
        let Some(folder) = Path::new(path).parent().and_then(Path::to_str) else { continue };
        if mounted(folder) {
            continue;
        }
        let is_below_another = folders.iter().any(|there| folder.starts_with(there.as_str()) && folder != there);
        folders.retain(|there| !there.starts_with(folder));
        if !is_below_another {
            folders.insert(folder.to_owned());
        }
    }
    folders
}
