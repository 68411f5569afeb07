//! The documents of an image and the file that holds them.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::GzBuilder;
use oci_spec::OciSpecError;
use oci_spec::image::{
    ANNOTATION_REF_NAME, ConfigBuilder, Descriptor, DescriptorBuilder, Digest as OciDigest, HistoryBuilder,
    ImageConfigurationBuilder, ImageIndexBuilder, ImageManifestBuilder, MediaType, OciLayoutBuilder, Os,
    PlatformBuilder, RootFsBuilder, SCHEMA_VERSION,
};
use serde::Serialize;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::{Compression, Entry, Error, Image};

/// The name under which containerd registers an imported image.
const ANNOTATION_CONTAINERD_NAME: &str = "io.containerd.image.name";

/// A blob and the digest that is its name.
struct Blob {
    digest: String,
    content: Vec<u8>,
}

impl Blob {
    fn new(content: Vec<u8>) -> Self {
        Self { digest: digest(&content), content }
    }

    fn descriptor(&self, media_type: MediaType) -> Result<Descriptor, OciSpecError> {
        let digest = OciDigest::try_from(self.digest.as_str())?;
        Ok(Descriptor::new(media_type, self.content.len() as u64, digest))
    }
}

pub fn write(image: &Image, archive: &Path) -> Result<String, Error> {
    let tag = image.tag()?;
    let layer_failed = |source| Error::Layer { image: image.reference.clone(), source };
    let layer = pack(&image.entries, image.created).map_err(layer_failed)?;
    let diff_id = digest(&layer);
    let (layer, layer_type) = match image.compression {
        Compression::None => (layer, MediaType::ImageLayer),
        Compression::Gzip => (gzip(&layer).map_err(layer_failed)?, MediaType::ImageLayerGzip),
    };
    let documents = Documents::describe(image, tag, Blob::new(layer), layer_type, diff_id)
        .map_err(|reason| Error::Describe { image: image.reference.clone(), reason })?;
    documents.store(archive, mtime(image.created)).map_err(|source| Error::Write {
        image: image.reference.clone(),
        path: archive.to_owned(),
        source,
    })?;
    Ok(documents.manifest.digest)
}

/// A tar archive of the entries.
pub fn pack(entries: &BTreeMap<String, Entry>, created: OffsetDateTime) -> std::io::Result<Vec<u8>> {
    let mtime = mtime(created);
    let mut archive = tar::Builder::new(Vec::new());
    for (path, entry) in entries {
        match entry {
            Entry::File { content, mode } => append(&mut archive, path, content, *mode, mtime)?,
            Entry::Folder { mode } => {
                let mut header = header(*mode, mtime);
                header.set_entry_type(tar::EntryType::Directory);
                header.set_size(0);
                archive.append_data(&mut header, format!("{path}/"), std::io::empty())?;
            }
            Entry::Link { target } => {
                // The kernel gives every symbolic link these permission bits.
                let mut header = header(0o777, mtime);
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                archive.append_link(&mut header, path, target)?;
            }
        }
    }
    archive.into_inner()
}

/// A compressed stream with neither a name nor a time in its header.
pub fn gzip(content: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), flate2::Compression::best());
    encoder.write_all(content)?;
    encoder.finish()
}

/// Every document of the archive, each already in the bytes that its digest is made of.
struct Documents {
    layout: Vec<u8>,
    index: Vec<u8>,
    manifest: Blob,
    config: Blob,
    layer: Blob,
}

impl Documents {
    fn describe(image: &Image, tag: &str, layer: Blob, layer_type: MediaType, diff_id: String) -> Result<Self, String> {
        let config = Blob::new(configuration(image, diff_id)?);
        let layer_entry = layer.descriptor(layer_type).map_err(text)?;
        let manifest = ImageManifestBuilder::default()
            .schema_version(SCHEMA_VERSION)
            .media_type(MediaType::ImageManifest)
            .config(config.descriptor(MediaType::ImageConfig).map_err(text)?)
            .layers(vec![layer_entry])
            .annotations(image.labels.clone().into_iter().collect::<HashMap<_, _>>())
            .build()
            .map_err(text)?;
        let manifest = Blob::new(canonical(&manifest)?);
        let names = BTreeMap::from([
            (ANNOTATION_CONTAINERD_NAME.to_owned(), image.reference.clone()),
            (ANNOTATION_REF_NAME.to_owned(), tag.to_owned()),
        ]);
        let platform =
            PlatformBuilder::default().architecture(image.architecture.clone()).os(Os::Linux).build().map_err(text)?;
        let entry = DescriptorBuilder::default()
            .media_type(MediaType::ImageManifest)
            .digest(OciDigest::try_from(manifest.digest.as_str()).map_err(text)?)
            .size(manifest.content.len() as u64)
            .platform(platform)
            .annotations(names.into_iter().collect::<HashMap<_, _>>())
            .build()
            .map_err(text)?;
        let index = ImageIndexBuilder::default()
            .schema_version(SCHEMA_VERSION)
            .media_type(MediaType::ImageIndex)
            .manifests(vec![entry])
            .build()
            .map_err(text)?;
        let layout = OciLayoutBuilder::default().image_layout_version("1.0.0").build().map_err(text)?;
        Ok(Self { layout: canonical(&layout)?, index: canonical(&index)?, manifest, config, layer })
    }

    /// Writes beside the final place, and takes the name when everything is on the disk.
    fn store(&self, archive: &Path, mtime: u64) -> std::io::Result<()> {
        if let Some(folder) = archive.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut unfinished = archive.as_os_str().to_owned();
        unfinished.push(".unfinished");
        let mut output = tar::Builder::new(fs::File::create(&unfinished)?);
        append(&mut output, "oci-layout", &self.layout, 0o644, mtime)?;
        append(&mut output, "index.json", &self.index, 0o644, mtime)?;
        // In the order of their names, which are their digests.
        let blobs: BTreeMap<&str, &Blob> =
            [&self.layer, &self.config, &self.manifest].map(|blob| (blob.digest.as_str(), blob)).into();
        for (digest, blob) in blobs {
            append(&mut output, &format!("blobs/{}", digest.replacen(':', "/", 1)), &blob.content, 0o644, mtime)?;
        }
        output.into_inner()?.sync_all()?;
        fs::rename(&unfinished, archive)
    }
}

fn configuration(image: &Image, diff_id: String) -> Result<Vec<u8>, String> {
    let created = image.created.format(&Rfc3339).map_err(text)?;
    let config = ConfigBuilder::default()
        .user(&*image.user)
        .entrypoint(vec![image.entrypoint.clone()])
        .working_dir("/")
        .labels(image.labels.clone().into_iter().collect::<HashMap<_, _>>())
        .build()
        .map_err(text)?;
    let root = RootFsBuilder::default().typ("layers").diff_ids(vec![diff_id]).build().map_err(text)?;
    // Scanners and `docker history` expect one entry for each layer.
    let history = HistoryBuilder::default().created(&*created).created_by("cargo xtask image").build().map_err(text)?;
    let configuration = ImageConfigurationBuilder::default()
        .created(created)
        .architecture(image.architecture.clone())
        .os(Os::Linux)
        .config(config)
        .rootfs(root)
        .history(vec![history])
        .build()
        .map_err(text)?;
    canonical(&configuration)
}

/// JSON with every object's keys in order. The library keeps annotations in hash maps, whose order differs from run to
/// run, and a digest is made of bytes.
fn canonical(document: &impl Serialize) -> Result<Vec<u8>, String> {
    let mut value = serde_json::to_value(document).map_err(text)?;
    value.sort_all_objects();
    serde_json::to_vec(&value).map_err(text)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// Seconds since 1970, as tar headers have them.
fn mtime(created: OffsetDateTime) -> u64 {
    u64::try_from(created.unix_timestamp()).unwrap_or_default()
}

/// Appends a file.
fn append<W: Write>(
    archive: &mut tar::Builder<W>,
    path: &str,
    content: &[u8],
    mode: u32,
    mtime: u64,
) -> std::io::Result<()> {
    let mut header = header(mode, mtime);
    header.set_size(content.len() as u64);
    archive.append_data(&mut header, path, content)
}

/// The header of something that belongs to root.
fn header(mode: u32, mtime: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_uid(0);
    header.set_gid(0);
    header.set_mode(mode);
    header.set_mtime(mtime);
    header
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
