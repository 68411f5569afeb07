//! Container images without a container engine: an OCI image layout in a tar file, made of a few files.
//!
//! The same [`Image`] always makes the same bytes: every entry has the time of [`Image::created`], no owner but root,
//! and a place that follows from its name. `ctr images import`, `skopeo` and `kind load` read such archives.
//! Source: the OCI image format specification, version 1.1.

mod archive;
pub mod controller;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use oci_spec::image::Arch;
use time::OffsetDateTime;

/// An image could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The archive could not be written.
    #[error("failed to write the image {image} to {path}: {source}")]
    Write {
        /// The image's reference.
        image: String,
        /// The archive.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A part of the image could not be put into a layer or compressed; only memory is written to.
    #[error("failed to make a layer of the image {image}: {source}")]
    Layer {
        /// The image's reference.
        image: String,
        /// Why.
        source: std::io::Error,
    },
    /// A document of the image is not what the specification asks for.
    #[error("failed to describe the image {image}: {reason}")]
    Describe {
        /// The image's reference.
        image: String,
        /// What the library says.
        reason: String,
    },
    /// The reference has no tag.
    #[error("the image reference {0:?} has no tag; expected a name, a colon and a tag, as in example.com/name:1.0.0")]
    Untagged(String),
}

/// One thing in the image's only layer.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A file that belongs to root.
    File {
        /// What is in it.
        content: Vec<u8>,
        /// Its permission bits.
        mode: u32,
    },
    /// A folder that belongs to root.
    Folder {
        /// Its permission bits.
        mode: u32,
    },
    /// A symbolic link: another name for a program that looks at the name which it is started by.
    Link {
        /// Where it leads, as symlink(7) reads it.
        target: String,
    },
}

/// How the layer is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As it is: quickest to write and to import.
    None,
    /// The one compression that every registry and runtime knows.
    Gzip,
}

/// An image with one layer.
#[derive(Debug, Clone)]
pub struct Image {
    /// The full name with its tag, for example `example.com/name:1.0.0`.
    pub reference: String,
    /// What the program in it runs on.
    pub architecture: Arch,
    /// The time of everything in the image. For the same digest from the same sources it must come from them.
    pub created: OffsetDateTime,
    /// Who the program runs as: `user:group`, as numbers, which is what lets Kubernetes enforce `runAsNonRoot`.
    pub user: String,
    /// The program's path in the image.
    pub entrypoint: String,
    /// Everything in the image, by its path without the leading slash.
    pub entries: BTreeMap<String, Entry>,
    /// Labels of the image, which are annotations of its manifest too: runtimes show the ones, registries the others.
    pub labels: BTreeMap<String, String>,
    /// How the layer is stored.
    pub compression: Compression,
}

impl Image {
    /// Writes the archive and returns the manifest's digest, by which a registry knows the image.
    ///
    /// The archive appears under its name when it is complete; a failed or killed run leaves none.
    pub fn write(&self, archive: &Path) -> Result<String, Error> {
        archive::write(self, archive)
    }

    /// The tag of [`Image::reference`]. A colon before the last slash belongs to a registry's port.
    fn tag(&self) -> Result<&str, Error> {
        let untagged = || Error::Untagged(self.reference.clone());
        let (_, tag) = self.reference.rsplit_once(':').ok_or_else(untagged)?;
        if tag.is_empty() || tag.contains('/') { Err(untagged()) } else { Ok(tag) }
    }
}

/// The files as a compressed archive, not an image: for systems that have their own way to install programs.
pub fn compressed_archive(entries: &BTreeMap<String, Entry>, created: OffsetDateTime) -> std::io::Result<Vec<u8>> {
    archive::gzip(&archive::pack(entries, created)?)
}

/// The name that container images have for a processor, from the name that Rust targets have for it.
pub fn architecture(rust: &str) -> Option<Arch> {
    match rust {
        "x86_64" => Some(Arch::Amd64),
        "aarch64" => Some(Arch::ARM64),
        _ => None,
    }
}
