//! Removing a lab: by its record and its names, from any process, at any time.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::mount::UnmountFlags;
use rustix::process::{Pid, Signal, kill_process};

use super::error::{Error, at};
use super::layout::Layout;
use super::state::{State, mounts_below};
use super::{cgroups, network, wait_regardless};

/// Ends a lab's processes and removes what it made on the host. A lab that does not exist is no error.
pub fn remove(name: &str) -> Result<(), Error> {
    let layout = Layout::new(name)?;
    let state = State::read(&layout).map_err(at(layout.state_file()))?.unwrap_or_default();
    end_processes(&layout)?;
    unmount_below(&layout.folder())?;
    for namespace in &state.network_namespaces {
        if network::namespace_file(namespace).exists() {
            network::delete_namespace(namespace)?;
        }
    }
    // The kernel takes a moment to let go of a cgroup whose last process has just ended.
    wait_regardless("the lab's cgroups to be empty", Duration::from_secs(10), || {
        cgroups::remove(&layout.cgroup_root()).map_err(|failure| failure.to_string())
    })?;
    cgroups::disable_controllers(&state.controllers).map_err(at("/sys/fs/cgroup"))?;
    match fs::remove_dir_all(layout.folder()) {
        Err(failure) if failure.kind() != std::io::ErrorKind::NotFound => Err(at(layout.folder())(failure)),
        _ => Ok(()),
    }
}

/// Kills whatever is in the lab's cgroups. A process cannot leave them, so this finds every one, also those whose
/// start was not recorded any more.
fn end_processes(layout: &Layout) -> Result<(), Error> {
    wait_regardless("the lab's processes to end", Duration::from_secs(30), || {
        let processes = cgroups::processes(&layout.cgroup_root());
        if processes.is_empty() {
            return Ok(());
        }
        for process in processes.iter().filter_map(|process| Pid::from_raw(*process)) {
            // A process may end by itself between the look and the signal.
            let _ = kill_process(process, Signal::KILL);
        }
        Err(format!("{} processes still there", processes.len()))
    })
}

fn unmount_below(folder: &Path) -> Result<(), Error> {
    let table = fs::read_to_string("/proc/self/mountinfo").map_err(at("/proc/self/mountinfo"))?;
    for place in mounts_below(&table, folder) {
        rustix::mount::unmount(&place, UnmountFlags::DETACH).map_err(|failure| at(place)(failure.into()))?;
    }
    Ok(())
}
