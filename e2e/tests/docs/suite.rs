//! What a reader of the documentation has: a cluster with a node, a machine, and a computer with the usual programs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use join_book::commands::Place;
use join_e2e::components::{Components, KubernetesMinor};
use join_e2e::first_node;
use join_e2e::helm;
use join_e2e::lab::command::{self, Printed};
use join_e2e::lab::{Lab, Machine, own_name};
use join_e2e::operator::Operator;
use libtest_mimic::Failed;
use tempfile::TempDir;

/// The node on which pods run before anything is followed.
pub const FIRST_NODE: &str = "first-node";
/// The machine that the quickstart joins.
pub const MACHINE: &str = "worker-1";
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
        first_node::join(&lab, &lab.add_machine(FIRST_NODE)?)?;
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
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../e2e").join(test);
        match Operator::installed(&self.lab, self.binaries.clone()).collect_logs(&folder) {
            Ok(()) => folder.display().to_string(),
            Err(failure) => format!("not all could be collected: {failure}"),
        }
    }
}

/// The folder with this project's own programs: that of the profile which the test was built with.
fn binaries() -> Result<PathBuf, Failed> {
    let program = std::env::current_exe()?;
    let folder = program.ancestors().nth(2).ok_or("the test's program is in no folder")?;
    if folder.join("kubectl-njr").is_file() {
        return Ok(folder.to_owned());
    }
    Err(format!("kubectl-njr is not in {}; `cargo xtask test` builds it", folder.display()).into())
}

/// The controller's image, as `cargo xtask test` builds it for the suites.
pub fn image_archive() -> Result<PathBuf, Failed> {
    let architecture = join_image::architecture(std::env::consts::ARCH).ok_or("no images for this processor")?;
    let name = join_image::controller::archive_name(env!("CARGO_PKG_VERSION"), &architecture);
    let archive = target().join("image/dev").join(name);
    let missing = || format!("{} is missing; `cargo xtask image --profile dev` builds it", archive.display());
    archive.is_file().then(|| archive.clone()).ok_or_else(|| missing().into())
}

/// The agent's Debian package, as `cargo xtask test` builds it for the suites.
pub fn package() -> Result<PathBuf, Failed> {
    let folder = target().join("package/dev");
    let files = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut packages = files.filter(|file| file.extension().is_some_and(|extension| extension == "deb"));
    let missing = || format!("no package is in {}; `cargo xtask package --profile dev` builds it", folder.display());
    packages.next().ok_or_else(|| missing().into())
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("..")
}
