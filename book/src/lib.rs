//! The documentation: pages that are made from the code, and what reads the pages that people write.
//!
//! Everything in `docs` that can be wrong without anybody noticing is either generated here or checked by this crate's
//! tests: links and anchors, every YAML block, every command of a code block.
#![warn(missing_docs)]

pub mod blocks;
pub mod commands;
pub mod generated;
pub mod markdown;
pub mod preprocessor;

use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn repository() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// A page of the documentation could not be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read {path}: {source}")]
pub struct ReadError {
    /// What was to be read.
    pub path: PathBuf,
    /// Why not.
    pub source: std::io::Error,
}
