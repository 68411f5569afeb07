//! What a journal says, line by line, and what all lines together come to. Pure.
//!
//! One JSON object a line, appended and never changed. A file that is replaced as a whole would need two
//! synchronisations with the disk for each change where an append needs one, and could lose an old entry by a mistake in a
//! new one. What an append costs instead is a last line that may be torn, which is left out here.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The only version of the format so far. Another one is refused: what cannot be understood cannot be undone.
pub const VERSION: u32 = 1;
/// The longest journal that is read. One join writes about 4 KiB.
pub const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// Everything that a join changes is below one of these; a journal that names another place is not believed.
pub const ROOTS: [&str; 3] = ["/etc/kubernetes", KUBELET_FOLDER, ETCD_FOLDER];
/// The kubelet's state. Whatever comes to lie in it after a join began came of the join.
pub const KUBELET_FOLDER: &str = "/var/lib/kubelet";

/// etcd's data on a control plane: kubeadm's default. What was in it when a join began has a line of its own; whatever comes
/// to lie beside that came of the join.
pub const ETCD_FOLDER: &str = "/var/lib/etcd";

/// Where a join stands: the step that is about to be taken, noted before it is. In the order of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum JoinStep {
    /// The certificate is asked for and waited for. Nothing on the machine has been changed.
    AskForCertificate,
    /// The node's files are written.
    WriteFiles,
    /// The kubelet is started and waited for.
    StartKubelet,
    /// The kubelet runs; the machine joins etcd, and its API server, controller manager and scheduler are started.
    StartControlPlane,
    /// The machine is the node.
    Joined,
    /// The kubelet is stopped and the node's credentials are removed, since another request asks the machine to join anew.
    Leave,
    /// That is done; the new request is next.
    Left,
    /// The machine is made what it was, since its request was deleted with removal Drain.
    Remove,
}

impl JoinStep {
    /// The step in words that follow "the join".
    pub fn words(self) -> &'static str {
        match self {
            Self::AskForCertificate => "asked for its certificate; nothing on this machine was changed",
            Self::WriteFiles => "was writing the node's files",
            Self::StartKubelet => "had written all files and was starting the kubelet",
            Self::StartControlPlane => "had started the kubelet, and was joining etcd and starting the control plane",
            Self::Joined => "is complete",
            Self::Leave => "is being ended, since another request asks this machine to join anew",
            Self::Left => "was ended for another request, which is next",
            Self::Remove => "is being undone, since its request was deleted with removal Drain",
        }
    }
}

/// Permission bits, in octal as `chmod` takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mode(pub u32);

impl From<Mode> for String {
    fn from(mode: Mode) -> Self {
        format!("{:04o}", mode.0)
    }
}

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no mode, expected octal digits such as 0644");
        let bits = u32::from_str_radix(&text, 8).map_err(|_| wrong())?;
        if bits > 0o7777 { Err(wrong()) } else { Ok(Self(bits)) }
    }
}

/// Whose something is and who may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Permission bits.
    pub mode: Mode,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
}

/// What was at a path, or is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Before {
    /// Nothing.
    Absent,
    /// A folder.
    Folder {
        /// Who may use it.
        #[serde(flatten)]
        access: Access,
    },
    /// A symbolic link.
    Link {
        /// What it points to.
        target: String,
    },
    /// A plain file.
    File {
        /// Who may use it.
        #[serde(flatten)]
        access: Access,
        /// SHA-256 of its content, in hex.
        sha256: String,
        /// Whether its content is kept beside the journal, under its hash.
        backup: bool,
    },
    /// A socket, a device or a pipe: nothing that can be restored, and nothing that a join replaces.
    Other,
}

impl Before {
    /// Whether both are the same thing, whatever is kept of it.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::File { access: one, sha256: content, .. },
                Self::File { access: other, sha256: other_content, .. },
            ) => one == other && content == other_content,
            _ => self == other,
        }
    }
}

/// How a unit of systemd was before the join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnitState {
    /// `active`, `inactive`, `activating`, `failed`, …
    pub active_state: String,
    /// `enabled`, `disabled`, `static`, …
    pub unit_file_state: String,
}

/// How the kubelet's folder was listed before the join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listing {
    /// Whether everything that was in it is in the journal. If not, what the kubelet added cannot be told apart.
    pub complete: bool,
    /// What was mounted there or below, and so is none of the kubelet's.
    pub mounts: Vec<String>,
}

/// The machine as a member of etcd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EtcdMember {
    /// What it is known by: where it listens for the other members.
    pub peer_url: String,
    /// Where the other members are asked.
    pub endpoints: Vec<String>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When it was written.
    pub at: Timestamp,
    /// What it says.
    #[serde(flatten)]
    pub entry: Entry,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "camelCase")]
pub enum Entry {
    /// The first line.
    Begin {
        /// [`VERSION`]
        version: u32,
        /// The agent's version.
        agent: String,
        /// The node that the machine is to become.
        node: String,
    },
    /// A step is about to be taken.
    Step {
        /// Which one.
        step: JoinStep,
        /// `metadata.uid` of the request.
        request: String,
    },
    /// A path is about to be touched for the first time.
    Before {
        /// The path.
        path: String,
        /// What was there.
        was: Before,
    },
    /// Everything that was in [`KUBELET_FOLDER`] has a line of its own before this one.
    Listing(Listing),
    /// How the kubelet's unit was before it was first started.
    Kubelet(UnitState),
    /// The machine is about to become a member of etcd.
    Etcd(EtcdMember),
    /// Its member was removed from etcd, by a reset.
    EtcdLeft,
    /// A reset has begun: from here on nothing is joined until it is complete.
    Reset,
}

/// A line that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct Malformed {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// What all lines together say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// The node that the machine is to become; none in a journal without lines.
    pub node: Option<String>,
    /// The last step, its request, and when it was begun.
    pub step: Option<(JoinStep, String, Timestamp)>,
    /// What was at each path before it was first touched.
    pub before: BTreeMap<String, Before>,
    /// How the kubelet's folder was listed.
    pub listing: Option<Listing>,
    /// How the kubelet's unit was.
    pub kubelet: Option<UnitState>,
    /// What the machine is to etcd, as it was noted last; none once its member was removed.
    pub etcd: Option<EtcdMember>,
    /// When a reset began that is not complete.
    pub reset_since: Option<Timestamp>,
}

impl State {
    /// Reads a journal, and tells how many of its bytes are whole lines. What follows them was being written when the
    /// machine lost its power, so nothing had been done yet of what it says.
    pub fn parse(bytes: &[u8]) -> Result<(Self, u64), Malformed> {
        let mut state = Self::default();
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let lines = bytes.get(..whole).unwrap_or_default().split_inclusive(|byte| *byte == b'\n');
        for (index, text) in lines.enumerate() {
            let wrong = |reason: String| Malformed { line: index + 1, reason };
            // The parser's message names what it expected and quotes nothing of a line but its names.
            let line: Line = serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))?;
            state.take(line).map_err(wrong)?;
        }
        Ok((state, whole as u64))
    }

    /// Adds one line. The first word about a path counts: it was written before the path was ever touched.
    pub fn take(&mut self, line: Line) -> Result<(), String> {
        if self.node.is_none() != matches!(line.entry, Entry::Begin { .. }) {
            return Err("the first line, and no other, has to be of the kind \"begin\"".to_owned());
        }
        match line.entry {
            Entry::Begin { version, node, .. } => {
                if version != VERSION {
                    return Err(format!("the format's version is {version}, this agent knows {VERSION}"));
                }
                self.node = Some(node);
            }
            Entry::Step { step, request } => self.step = Some((step, request, line.at)),
            Entry::Before { path, was } => {
                check_path(&path)?;
                check_state(&was)?;
                self.before.entry(path).or_insert(was);
            }
            Entry::Listing(listing) => {
                listing.mounts.iter().try_for_each(|mount| is_plain(mount))?;
                self.listing.get_or_insert(listing);
            }
            Entry::Kubelet(unit) => {
                self.kubelet.get_or_insert(unit);
            }
            Entry::Etcd(member) => self.etcd = Some(member),
            Entry::EtcdLeft => self.etcd = None,
            Entry::Reset => self.reset_since = Some(line.at),
        }
        Ok(())
    }

    /// Whether anything on the machine may have been changed.
    pub fn has_touched(&self) -> bool {
        !self.before.is_empty() || self.kubelet.is_some()
    }

    /// Whether the step, or a later one, has been taken up for this request already: a join that goes on after a kill
    /// passes again through what it has done.
    pub fn has_come_to(&self, step: JoinStep, request: &str) -> bool {
        self.step.as_ref().is_some_and(|(at, of, _)| *at >= step && of == request)
    }
}

/// A path that means what it says: absolute, and without `.`, `..` or doubled slashes.
fn is_plain(path: &str) -> Result<(), String> {
    let normal: std::path::PathBuf = Path::new(path).components().collect();
    let climbs = Path::new(path).components().any(|part| matches!(part, Component::ParentDir | Component::CurDir));
    if path.starts_with('/') && !climbs && normal.as_os_str() == path && !path.contains('\0') {
        Ok(())
    } else {
        Err(format!("{path:?} is no plain absolute path"))
    }
}

/// A path that a join may touch.
pub fn check_path(path: &str) -> Result<(), String> {
    is_plain(path)?;
    if ROOTS.iter().any(|root| Path::new(path).starts_with(root)) {
        Ok(())
    } else {
        Err(format!("{path} is in none of {}: no join touches it", ROOTS.join(", ")))
    }
}

/// A hash becomes a file's name.
fn check_state(was: &Before) -> Result<(), String> {
    match was {
        Before::File { sha256, .. }
            if sha256.len() != 64 || !sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) =>
        {
            Err(format!("{sha256:?} is no SHA-256, expected 64 hexadecimal digits"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "entry_tests.rs"]
mod tests;
