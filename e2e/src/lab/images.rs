//! The container images of the lab: each one static program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use join_image::{Compression, Entry, Image};
use time::OffsetDateTime;

/// An image could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program is not there.
    #[error("failed to read {path}, the program of the image {image}: {source}")]
    Program { image: String, path: PathBuf, source: std::io::Error },
    /// The lab has no name for images of this processor.
    #[error("no image can be made for the processor {0}; expected x86_64 or aarch64")]
    Architecture(&'static str),
    /// The image could not be made.
    #[error(transparent)]
    Image(#[from] join_image::Error),
}

/// The image of the sandbox that holds a pod's namespaces; named in `machine/containerd.toml`.
pub const PAUSE: &str = "lab.nodejoin.dev/pause:1";
/// The image of the lab's own pods.
pub const POD: &str = "lab.nodejoin.dev/pod:1";

/// Writes an archive with one image whose entrypoint is `/<name>`, made of the file `program`.
pub fn write_archive(archive: &Path, image: &str, program: &Path, name: &str) -> Result<(), Error> {
    let entries = BTreeMap::from([(name.to_owned(), executable(image, program)?)]);
    write(archive, image, "65535:65535", format!("/{name}"), entries)
}

/// Writes an archive with one image for static pods, made of the file `program`: it is in PATH, under its own name and
/// under each of `links`, and root runs it, as kubeadm's manifests expect.
pub fn write_static_pod_archive(archive: &Path, image: &str, program: &Path, links: &[&str]) -> Result<(), Error> {
    const FOLDER: &str = "usr/local/bin";
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let mut entries = BTreeMap::from([(format!("{FOLDER}/{name}"), executable(image, program)?)]);
    entries.extend(links.iter().map(|link| (format!("{FOLDER}/{link}"), Entry::Link { target: name.to_string() })));
    write(archive, image, "0:0", format!("/{FOLDER}/{name}"), entries)
}

fn executable(image: &str, program: &Path) -> Result<Entry, Error> {
    let missing = |source| Error::Program { image: image.to_owned(), path: program.to_owned(), source };
    Ok(Entry::File { content: std::fs::read(program).map_err(missing)?, mode: 0o755 })
}

fn write(
    archive: &Path,
    image: &str,
    user: &str,
    entrypoint: String,
    mut entries: BTreeMap<String, Entry>,
) -> Result<(), Error> {
    let processor = std::env::consts::ARCH;
    // World-writable, as every distribution's base image has it.
    entries.insert("tmp".to_owned(), Entry::Folder { mode: 0o1777 });
    let image = Image {
        reference: image.to_owned(),
        architecture: join_image::architecture(processor).ok_or(Error::Architecture(processor))?,
        created: OffsetDateTime::UNIX_EPOCH,
        user: user.to_owned(),
        entrypoint,
        entries,
        labels: BTreeMap::new(),
        compression: Compression::None,
    };
    image.write(archive)?;
    Ok(())
}
