//! What a request takes from a file that was written for `kubeadm join --config`.
//!
//! The file is read whole, so that a misspelt field in it is found here. Nothing of its discovery goes into a request: the
//! token in it is never shown, and the machine has it already.

use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use join_crds::{KubeletArg, NodeRegistration, Role, Taint, TaintEffect};
use join_trust::join_configuration::{self as kubeadm, JoinConfiguration, JoinConfigurationError};
use join_trust::limits::MAX_JOIN_CONFIGURATION_BYTES;
use join_trust::names::NodeName;
use zeroize::Zeroizing;

use crate::output::stderr;
use crate::secret_text;

/// The file cannot be used for this request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("failed to read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no JoinConfiguration.
    #[error("{path}: {source}")]
    JoinConfiguration {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: JoinConfigurationError,
    },
    /// It is another machine's.
    #[error("{path}: nodeRegistration.name is {in_file}, and the request is for {name}; expected the same name")]
    OtherName {
        /// The file.
        path: PathBuf,
        /// The name in the file.
        in_file: NodeName,
        /// The name of the request.
        name: NodeName,
    },
    /// A taint does nothing that Kubernetes knows.
    #[error(
        "{path}: nodeRegistration.taints: the effect of {key:?} is {effect:?}, expected NoSchedule, PreferNoSchedule or \
         NoExecute"
    )]
    Effect {
        /// The file.
        path: PathBuf,
        /// The taint's key.
        key: String,
        /// Its effect.
        effect: String,
    },
}

/// What a request says where no flag says it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Defaults {
    /// What the machine becomes.
    pub role: Role,
    /// Addresses that the node may have.
    pub addresses: Vec<IpAddr>,
    /// How the kubelet is set up and what the Node carries.
    pub node_registration: NodeRegistration,
    /// The address that a control plane's API server advertises.
    pub advertise_address: Option<IpAddr>,
    /// The port that it listens on.
    pub bind_port: Option<u16>,
}

impl Defaults {
    /// Reads the file, and says what of it a request does not take.
    pub fn read(path: &Path, name: &NodeName) -> Result<Self, Error> {
        let file = parse(path, &text(path)?)?;
        let left = not_taken(&file).join(", ");
        let defaults = Self::of(path, file, name)?;
        if !left.is_empty() {
            stderr::warning(&format!("a request does not take from {}: {left}", path.display()));
        }
        Ok(defaults)
    }

    /// What the file says of the request for a machine of this name.
    fn of(path: &Path, file: JoinConfiguration, name: &NodeName) -> Result<Self, Error> {
        let addresses = file.node_registration.node_ips().map_err(|source| not_usable(path, source))?;
        let node = file.node_registration;
        if let Some(in_file) = node.name.filter(|in_file| in_file != name) {
            return Err(Error::OtherName { path: path.to_owned(), in_file, name: name.clone() });
        }
        let argument = |argument: kubeadm::KubeletArg| KubeletArg { name: argument.name, value: argument.value };
        let taints = node.taints.map(|taints| taints.into_iter().map(|one| taint(path, one)).collect()).transpose()?;
        Ok(Self {
            role: if file.control_plane.is_some() { Role::ControlPlane } else { Role::Worker },
            addresses,
            node_registration: NodeRegistration {
                cri_socket: node.cri_socket,
                kubelet_extra_args: node.kubelet_extra_args.into_iter().map(argument).collect(),
                taints,
                ignore_preflight_errors: node.ignore_preflight_errors,
                ..NodeRegistration::default()
            },
            advertise_address: file.control_plane.as_ref().and_then(|control_plane| control_plane.advertise_address),
            bind_port: file.control_plane.as_ref().and_then(|control_plane| control_plane.bind_port),
        })
    }
}

/// The file's text, of which no more is read than can be one.
fn text(path: &Path) -> Result<Zeroizing<String>, Error> {
    let text = File::open(path).and_then(|file| secret_text::read(file, MAX_JOIN_CONFIGURATION_BYTES + 1));
    text.map_err(|source| Error::Read { path: path.to_owned(), source })
}

fn parse(path: &Path, text: &str) -> Result<JoinConfiguration, Error> {
    JoinConfiguration::parse(text).map_err(|source| not_usable(path, source))
}

fn not_usable(path: &Path, source: JoinConfigurationError) -> Error {
    Error::JoinConfiguration { path: path.to_owned(), source }
}

fn taint(path: &Path, taint: kubeadm::Taint) -> Result<Taint, Error> {
    match TaintEffect::parse(&taint.effect) {
        Some(effect) => Ok(Taint { key: taint.key, value: taint.value, effect }),
        None => Err(Error::Effect { path: path.to_owned(), key: taint.key, effect: taint.effect }),
    }
}

/// What kubeadm would do and no request can ask for, and what kubeadm does not read either.
fn not_taken(file: &JoinConfiguration) -> Vec<&str> {
    let node = &file.node_registration;
    let fields = [
        ("dryRun", file.dry_run),
        ("skipPhases", !file.skip_phases.is_empty()),
        ("patches", file.patches.is_some()),
        ("timeouts", !file.timeouts.is_empty()),
        ("controlPlane.certificateKey", file.control_plane.as_ref().is_some_and(|own| own.has_certificate_key)),
        ("nodeRegistration.imagePullPolicy", node.image_pull_policy.is_some()),
        ("nodeRegistration.imagePullSerial", node.image_pull_serial.is_some()),
    ];
    let fields = fields.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name);
    fields.chain(file.not_read.iter().map(String::as_str)).collect()
}

#[cfg(test)]
#[path = "join_configuration_tests.rs"]
mod tests;
