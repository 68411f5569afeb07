//! Running programs: the host's own tools, and processes inside a lab.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A program that could not be started or that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program is missing or may not be executed.
    #[error("failed to start `{command}`: {source}")]
    Start { command: String, source: std::io::Error },
    /// The program ended with a failure.
    #[error("`{command}` failed ({status}): {output}")]
    Failed { command: String, status: std::process::ExitStatus, output: String },
}

/// What a program printed; both streams as text, invalid UTF-8 replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Printed {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs a command to its end and returns what it printed; a failure carries its output.
pub fn run(command: &mut Command) -> Result<Printed, Error> {
    let output = output(command)?;
    let printed = Printed {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    if output.status.success() {
        Ok(printed)
    } else {
        Err(Error::Failed {
            command: describe(command),
            status: output.status,
            output: format!("{}{}", printed.stdout, printed.stderr).trim().to_owned(),
        })
    }
}

/// Runs a command to its end, whether it succeeds or not.
pub fn output(command: &mut Command) -> Result<Output, Error> {
    command.stdin(Stdio::null()).output().map_err(|source| Error::Start { command: describe(command), source })
}

/// The command as a person would type it, without the environment.
pub fn describe(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Where `lab-init` is: the small program that enters a lab's cgroups and namespaces before the real one starts.
///
/// Beside the running program, or one folder up when that is a test, whose program cargo puts into `deps`.
pub fn lab_init() -> std::io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let candidates = program.ancestors().skip(1).take(2).map(|folder| folder.join("lab-init"));
    candidates.into_iter().find(|candidate| candidate.is_file()).ok_or_else(|| {
        std::io::Error::other(format!(
            "lab-init is not beside {}; build it with `cargo build --package join-e2e`",
            program.display()
        ))
    })
}

/// A command that runs `program` in a cgroup and a network namespace, with some folders replaced by others.
pub struct Inside<'a> {
    /// The cgroup, relative to each hierarchy.
    pub cgroup: String,
    /// The network namespace's name.
    pub network_namespace: String,
    /// Folders to show in another's place: (source, place).
    pub binds: &'a [(PathBuf, PathBuf)],
}

impl Inside<'_> {
    /// The command that runs `program` inside. Its process id stays that of the spawned process: every wrapper on the
    /// way replaces itself by the next.
    pub fn command(&self, program: impl AsRef<Path>) -> std::io::Result<Command> {
        let init = lab_init()?;
        let mut command = Command::new(&init);
        command.arg("enter").args(["--cgroup", &self.cgroup]).args(["--network-namespace", &self.network_namespace]);
        if !self.binds.is_empty() {
            command.arg("--").args(["unshare", "--mount", "--propagation", "private", "--"]).arg(&init).arg("bind");
            for (source, place) in self.binds {
                command.arg("--bind").arg(format!("{}:{}", source.display(), place.display()));
            }
        }
        command.arg("--").arg(program.as_ref());
        Ok(command)
    }
}
