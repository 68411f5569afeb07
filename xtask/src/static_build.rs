//! Programs that need nothing of the system that they run on, and that are the same wherever they are built.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail, ensure};
use cargo_metadata::{Artifact, Message, PackageId, TargetKind};

use crate::build;

/// How much the compiler does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// What users get: small; takes minutes
    Release,
    /// For tests: quick to build, ten times as large, slow to run
    Dev,
}

impl Profile {
    /// cargo's name for the profile.
    fn as_str(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev => "dev",
        }
    }
}

/// The target of the machine that xtask runs on.
pub fn host_target() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// A program and what it was built of.
pub struct Built {
    /// The program.
    pub program: PathBuf,
    /// The packages whose code is in it.
    pub linked: BTreeSet<PackageId>,
    /// The packages that only ran while it was built: macros and build scripts, and what these use.
    pub build_time: BTreeSet<PackageId>,
}

/// Builds the binary `name` of the package `name`, statically linked and stripped.
///
/// # Errors
/// When cargo fails, or when the program names folders of this machine, which would make it differ elsewhere.
pub fn build(name: &str, profile: Profile, target: &str) -> anyhow::Result<Built> {
    let folders = Folders::find()?;
    let mut cargo = build::cargo();
    cargo
        .args(["build", "--locked", "--quiet", "--message-format=json-render-diagnostics"])
        .args(["--profile", profile.as_str(), "--target", target, "--package", name, "--bin", name])
        // Whatever the caller has in RUSTFLAGS would be one more thing in which two builds differ.
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", folders.flags())
        .stdout(Stdio::piped());
    let mut child = cargo.spawn().context("starting cargo")?;
    let output = child.stdout.take().context("cargo has no output")?;
    let messages = Message::parse_stream(std::io::BufReader::new(output)).collect::<Result<Vec<_>, _>>();
    let status = child.wait().context("waiting for cargo")?;
    ensure!(status.success(), "building {name} for {target} failed ({status})");
    let artifacts = messages.context("reading what cargo built")?.into_iter().filter_map(|message| match message {
        Message::CompilerArtifact(artifact) => Some(artifact),
        _ => None,
    });
    let built = sort(artifacts, target).with_context(|| format!("cargo built no program {name}"))?;
    folders.are_not_in(&built.program)?;
    Ok(built)
}

/// Tells what went into the program from what ran on this machine only: cargo keeps the target's artifacts apart.
fn sort(artifacts: impl Iterator<Item = Artifact>, target: &str) -> Option<Built> {
    let (mut linked, mut build_time, mut program) = (BTreeSet::new(), BTreeSet::new(), None);
    for artifact in artifacts {
        if let Some(executable) = artifact.executable.filter(|_| artifact.target.is_bin()) {
            program = Some(executable.into_std_path_buf());
        }
        let for_target = artifact.filenames.iter().any(|file| file.components().any(|part| part.as_str() == target));
        let runs_here = artifact.target.is_kind(TargetKind::CustomBuild) || artifact.target.is_proc_macro();
        if for_target && !runs_here {
            linked.insert(artifact.package_id);
        } else {
            build_time.insert(artifact.package_id);
        }
    }
    let build_time = build_time.difference(&linked).cloned().collect();
    Some(Built { program: program?, linked, build_time })
}

/// Folders of this machine whose names the compiler would write into a program, and what it writes instead.
struct Folders(Vec<(PathBuf, &'static str)>);

impl Folders {
    fn find() -> anyhow::Result<Self> {
        let mut print = std::process::Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        let output =
            print.current_dir(build::repository()).args(["--print", "sysroot"]).output().context("starting rustc")?;
        ensure!(output.status.success(), "`rustc --print sysroot` failed ({})", output.status);
        let sysroot = PathBuf::from(String::from_utf8(output.stdout).context("the sysroot's path")?.trim());
        let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
        let mut folders = vec![(build::repository().to_owned(), "/join-operator"), (sysroot, "/rust")];
        // One folder for each registry, named by a hash of its address, which a mirror changes.
        let sources = home.context("neither CARGO_HOME nor HOME is set")?.join("registry/src");
        let registries = std::fs::read_dir(&sources).with_context(|| format!("reading {}", sources.display()))?;
        for registry in registries {
            folders.push((registry.with_context(|| format!("reading {}", sources.display()))?.path(), "/crates"));
        }
        Ok(Self(folders))
    }

    /// The compiler's flags, in the form that allows for spaces in paths.
    fn flags(&self) -> OsString {
        let mut flags = OsString::from("-Ctarget-feature=+crt-static\x1f-Cstrip=symbols\x1f-Cdebuginfo=0");
        for (folder, name) in &self.0 {
            flags.push("\x1f--remap-path-prefix=");
            flags.push(folder);
            flags.push("=");
            flags.push(name);
        }
        flags
    }

    /// Looks into the program itself, since C code and build scripts have ways of their own to write paths into it.
    fn are_not_in(&self, program: &Path) -> anyhow::Result<()> {
        let content = std::fs::read(program).with_context(|| format!("reading {}", program.display()))?;
        for (folder, _) in &self.0 {
            let name = folder.as_os_str().as_encoded_bytes();
            // Short names such as /src can be a part of other words; they are left to the comparison of two builds.
            if name.len() > 8 && memchr::memmem::find(&content, name).is_some() {
                bail!(
                    "{} names {}, a folder of this machine: built elsewhere it would be another program",
                    program.display(),
                    folder.display()
                );
            }
        }
        Ok(())
    }
}
