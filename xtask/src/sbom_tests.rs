use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use cargo_metadata::{Metadata, PackageId};
use serde_json::Value;
use time::OffsetDateTime;

use super::*;
use crate::{compile, workspace};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn ids(metadata: &Metadata, names: &[&str]) -> BTreeSet<PackageId> {
    let packages = metadata.packages.iter().filter(|package| names.contains(&package.name.as_str()));
    packages.map(|package| package.id.clone()).collect()
}

/// The document about an image of the controller, as if only a few packages had been built.
fn document(metadata: &Metadata, folder: &Path) -> (Vec<u8>, Value) {
    let program = folder.join("program");
    fs::write(&program, "abc").unwrap();
    let built = Built {
        program,
        linked: ids(metadata, &["join-controller", "join-trust", "ring"]),
        build_time: ids(metadata, &["serde_derive", "cc"]),
        libraries: vec![SystemLibrary { name: "glibc", version: "2.36".to_owned(), license: "LGPL-2.1-or-later" }],
    };
    let revision =
        Revision { name: COMMIT.to_owned(), time: OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap() };
    let package = workspace::package(metadata, "join-controller").unwrap();
    let container = Container {
        repository: "ghcr.io/nodejoin/join-controller",
        version: "0.1.0",
        digest: "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        architecture: "amd64",
    };
    let path = folder.join("sbom.json");
    write(&Contents { metadata, package, built: &built, revision: &revision }, Some(&container), &path).unwrap();
    let text = fs::read(path).unwrap();
    let value = serde_json::from_slice(&text).unwrap();
    (text, value)
}

fn component<'a>(bill: &'a Value, name: &str) -> &'a Value {
    bill["components"].as_array().unwrap().iter().find(|component| component["name"] == name).unwrap()
}

fn depends_on(bill: &Value, reference: &Value) -> Vec<String> {
    let all = bill["dependencies"].as_array().unwrap();
    let one = all.iter().find(|dependency| dependency["ref"] == *reference).unwrap();
    one["dependsOn"].as_array().into_iter().flatten().map(|on| on.as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_was_built_is_listed_with_its_part_in_the_program() {
    let metadata = workspace::metadata(&compile::host_target()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (text, bill) = document(&metadata, folder.path());

    // Whatever the specification asks for, as its own library reads it.
    let parsed = Bom::parse_from_json(&*text).unwrap();
    assert!(parsed.validate_version(SpecVersion::V1_5).passed());

    assert_eq!(bill["specVersion"], "1.5");
    assert_eq!(bill["metadata"]["timestamp"], "2023-11-14T22:13:20Z");
    let image = &bill["metadata"]["component"];
    assert_eq!(image["type"], "container");
    let names: Vec<_> =
        bill["components"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 6, "{names:?}");

    let program = component(&bill, "join-controller");
    assert_eq!(program["type"], "application");
    // FIPS 180-4, the example "abc".
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(program["hashes"][0]["content"], hash);
    assert!(program["purl"].as_str().unwrap().contains(COMMIT), "{}", program["purl"]);
    assert_eq!(depends_on(&bill, &image["bom-ref"]), [program["bom-ref"].as_str().unwrap()]);

    let ring = component(&bill, "ring");
    assert_eq!(ring["scope"], "required");
    assert_eq!(ring["hashes"][0]["content"].as_str().unwrap().len(), 64, "the checksum of Cargo.lock");
    assert_eq!(component(&bill, "serde_derive")["scope"], "excluded");
    assert_eq!(component(&bill, "glibc")["licenses"][0]["expression"], "LGPL-2.1-or-later");

    let needs = depends_on(&bill, &program["bom-ref"]);
    for name in ["join-trust", "glibc"] {
        let reference = component(&bill, name)["bom-ref"].as_str().unwrap();
        assert!(needs.iter().any(|need| need == reference), "{name} is not among {needs:?}");
    }
    let cc = component(&bill, "cc")["bom-ref"].as_str().unwrap();
    assert_eq!(depends_on(&bill, &ring["bom-ref"]), [cc]);
}

#[test]
fn the_same_build_has_the_same_document_in_any_folder() {
    let metadata = workspace::metadata(&compile::host_target()).unwrap();
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [one, two] = [&folders[0], &folders[1]].map(|folder| document(&metadata, folder.path()).0);
    assert!(one == two, "the documents differ");
    let text = String::from_utf8(one).unwrap();
    let repository = build::repository().display().to_string();
    assert!(!text.contains(&repository) && !text.contains("file://"), "the document names a folder of this machine");
}
