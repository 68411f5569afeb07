//! A cluster made of Linux namespaces: one control plane, and machines that are ready to join it.
//!
//! ```text
//!   host ─ cgroups join-lab-<lab>/<member> ─ /var/lib/join-operator-lab/<lab>
//!                                ├── machine    the root that the machine sees: its systemd shares it out
//!                                ├── starter    the process that waits for the machine's PID 1
//!                                └── commands   what is run in the machine from outside
//!
//!   namespace …-bridge          bridge 10.40.0.1
//!        ├── …-control-plane    10.40.0.2      etcd, kube-apiserver, kube-controller-manager, kube-scheduler
//!        ├── …-worker-1         10.40.0.10     systemd ─ containerd, kubelet, kube-proxy, join-agent; pods 10.41.10.0/24
//!        └── …-worker-2         10.40.0.11     …
//! ```
//!
//! The first control plane is processes without a kubelet. A machine can join as another one, whose components are
//! static pods: [`Lab::add_control_plane_machine`], [`Lab::add_etcd_pod_stub`], [`Lab::upload_certificates`].

mod additional_control_plane;
pub mod cgroups;
pub mod client;
pub mod command;
mod control_plane;
mod error;
pub mod etcd;
pub mod images;
pub mod layout;
mod machine;
pub mod machine_root;
pub mod network;
pub mod overview;
pub mod state;
mod teardown;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use control_plane::PROCESSES;
pub use error::Error;
use error::at;
use layout::Layout;
pub use machine::Machine;
use state::{Owner, State};
pub use teardown::remove;

use crate::components::{Components, KubernetesMinor};
use crate::interrupt;

/// A running lab. Dropped, it is removed with everything in it, unless [`Lab::keep`] was called.
pub struct Lab {
    layout: Layout,
    components: Components,
    minor: KubernetesMinor,
    state: Mutex<State>,
    /// The processes that this process started, to be reaped when they end.
    children: Mutex<HashMap<String, Child>>,
    keep: bool,
}

impl Lab {
    /// Starts a lab with a control plane and no machine. Blocks until the API server serves.
    ///
    /// # Errors
    /// When a lab of that name exists, or any step fails; what was made until then is removed.
    pub fn start(name: &str, minor: KubernetesMinor, components: Components) -> Result<Self, Error> {
        let layout = Layout::new(name)?;
        remove_abandoned(&layout)?;
        for folder in [layout.folder(), layout.logs(), layout.folder().join("machines")] {
            fs::create_dir_all(&folder).map_err(at(folder))?;
        }
        let state = State { kubernetes: minor.as_str().to_owned(), owner: Owner::this_process(), ..State::default() };
        let lab = Self { layout, components, minor, state: Mutex::new(state), children: Mutex::default(), keep: false };
        lab.record(|_| ())?;
        lab.start_control_plane()?;
        Ok(lab)
    }

    /// Finds a lab that an earlier process started and kept. Dropping it leaves it as it is.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn open(name: &str) -> Result<Self, Error> {
        let layout = Layout::new(name)?;
        let state =
            State::read(&layout).map_err(at(layout.state_file()))?.ok_or_else(|| Error::Missing(name.to_owned()))?;
        let minor = if state.kubernetes == KubernetesMinor::V1_35.as_str() {
            KubernetesMinor::V1_35
        } else {
            KubernetesMinor::V1_37
        };
        let components = Components::build(minor)
            .map_err(|failure| Error::Manifest { path: Components::cache_folder(), reason: failure.to_string() })?;
        Ok(Self { layout, components, minor, state: Mutex::new(state), children: Mutex::default(), keep: true })
    }

    /// Leaves the lab running when this value is dropped.
    pub fn keep(&mut self) -> Result<(), Error> {
        self.record(|state| state.owner = None)?;
        self.keep = true;
        Ok(())
    }

    /// The lab's places and names.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The programs that the lab runs.
    pub fn components(&self) -> &Components {
        &self.components
    }

    /// The minor version that the control plane runs.
    pub fn minor(&self) -> KubernetesMinor {
        self.minor
    }

    /// The names of the machines, in the order of their addresses.
    pub fn machine_names(&self) -> Vec<String> {
        let state = self.state();
        let mut machines: Vec<_> = state.machines.iter().map(|(name, machine)| (machine.index, name.clone())).collect();
        machines.sort_unstable();
        machines.into_iter().map(|(_, name)| name).collect()
    }

    /// A machine by its name.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn machine(&self, name: &str) -> Result<Machine<'_>, Error> {
        if self.state().machines.contains_key(name) { Ok(Machine::new(self, name)) } else { Err(self.no_machine(name)) }
    }

    fn no_machine(&self, name: &str) -> Error {
        Error::Machine { lab: self.layout.name().to_owned(), machine: name.to_owned(), state: "not known" }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn children(&self) -> MutexGuard<'_, HashMap<String, Child>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the record and writes it to the disk.
    fn record(&self, change: impl FnOnce(&mut State)) -> Result<(), Error> {
        let mut state = self.state();
        change(&mut state);
        state.write(&self.layout).map_err(at(self.layout.state_file()))
    }

    /// Records and makes the cgroup and the network namespace of a new member.
    fn add_member(&self, member: &str) -> Result<(), Error> {
        let namespace = self.layout.network_namespace(member);
        let controllers = cgroups::controllers_to_enable().map_err(at("/sys/fs/cgroup"))?;
        self.record(|state| {
            state.controllers.extend(controllers);
            state.members.push(member.to_owned());
            state.network_namespaces.push(namespace.clone());
        })?;
        cgroups::create(&self.layout.cgroup(member)).map_err(at("/sys/fs/cgroup"))?;
        network::create_namespace(&namespace)?;
        Ok(())
    }
}

/// A name for a lab of this process only, so that two runs of the same program do not meet: `purpose` with the process's
/// id. Labs for the same purpose whose owners have ended without removing them are removed.
///
/// # Errors
/// When such a lab cannot be removed.
pub fn own_name(purpose: &str) -> Result<String, Error> {
    let prefix = format!("{purpose}-");
    for layout in Layout::existing() {
        let process = layout.name().strip_prefix(&prefix).and_then(|id| id.parse::<u32>().ok());
        // One that is only about to write its first record is not abandoned.
        if process.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists()) {
            match remove_abandoned(&layout) {
                // Another run's, or kept.
                Err(Error::Exists(_)) | Ok(()) => {}
                Err(other) => return Err(other),
            }
        }
    }
    Ok(format!("{prefix}{}", std::process::id()))
}

/// Removes what a killed process left of a lab; refuses when the lab is in use or was kept.
fn remove_abandoned(layout: &Layout) -> Result<(), Error> {
    if !layout.folder().exists() {
        return Ok(());
    }
    let in_use = match State::read(layout).map_err(at(layout.state_file()))? {
        Some(State { owner: Some(owner), .. }) => owner.is_alive(),
        Some(_) => true,
        // Killed before the first record: nothing but folders was made.
        None => false,
    };
    if in_use { Err(Error::Exists(layout.name().to_owned())) } else { remove(layout.name()) }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.keep
            && let Err(failure) = remove(self.layout.name())
        {
            eprintln!("lab {} could not be removed: {failure}", self.layout.name());
        }
        for child in self.children().values_mut() {
            // Reaps what has ended; what was kept goes on.
            let _ = child.try_wait();
        }
    }
}

/// The environment variable that multiplies every waiting time, for hosts whose processor is emulated.
const PATIENCE_VARIABLE: &str = "JOIN_LAB_PATIENCE";

/// How long to wait at the most for what takes `limit` on an ordinary host: [`PATIENCE_VARIABLE`] times as long.
pub fn patience(limit: Duration) -> Duration {
    let factor = std::env::var(PATIENCE_VARIABLE).ok().and_then(|factor| factor.parse().ok()).unwrap_or(1);
    limit.saturating_mul(factor)
}

/// Asks again and again, quickly at first, until `condition` holds; gives up at Ctrl-C.
///
/// `condition` answers `Ok` when it holds and otherwise what it saw, which the error repeats.
pub fn wait_until<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<T, String>,
) -> Result<T, Error> {
    let outcome = wait_regardless(what, limit, || match condition() {
        Ok(value) => Ok(Some(value)),
        Err(_) if interrupt::requested() => Ok(None),
        Err(seen) => Err(seen),
    });
    outcome?.ok_or(Error::Interrupted)
}

/// Like [`wait_until`], but goes on after Ctrl-C: cleaning up is what Ctrl-C asks for.
fn wait_regardless<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<T, String>,
) -> Result<T, Error> {
    let began = Instant::now();
    let limit = patience(limit);
    let mut pause = Duration::from_millis(10);
    loop {
        match condition() {
            Ok(value) => return Ok(value),
            Err(seen) if began.elapsed() >= limit => {
                return Err(Error::Timeout { what: what.to_owned(), seconds: limit.as_secs(), seen });
            }
            Err(_) => {
                std::thread::sleep(pause);
                pause = (pause * 3 / 2).min(Duration::from_millis(200));
            }
        }
    }
}
