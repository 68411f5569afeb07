//! What is generated is committed as it is generated.
//!
//! `UPDATE=1 cargo test -p join-crds --test generated` (or `cargo xtask generate`) writes the files anew.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end where it fails")]

mod support;

use std::fs;

use join_crds::generate;
use support::repository;

/// Compares a committed file with what it should be, or writes it if UPDATE is set.
fn assert_current(path: &str, expected: &str) {
    let file = repository().join(path);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, expected).unwrap();
    }
    let committed = fs::read_to_string(&file).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
    assert!(
        committed == expected,
        "{path} is not what the sources say; write it anew with: UPDATE=1 cargo test -p join-crds --test generated"
    );
}

#[test]
fn generated_files_are_committed_as_they_are() {
    for (path, text) in generate::files().unwrap() {
        assert_current(path, &text);
    }
}

#[test]
fn the_yaml_says_what_the_types_say() {
    let yaml: serde_json::Value = serde_saphyr::from_str(&generate::crd_yaml().unwrap()).unwrap();
    let types = serde_json::to_value(generate::crd().unwrap()).unwrap();
    assert_eq!(yaml, types);
}
