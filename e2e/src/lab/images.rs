//! Container images made from nothing: one static program in one layer, as an OCI image layout in a tar file.
//! Source: the OCI image format specification, version 1.0.

use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// An image could not be written.
#[derive(Debug, thiserror::Error)]
#[error("failed to write the image {image} to {path}: {source}")]
pub struct Error {
    image: String,
    path: PathBuf,
    source: std::io::Error,
}

/// The image of the sandbox that holds a pod's namespaces; named in `machine/containerd.toml`.
pub const PAUSE: &str = "lab.nodejoin.dev/pause:1";
/// The image of the lab's own pods.
pub const POD: &str = "lab.nodejoin.dev/pod:1";

/// Writes an archive with one image whose entrypoint is `/<name>`, made of the file `program`.
pub fn write_archive(archive: &Path, image: &str, program: &Path, name: &str) -> Result<(), Error> {
    build(archive, image, program, name).map_err(|source| Error {
        image: image.to_owned(),
        path: archive.to_owned(),
        source,
    })
}

fn build(archive: &Path, image: &str, program: &Path, name: &str) -> std::io::Result<()> {
    let binary = std::fs::read(program)?;
    let mut layer = tar::Builder::new(Vec::new());
    append(&mut layer, name, &binary, 0o755)?;
    // A world-writable /tmp, as every distribution's base image has it.
    let mut folder = tar::Header::new_ustar();
    folder.set_entry_type(tar::EntryType::Directory);
    folder.set_size(0);
    folder.set_mode(0o1777);
    folder.set_mtime(0);
    layer.append_data(&mut folder, "tmp/", std::io::empty())?;
    let layer = layer.into_inner()?;

    let layer_digest = digest(&layer);
    let config = serde_json::to_vec(&serde_json::json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": [format!("/{name}")], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
    }))?;
    let manifest = serde_json::to_vec(&serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    }))?;
    let mut manifest_entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    manifest_entry["annotations"] = serde_json::json!({"io.containerd.image.name": image});
    let index = serde_json::to_vec(&serde_json::json!({"schemaVersion": 2, "manifests": [manifest_entry]}))?;

    let mut output = tar::Builder::new(std::fs::File::create(archive)?);
    append(&mut output, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644)?;
    append(&mut output, "index.json", &index, 0o644)?;
    for blob in [&layer, &config, &manifest] {
        let path = format!("blobs/{}", digest(blob).replacen(':', "/", 1));
        append(&mut output, &path, blob, 0o644)?;
    }
    output.into_inner()?.flush()
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn descriptor(media_type: &str, blob: &[u8]) -> serde_json::Value {
    serde_json::json!({"mediaType": media_type, "digest": digest(blob), "size": blob.len()})
}

/// Appends a file with nothing in its header that differs between two runs.
fn append<W: Write>(archive: &mut tar::Builder<W>, path: &str, content: &[u8], mode: u32) -> std::io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    header.set_mtime(0);
    archive.append_data(&mut header, path, content)
}
