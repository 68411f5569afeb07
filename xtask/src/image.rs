//! `cargo xtask image`: the controller's container image, without a container engine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use cargo_metadata::{Metadata, MetadataCommand, Package};
use clap::Args;
use join_e2e::progress::Step;
use join_image::{Compression, Entry, Image, controller};
use time::format_description::well_known::Rfc3339;

use crate::build;
use crate::revision::Revision;
use crate::static_build::{self, Profile};

const PROGRAM: &str = "join-controller";

#[derive(Args)]
pub struct ImageArguments {
    /// How the controller is compiled
    #[arg(long, value_enum, default_value = "release")]
    profile: Profile,
    /// The Rust target to compile for; another one than this machine's needs its standard library and linker
    #[arg(long, default_value_t = static_build::host_target())]
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
    let step = Step::begin(format!("building {PROGRAM} for {}", arguments.target));
    let built = static_build::build(PROGRAM, arguments.profile, &arguments.target)?;
    step.done();
    let metadata = metadata(&arguments.target)?;
    let package = package(&metadata, PROGRAM)?;
    let image = describe(package, &built.program, arguments)?;
    let archive = match &arguments.output {
        Some(output) => output.clone(),
        None => default_archive(&metadata, package, arguments.profile, &image),
    };
    let digest = image.write(&archive)?;
    println!("image    {}", image.reference);
    println!("archive  {} ({:.1} MB)", archive.display(), megabytes(&archive)?);
    println!("digest   {digest}");
    Ok(ExitCode::SUCCESS)
}

/// Builds the image that the end-to-end suites deploy: compiled for debugging, since a release takes minutes.
pub fn for_tests() -> anyhow::Result<()> {
    let profile = Profile::Dev;
    run(&ImageArguments { profile, target: static_build::host_target(), output: None, reference: None }).map(drop)
}

/// What cargo knows of the workspace and of everything that it depends on for a target.
fn metadata(target: &str) -> anyhow::Result<Metadata> {
    let mut command = MetadataCommand::new();
    command.current_dir(build::repository());
    let options = ["--locked", "--filter-platform", target].map(str::to_owned);
    command.other_options(options.to_vec()).exec().context("reading the workspace's packages")
}

fn package<'a>(metadata: &'a Metadata, name: &str) -> anyhow::Result<&'a Package> {
    metadata
        .workspace_packages()
        .into_iter()
        .find(|package| package.name == name)
        .with_context(|| format!("the workspace has no package {name}"))
}

fn describe(package: &Package, program: &Path, arguments: &ImageArguments) -> anyhow::Result<Image> {
    let revision = Revision::current()?;
    let content = fs::read(program).with_context(|| format!("reading {}", program.display()))?;
    let processor = arguments.target.split('-').next().unwrap_or_default();
    let architecture = join_image::architecture(processor)
        .with_context(|| format!("target {}: expected one for x86_64 or aarch64", arguments.target))?;
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
        architecture,
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

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn megabytes(file: &Path) -> anyhow::Result<f64> {
    let size = fs::metadata(file).with_context(|| format!("reading {}", file.display()))?.len();
    Ok(size as f64 / 1e6)
}
