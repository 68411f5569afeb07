//! `cargo xtask image`: the controller's container image, without a container engine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use cargo_metadata::{Metadata, Package};
use clap::Args;
use join_e2e::progress::Step;
use join_image::{Compression, Entry, Image, controller};
use time::format_description::well_known::Rfc3339;

use crate::compile::{self, Linking, Profile};
use crate::revision::Revision;
use crate::sbom::{self, Container, Contents};
use crate::workspace;

const PROGRAM: &str = "join-controller";

#[derive(Args)]
pub struct ImageArguments {
    /// How the controller is compiled
    #[arg(long, value_enum, default_value = "release")]
    profile: Profile,
    /// The Rust target to compile for; another one than this machine's needs its standard library and linker
    #[arg(long, default_value_t = compile::host_target())]
    target: String,
    /// The archive to write [default: target/image/join-controller-<version>-<arch>.tar, in target/image/dev for the
    /// dev profile]
    #[arg(long)]
    output: Option<PathBuf>,
    /// The image's name and tag [default: ghcr.io/nodejoin/join-controller:<version>]
    #[arg(long)]
    reference: Option<String>,
}

pub fn run(arguments: &ImageArguments) -> anyhow::Result<ExitCode> {
    let revision = Revision::current()?;
    let step = Step::begin(format!("building {PROGRAM} for {}", arguments.target));
    let built = compile::build(PROGRAM, PROGRAM, arguments.profile, &arguments.target, Linking::Static)?;
    step.done();
    let metadata = workspace::metadata(&arguments.target)?;
    let package = workspace::package(&metadata, PROGRAM)?;
    let image = describe(package, &built.program, &revision, arguments)?;
    let archive = match &arguments.output {
        Some(output) => output.clone(),
        None => default_archive(&metadata, package, arguments.profile, &image),
    };
    let digest = image.write(&archive)?;
    let bill = archive.with_extension("cdx.json");
    let (repository, version) = image.reference.rsplit_once(':').unwrap_or((&image.reference, ""));
    let architecture = image.architecture.to_string();
    let container = Container { repository, version, digest: &digest, architecture: &architecture };
    let contents = Contents { metadata: &metadata, package, built: &built, revision: &revision };
    sbom::write(&contents, Some(&container), &bill)?;
    println!("image    {}", image.reference);
    println!("archive  {} ({})", archive.display(), workspace::size(&archive)?);
    println!("sbom     {}", bill.display());
    println!("digest   {digest}");
    Ok(ExitCode::SUCCESS)
}

/// Builds the image that the end-to-end suites deploy: compiled for debugging, since a release takes minutes.
pub fn for_tests() -> anyhow::Result<()> {
    let profile = Profile::Dev;
    run(&ImageArguments { profile, target: compile::host_target(), output: None, reference: None }).map(drop)
}

fn describe(
    package: &Package,
    program: &Path,
    revision: &Revision,
    arguments: &ImageArguments,
) -> anyhow::Result<Image> {
    let content = fs::read(program).with_context(|| format!("reading {}", program.display()))?;
    let version = package.version.to_string();
    let repository = package.repository.as_deref().unwrap_or_default();
    let labels = [
        ("title", PROGRAM),
        ("description", package.description.as_deref().unwrap_or_default()),
        ("source", repository),
        ("url", repository),
        ("licenses", package.license.as_deref().unwrap_or_default()),
        ("version", &version),
        ("revision", &revision.name),
        ("created", &revision.time.format(&Rfc3339)?),
    ]
    .map(|(label, value)| (format!("org.opencontainers.image.{label}"), value.to_owned()));
    Ok(Image {
        reference: arguments.reference.clone().unwrap_or_else(|| controller::reference(&version)),
        architecture: compile::architecture(&arguments.target)?,
        created: revision.time,
        user: controller::USER.to_owned(),
        entrypoint: format!("/{PROGRAM}"),
        // Nothing else: the cluster's CA comes with the ServiceAccount, so that no other certificates are needed.
        entries: BTreeMap::from([(PROGRAM.to_owned(), Entry::File { content, mode: 0o555 })]),
        labels: labels.into(),
        compression: match arguments.profile {
            Profile::Release => Compression::Gzip,
            Profile::Dev => Compression::None,
        },
    })
}

fn default_archive(metadata: &Metadata, package: &Package, profile: Profile, image: &Image) -> PathBuf {
    let folder = metadata.target_directory.as_std_path().join("image");
    let folder = match profile {
        Profile::Release => folder,
        Profile::Dev => folder.join("dev"),
    };
    folder.join(controller::archive_name(&package.version.to_string(), &image.architecture))
}
