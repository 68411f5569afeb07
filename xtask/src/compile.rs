//! Programs as they are given away: the same bytes wherever they are built with the same tools.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use cargo_metadata::{Artifact, Message, PackageId, TargetKind};
use join_e2e::lab::command;
use join_image::Arch;

use crate::{build, workspace};

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
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev => "dev",
        }
    }
}

/// Where a program takes the C library from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linking {
    /// It is in the program, which then needs nothing of the system: for an image that holds nothing else.
    Static,
    /// From the system, which is how a program resolves host names as all others on its machine do: glibc loads
    /// what `/etc/nsswitch.conf` names, and only into programs that share it.
    Dynamic,
}

/// The target of the machine that xtask runs on.
pub fn host_target() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// What images and archives call the processor of a target.
pub fn architecture(target: &str) -> anyhow::Result<Arch> {
    let processor = target.split('-').next().unwrap_or_default();
    join_image::architecture(processor).with_context(|| format!("target {target}: expected one for x86_64 or aarch64"))
}

/// A program and what it was built of.
pub struct Built {
    /// The program.
    pub program: PathBuf,
    /// The packages whose code is in it.
    pub linked: BTreeSet<PackageId>,
    /// The packages that only ran while it was built: macros and build scripts, and what these use.
    pub build_time: BTreeSet<PackageId>,
    /// What is in the program and is no package of cargo's.
    pub libraries: Vec<SystemLibrary>,
}

/// A library that came with the compiler or the machine.
pub struct SystemLibrary {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: String,
    /// Its licence, as SPDX writes it.
    pub license: &'static str,
}

/// Builds the binary `name` of the package `package`, stripped.
///
/// # Errors
/// When cargo fails, or when the program names folders of this machine, which would make it differ elsewhere.
pub fn build(package: &str, name: &str, profile: Profile, target: &str, linking: Linking) -> anyhow::Result<Built> {
    let folders = Folders::find()?;
    let mut cargo = build::cargo();
    cargo
        .args(["build", "--locked", "--quiet", "--message-format=json-render-diagnostics"])
        .args(["--profile", profile.as_str(), "--target", target, "--package", package, "--bin", name])
        // Whatever the caller has in RUSTFLAGS would be one more thing in which two builds differ.
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", folders.flags(linking))
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
    let mut built = sort(artifacts, target).with_context(|| format!("cargo built no program {name}"))?;
    built.libraries = libraries(target, linking)?;
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
    Some(Built { program: program?, linked, build_time, libraries: Vec::new() })
}

fn libraries(target: &str, linking: Linking) -> anyhow::Result<Vec<SystemLibrary>> {
    let version = ask(rustc().arg("--version"))?;
    let version = version.split(' ').nth(1).with_context(|| format!("rustc says {version:?} for its version"))?;
    let mut libraries =
        vec![SystemLibrary { name: "rust-std", version: version.to_owned(), license: "MIT OR Apache-2.0" }];
    // Of another target's C library the version is not known here.
    if linking == Linking::Static && target == host_target() {
        let version = ask(Command::new("getconf").arg("GNU_LIBC_VERSION"))?;
        let version = version.trim_start_matches("glibc ").to_owned();
        libraries.push(SystemLibrary { name: "glibc", version, license: "LGPL-2.1-or-later" });
    }
    Ok(libraries)
}

/// The compiler that cargo uses.
fn rustc() -> Command {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.current_dir(build::repository());
    rustc
}

/// Runs a program for the one line that it prints.
fn ask(command: &mut Command) -> anyhow::Result<String> {
    Ok(command::run(command)?.stdout.trim().to_owned())
}

/// Folders of this machine whose names the compiler would write into a program, and what it writes instead.
struct Folders(Vec<(PathBuf, &'static str)>);

impl Folders {
    fn find() -> anyhow::Result<Self> {
        let sysroot = PathBuf::from(ask(rustc().args(["--print", "sysroot"]))?);
        let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
        let mut folders = vec![(build::repository().to_owned(), "/join-operator"), (sysroot, "/rust")];
        // It can be elsewhere, and build scripts write code into it. The last fitting flag wins.
        folders.push((workspace::target_folder()?, "/join-operator/target"));
        // One folder for each registry, named by a hash of its address, which a mirror changes.
        let sources = home.context("neither CARGO_HOME nor HOME is set")?.join("registry/src");
        let registries = std::fs::read_dir(&sources).with_context(|| format!("reading {}", sources.display()))?;
        for registry in registries {
            folders.push((registry.with_context(|| format!("reading {}", sources.display()))?.path(), "/crates"));
        }
        Ok(Self(folders))
    }

    /// The compiler's flags, in the form that allows for spaces in paths.
    fn flags(&self, linking: Linking) -> OsString {
        let mut flags = OsString::from("-Cstrip=symbols\x1f-Cdebuginfo=0\x1f-Ctarget-feature=");
        flags.push(match linking {
            Linking::Static => "+crt-static",
            Linking::Dynamic => "-crt-static",
        });
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
