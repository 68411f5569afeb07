//! A `JoinConfiguration` that was written for `kubeadm join`, used as the agent's configuration.
//!
//! What would make another join of it than the file asks for is refused. What the request decides here, and a file decides
//! for kubeadm, is named in a warning.

use std::path::{Path, PathBuf};

use join_trust::join_configuration::{self as kubeadm, JoinConfiguration};
use join_trust::names::NodeName;
use join_trust::token::BootstrapToken;

use super::{Configuration, DEFAULT_STATE_DIRECTORY, Discovery, Error, ReadFile, Surroundings, wrong};
use crate::files::CA_CRT;

pub(super) fn build(
    path: &Path,
    text: &str,
    surroundings: &Surroundings,
    read: &ReadFile<'_>,
) -> Result<Configuration, Error> {
    let not_usable = |source| Error::JoinConfiguration { path: path.to_owned(), source };
    let file = JoinConfiguration::parse(text).map_err(not_usable)?;
    if let Some((field, reason)) = refusal(&file) {
        return Err(wrong(path, field, &reason));
    }
    let node_addresses = file.node_registration.node_ips().map_err(not_usable)?;
    let warning = warning(&file);
    let node_name = match file.node_registration.name {
        Some(name) => name,
        None => NodeName::parse(&surroundings.default_name())
            .map_err(|error| wrong(path, "nodeRegistration.name", &error.to_string()))?,
    };
    Ok(Configuration {
        node_name,
        discovery: discovery(path, file.discovery, file.tls_bootstrap_token, surroundings, read)?,
        node_addresses,
        state_directory: PathBuf::from(DEFAULT_STATE_DIRECTORY),
        warning,
    })
}

/// What the agent would do otherwise than the file says, and why that cannot be.
fn refusal(file: &JoinConfiguration) -> Option<(&'static str, String)> {
    let other_ca = file.ca_cert_path.as_deref().filter(|path| *path != CA_CRT);
    let refusals = [
        file.control_plane.is_some().then_some((
            "controlPlane",
            "asks for a control plane, which the request does: take it out of the file, and give the request role ControlPlane \
             (docs/control-planes.md)",
        )),
        file.dry_run.then_some(("dryRun", "is true, and the agent would join; `join-agent check` changes nothing")),
        (!file.skip_phases.is_empty())
            .then_some(("skipPhases", "names phases of kubeadm, and the agent leaves no step of a join out")),
        file.patches.is_some().then_some(("patches", "the agent does not patch the files that it writes")),
    ];
    let refusal = refusals.into_iter().flatten().next().map(|(field, reason)| (field, reason.to_owned()));
    refusal.or_else(|| other_ca.map(|path| ("caCertPath", format!("is {path:?}, and the agent writes {CA_CRT}"))))
}

fn discovery(
    path: &Path,
    raw: kubeadm::Discovery,
    tls_bootstrap_token: Option<BootstrapToken>,
    surroundings: &Surroundings,
    read: &ReadFile<'_>,
) -> Result<Discovery, Error> {
    match raw {
        kubeadm::Discovery::BootstrapToken { endpoint, token, pins, unsafe_skip_ca_verification } => {
            let trust = super::trust(path, pins, unsafe_skip_ca_verification, surroundings)?;
            super::is_one_token(path, &token, tls_bootstrap_token.as_ref())?;
            Ok(Discovery::Token { endpoint, token, expires: None, trust })
        }
        kubeadm::Discovery::File { path: file } => {
            super::file_discovery(path, PathBuf::from(file), tls_bootstrap_token, read)
        }
        kubeadm::Discovery::Url(url) => Ok(Discovery::Url { url, token: tls_bootstrap_token }),
    }
}

/// What the file says and the agent does not read.
fn warning(file: &JoinConfiguration) -> Option<String> {
    let node = &file.node_registration;
    let of_the_request = named([
        ("criSocket", node.cri_socket.is_some()),
        ("taints", node.taints.is_some()),
        ("kubeletExtraArgs", !node.kubelet_extra_args.is_empty()),
        ("ignorePreflightErrors", !node.ignore_preflight_errors.is_empty()),
    ]);
    let of_no_use = named([
        ("nodeRegistration.imagePullPolicy", node.image_pull_policy.is_some()),
        ("nodeRegistration.imagePullSerial", node.image_pull_serial.is_some()),
        ("timeouts", !file.timeouts.is_empty()),
    ]);
    let of_no_use: Vec<&str> = of_no_use.into_iter().chain(file.not_read.iter().map(String::as_str)).collect();
    let mut sentences = Vec::new();
    if !of_the_request.is_empty() {
        sentences.push(format!(
            "not taken from nodeRegistration: {}; the request's spec.nodeRegistration decides them, and `kubectl njr create \
             NAME --join-configuration FILE` takes them from the file",
            of_the_request.join(", ")
        ));
    }
    if !of_no_use.is_empty() {
        sentences.push(format!("without a meaning to the agent: {}", of_no_use.join(", ")));
    }
    (!sentences.is_empty()).then(|| sentences.join("; "))
}

fn named<const N: usize>(fields: [(&'static str, bool); N]) -> Vec<&'static str> {
    fields.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect()
}

#[cfg(test)]
#[path = "join_configuration_tests.rs"]
mod tests;
