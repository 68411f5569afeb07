//! What cargo says of this workspace.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use cargo_metadata::{Metadata, MetadataCommand, Package};

use crate::build;

/// What cargo knows of the workspace and of everything that it depends on for a target.
pub fn metadata(target: &str) -> anyhow::Result<Metadata> {
    let mut command = MetadataCommand::new();
    command.current_dir(build::repository());
    let options = ["--locked", "--filter-platform", target].map(str::to_owned);
    command.other_options(options.to_vec()).exec().context("reading the workspace's packages")
}

/// Where cargo puts what it makes.
pub fn target_folder() -> anyhow::Result<PathBuf> {
    let mut command = MetadataCommand::new();
    let metadata = command.current_dir(build::repository()).no_deps().exec().context("reading the workspace")?;
    Ok(metadata.target_directory.into_std_path_buf())
}

/// One of the workspace's own packages.
pub fn package<'a>(metadata: &'a Metadata, name: &str) -> anyhow::Result<&'a Package> {
    metadata
        .workspace_packages()
        .into_iter()
        .find(|package| package.name == name)
        .with_context(|| format!("the workspace has no package {name}"))
}

/// A file's size, for a person.
#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
pub fn size(file: &Path) -> anyhow::Result<String> {
    let size = fs::metadata(file).with_context(|| format!("reading {}", file.display()))?.len();
    Ok(format!("{:.1} MB", size as f64 / 1e6))
}
