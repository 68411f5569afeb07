//! The control plane: `kubeadm init` phase by phase. The static pods that kubeadm writes are run as plain processes,
//! with exactly the command lines of their manifests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use rustix::process::{Pid, Signal, kill_process};

use super::error::{Error, at};
use super::layout::{API_PORT, CONTROL_PLANE, CONTROL_PLANE_MEMBER, POD_NETWORK};
use super::{Lab, cgroups, command, images, network, wait_until};

/// The processes of a control plane, in the order in which they are started.
pub const PROCESSES: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

impl Lab {
    pub(super) fn start_control_plane(&self) -> Result<(), Error> {
        let bridge = self.layout.bridge_namespace();
        self.record(|state| state.network_namespaces.push(bridge.clone()))?;
        network::create_namespace(&bridge)?;
        network::create_bridge(&self.layout)?;
        self.add_member(CONTROL_PLANE_MEMBER)?;
        network::connect_member(&self.layout, CONTROL_PLANE_MEMBER, "port-cp", CONTROL_PLANE)?;
        self.prepare_folders()?;
        for phase in [&["certs", "all"][..], &["kubeconfig", "all"], &["control-plane", "all"], &["etcd", "local"]] {
            self.kubeadm_init_phase(phase)?;
        }
        for process in PROCESSES {
            self.start_process(process, &[])?;
        }
        self.wait_for_api_server()?;
        for phase in [&["upload-config", "all"][..], &["upload-certs", "--upload-certs"], &["bootstrap-token"]] {
            self.kubeadm_init_phase(phase)?;
        }
        self.prepare_kube_proxy()
    }

    fn prepare_folders(&self) -> Result<(), Error> {
        let (etc, etcd) = (self.layout.control_plane_etc(), self.layout.etcd_data());
        for folder in [&etc, &etcd] {
            fs::create_dir_all(folder).map_err(at(folder))?;
        }
        mount_memory(&etcd)?;
        let configuration = etc.join("kubeadm.yaml");
        fs::write(&configuration, self.kubeadm_configuration()).map_err(at(configuration))?;
        let policy = etc.join("audit-policy.yaml");
        fs::write(&policy, AUDIT_POLICY).map_err(at(policy))?;
        for (image, name) in [(images::PAUSE, "pause"), (images::POD, "pod")] {
            images::write_archive(&self.image_archive(name), image, &self.components.pod.join("pod"), name)?;
        }
        Ok(())
    }

    /// The archive of one of the lab's images.
    pub(super) fn image_archive(&self, name: &str) -> PathBuf {
        self.layout.folder().join(format!("{name}.tar"))
    }

    /// The configuration of `kubeadm init`. Everything that is not named here has kubeadm's default.
    ///
    /// The volumes are for kube-apiservers in pods, those of machines that join as control planes. Their log is outside
    /// /etc/kubernetes, which can then be compared with another machine's.
    ///
    /// The machines share the host's disk, so the kubelet's shares of it would evict the lab's pods on every host whose
    /// disk is 85 % full, whatever the lab does.
    fn kubeadm_configuration(&self) -> String {
        format!(
            "\
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {{advertiseAddress: {CONTROL_PLANE}, bindPort: {API_PORT}}}
nodeRegistration: {{name: {CONTROL_PLANE_MEMBER}, criSocket: unix:///run/containerd/containerd.sock}}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: {version}
clusterName: lab
controlPlaneEndpoint: {CONTROL_PLANE}:{API_PORT}
networking: {{podSubnet: {POD_NETWORK}}}
apiServer:
  extraArgs:
  - {{name: audit-policy-file, value: {AUDIT_POLICY_PLACE}}}
  - {{name: audit-log-path, value: /etc/kubernetes/audit.log}}
  extraVolumes:
  - {{name: audit-policy, hostPath: {AUDIT_POLICY_PLACE}, mountPath: {AUDIT_POLICY_PLACE}, pathType: File, readOnly: true}}
  - {{name: audit-log, hostPath: /var/log/audit.log, mountPath: /etc/kubernetes/audit.log, pathType: FileOrCreate}}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: {fail}
serverTLSBootstrap: true
evictionHard: {{nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%, memory.available: 100Mi}}
imageGCHighThresholdPercent: 100
",
            version = self.components.kubernetes_version,
            // kubelet 1.35 and later refuse a host with cgroup v1 unless told otherwise.
            fail = !cgroups::has_v1(),
        )
    }

    fn kubeadm_init_phase(&self, phase: &[&str]) -> Result<(), Error> {
        self.kubeadm(&[&["init", "phase"], phase].concat()).map(drop)
    }

    /// Runs a subcommand of kubeadm's that reads the configuration of `kubeadm init`; returns what it printed.
    pub(super) fn kubeadm(&self, subcommand: &[&str]) -> Result<String, Error> {
        let mut kubeadm = self.control_plane_command(&self.components.kubernetes.join("kubeadm"))?;
        kubeadm.args(subcommand).args(["--config", "/etc/kubernetes/kubeadm.yaml"]);
        Ok(command::run(&mut kubeadm)?.stdout)
    }

    /// A command in the control plane's namespaces. A relative program is looked for in PATH.
    pub fn control_plane_command(&self, program: &Path) -> Result<Command, Error> {
        let binds = [
            (self.layout.control_plane_etc(), PathBuf::from("/etc/kubernetes")),
            (self.layout.etcd_data(), PathBuf::from("/var/lib/etcd")),
        ];
        let inside = command::Inside {
            cgroup: self.layout.cgroup(CONTROL_PLANE_MEMBER),
            network_namespace: self.layout.network_namespace(CONTROL_PLANE_MEMBER),
            binds: &binds,
        };
        inside.command(program).map_err(at(program))
    }

    /// A `kubectl` with the administrator's rights.
    pub fn kubectl(&self) -> Result<Command, Error> {
        let mut kubectl = self.control_plane_command(&self.components.kubernetes.join("kubectl"))?;
        kubectl.env("KUBECONFIG", "/etc/kubernetes/admin.conf");
        Ok(kubectl)
    }

    /// Runs `kubectl` and returns what it printed.
    pub fn kubectl_output(&self, arguments: &[&str]) -> Result<String, Error> {
        Ok(command::run(self.kubectl()?.args(arguments))?.stdout)
    }

    fn manifest_file(&self, process: &str) -> PathBuf {
        self.layout.control_plane_etc().join(format!("manifests/{process}.yaml"))
    }

    /// The static pod that kubeadm wrote for a process.
    pub(super) fn manifest(&self, process: &str) -> Result<Pod, Error> {
        let path = self.manifest_file(process);
        let text = fs::read_to_string(&path).map_err(at(&path))?;
        serde_saphyr::from_str(&text).map_err(|failure| Error::Manifest { path, reason: failure.to_string() })
    }

    /// The command line that kubeadm wrote into a static pod's manifest.
    fn manifest_command(&self, process: &str) -> Result<Vec<String>, Error> {
        let no_command = || Error::Manifest {
            path: self.manifest_file(process),
            reason: "it has no container with a command".to_owned(),
        };
        let container = self.manifest(process)?.spec.and_then(|spec| spec.containers.into_iter().next());
        container.and_then(|one| one.command).filter(|command| !command.is_empty()).ok_or_else(no_command)
    }

    /// Starts a process of the control plane with its manifest's arguments. Each of `overrides` replaces the argument
    /// of the same flag, for example `--controllers=*`.
    pub fn start_process(&self, process: &str, overrides: &[&str]) -> Result<(), Error> {
        let mut arguments = self.manifest_command(process)?;
        arguments.remove(0);
        for replacement in overrides {
            let flag = replacement.split('=').next().unwrap_or(replacement);
            arguments.retain(|argument| argument.split('=').next() != Some(flag));
            arguments.push((*replacement).to_owned());
        }
        let folder = if process == "etcd" { &self.components.etcd } else { &self.components.kubernetes };
        let mut command = self.control_plane_command(&folder.join(process))?;
        command.args(arguments);
        self.spawn(process, command).map(drop)
    }

    /// Starts any command in the background under a name, its output in the log of that name. Returns its process id.
    pub fn spawn(&self, process: &str, mut command: Command) -> Result<i32, Error> {
        let path = self.log_file(process);
        let log = fs::OpenOptions::new().create(true).append(true).open(&path).map_err(at(&path))?;
        let errors = log.try_clone().map_err(at(&path))?;
        // A process group of its own, so that Ctrl-C on the terminal reaches only the program that owns the lab,
        // which then removes the lab in order.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().map_err(at(path))?;
        let id = i32::try_from(child.id()).unwrap_or_default();
        self.children().insert(process.to_owned(), child);
        self.record(|state| {
            state.processes.insert(process.to_owned(), id);
        })?;
        Ok(id)
    }

    /// Whether a process that this program started has ended, by itself or by a signal.
    pub fn has_ended(&self, process: &str) -> bool {
        // Asking reaps it, so that none stays behind as a zombie when it is started again.
        self.children().get_mut(process).is_none_or(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// The log of a process, or of a machine's console.
    pub fn log_file(&self, process: &str) -> PathBuf {
        self.layout.log_file(process)
    }

    /// The host's id of a process that [`Lab::spawn`] started.
    pub fn process_id(&self, process: &str) -> Result<Pid, Error> {
        let missing = || Error::NoProcess { lab: self.layout.name().to_owned(), process: process.to_owned() };
        let id = *self.state().processes.get(process).ok_or_else(missing)?;
        // An id can be another process's by now, unless the process is still in the lab's cgroup.
        let alive = cgroups::processes(&self.layout.cgroup_root()).contains(&id);
        Pid::from_raw(id).filter(|_| alive).ok_or_else(missing)
    }

    /// Sends a signal to a process: SIGSTOP and SIGCONT make it hang and go on.
    pub fn signal_process(&self, process: &str, signal: Signal) -> Result<(), Error> {
        kill_process(self.process_id(process)?, signal).map_err(|failure| at(process)(failure.into()))
    }

    /// Kills a process and waits until it has ended.
    pub fn kill_process(&self, process: &str) -> Result<(), Error> {
        self.signal_process(process, Signal::KILL)?;
        if let Some(mut child) = self.children().remove(process) {
            child.wait().map_err(at(process))?;
        }
        wait_until(&format!("{process} to end"), Duration::from_secs(10), || match self.process_id(process) {
            Ok(id) => Err(format!("process {id:?} is there")),
            Err(_) => Ok(()),
        })?;
        self.record(|state| {
            state.processes.remove(process);
        })
    }

    /// Waits until the API server says that it is ready.
    pub fn wait_for_api_server(&self) -> Result<(), Error> {
        wait_until("the API server to be ready", Duration::from_mins(1), || {
            self.kubectl_output(&["get", "--raw", "/readyz"]).map(drop).map_err(|failure| failure.to_string())
        })
    }

    /// Waits until kube-controller-manager works: a few seconds after it was started it signs nothing yet.
    pub fn wait_for_controller_manager(&self) -> Result<(), Error> {
        // What its controllers make first in every namespace.
        wait_until("kube-controller-manager to work", Duration::from_mins(1), || {
            let account = ["get", "serviceaccount", "default", "--namespace", "default"];
            self.kubectl_output(&account).map(drop).map_err(|failure| failure.to_string())
        })
    }

    /// Gives kube-proxy, which runs as a unit on every machine, an identity and a configuration.
    fn prepare_kube_proxy(&self) -> Result<(), Error> {
        let account = ["--namespace", "kube-system", "kube-proxy"];
        self.kubectl_output(&[&["create", "serviceaccount"], &account[..]].concat())?;
        self.kubectl_output(&[
            "create",
            "clusterrolebinding",
            "lab:kube-proxy",
            "--clusterrole=system:node-proxier",
            "--serviceaccount=kube-system:kube-proxy",
        ])?;
        let token = self.kubectl_output(&[&["create", "token", "--duration=24h"], &account[..]].concat())?;
        self.write_kubeconfig(&self.layout.folder().join("kube-proxy.conf"), token.trim())
    }

    /// Writes a kubeconfig that authenticates with a bearer token.
    pub fn write_kubeconfig(&self, path: &Path, token: &str) -> Result<(), Error> {
        let bundle = self.layout.control_plane_etc().join("pki/ca.crt");
        let bundle = fs::read_to_string(&bundle).map_err(at(&bundle))?;
        let kubeconfig = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [{"name": "lab", "cluster": {
                "server": format!("https://{CONTROL_PLANE}:{API_PORT}"),
                "certificate-authority-data": k8s_openapi::ByteString(bundle.into_bytes()),
            }}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "user"}}],
        });
        fs::write(path, kubeconfig.to_string()).map_err(at(path))
    }
}

/// Mounts a file system in memory.
pub(super) fn mount_memory(place: &Path) -> Result<(), Error> {
    rustix::mount::mount("tmpfs", place, "tmpfs", rustix::mount::MountFlags::empty(), None)
        .map_err(|failure| at(place)(failure.into()))
}

/// Where a kube-apiserver finds the policy of its audit log: each machine of a control plane has it before it joins.
pub(super) const AUDIT_POLICY_PLACE: &str = "/etc/kubernetes/audit-policy.yaml";
/// The policy of the documentation: whoever applies it sees what the tests see.
pub(super) const AUDIT_POLICY: &str = include_str!("../../../docs/audit-policy.yaml");
