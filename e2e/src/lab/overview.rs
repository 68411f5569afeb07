//! What runs in a lab, for somebody who only looks: read from its record, with nothing built or started.

use std::path::PathBuf;

use super::cgroups;
use super::error::{Error, at};
use super::layout::Layout;
use super::state::State;

/// A lab as it is now.
pub struct Overview {
    /// The Kubernetes minor version, for example `1.37`; empty when its owner was killed before it wrote a record.
    pub kubernetes: String,
    /// The processes that were started, by name: those of the control plane, and each machine's.
    pub processes: Vec<Process>,
}

/// A process that the lab has started.
pub struct Process {
    /// Its name, for example `kube-apiserver`.
    pub name: String,
    /// Whether it is there.
    pub running: bool,
    /// Where its output goes.
    pub log: PathBuf,
}

impl Overview {
    /// Looks at a lab.
    ///
    /// # Errors
    /// When its record cannot be read.
    pub fn of(layout: &Layout) -> Result<Self, Error> {
        let state = State::read(layout).map_err(at(layout.state_file()))?.unwrap_or_default();
        // An id can be another process's by now, unless the process is still in the lab's cgroup.
        let running = cgroups::processes(&layout.cgroup_root());
        let processes = state.processes.into_iter().map(|(name, id)| Process {
            running: running.contains(&id),
            log: layout.log_file(&name),
            name,
        });
        Ok(Self { processes: processes.collect(), kubernetes: state.kubernetes })
    }
}
