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
    let content = std::fs::read(program).map_err(|source| Error::Program {
        image: image.to_owned(),
        path: program.to_owned(),
        source,
    })?;
    let processor = std::env::consts::ARCH;
    let image = Image {
        reference: image.to_owned(),
        architecture: join_image::architecture(processor).ok_or(Error::Architecture(processor))?,
        created: OffsetDateTime::UNIX_EPOCH,
        user: "65535:65535".to_owned(),
        entrypoint: format!("/{name}"),
        entries: BTreeMap::from([
            (name.to_owned(), Entry::File { content, mode: 0o755 }),
            // World-writable, as every distribution's base image has it.
            ("tmp".to_owned(), Entry::Folder { mode: 0o1777 }),
        ]),
        labels: BTreeMap::new(),
        compression: Compression::None,
    };
    image.write(archive)?;
    Ok(())
}
