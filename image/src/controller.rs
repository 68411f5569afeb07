//! The controller's image: the one name for those who build it, import it and deploy it.

use crate::Arch;

/// Where the image is published.
pub const REPOSITORY: &str = "ghcr.io/nodejoin/join-controller";

/// The user and group that the controller runs as: a number, which is what lets Kubernetes enforce `runAsNonRoot`.
pub const USER: &str = "65532:65532";

/// The full name of a version's image.
pub fn reference(version: &str) -> String {
    format!("{REPOSITORY}:{version}")
}

/// The file name of an image's archive.
pub fn archive_name(version: &str, architecture: &Arch) -> String {
    format!("join-controller-{version}-{architecture}.tar")
}
