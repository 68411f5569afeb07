//! What a reader of the documentation has: a cluster with a node, a machine, and a computer with the usual programs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use join_book::commands::Place;
use join_e2e::components::{Components, KubernetesMinor};
use join_e2e::helm;
use join_e2e::kubeadm;
use join_e2e::lab::command::{self, Printed};
use join_e2e::lab::{Lab, Machine, own_name};
use join_e2e::operator::Operator;
use join_e2e::suite::{binaries, keep_logs};
use libtest_mimic::Failed;
use tempfile::TempDir;

/// The node on which pods run before anything is followed.
pub const FIRST_NODE: &str = "first-node";
/// The machine that the quickstart joins.
pub const MACHINE: &str = "worker-1";
/// How long a program may take to start.
pub const PATIENCE: Duration = Duration::from_mins(1);
/// The folder in which root works on a machine.
const HOME: &str = "/root";

pub struct Suite {
    lab: Box<Lab>,
    binaries: PathBuf,
    /// The folder in which the administrator works: what of the clone the pages name.
    desk: TempDir,
}

impl Suite {
    pub fn start() -> Result<Self, Failed> {
        let binaries = binaries()?;
        let components = Components::build(KubernetesMinor::V1_37)?;
        let lab = Box::new(Lab::start(&own_name("t-docs")?, KubernetesMinor::V1_37, components)?);
        kubeadm::join_first_node(&lab, &lab.add_machine(FIRST_NODE)?)?;
        lab.add_machine(MACHINE)?;
        let desk = tempfile::tempdir()?;
        for name in ["charts", "docs", "examples"] {
            symlink(join_book::repository().join(name), desk.path().join(name))?;
        }
        Ok(Self { lab, binaries, desk })
    }

    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    pub fn machine(&self, name: &str) -> Result<Machine<'_>, Failed> {
        Ok(self.lab.machine(name)?)
    }

    /// The folder with this project's own programs.
    pub fn binaries(&self) -> &Path {
        &self.binaries
    }

    /// A file of the administrator's folder.
    pub fn desk(&self, file: &str) -> PathBuf {
        self.desk.path().join(file)
    }

    /// Copies a file into root's folder on a machine, under its own name.
    pub fn carry(&self, file: &Path, machine: &str) -> Result<(), Failed> {
        let name = file.file_name().ok_or("a file without a name")?;
        let place = self.machine(machine)?.path(HOME)?.join(name);
        fs::copy(file, &place).map_err(|failure| format!("copying {} to {machine}: {failure}", file.display()))?;
        Ok(())
    }

    /// Runs a script as it stands, at the place where the reader would, and stops at the first command that fails.
    pub fn shell(&self, place: Place, machine: &str, script: &str) -> Result<Printed, Failed> {
        let mut shell = match place {
            Place::Administrator => {
                let mut shell = self.lab.control_plane_command(Path::new("bash"))?;
                let components = self.lab.components();
                let folders = [&components.helm, &components.kubernetes, &self.binaries];
                let folders = folders.map(|folder| folder.display().to_string()).join(":");
                helm::at_home(&mut shell, &self.lab.layout().folder().join("helm"));
                shell.current_dir(self.desk.path());
                shell.env("PATH", format!("{folders}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
                shell.env("KUBECONFIG", "/etc/kubernetes/admin.conf");
                shell.args(["-euo", "pipefail", "-c", script]);
                shell
            }
            Place::Machine => {
                let mut shell = self.machine(machine)?.command("bash")?;
                shell.args(["-euo", "pipefail", "-c", &format!("cd {HOME}\n{script}")]);
                shell
            }
        };
        Ok(command::run(shell.stdin(std::process::Stdio::null()))?)
    }

    /// Keeps everything that tells what happened; returns where.
    pub fn collect_logs(&self, test: &str) -> String {
        keep_logs(&Operator::installed(&self.lab, self.binaries.clone()), test)
    }
}
