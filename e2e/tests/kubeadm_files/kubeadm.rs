//! The real kubeadm, in a mount namespace where `/etc/kubernetes` is a folder of the test.

use std::path::{Path, PathBuf};
use std::process::Command;

use join_control_plane::{ClusterConfiguration, Content, File};
use join_e2e::lab::command;
use libtest_mimic::Failed;
use tempfile::TempDir;

use super::cases::Case;

const ETC: &str = "/etc/kubernetes";

/// What kubeadm finds in its environment and hands on to the pods.
pub const ENVIRONMENT: [(&str, &str); 4] = [
    ("https_proxy", "http://proxy.example.org:3128"),
    ("HTTPS_PROXY", "http://proxy.example.org:3128"),
    ("No_Proxy", "192.0.2.0/24,.example.org"),
    ("http_proxy", ""),
];

/// kubeadm and the files that it has made.
pub struct Kubeadm {
    program: PathBuf,
    etc: TempDir,
    /// kubeadm prepares the folder of etcd's data.
    etcd: TempDir,
}

impl Kubeadm {
    /// Prepares an empty `/etc/kubernetes` with the configuration in it.
    pub fn new(folder: &Path, case: &Case, configuration: &str) -> Result<Self, Failed> {
        let etc = tempfile::tempdir()?;
        std::fs::write(etc.path().join("kubeadm.yaml"), format!("{}{configuration}", case.init_configuration()))?;
        Ok(Self { program: folder.join("kubeadm"), etc, etcd: tempfile::tempdir()? })
    }

    /// Makes everything that is not there yet.
    pub fn make(&self, configuration: &ClusterConfiguration) -> Result<(), Failed> {
        let mut phases = vec![
            vec!["certs", "all"],
            vec!["kubeconfig", "admin"],
            vec!["kubeconfig", "controller-manager"],
            vec!["kubeconfig", "scheduler"],
            vec!["control-plane", "all"],
        ];
        if configuration.local_etcd().is_some() {
            phases.push(vec!["etcd", "local"]);
        }
        for phase in phases {
            let init = command::lab_init()?;
            let mut kubeadm = Command::new("unshare");
            kubeadm.env_clear().envs(ENVIRONMENT).envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
            kubeadm.args(["--mount", "--propagation", "private", "--"]).arg(init).arg("bind");
            for (source, place) in [(self.etc.path(), ETC), (self.etcd.path(), "/var/lib/etcd")] {
                kubeadm.arg("--bind").arg(format!("{}:{place}", source.display()));
            }
            kubeadm.arg("--").arg(&self.program).args(["init", "phase"]).args(phase);
            command::run(kubeadm.args(["--config", "/etc/kubernetes/kubeadm.yaml"]))?;
        }
        Ok(())
    }

    /// Where a file of `/etc/kubernetes` is for this program.
    pub fn outside(&self, path: &Path) -> PathBuf {
        self.etc.path().join(path.strip_prefix(ETC).unwrap_or(path))
    }

    /// A file that kubeadm has made.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>, Failed> {
        std::fs::read(self.outside(path)).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    /// The same as text.
    pub fn text(&self, path: &Path) -> Result<String, Failed> {
        Ok(String::from_utf8(self.read(path)?)?)
    }

    /// What a join gets from Secret kubeadm-certs.
    pub fn shared_files(&self, configuration: &ClusterConfiguration) -> Result<Vec<File>, Failed> {
        let folder = Path::new(&configuration.certificates_dir);
        let etcd = configuration.local_etcd().map(|_| "etcd/ca");
        let authorities = ["ca", "front-proxy-ca"].into_iter().chain(etcd);
        let paths = authorities.flat_map(|name| ["crt", "key"].map(|ending| folder.join(format!("{name}.{ending}"))));
        let read = |path: PathBuf| {
            let content = Content::from(self.text(&path)?);
            Ok(File { mode: 0o600, path, content })
        };
        paths.map(read).collect()
    }
}
