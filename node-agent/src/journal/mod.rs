//! The journal of what a join does to this machine: each step and each path is noted, and is on the disk, before it is
//! taken or touched.
//!
//! With it a join that was killed goes on where it was, and `join-agent reset` can undo exactly what was done. It lies in
//! the agent's state directory as `journal.jsonl`, with the contents that will have to be restored in `backup/` beside
//! it, all of it for root alone. `docs/reset.md` has its format.

mod before;
mod crash;
mod entry;

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use k8s_openapi::jiff::Timestamp;

use crate::atomic_file;

pub use before::{Backups, Error as LookError, Root, look};
pub use crash::CrashSwitch;
pub use entry::{
    Access, Before, ETCD_FOLDER, Entry, EtcdMember, JoinStep, KUBELET_FOLDER, Line, Listing, Malformed, Mode, ROOTS,
    State, UnitState, VERSION,
};

/// The journal's file, in the state directory.
const FILE: &str = "journal.jsonl";

/// The journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read or written.
    #[error("failed to {action} the journal {path}: {source}")]
    Access {
        /// What was tried.
        action: &'static str,
        /// The journal.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is larger than any journal of ours.
    #[error("the journal {path} has more than {} bytes, no journal of this agent has; {REMEDY}", entry::MAX_BYTES)]
    Size {
        /// The journal.
        path: PathBuf,
    },
    /// It cannot be understood.
    #[error("the journal {path} cannot be understood: {source}; {REMEDY}")]
    Malformed {
        /// The journal.
        path: PathBuf,
        /// What is wrong.
        source: Malformed,
    },
    /// The machine is another node, or half of one.
    #[error(
        "this machine has begun to become the node {begun} (journal {path}), and is now to become {wanted}: run \
         `join-agent reset` first"
    )]
    OtherNode {
        /// The journal.
        path: PathBuf,
        /// The node in the journal.
        begun: String,
        /// The node that is wanted.
        wanted: String,
    },
    /// A reset was begun and is not complete.
    #[error(
        "a reset of this machine was begun at {since} and did not end (journal {path}): run `join-agent reset` again to \
         end it; until then nothing is joined"
    )]
    ResetUnderWay {
        /// The journal.
        path: PathBuf,
        /// When.
        since: Timestamp,
    },
    /// Something could not be looked at or kept.
    #[error(transparent)]
    Look(#[from] LookError),
    /// A file is in the way that is too large to be kept.
    #[error(
        "{path} exists and has more than {} bytes, too many to be kept and restored; expected a small file or none: move \
         it away",
        before::MAX_BACKUP_BYTES
    )]
    TooLarge {
        /// The file.
        path: String,
    },
    /// A path is to be touched that was not noted.
    #[error("{path} was not noted in the journal: {reason}")]
    NotNoted {
        /// The path.
        path: String,
        /// Why not.
        reason: String,
    },
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] atomic_file::Error),
}

/// What a person does about a journal that is of no use.
const REMEDY: &str =
    "if this machine is no node, move it away; else `join-agent reset --all` cleans the machine without it";

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    root: Root,
    backups: Backups,
    state: State,
    /// How many bytes of the file are whole lines.
    length: u64,
    crash: CrashSwitch,
}

impl Journal {
    /// What the journal in a state directory says; `None` when there is none.
    pub fn read(state_directory: &Path) -> Result<Option<State>, Error> {
        let path = state_directory.join(FILE);
        Ok(read(&path)?.map(|(state, _)| state).filter(|state| state.node.is_some()))
    }

    /// Opens the journal for a join, or begins one. A journal of another node is begun anew if nothing was done of it.
    pub fn open(state_directory: &Path, root: Root, node: &str, crash: CrashSwitch) -> Result<Self, Error> {
        let path = state_directory.join(FILE);
        let (mut state, mut length) = read(&path)?.unwrap_or_default();
        if let Some(since) = state.reset_since {
            return Err(Error::ResetUnderWay { path, since });
        }
        if let Some(begun) = state.node.clone().filter(|begun| begun != node) {
            if state.has_touched() {
                return Err(Error::OtherNode { path, begun, wanted: node.to_owned() });
            }
            (state, length) = (State::default(), 0);
        }
        let mut journal = Self { path, root, backups: Backups::of(state_directory), state, length, crash };
        if journal.state.node.is_none() {
            let agent = env!("CARGO_PKG_VERSION").to_owned();
            journal.append(vec![Entry::Begin { version: VERSION, agent, node: node.to_owned() }])?;
        }
        Ok(journal)
    }

    /// The step at which this machine is, if it may join and be a node: not while a reset of it has not ended, nor with
    /// a journal that nobody can read. A reset that belongs to [`JoinStep::Remove`] is gone on with by the agent.
    pub fn check(state_directory: &Path) -> Result<Option<JoinStep>, Error> {
        let path = state_directory.join(FILE);
        let Some((state, _)) = read(&path)? else { return Ok(None) };
        let step = state.step.map(|(step, _, _)| step);
        match state.reset_since.filter(|_| step != Some(JoinStep::Remove)) {
            Some(since) => Err(Error::ResetUnderWay { path, since }),
            None => Ok(step),
        }
    }

    /// Notes that a reset has begun, so that no agent joins the machine before it is complete.
    pub fn begin_reset(state_directory: &Path, crash: CrashSwitch) -> Result<(), Error> {
        Self::note(state_directory, crash, Entry::Reset, |state| state.reset_since.is_none())
    }

    /// Notes that a reset has taken the machine's member out of etcd.
    pub fn left_etcd(state_directory: &Path, crash: CrashSwitch) -> Result<(), Error> {
        Self::note(state_directory, crash, Entry::EtcdLeft, |state| state.etcd.is_some())
    }

    /// Appends a line of a reset to a journal that exists and lacks it.
    fn note(
        state_directory: &Path,
        crash: CrashSwitch,
        entry: Entry,
        lacks_it: impl FnOnce(&State) -> bool,
    ) -> Result<(), Error> {
        let path = state_directory.join(FILE);
        let (state, length) = read(&path)?.unwrap_or_default();
        if state.node.is_none() || !lacks_it(&state) {
            return Ok(());
        }
        let backups = Backups::of(state_directory);
        Self { path, root: Root::machine(), backups, state, length, crash }.append(vec![entry])
    }

    /// Removes the journal and what was kept with it: everything has been undone.
    pub fn forget(state_directory: &Path) -> Result<(), Error> {
        let path = state_directory.join(FILE);
        let failed = |path: &Path, source| Error::Access { action: "remove", path: path.to_owned(), source };
        // The contents first: as long as there is a journal, a reset that was killed here is taken up again.
        let backups = Backups::of(state_directory);
        match fs::remove_dir_all(backups.folder()) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(backups.folder(), error)),
            _ => {}
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(&path, error)),
            _ => Ok(()),
        }
    }

    /// What it says.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Notes that a step is about to be taken, unless that is noted already.
    pub fn step(&mut self, step: JoinStep, request: &str) -> Result<(), Error> {
        if self.state.has_come_to(step, request) {
            return Ok(());
        }
        self.append(vec![Entry::Step { step, request: request.to_owned() }])
    }

    /// Notes that the machine is about to become a member of etcd, unless that is noted already.
    pub fn etcd(&mut self, member: EtcdMember) -> Result<(), Error> {
        if self.state.etcd.as_ref() == Some(&member) {
            return Ok(());
        }
        self.append(vec![Entry::Etcd(member)])
    }

    /// Notes what is at these paths, what is in the kubelet's folder and how its unit is, unless that is noted already,
    /// and that the files are about to be written: all in one write.
    pub fn before_writing(&mut self, request: &str, paths: &[String], unit: Option<UnitState>) -> Result<(), Error> {
        let mut entries = Vec::new();
        for path in paths {
            entry::check_path(path).map_err(|reason| Error::NotNoted { path: path.clone(), reason })?;
            if self.state.before.contains_key(path) {
                continue;
            }
            let was = look(&self.root.place(path), Some(&self.backups))?;
            if matches!(was, Before::File { backup: false, .. } | Before::Other) {
                return Err(Error::TooLarge { path: path.clone() });
            }
            let is_folder = matches!(was, Before::Folder { .. } | Before::Link { .. });
            entries.push(Entry::Before { path: path.clone(), was });
            if path == ETCD_FOLDER && is_folder {
                // None of it is the join's to change: what it is suffices, and a snapshot would be too large to be kept.
                let there = before::children(&self.root, path)?;
                entries.extend(there.into_iter().map(|(path, was)| Entry::Before { path, was }));
            }
        }
        if self.state.listing.is_none() {
            let mounts = crate::mounts::file_systems_at_or_below(KUBELET_FOLDER)
                .map_err(|source| LookError::Look { path: KUBELET_FOLDER.into(), source })?;
            let tree = before::list(&self.root, KUBELET_FOLDER, &mounts, &self.backups)?;
            entries.extend(tree.entries.into_iter().map(|(path, was)| Entry::Before { path, was }));
            entries.push(Entry::Listing(Listing { complete: tree.complete, mounts }));
        }
        if let Some(unit) = unit.filter(|_| self.state.kubelet.is_none()) {
            entries.push(Entry::Kubelet(unit));
        }
        if !self.state.has_come_to(JoinStep::WriteFiles, request) || !entries.is_empty() {
            entries.push(Entry::Step { step: JoinStep::WriteFiles, request: request.to_owned() });
        }
        self.append(entries)
    }

    /// Writes a file that was noted, unless it is as it should be.
    pub fn file(&self, path: &str, content: &[u8], mode: u32) -> Result<(), Error> {
        let place = self.noted(path)?;
        if atomic_file::is(&place, content, mode) {
            return Ok(());
        }
        atomic_file::write(&place, content, mode)?;
        self.crash.wrote(path);
        Ok(())
    }

    /// Makes a folder that was noted, unless there is one.
    pub fn folder(&self, path: &str, mode: u32) -> Result<(), Error> {
        let place = self.noted(path)?;
        if !place.is_dir() {
            atomic_file::folder(&place, mode)?;
            self.crash.wrote(path);
        }
        Ok(())
    }

    /// Lets a link that was noted point to a path of the machine, unless it does.
    pub fn link(&self, path: &str, target: &str) -> Result<(), Error> {
        let place = self.noted(path)?;
        if fs::read_link(&place).is_ok_and(|found| found == Path::new(target)) {
            return Ok(());
        }
        atomic_file::link(&place, Path::new(target))?;
        self.crash.wrote(path);
        Ok(())
    }

    /// Whether there is nothing at a path that was noted.
    pub fn lacks(&self, path: &str) -> Result<bool, Error> {
        self.noted(path).map(|_| !self.exists(path))
    }

    /// Whether there is anything at a path.
    pub fn exists(&self, path: &str) -> bool {
        self.root.place(path).symlink_metadata().is_ok()
    }

    /// Whether a file that was noted has this content.
    pub fn has(&self, path: &str, content: &[u8], mode: u32) -> bool {
        atomic_file::is(&self.root.place(path), content, mode)
    }

    /// The switch with which tests end the program after a write.
    pub fn crash_switch(&self) -> &CrashSwitch {
        &self.crash
    }

    fn noted(&self, path: &str) -> Result<PathBuf, Error> {
        if self.state.before.contains_key(path) {
            Ok(self.root.place(path))
        } else {
            let reason = "expected a line about it before it is touched".to_owned();
            Err(Error::NotNoted { path: path.to_owned(), reason })
        }
    }

    /// Appends lines, and returns when they are on the disk.
    fn append(&mut self, entries: Vec<Entry>) -> Result<(), Error> {
        if entries.is_empty() {
            return Ok(());
        }
        let at = Timestamp::now();
        let mut text = Vec::new();
        let mut state = self.state.clone();
        for entry in entries {
            let line = Line { at, entry };
            serde_json::to_writer(&mut text, &line).map_err(|error| Error::Access {
                action: "encode",
                path: self.path.clone(),
                source: error.into(),
            })?;
            text.push(b'\n');
            // What is written must be what can be read again.
            state.take(line).map_err(|reason| Error::Malformed {
                path: self.path.clone(),
                source: Malformed { line: 0, reason },
            })?;
        }
        let length = self.length + text.len() as u64;
        if length > entry::MAX_BYTES {
            return Err(Error::Size { path: self.path.clone() });
        }
        self.write_at_end(&text).map_err(|source| Error::Access {
            action: "write",
            path: self.path.clone(),
            source,
        })?;
        (self.state, self.length) = (state, length);
        self.crash.wrote("the journal");
        Ok(())
    }

    fn write_at_end(&self, text: &[u8]) -> std::io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(atomic_file::SECRET).open(&self.path)?;
        // A torn last line goes before another one follows it.
        file.set_len(self.length)?;
        file.seek(SeekFrom::Start(self.length))?;
        file.write_all(text)?;
        file.sync_data()?;
        if self.length == 0 {
            // The file's name is new as well.
            File::open(self.path.parent().unwrap_or(Path::new("/")))?.sync_all()?;
        }
        Ok(())
    }
}

/// Reads a journal; `None` when there is none.
fn read(path: &Path) -> Result<Option<(State, u64)>, Error> {
    let failed = |source| Error::Access { action: "read", path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(missing) if missing.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(entry::MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > entry::MAX_BYTES {
        return Err(Error::Size { path: path.to_owned() });
    }
    let parsed = State::parse(&bytes).map_err(|source| Error::Malformed { path: path.to_owned(), source })?;
    Ok(Some(parsed))
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
