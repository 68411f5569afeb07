//! The Helm chart as files: what is documented in its values, and the README that is made of it.

mod readme;
mod values;

use std::fs;
use std::path::PathBuf;

pub use values::{Documented, Undocumented, documented};

use crate::helm;

/// Where the chart's README is committed, below the root of the repository.
pub const README_PATH: &str = "charts/join-operator/README.md";

/// Why a file of the chart could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the chart could not be read.
    #[error("failed to read {path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    /// The default values are not what the documentation can be made of.
    #[error("failed to document {path}: {source}")]
    Values { path: PathBuf, source: Undocumented },
}

/// Every generated file of the chart beside its CustomResourceDefinition: its path below the root of the repository,
/// and its text.
pub fn files() -> Result<Vec<(&'static str, String)>, Error> {
    let path = helm::chart().join("values.yaml");
    let text = fs::read_to_string(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
    let documented = documented(&text).map_err(|source| Error::Values { path, source })?;
    Ok(vec![(README_PATH, readme::markdown(&documented))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_is_committed_as_the_values_say() {
        for (path, text) in files().unwrap() {
            let file = helm::chart().join("../..").join(path);
            if std::env::var_os("UPDATE").is_some() {
                fs::write(&file, &text).unwrap();
            }
            let committed = fs::read_to_string(&file).unwrap();
            assert!(
                committed == text,
                "{path} is not what values.yaml says; write it anew with `cargo xtask generate`"
            );
        }
    }
}
