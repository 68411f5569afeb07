//! What a reset does: from the journal and what is on the machine to a list of actions. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::etcd::CLIENT_CRT;
use crate::files::KUBELET_CONF;
use crate::journal::{Before, ETCD_FOLDER, EtcdMember, KUBELET_FOLDER, State, UnitState};
use crate::kubelet::UNIT;

/// The agent's own unit.
pub const AGENT_UNIT: &str = "join-agent.service";

/// A pod's sandbox, as the container runtime has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// The runtime's own name for it.
    pub id: String,
    /// Namespace and name of the pod, for people.
    pub pod: String,
}

/// What is on the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Whether the agent's service runs.
    pub agent_is_active: bool,
    /// The kubelet's unit; none when systemd knows none.
    pub kubelet: Option<UnitState>,
    /// The sandboxes of pods.
    pub sandboxes: Vec<Sandbox>,
    /// What is mounted at the kubelet's folder or below, the last first. A kubelet mounts its folder onto itself, to share
    /// what is mounted in it.
    pub mounts: Vec<String>,
    /// What is at each path of the journal.
    pub now: BTreeMap<String, Before>,
    /// What is in the kubelet's folder and not in the journal: the topmost paths, and whether each is a folder.
    pub added: BTreeMap<String, bool>,
    /// What is in etcd's folder and not in the journal, where that folder was there before the join: the topmost paths, and
    /// whether each is a folder.
    pub etcd_data: BTreeMap<String, bool>,
    /// What is left of writes that were interrupted.
    pub staged: Vec<String>,
}

/// How the machine's member is to be removed from etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaving {
    /// The member, and whom to ask.
    pub member: EtcdMember,
    /// The folder of etcd's authority and of the certificate of a client.
    pub certificates: String,
}

/// One thing to do. Doing it again, or finding it done, is no error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Stop the agent, which would go on with the machine.
    StopAgent,
    /// Remove the machine's member from etcd.
    LeaveEtcd(Leaving),
    /// Stop the kubelet.
    StopKubelet,
    /// Stop a pod and remove it, its network with it.
    RemovePod(Sandbox),
    /// Unmount what the kubelet mounted.
    Unmount(String),
    /// Put back what was there.
    Restore {
        /// Where.
        path: String,
        /// What.
        was: Before,
    },
    /// Remove a file or a link.
    Remove(String),
    /// Remove a folder with all that is in it, which is the kubelet's alone.
    RemoveTree(String),
    /// Remove a folder that the join made, if nothing else came to lie in it.
    RemoveFolder(String),
    /// Keep the kubelet from being started at boot.
    DisableKubelet,
    /// Remove the journal, and what else the agent remembers of the join.
    Forget,
    /// Remove the machine's keys: it is another machine from then on.
    ForgetKeys,
}

impl Action {
    /// Whether this brings the machine to rest: only then can be seen what there is to undo.
    pub fn is_quieting(&self) -> bool {
        matches!(self, Self::StopAgent | Self::LeaveEtcd(_) | Self::StopKubelet | Self::RemovePod(_) | Self::Unmount(_))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StopAgent => write!(f, "stop {AGENT_UNIT}"),
            Self::LeaveEtcd(leaving) => write!(f, "remove member {} from etcd", leaving.member.peer_url),
            Self::StopKubelet => write!(f, "stop {UNIT}"),
            Self::RemovePod(sandbox) => write!(f, "remove pod {} (sandbox {:.13})", sandbox.pod, sandbox.id),
            Self::Unmount(point) => write!(f, "unmount {point}"),
            Self::Restore { path, was } => match was {
                Before::File { access, .. } => write!(f, "restore file {path} ({})", String::from(access.mode)),
                Before::Folder { access } => write!(f, "restore folder {path} ({})", String::from(access.mode)),
                Before::Link { target } => write!(f, "restore link {path} to {target}"),
                Before::Absent | Before::Other => write!(f, "restore {path}"),
            },
            Self::Remove(path) => write!(f, "remove file {path}"),
            Self::RemoveTree(path) => write!(f, "remove folder {path} and all that is in it"),
            Self::RemoveFolder(path) => write!(f, "remove folder {path} if it is empty"),
            Self::DisableKubelet => write!(f, "disable {UNIT}, as it was before"),
            Self::Forget => write!(f, "remove the journal of the join"),
            Self::ForgetKeys => write!(f, "remove the machine's keys: it will announce itself as another machine"),
        }
    }
}

/// What to do and what to tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In this order.
    pub actions: Vec<Action>,
    /// What cannot be undone, and why.
    pub remarks: Vec<String>,
}

/// What a user wants of an undo beside the undo.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Remove the machine's keys as well.
    pub forget_keys: bool,
    /// Leave the machine's member in etcd.
    pub keep_etcd_member: bool,
}

/// Undoes what the journal names.
pub fn undo(journal: &State, observed: &Observed, wishes: Wishes) -> Plan {
    let mut plan = Plan::default();
    quiet(&mut plan, observed, Some(journal), wishes);
    plan.actions.extend(observed.staged.iter().cloned().map(Action::Remove));
    undo_files(&mut plan, journal, observed);
    if let Some(unit) = journal.kubelet.as_ref().filter(|unit| !rests(unit)) {
        plan.remarks.push(format!(
            "{UNIT} was {} before the join, without files to work with; it is left stopped (`systemctl start {UNIT}`)",
            unit.active_state
        ));
    }
    let enabled = |unit: &UnitState| unit.unit_file_state == "enabled";
    let was_disabled = journal.kubelet.as_ref().is_some_and(|unit| unit.unit_file_state == "disabled");
    if was_disabled && observed.kubelet.as_ref().is_some_and(enabled) {
        plan.actions.push(Action::DisableKubelet);
    }
    plan.actions.push(Action::Forget);
    if wishes.forget_keys {
        plan.actions.push(Action::ForgetKeys);
    }
    plan
}

/// Brings the machine to rest: what runs is stopped before its files are taken away. Without a journal everything is.
///
/// A kubelet that the join did not come to is not the join's to stop.
fn quiet(plan: &mut Plan, observed: &Observed, journal: Option<&State>, wishes: Wishes) {
    if observed.agent_is_active {
        plan.actions.push(Action::StopAgent);
    }
    if journal.is_some_and(|journal| !journal.has_touched()) {
        return;
    }
    // As long as this machine's etcd runs: of two members, both have to agree to that.
    if let Some((journal, member)) = journal.and_then(|journal| Some((journal, journal.etcd.clone()?))) {
        if wishes.keep_etcd_member {
            plan.remarks.push(format!("member {} stays in etcd, which goes on counting it", member.peer_url));
        } else {
            plan.actions.push(Action::LeaveEtcd(Leaving { member, certificates: etcd_certificates(journal) }));
        }
    }
    if observed.kubelet.as_ref().is_some_and(|unit| !rests(unit)) {
        plan.actions.push(Action::StopKubelet);
    }
    plan.actions.extend(observed.sandboxes.iter().cloned().map(Action::RemovePod));
    let listing = journal.and_then(|journal| journal.listing.as_ref());
    let kept = listing.map(|listing| listing.mounts.as_slice()).unwrap_or_default();
    for point in &observed.mounts {
        if kept.contains(point) {
            plan.remarks.push(format!("{point} was mounted before the join, and stays as it is"));
        } else {
            plan.actions.push(Action::Unmount(point.clone()));
        }
    }
}

/// Where a join writes them with kubeadm's default of `certificatesDir`.
const ETCD_CERTIFICATES: &str = "/etc/kubernetes/pki/etcd";

/// Where the join has written etcd's certificates.
fn etcd_certificates(journal: &State) -> String {
    let mut noted = journal.before.keys().map(Path::new);
    let found = noted.find(|path| path.ends_with(Path::new("etcd").join(CLIENT_CRT))).and_then(Path::parent);
    found.map_or_else(|| ETCD_CERTIFICATES.to_owned(), |folder| folder.display().to_string())
}

fn rests(unit: &UnitState) -> bool {
    matches!(unit.active_state.as_str(), "inactive" | "failed")
}

fn undo_files(plan: &mut Plan, journal: &State, observed: &Observed) {
    let complete = journal.listing.as_ref().is_some_and(|listing| listing.complete);
    let mut removed: Vec<&str> = Vec::new();
    let in_removed = |removed: &[&str], path: &str| removed.iter().any(|tree| Path::new(path).starts_with(tree));

    // The kubeconfig first: without it nobody takes this machine for a node. Then parents before what is in them, so that
    // a folder that goes as a whole is named once.
    let first = journal.before.get_key_value(KUBELET_CONF);
    let others = journal.before.iter().filter(|(path, _)| *path != KUBELET_CONF);
    let mut folders = Vec::new();
    for (path, was) in first.into_iter().chain(others) {
        let now = observed.now.get(path).unwrap_or(&Before::Absent);
        if in_removed(&removed, path) || now.is_same(was) {
            continue;
        }
        match (was, now) {
            (Before::Absent, Before::Folder { .. }) => {
                if complete && Path::new(path).starts_with(KUBELET_FOLDER) || path == ETCD_FOLDER {
                    plan.actions.push(Action::RemoveTree(path.clone()));
                    removed.push(path);
                } else {
                    folders.push(Action::RemoveFolder(path.clone()));
                }
            }
            (Before::Absent, _) => plan.actions.push(Action::Remove(path.clone())),
            (Before::File { access, sha256, backup: false }, _) => {
                // Only a content that was never kept is lost; a mode is not.
                if matches!(now, Before::File { sha256: found, .. } if found == sha256) {
                    plan.actions.push(Action::Restore { path: path.clone(), was: was.clone() });
                } else {
                    plan.remarks.push(format!(
                        "{path} was changed after the join began and cannot be restored: it was too large to be kept \
                         (mode {})",
                        String::from(access.mode)
                    ));
                }
            }
            (Before::Other, _) => {
                plan.remarks.push(format!("{path} was no plain file and is gone: it is not restored"));
            }
            _ => plan.actions.push(Action::Restore { path: path.clone(), was: was.clone() }),
        }
    }
    plan.actions.extend(observed.etcd_data.iter().map(removal));
    if complete {
        let added = observed.added.iter().filter(|(path, _)| !in_removed(&removed, path));
        plan.actions.extend(added.map(removal));
    } else if journal.listing.is_some() && !observed.added.is_empty() {
        plan.remarks.push(format!(
            "{KUBELET_FOLDER} had too many files before the join to list them all, so what the kubelet added is not told \
             apart and stays; if nothing in it is needed, run `rm -rf {KUBELET_FOLDER}/*`"
        ));
    }
    // Children before their parents.
    plan.actions.extend(folders.into_iter().rev());
}

/// Removes something with all that is in it, if it is a folder.
fn removal((path, is_folder): (&String, &bool)) -> Action {
    if *is_folder { Action::RemoveTree(path.clone()) } else { Action::Remove(path.clone()) }
}

/// Folders that `kubeadm reset` empties on a worker.
pub const EMPTIED: [&str; 3] = ["/etc/kubernetes/manifests", "/etc/kubernetes/pki", KUBELET_FOLDER];
/// Files that `kubeadm reset` removes.
pub const REMOVED: [&str; 6] = [
    "/etc/kubernetes/admin.conf",
    "/etc/kubernetes/super-admin.conf",
    "/etc/kubernetes/kubelet.conf",
    "/etc/kubernetes/bootstrap-kubelet.conf",
    "/etc/kubernetes/controller-manager.conf",
    "/etc/kubernetes/scheduler.conf",
];

/// Does what `kubeadm reset` does on a worker, whoever joined it. `observed.added` is what is in [`EMPTIED`],
/// `observed.now` what is at [`REMOVED`].
pub fn all(observed: &Observed, forget_keys: bool) -> Plan {
    let mut plan = Plan::default();
    quiet(&mut plan, observed, None, Wishes::default());
    let there = observed.now.iter().filter(|(_, now)| **now != Before::Absent);
    plan.actions.extend(there.map(|(path, _)| Action::Remove(path.clone())));
    plan.actions.extend(observed.added.iter().map(removal));
    plan.actions.push(Action::Forget);
    if forget_keys {
        plan.actions.push(Action::ForgetKeys);
    }
    plan
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
