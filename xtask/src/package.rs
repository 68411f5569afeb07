//! `cargo xtask package`: what is installed outside a cluster: the agent as a Debian and an RPM package, and archives
//! for every other system.

mod archive;
mod glibc;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use cargo_metadata::Metadata;
use clap::Args;
use join_e2e::lab::command;
use join_e2e::progress::Step;
use sha2::{Digest, Sha256};

use crate::compile::{self, Linking, Profile};
use crate::revision::Revision;
use crate::sbom::{self, Contents};
use crate::tools::{CARGO_DEB, CARGO_GENERATE_RPM, Tool};
use crate::{build, workspace};

const AGENT: &str = "join-agent";
/// The package of the kubectl plugin, and the program in it.
const PLUGIN: (&str, &str) = ("join-kubectl", "kubectl-njr");
const CHECKSUMS: &str = "SHA256SUMS";

#[derive(Args)]
pub struct PackageArguments {
    /// How the programs are compiled; with `dev`, only the agent's packages are made, for tests
    #[arg(long, value_enum, default_value = "release")]
    profile: Profile,
    /// The Rust target to compile for; another one than this machine's needs its standard library and linker
    #[arg(long, default_value_t = compile::host_target())]
    target: String,
    /// The target of kubectl-njr, where it is another one, for example x86_64-unknown-linux-musl
    #[arg(long)]
    plugin_target: Option<String>,
    /// The folder to write to [default: target/package, for the dev profile target/package/dev]
    #[arg(long)]
    output: Option<PathBuf>,
}

pub fn run(arguments: &PackageArguments) -> anyhow::Result<ExitCode> {
    let packaging = Packaging::prepare(arguments)?;
    match arguments.profile {
        Profile::Release => packaging.everything(arguments.plugin_target.as_deref().unwrap_or(&arguments.target))?,
        Profile::Dev => packaging.for_tests()?,
    }
    let folder = packaging.folder;
    for (name, checksum) in write_checksums(&folder)? {
        println!("{checksum}  {} ({})", folder.join(&name).display(), workspace::size(&folder.join(&name))?);
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the packages that the end-to-end suite installs.
pub fn for_tests() -> anyhow::Result<()> {
    let (profile, target) = (Profile::Dev, compile::host_target());
    run(&PackageArguments { profile, target, plugin_target: None, output: None }).map(drop)
}

struct Packaging<'a> {
    profile: Profile,
    target: &'a str,
    folder: PathBuf,
    revision: Revision,
    metadata: Metadata,
    version: String,
}

impl<'a> Packaging<'a> {
    /// Empties the folder: a package of an earlier version must not get into the list of checksums.
    fn prepare(arguments: &'a PackageArguments) -> anyhow::Result<Self> {
        let metadata = workspace::metadata(&arguments.target)?;
        let default = metadata.target_directory.as_std_path().join("package");
        let folder = arguments.output.clone().unwrap_or_else(|| match arguments.profile {
            Profile::Release => default,
            Profile::Dev => default.join("dev"),
        });
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        for file in files(&folder)? {
            fs::remove_file(&file).with_context(|| format!("removing {}", file.display()))?;
        }
        let version = workspace::package(&metadata, AGENT)?.version.to_string();
        let revision = Revision::current()?;
        Ok(Self { profile: arguments.profile, target: &arguments.target, folder, revision, metadata, version })
    }

    /// The packages of the agent as the other suites run it: it is there already, and neither small nor the same
    /// everywhere.
    fn for_tests(&self) -> anyhow::Result<()> {
        build::binaries(AGENT)?;
        let step = Step::begin("packing join-agent");
        self.debian()?;
        self.rpm()?;
        step.done();
        Ok(())
    }

    fn everything(&self, plugin_target: &str) -> anyhow::Result<()> {
        let program = self.compile(AGENT, AGENT, self.target, Linking::Dynamic)?;
        // The packages name this version, so that they are refused where the program could not start.
        glibc::needs_at_most(&program, (2, 34))?;
        let step = Step::begin("packing join-agent");
        self.debian()?;
        self.rpm()?;
        let (repository, architecture) = (build::repository(), self.architecture()?);
        let packaging = repository.join("node-agent/packaging");
        archive::write(
            &self.folder.join(format!("{AGENT}-{}-linux-{architecture}.tar.gz", self.version)),
            &format!("{AGENT}-{}", self.version),
            &[
                (&program, AGENT, 0o755),
                (&packaging.join("join-agent.service"), "join-agent.service", 0o644),
                (&packaging.join("config.yaml"), "config.yaml", 0o600),
                (&repository.join("LICENSE"), "LICENSE", 0o644),
            ],
            self.revision.time,
        )?;
        step.done();
        self.plugin(plugin_target)
    }

    /// An archive as krew wants it: the program and its licence, without a folder around them.
    fn plugin(&self, target: &str) -> anyhow::Result<()> {
        let (package, name) = PLUGIN;
        let program = self.compile(package, name, target, Linking::Static)?;
        let license = build::repository().join("LICENSE");
        archive::write(
            &self.folder.join(format!("{name}-{}-linux-{}.tar.gz", self.version, self.architecture()?)),
            "",
            &[(&program, name, 0o755), (&license, "LICENSE", 0o644)],
            self.revision.time,
        )
    }

    /// Compiles a program and writes its bill of materials.
    fn compile(&self, package: &str, name: &str, target: &str, linking: Linking) -> anyhow::Result<PathBuf> {
        let step = Step::begin(format!("building {name} for {target}"));
        let built = compile::build(package, name, self.profile, target, linking)?;
        step.done();
        let package = workspace::package(&self.metadata, package)?;
        let contents = Contents { metadata: &self.metadata, package, built: &built, revision: &self.revision };
        let bill = format!("{name}-{}-linux-{}.cdx.json", self.version, self.architecture()?);
        sbom::write(&contents, None, &self.folder.join(bill))?;
        Ok(built.program)
    }

    fn debian(&self) -> anyhow::Result<()> {
        let mut arguments = vec!["--no-build", "--package", AGENT];
        if self.profile == Profile::Dev {
            arguments.extend(["--fast", "--strip"]);
        }
        self.pack(&CARGO_DEB, &arguments)
    }

    fn rpm(&self) -> anyhow::Result<()> {
        let mut arguments = vec!["--package", "node-agent"];
        if self.profile == Profile::Dev {
            arguments.push("--payload-compress=none");
        }
        self.pack(&CARGO_GENERATE_RPM, &arguments)
    }

    /// Runs one of the tools, which find the program where cargo has put it.
    fn pack(&self, tool: &Tool, arguments: &[&str]) -> anyhow::Result<()> {
        let mut output = OsString::from("--output=");
        output.push(&self.folder);
        // A folder, even to a tool that looks for the slash.
        output.push("/");
        let mut pack = std::process::Command::new(tool.program()?);
        pack.current_dir(build::repository())
            .args(arguments)
            .args(["--profile", self.profile.as_str()])
            .arg(output)
            .env("SOURCE_DATE_EPOCH", self.revision.time.unix_timestamp().to_string());
        if self.profile == Profile::Release {
            pack.args(["--target", self.target]);
        }
        command::run(&mut pack)?;
        Ok(())
    }

    fn architecture(&self) -> anyhow::Result<String> {
        Ok(compile::architecture(self.target)?.to_string())
    }
}

/// Writes the list that `sha256sum --check` reads, and returns it.
fn write_checksums(folder: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let mut checksums = Vec::new();
    for file in files(folder)? {
        let content = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        checksums.push((name, hex::encode(Sha256::digest(content))));
    }
    checksums.sort();
    let lines: Vec<String> = checksums.iter().map(|(name, checksum)| format!("{checksum}  {name}")).collect();
    let list = folder.join(CHECKSUMS);
    fs::write(&list, lines.join("\n") + "\n").with_context(|| format!("writing {}", list.display()))?;
    Ok(checksums)
}

/// The files, not the folders, of a folder.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.with_context(|| format!("reading {}", folder.display()))?;
    Ok(entries.into_iter().map(|entry| entry.path()).filter(|path| path.is_file()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_checksums_is_what_sha256sum_reads() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("b"), "abc").unwrap();
        fs::write(folder.path().join("a"), "").unwrap();
        fs::create_dir(folder.path().join("dev")).unwrap();
        write_checksums(folder.path()).unwrap();
        // FIPS 180-4, the examples of SHA-256.
        assert_eq!(
            fs::read_to_string(folder.path().join(CHECKSUMS)).unwrap(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a\n\
             ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  b\n"
        );
    }
}
