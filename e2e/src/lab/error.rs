//! Why a lab could not do what was asked.

use std::path::PathBuf;

use super::{client, command, images, layout, machine_root};

/// The error of every operation on a lab.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lab's name is not usable.
    #[error(transparent)]
    Name(#[from] layout::InvalidName),
    /// A file or folder could not be read or written.
    #[error("failed to access {path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    /// A program failed.
    #[error(transparent)]
    Command(#[from] command::Error),
    /// The API could not be used.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// An image could not be made.
    #[error(transparent)]
    Image(#[from] images::Error),
    /// A lab of this name exists already.
    #[error("a lab named {0} exists already; remove it with `cargo xtask lab down --name {0}`")]
    Exists(String),
    /// There is no lab of this name.
    #[error("there is no lab named {0}; start it with `cargo xtask lab up --name {0}`")]
    Missing(String),
    /// There is no such machine, or it is down.
    #[error("machine {machine} of lab {lab} is {state}")]
    Machine { lab: String, machine: String, state: &'static str },
    /// A process of the control plane is not there.
    #[error("lab {lab} runs no process named {process}")]
    NoProcess { lab: String, process: String },
    /// A machine's own first steps failed.
    #[error(transparent)]
    MachineRoot(#[from] machine_root::Error),
    /// Something did not become so within its time.
    #[error("waited {seconds} s for {what}, in vain; last seen: {seen}")]
    Timeout { what: String, seconds: u64, seen: String },
    /// Ctrl-C, or a request to terminate.
    #[error("interrupted")]
    Interrupted,
    /// kubeadm wrote something that is not understood.
    #[error("failed to read {path}: {reason}")]
    Manifest { path: PathBuf, reason: String },
    /// kubeadm uploaded certificates and did not say under which key.
    #[error("kubeadm init phase upload-certs printed no line of 64 hexadecimal digits, which is the certificate key")]
    NoCertificateKey,
    /// etcd answered something else than its members.
    #[error("etcd did not answer with a list of its members ({reason}): {answer}")]
    Etcd { reason: String, answer: String },
}

/// Adds the path to an IO error.
pub(super) fn at(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.into();
    move |source| Error::Io { path, source }
}
