//! A machine of the lab: systemd as PID 1 on a root of its own, ready to join.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::mount::{MountFlags, mount_remount};
use rustix::process::{Pid, Signal, kill_process};

use super::control_plane::mount_memory;
use super::error::{Error, at};
use super::layout::{CONTROL_PLANE, CONTROL_PLANE_MEMBER, MachineCgroups, machine_address, pod_subnet};
use super::machine_root::{Content, MachineRoot};
use super::state::MachineState;
use super::{Lab, cgroups, command, network, wait_until};
use crate::components::Components;

/// A handle on one machine of a lab.
#[derive(Clone)]
pub struct Machine<'a> {
    lab: &'a Lab,
    name: String,
}

impl Lab {
    /// Makes a machine and boots it. Returns when its systemd is up, containerd serves and the lab's images are in.
    ///
    /// # Errors
    /// When a machine of that name exists or it does not come up.
    pub fn add_machine(&self, name: &str) -> Result<Machine<'_>, Error> {
        let taken = |state| Error::Machine { lab: self.layout.name().to_owned(), machine: name.to_owned(), state };
        if self.state().machines.contains_key(name) || name == CONTROL_PLANE_MEMBER || name == "bridge" {
            return Err(taken("there already"));
        }
        let used: Vec<u8> = self.state().machines.values().map(|machine| machine.index).collect();
        let index = (0..200).find(|index| !used.contains(index)).ok_or_else(|| taken("one too many"))?;
        self.record(|state| {
            state.machines.insert(name.to_owned(), MachineState { index, init: None });
        })?;
        self.add_member(name)?;
        let machine = Machine::new(self, name);
        network::connect_member(&self.layout, name, &machine.port(), machine.address())?;
        network::route_pods(&self.layout, &pod_subnet(index), machine.address())?;
        machine.prepare()?;
        machine.power_on()?;
        machine.import_images()?;
        Ok(machine)
    }
}

impl<'a> Machine<'a> {
    pub(super) fn new(lab: &'a Lab, name: &str) -> Self {
        Self { lab, name: name.to_owned() }
    }

    /// The machine's host name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The machine's address in the lab.
    pub fn address(&self) -> Ipv4Addr {
        machine_address(self.index())
    }

    fn index(&self) -> u8 {
        self.lab.state().machines.get(&self.name).map_or(0, |machine| machine.index)
    }

    fn folder(&self) -> PathBuf {
        self.lab.layout.machine(&self.name)
    }

    /// The interface of the bridge that this machine hangs on.
    fn port(&self) -> String {
        format!("port-{}", self.index())
    }

    fn prepare(&self) -> Result<(), Error> {
        let folder = self.folder();
        let images = folder.join("containerd");
        let (disk, root) = (folder.join("disk"), folder.join("root"));
        for folder in [&images, &disk, &root] {
            fs::create_dir_all(folder).map_err(at(folder))?;
        }
        mount_memory(&disk)?;
        let cache = Components::cache_folder().join("components");
        let description = MachineRoot {
            hostname: self.name.clone(),
            root,
            disk,
            binds: vec![(cache, PathBuf::from(COMPONENTS)), (images, PathBuf::from("/var/lib/containerd"))],
            files: self.files()?,
        };
        let path = folder.join("machine.json");
        fs::write(&path, serde_json::to_vec_pretty(&description).map_err(|failure| at(&path)(failure.into()))?)
            .map_err(at(&path))
    }

    /// The files that make a prepared Debian host out of the overlay: what a kubeadm user installs before joining.
    fn files(&self) -> Result<BTreeMap<PathBuf, Content>, Error> {
        let components = &self.lab.components;
        let (name, address) = (&self.name, self.address());
        let mut files = BTreeMap::new();
        let mut text = |path: &str, content: String| files.insert(PathBuf::from(path), Content::Text(content));
        text("/etc/hostname", format!("{name}\n"));
        text("/etc/hosts", format!("127.0.0.1 localhost\n{address} {name}\n{CONTROL_PLANE} {CONTROL_PLANE_MEMBER}\n"));
        text("/etc/resolv.conf", "# The lab has no name server.\n".to_owned());
        // 32 hexadecimal digits that differ between machines and are the same at each boot.
        let machine_id: String = name.bytes().map(|byte| format!("{byte:02x}")).chain(["0".repeat(32)]).collect();
        text("/etc/machine-id", format!("{}\n", &machine_id[..32]));
        let units = "/etc/systemd/system";
        text(&format!("{units}/containerd.service"), include_str!("../../machine/containerd.service").to_owned());
        text(&format!("{units}/kubelet.service"), include_str!("../../machine/kubelet.service").to_owned());
        text(
            &format!("{units}/kubelet.service.d/10-kubeadm.conf"),
            include_str!("../../machine/10-kubeadm.conf").to_owned(),
        );
        text(&format!("{units}/kube-proxy.service"), include_str!("../../machine/kube-proxy.service").to_owned());
        text(&format!("{units}/lab.target"), include_str!("../../machine/lab.target").to_owned());
        text("/etc/containerd/config.toml", include_str!("../../machine/containerd.toml").to_owned());
        text("/etc/cni/net.d/10-lab.conflist", cni_configuration(&pod_subnet(self.index())).to_string());
        let kube_proxy = self.lab.layout.folder().join("kube-proxy.conf");
        text("/var/lib/kube-proxy/kubeconfig.conf", fs::read_to_string(&kube_proxy).map_err(at(&kube_proxy))?);
        text("/var/lib/kube-proxy/config.conf", kube_proxy_configuration(name));

        let mut link = |path: &str, target: PathBuf| files.insert(PathBuf::from(path), Content::Link(target));
        for program in ["kubelet", "kubeadm", "kubectl", "kube-proxy"] {
            link(&format!("/usr/bin/{program}"), installed(&components.kubernetes).join(program));
        }
        for program in ["containerd", "ctr", "containerd-shim-runc-v2"] {
            link(&format!("/usr/bin/{program}"), installed(&components.containerd).join(program));
        }
        link("/opt/cni/bin", installed(&components.cni_plugins));
        link(&format!("{units}/default.target"), PathBuf::from("lab.target"));
        link(&format!("{units}/multi-user.target.wants/kubelet.service"), PathBuf::from("../kubelet.service"));
        Ok(files)
    }

    /// Boots the machine. Its disk is what it was at the last power-off.
    pub fn power_on(&self) -> Result<(), Error> {
        let cgroups = self.renew_cgroups()?;
        let init = command::lab_init().map_err(at("lab-init"))?;
        let inside = command::Inside {
            cgroup: cgroups.starter,
            network_namespace: self.lab.layout.network_namespace(&self.name),
            binds: &[],
        };
        let mut boot = inside.command("unshare").map_err(at("lab-init"))?;
        boot.args(["--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child=SIGKILL", "--"])
            .arg(&init)
            .args(["enter", "--cgroup", &cgroups.system])
            // The namespace's root is the cgroup of the process that makes the namespace.
            .args(["--", "unshare", "--cgroup", "--"])
            .arg(&init)
            .arg("machine")
            .arg("--root")
            .arg(self.folder().join("machine.json"));
        let outer = self.lab.spawn(&self.name, boot)?;
        let init = wait_until(&format!("{} to start", self.name), Duration::from_secs(10), || {
            // Before it is systemd it is still in the host's root, where commands would ask the host's systemd.
            child_of(outer).filter(|init| is_systemd(*init)).ok_or_else(|| self.console())
        })?;
        self.set_init(Some(init))?;
        wait_until(&format!("{} to be up", self.name), Duration::from_mins(1), || {
            let is_up =
                self.run(&["systemctl", "is-system-running", "--wait"]).map_err(|failure| failure.to_string())?;
            let containerd = self.run(&["systemctl", "is-active", "containerd.service"]);
            containerd.map(drop).map_err(|failure| format!("system {}; containerd: {failure}", is_up.stdout.trim()))
        })
    }

    /// Makes the machine's cgroups anew for each boot: systemd had shared out those of the boot before, and no process
    /// may enter a v2 cgroup whose controllers are with its children.
    fn renew_cgroups(&self) -> Result<MachineCgroups, Error> {
        let places = self.lab.layout.machine_cgroups(&self.name);
        wait_until("the cgroups of the boot before to be empty", Duration::from_secs(10), || {
            cgroups::remove(&places.system).map_err(|failure| failure.to_string())
        })?;
        for place in [&places.starter, &places.commands, &places.system] {
            cgroups::create(place).map_err(at(place))?;
        }
        Ok(places)
    }

    /// What the machine wrote to its console.
    pub fn console(&self) -> String {
        fs::read_to_string(self.lab.log_file(&self.name)).unwrap_or_default()
    }

    /// Cuts the power: every process of the machine ends at once.
    pub fn power_off(&self) -> Result<(), Error> {
        kill_process(self.init()?, Signal::KILL).map_err(|failure| at(&self.name)(failure.into()))?;
        if let Some(mut child) = self.lab.children().remove(&self.name) {
            child.wait().map_err(at(&self.name))?;
        }
        let cgroup = self.lab.layout.cgroup(&self.name);
        wait_until(&format!("{} to be down", self.name), Duration::from_secs(10), || {
            let left = cgroups::processes(&cgroup);
            if left.is_empty() { Ok(()) } else { Err(format!("{} processes are there", left.len())) }
        })?;
        self.set_init(None)
    }

    /// Cuts the power and boots again from the same disk.
    pub fn reboot(&self) -> Result<(), Error> {
        self.power_off()?;
        self.power_on()
    }

    fn set_init(&self, init: Option<i32>) -> Result<(), Error> {
        self.lab.record(|state| {
            if let Some(machine) = state.machines.get_mut(&self.name) {
                machine.init = init;
            }
        })
    }

    /// The host's id of the machine's PID 1.
    fn init(&self) -> Result<Pid, Error> {
        let down =
            || Error::Machine { lab: self.lab.layout.name().to_owned(), machine: self.name.clone(), state: "down" };
        let init = self.lab.state().machines.get(&self.name).and_then(|machine| machine.init).ok_or_else(down)?;
        let alive = cgroups::processes(&self.lab.layout.cgroup(&self.name)).contains(&init);
        Pid::from_raw(init).filter(|_| alive).ok_or_else(down)
    }

    /// A command inside the machine, as root, with the environment of a login and nothing of the caller's.
    pub fn command(&self, program: &str) -> Result<Command, Error> {
        let inside = command::Inside {
            cgroup: self.lab.layout.machine_cgroups(&self.name).commands,
            network_namespace: self.lab.layout.network_namespace(&self.name),
            binds: &[],
        };
        let mut command = inside.command("nsenter").map_err(at("lab-init"))?;
        command
            .arg("--target")
            .arg(self.init()?.as_raw_nonzero().to_string())
            .args(["--mount", "--uts", "--cgroup", "--pid", "--net", "--ipc", "--root", "--wd", "--"])
            .args(["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])
            .args(["HOME=/root", "LC_ALL=C.UTF-8"])
            .arg(program);
        Ok(command)
    }

    /// Runs a command inside the machine to its end.
    pub fn run(&self, words: &[&str]) -> Result<command::Printed, Error> {
        let (program, arguments) = words.split_first().unwrap_or((&"true", &[]));
        Ok(command::run(self.command(program)?.args(arguments).stdin(Stdio::null()))?)
    }

    /// A path of the machine as the host sees it, for reading and writing files without a process inside.
    pub fn path(&self, path: impl AsRef<Path>) -> Result<PathBuf, Error> {
        let path = path.as_ref();
        let relative = path.strip_prefix("/").unwrap_or(path);
        Ok(PathBuf::from(format!("/proc/{}/root", self.init()?.as_raw_nonzero())).join(relative))
    }

    /// The journal of one unit.
    pub fn journal(&self, unit: &str) -> Result<String, Error> {
        Ok(self.run(&["journalctl", "--no-pager", "--output=short-precise", "--unit", unit])?.stdout)
    }

    /// Cuts the machine off from the rest of the lab without its noticing, or connects it again.
    pub fn set_connected(&self, connected: bool) -> Result<(), Error> {
        Ok(network::set_connected(&self.lab.layout, &self.port(), connected)?)
    }

    /// Leaves so many bytes free on the machine's disk, or gives it back the room that it had. The disk is in memory, so
    /// that its size can change while it is in use; /run, /tmp, the images and containers' layers are not on it.
    pub fn set_free_space(&self, bytes: Option<u64>) -> Result<(), Error> {
        let disk = self.folder().join("disk");
        let resize = |size: String| {
            let options = CString::new(size).unwrap_or_default();
            mount_remount(&disk, MountFlags::empty(), options.as_c_str()).map_err(|errno| at(&disk)(errno.into()))
        };
        // The kernel's own default.
        let Some(bytes) = bytes else { return resize("size=50%".to_owned()) };
        // What is being written meanwhile makes the size too small, which the kernel refuses.
        wait_until(&format!("the disk of {} to have its size", self.name), Duration::from_secs(10), || {
            let seen = rustix::fs::statvfs(&disk).map_err(|errno| errno.to_string())?;
            let used = (seen.f_blocks - seen.f_bfree) * seen.f_frsize;
            resize(format!("size={}", used + bytes)).map_err(|failure| failure.to_string())
        })
    }

    /// Gives one unit a clock that is off by `offset`, for example `+2h`, from its next start on; `None` undoes it.
    ///
    /// Only programs that ask the C library for the time are deceived: Rust programs are, Go programs are not.
    pub fn set_clock_of_unit(&self, unit: &str, offset: Option<&str>) -> Result<(), Error> {
        let folder = self.path(format!("/etc/systemd/system/{unit}.d"))?;
        let file = folder.join("clock.conf");
        match offset {
            Some(offset) => {
                // `faketime` itself knows where this host keeps its library.
                let printed = self.run(&["faketime", "-f", offset, "sh", "-c", "echo $LD_PRELOAD"])?;
                let drop_in = format!(
                    "[Service]\nEnvironment=LD_PRELOAD={}\nEnvironment=FAKETIME={offset}\n",
                    printed.stdout.trim()
                );
                fs::create_dir_all(&folder).map_err(at(&folder))?;
                fs::write(&file, drop_in).map_err(at(file))?;
            }
            None => fs::remove_file(&file).map_err(at(file))?,
        }
        self.run(&["systemctl", "daemon-reload"]).map(drop)
    }

    fn import_images(&self) -> Result<(), Error> {
        for name in ["pause", "pod"] {
            self.import_image(&self.lab.image_archive(name))?;
        }
        Ok(())
    }

    /// Brings an image archive, for example the controller's that `cargo xtask image` writes, into the machine's
    /// containerd, where kubelet finds it under the name that it was made with.
    pub fn import_image(&self, archive: &Path) -> Result<(), Error> {
        self.import(archive, &["--no-unpack"])
    }

    /// Imports with `ctr images import` and these options of its own.
    pub(super) fn import(&self, archive: &Path, options: &[&str]) -> Result<(), Error> {
        const PLACE: &str = "/root/image.tar";
        let inside = self.path(PLACE)?;
        fs::copy(archive, &inside).map_err(at(archive))?;
        self.run(&[&["ctr", "--namespace=k8s.io", "images", "import"], options, &[PLACE]].concat())?;
        fs::remove_file(&inside).map_err(at(inside))
    }
}

/// Where a machine sees the components. Not where the host has them, which can be in a home folder: units with
/// `ProtectHome=` would not find them there.
const COMPONENTS: &str = "/opt/components";

/// A component's folder as a machine sees it.
fn installed(folder: &Path) -> PathBuf {
    Path::new(COMPONENTS).join(folder.file_name().unwrap_or_default())
}

/// The one child of a process.
fn child_of(process: i32) -> Option<i32> {
    let list = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    list.split_whitespace().next()?.parse().ok()
}

/// Whether a process runs systemd by now.
fn is_systemd(process: i32) -> bool {
    fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|name| name.trim() == "systemd")
}

fn cni_configuration(pods: &str) -> serde_json::Value {
    serde_json::json!({
        "cniVersion": "1.0.0",
        "name": "lab",
        "plugins": [
            {
                "type": "ptp",
                "ipam": {"type": "host-local", "ranges": [[{"subnet": pods}]], "routes": [{"dst": "0.0.0.0/0"}]},
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

fn kube_proxy_configuration(name: &str) -> String {
    serde_json::json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": "/var/lib/kube-proxy/kubeconfig.conf"},
        "mode": "nftables",
        "hostnameOverride": name,
        // A namespace may not change the host's connection tracking table.
        "conntrack": {"maxPerCore": 0, "min": 0},
    })
    .to_string()
}
