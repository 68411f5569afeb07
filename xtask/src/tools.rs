//! Cargo's tools, built from their crates into the cache when they are not there yet.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use join_e2e::components::Components;
use join_e2e::progress::Step;

use crate::build;

/// A crate with one program of the same name.
pub struct Tool {
    name: &'static str,
    version: &'static str,
    /// What of it is built.
    features: &'static [&'static str],
}

/// Licences, bans and sources.
pub const CARGO_DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2", features: &[] };

/// The documentation as a book. Without its own web server, which is most of it.
pub const MDBOOK: Tool =
    Tool { name: "mdbook", version: "0.5.4", features: &["--no-default-features", "--features=search"] };

/// Fuzzing with libFuzzer.
pub const CARGO_FUZZ: Tool = Tool { name: "cargo-fuzz", version: "0.13.2", features: &[] };

/// Changes to the code that tests have to notice.
pub const CARGO_MUTANTS: Tool = Tool { name: "cargo-mutants", version: "27.1.0", features: &[] };

/// Debian packages.
pub const CARGO_DEB: Tool = Tool { name: "cargo-deb", version: "3.8.0", features: &[] };
/// RPM packages.
pub const CARGO_GENERATE_RPM: Tool = Tool { name: "cargo-generate-rpm", version: "0.21.1", features: &[] };

impl Tool {
    /// The program, after building it if need be.
    pub fn program(&self) -> anyhow::Result<PathBuf> {
        let Self { name, version, features } = self;
        let root = Components::cache_folder().join(format!("tools/{name}-{version}"));
        let program = root.join("bin").join(name);
        if !program.is_file() {
            let step = Step::begin(format!("building {name} {version}"));
            let mut install = build::cargo();
            install.args(["install", "--quiet", "--locked", name, "--version", version, "--root"]).arg(&root);
            install.args(*features);
            let status = install.status().context("starting cargo")?;
            ensure!(status.success(), "building {name} failed ({status})");
            step.done();
        }
        Ok(program)
    }
}
