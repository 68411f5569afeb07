//! Helm with the administrator's rights in a lab, and alone, to render the chart.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lab::{self, Lab, command};
use crate::operator::NAMESPACE;

/// The release's name in every lab.
pub const RELEASE: &str = "join-operator";

/// The folder of the chart.
pub fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/join-operator")
}

/// Keeps everything that helm writes for itself in `folder`, and so out of the user's own settings.
pub fn at_home(helm: &mut Command, folder: &Path) {
    for (variable, name) in [("CACHE", "cache"), ("CONFIG", "config"), ("DATA", "data")] {
        helm.env(format!("HELM_{variable}_HOME"), folder.join(name));
    }
}

/// A `helm` with the administrator's rights.
pub fn command(lab: &Lab) -> Result<Command, lab::Error> {
    let mut helm = lab.control_plane_command(&lab.components().helm.join("helm"))?;
    at_home(&mut helm, &lab.layout().folder().join("helm"));
    helm.env("KUBECONFIG", "/etc/kubernetes/admin.conf");
    Ok(helm)
}

/// Runs `helm` and returns what it printed.
pub fn run(lab: &Lab, arguments: &[&str]) -> Result<String, lab::Error> {
    Ok(command::run(command(lab)?.args(arguments))?.stdout)
}

/// Installs the chart as it stands in the repository, as the documentation says it, with further arguments.
pub fn install(lab: &Lab, arguments: &[&str]) -> Result<String, lab::Error> {
    let chart = chart().display().to_string();
    let install = ["install", RELEASE, &chart, "--namespace", NAMESPACE, "--create-namespace"];
    run(lab, &[&install[..], arguments].concat())
}
