//! join-operator in a lab: its chart, controllers with their own ServiceAccount's rights, and agents as units.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use join_trust::pin::PublicKeyPin;
use join_trust::token::BootstrapToken;

use crate::helm;
use crate::lab::command::{self, Error as CommandError};
use crate::lab::layout::{API_PORT, CONTROL_PLANE};
use crate::lab::{self, Lab, Machine};

/// The namespace of the operator's own objects.
pub const NAMESPACE: &str = "join-system";
/// The controller's ServiceAccount.
const SERVICE_ACCOUNT: &str = "join-controller";

/// Why the operator could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lab refused.
    #[error(transparent)]
    Lab(#[from] lab::Error),
    /// A program failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A file could not be read or written.
    #[error("failed to access {path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    /// A token could not be made.
    #[error(transparent)]
    Token(#[from] join_trust::token::TokenError),
    /// The cluster's CA could not be read.
    #[error("failed to compute the pin of {path}: {reason}")]
    Pin { path: PathBuf, reason: String },
}

fn at(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.into();
    move |source| Error::Io { path, source }
}

/// What a machine's agent needs to find the cluster and to announce the machine.
pub struct Enrollment {
    token: BootstrapToken,
    pin: String,
}

impl Enrollment {
    /// The token itself, for tests that play a thief.
    pub fn token(&self) -> String {
        self.token.expose().to_string()
    }
}

/// join-operator, installed in a lab.
pub struct Operator<'a> {
    lab: &'a Lab,
    binaries: PathBuf,
}

impl<'a> Operator<'a> {
    /// Installs the chart without its Deployment's pods, so that controllers can be started, stopped and crashed as
    /// processes. `binaries` is the folder with join-controller, join-agent and
    /// kubectl-njr.
    pub fn install(lab: &'a Lab, binaries: PathBuf) -> Result<Self, Error> {
        helm::install(lab, &["--set=replicaCount=0"])?;
        lab.kubectl_output(&["wait", "--for=condition=Established", "crd/nodejoinrequests.nodejoin.dev"])?;
        Ok(Self::installed(lab, binaries))
    }

    /// The operator of a lab in which [`Operator::install`] has been called before.
    pub fn installed(lab: &'a Lab, binaries: PathBuf) -> Self {
        Self { lab, binaries }
    }

    /// The lab that the operator is installed in.
    pub fn lab(&self) -> &Lab {
        self.lab
    }

    /// Starts a controller with its ServiceAccount's rights, as a process of the control plane of that name.
    pub fn start_controller(&self, replica: &str, arguments: &[&str]) -> Result<(), Error> {
        let kubeconfig = self.controller_kubeconfig(replica);
        let account = ["create", "token", SERVICE_ACCOUNT, "--namespace", NAMESPACE, "--duration=24h"];
        let token = self.lab.kubectl_output(&account)?;
        self.lab.write_kubeconfig(&kubeconfig, token.trim())?;
        let controller = self.lab.control_plane_command(&self.binaries.join("join-controller"))?;
        self.spawn_controller(replica, controller, arguments)
    }

    /// Starts a controller that ended as if so much time had passed, for example `+3600s`: its clock is off, and it believes
    /// its clock.
    pub fn restart_controller_later(&self, replica: &str, later: &str) -> Result<(), Error> {
        self.restart(replica, Some(later), &["--own-clock"])
    }

    /// Starts a controller that ended, with the rights that it had, and without the API server's help. With `clock`, for
    /// example `+3600s`, its clock is off by that much.
    pub fn restart_controller(&self, replica: &str, clock: Option<&str>) -> Result<(), Error> {
        self.restart(replica, clock, &[])
    }

    fn restart(&self, replica: &str, clock: Option<&str>, arguments: &[&str]) -> Result<(), Error> {
        let program = self.binaries.join("join-controller");
        let controller = match clock {
            None => self.lab.control_plane_command(&program)?,
            Some(offset) => {
                // `faketime` itself knows where this host keeps its library, but it stays as a parent, which would be
                // killed in the controller's stead.
                let mut faketime = self.lab.control_plane_command(Path::new("faketime"))?;
                let library = command::run(faketime.args(["-f", offset, "sh", "-c", "echo $LD_PRELOAD"]))?.stdout;
                let mut deceived = self.lab.control_plane_command(Path::new("env"))?;
                let preload = format!("LD_PRELOAD={}", library.trim());
                deceived.arg(preload).arg(format!("FAKETIME={offset}")).arg(program);
                deceived
            }
        };
        self.spawn_controller(replica, controller, arguments)
    }

    fn spawn_controller(&self, replica: &str, mut controller: Command, arguments: &[&str]) -> Result<(), Error> {
        controller.arg("--kubeconfig").arg(self.controller_kubeconfig(replica));
        controller.args(["--namespace", NAMESPACE, "--identity", replica, "--metrics-secure=false"]).args(arguments);
        self.lab.spawn(replica, controller)?;
        Ok(())
    }

    fn controller_kubeconfig(&self, replica: &str) -> PathBuf {
        self.lab.layout().folder().join(format!("{replica}.conf"))
    }

    /// Makes an enrollment token that is valid for a day, as an administrator does it.
    pub fn enroll(&self) -> Result<Enrollment, Error> {
        let token = BootstrapToken::parse(self.njr(&["enroll", "--print-token"])?.trim())?;
        Ok(Enrollment { token, pin: self.ca_pin()? })
    }

    /// The pin of the cluster's CA, as `kubeadm token create --print-join-command` prints it.
    pub fn ca_pin(&self) -> Result<String, Error> {
        let path = self.lab.layout().control_plane_etc().join("pki/ca.crt");
        let text = fs::read(&path).map_err(at(&path))?;
        let reason = |reason: String| Error::Pin { path: path.clone(), reason };
        let block = pem::parse(text).map_err(|failure| reason(failure.to_string()))?;
        let pin = PublicKeyPin::of_certificate(block.contents()).map_err(|failure| reason(failure.to_string()))?;
        Ok(pin.to_string())
    }

    /// Applies objects, as an administrator does.
    pub fn apply(&self, objects: &str) -> Result<String, Error> {
        let file = tempfile::NamedTempFile::new_in(self.lab.layout().folder()).map_err(at("a temporary file"))?;
        fs::write(file.path(), objects).map_err(at(file.path()))?;
        let path = file.path().display().to_string();
        Ok(self.lab.kubectl_output(&["apply", "--filename", &path])?)
    }

    /// Installs the agent on a machine as its package does, with a configuration, and starts it.
    pub fn install_agent(&self, machine: &Machine<'_>, enrollment: &Enrollment) -> Result<(), Error> {
        self.prepare_agent(machine, &agent_configuration(machine.name(), enrollment))?;
        machine.run(&["systemctl", "enable", "--now", "join-agent.service"])?;
        Ok(())
    }

    /// Puts the agent's program and its unit onto a machine.
    pub fn copy_agent(&self, machine: &Machine<'_>) -> Result<(), Error> {
        let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../node-agent/packaging");
        for (source, place) in [
            (self.binaries.join("join-agent"), "/usr/bin/join-agent"),
            (packaging.join("join-agent.service"), "/etc/systemd/system/join-agent.service"),
        ] {
            let place = machine.path(place)?;
            fs::copy(&source, &place).map_err(at(source))?;
        }
        Ok(())
    }

    /// Installs the agent on a machine without starting it.
    pub fn prepare_agent(&self, machine: &Machine<'_>, configuration: &str) -> Result<(), Error> {
        self.copy_agent(machine)?;
        let file = machine.path("/etc/join-agent/config.yaml")?;
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).map_err(at(folder))?;
        }
        fs::write(&file, configuration).map_err(at(&file))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).map_err(at(&file))?;
        machine.run(&["systemctl", "daemon-reload"])?;
        Ok(())
    }

    /// What the agent on a machine says of itself, for a person.
    pub fn agent_status(&self, machine: &Machine<'_>) -> String {
        machine.run(&["join-agent", "status"]).map_or_else(|failure| failure.to_string(), |printed| printed.stdout)
    }

    /// Runs `kubectl njr` as an administrator and returns what it printed; what it says of a failure is in the error.
    pub fn njr(&self, arguments: &[&str]) -> Result<String, Error> {
        let mut njr = self.lab.control_plane_command(&self.binaries.join("kubectl-njr"))?;
        njr.args(arguments).env("KUBECONFIG", "/etc/kubernetes/admin.conf");
        Ok(command::run(&mut njr)?.stdout)
    }

    /// Runs `kubectl` and returns what it printed.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, Error> {
        Ok(self.lab.kubectl_output(arguments)?)
    }

    /// Copies every log that tells what happened into `folder`.
    pub fn collect_logs(&self, folder: &Path) -> Result<(), Error> {
        fs::create_dir_all(folder).map_err(at(folder))?;
        for entry in fs::read_dir(self.lab.layout().logs()).map_err(at(self.lab.layout().logs()))?.flatten() {
            fs::copy(entry.path(), folder.join(entry.file_name())).map_err(at(entry.path()))?;
        }
        for name in self.lab.machine_names() {
            let machine = self.lab.machine(&name)?;
            for (what, command) in [
                ("journal", &["journalctl", "--no-pager"][..]),
                ("pods", &["sh", "-c", "tail --lines=+1 --verbose /var/log/pods/*/*/*.log"]),
            ] {
                let path = folder.join(format!("{name}-{what}.log"));
                // A machine that is down, or has no pods, has nothing to show; the rest is still worth having.
                let said = machine.run(command).map_or_else(|error| error.to_string(), |printed| printed.stdout);
                fs::write(&path, said).map_err(at(path))?;
            }
        }
        for (file, arguments) in [
            ("requests.yaml", &["get", "njr", "--output=yaml"][..]),
            ("requests-described.txt", &["describe", "njr"]),
            ("csrs.yaml", &["get", "csr", "--output=yaml"]),
            ("events.txt", &["get", "events", "--all-namespaces"]),
            ("nodes.yaml", &["get", "nodes", "--output=yaml"]),
        ] {
            let path = folder.join(file);
            let text = command::run(self.lab.kubectl()?.args(arguments)).map_or_else(|e| e.to_string(), |p| p.stdout);
            fs::write(&path, text).map_err(at(path))?;
        }
        Ok(())
    }
}

/// The agent's configuration file.
pub fn agent_configuration(node_name: &str, enrollment: &Enrollment) -> String {
    serde_json::json!({
        "apiVersion": "agent.nodejoin.dev/v1alpha1",
        "kind": "AgentConfiguration",
        "nodeName": node_name,
        "discovery": {"bootstrapToken": {
            "apiServerEndpoint": format!("{CONTROL_PLANE}:{API_PORT}"),
            "token": enrollment.token.expose().as_str(),
            "caCertHashes": [enrollment.pin],
        }},
    })
    .to_string()
}
