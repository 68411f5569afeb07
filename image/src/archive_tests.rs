use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::Value;
use time::OffsetDateTime;

use super::digest;
use crate::{Arch, Compression, Entry, Error, Image};

fn image(compression: Compression) -> Image {
    let labels = ["source", "revision", "version", "licenses", "created", "title", "description"];
    Image {
        reference: "example.com:5000/name:1.2.3".to_owned(),
        architecture: Arch::Amd64,
        created: OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap(),
        user: "65532:65532".to_owned(),
        entrypoint: "/program".to_owned(),
        entries: BTreeMap::from([
            ("another-name".to_owned(), Entry::Link { target: "program".to_owned() }),
            ("program".to_owned(), Entry::File { content: b"\x7fELF and more".repeat(100), mode: 0o555 }),
            ("tmp".to_owned(), Entry::Folder { mode: 0o1777 }),
        ]),
        labels: labels.map(|label| (format!("org.opencontainers.image.{label}"), label.to_owned())).into(),
        compression,
    }
}

/// Every file of a tar archive, by its path.
fn unpack(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        assert_eq!(entry.header().mtime().unwrap(), 1_700_000_000, "{path}");
        assert_eq!((entry.header().uid().unwrap(), entry.header().gid().unwrap()), (0, 0), "{path}");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        assert!(files.insert(path, content).is_none(), "a path is there twice");
    }
    files
}

/// The blob that a descriptor points to, after a look at its digest and size.
fn follow<'a>(files: &'a BTreeMap<String, Vec<u8>>, descriptor: &Value) -> &'a [u8] {
    let name = descriptor["digest"].as_str().unwrap();
    let blob = &files[&format!("blobs/{}", name.replacen(':', "/", 1))];
    assert_eq!(digest(blob), name);
    assert_eq!(descriptor["size"].as_u64().unwrap(), blob.len() as u64);
    blob
}

fn written(image: &Image, folder: &Path) -> (String, Vec<u8>) {
    let archive = folder.join("image.tar");
    let digest = image.write(&archive).unwrap();
    (digest, fs::read(archive).unwrap())
}

#[test]
fn every_document_leads_to_the_next() {
    for (compression, layer_type) in [
        (Compression::None, "application/vnd.oci.image.layer.v1.tar"),
        (Compression::Gzip, "application/vnd.oci.image.layer.v1.tar+gzip"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let image = image(compression);
        let (manifest_digest, archive) = written(&image, folder.path());
        let files = unpack(&archive);
        let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
        assert_eq!(json(&files["oci-layout"])["imageLayoutVersion"], "1.0.0");

        let index = json(&files["index.json"]);
        let entry = &index["manifests"][0];
        assert_eq!(entry["digest"], manifest_digest.as_str());
        assert_eq!(entry["platform"], serde_json::json!({"architecture": "amd64", "os": "linux"}));
        assert_eq!(entry["annotations"]["io.containerd.image.name"], "example.com:5000/name:1.2.3");
        assert_eq!(entry["annotations"]["org.opencontainers.image.ref.name"], "1.2.3");

        let manifest = json(follow(&files, entry));
        let labels = serde_json::to_value(&image.labels).unwrap();
        assert_eq!(manifest["annotations"], labels);
        let config = json(follow(&files, &manifest["config"]));
        assert_eq!(config["config"]["Labels"], labels);
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/program"]));
        assert_eq!(config["created"], "2023-11-14T22:13:20Z");

        let layer = &manifest["layers"][0];
        assert_eq!(layer["mediaType"], layer_type);
        let mut content = Vec::new();
        match compression {
            Compression::None => content.extend(follow(&files, layer)),
            Compression::Gzip => drop(GzDecoder::new(follow(&files, layer)).read_to_end(&mut content).unwrap()),
        }
        assert_eq!(config["rootfs"]["diff_ids"], serde_json::json!([digest(&content)]));
        assert_eq!(unpack(&content).into_keys().collect::<Vec<_>>(), ["another-name", "program", "tmp/"]);
        let mut unpacked = tar::Archive::new(&content[..]);
        let links = unpacked.entries().unwrap().filter_map(|entry| {
            let entry = entry.unwrap();
            let target = entry.link_name().unwrap()?.display().to_string();
            Some((entry.path().unwrap().display().to_string(), target))
        });
        assert_eq!(links.collect::<Vec<_>>(), [("another-name".to_owned(), "program".to_owned())]);
        assert_eq!(files.len(), 5, "something else is in the archive: {:?}", files.keys());
    }
}

#[test]
fn the_same_image_makes_the_same_bytes_in_any_folder() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for compression in [Compression::None, Compression::Gzip] {
        let [one, two] = [&folders[0], &folders[1]].map(|folder| written(&image(compression), folder.path()));
        assert_eq!(one.0, two.0);
        assert!(one.1 == two.1, "the archives differ");
    }
}

#[test]
fn whatever_is_in_an_image_is_in_its_digest() {
    let folder = tempfile::tempdir().unwrap();
    let (before, _) = written(&image(Compression::Gzip), folder.path());
    let changes: [fn(&mut Image); 6] = [
        |image| image.created += time::Duration::SECOND,
        |image| image.user = "0:0".to_owned(),
        |image| drop(image.labels.insert("another".to_owned(), "label".to_owned())),
        |image| drop(image.entries.remove("tmp")),
        |image| drop(image.entries.insert("another-name".to_owned(), Entry::Link { target: "tmp".to_owned() })),
        |image| drop(image.entries.insert("program".to_owned(), Entry::File { content: b"x".to_vec(), mode: 0o555 })),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut other = image(Compression::Gzip);
        change(&mut other);
        assert_ne!(written(&other, folder.path()).0, before, "change {number}");
    }
}

#[test]
fn a_reference_without_a_tag_is_refused() {
    for reference in ["name", "example.com:5000/name", "name:"] {
        let image = Image { reference: reference.to_owned(), ..image(Compression::None) };
        let folder = tempfile::tempdir().unwrap();
        let error = image.write(&folder.path().join("image.tar")).unwrap_err();
        assert!(matches!(error, Error::Untagged(_)), "{reference}: {error}");
    }
}

#[test]
fn a_failed_write_names_the_archive() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "no folder").unwrap();
    let error = image(Compression::None).write(&file.join("image.tar")).unwrap_err().to_string();
    assert!(error.contains("file/image.tar") && error.contains("example.com:5000/name:1.2.3"), "{error}");
}
