//! The generated pages are committed as they are generated.
//!
//! `UPDATE=1 cargo test -p join-book --test generated` (or `cargo xtask generate`) writes them anew.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end where it fails")]

use std::fs;

use join_book::{generated, repository};

#[test]
fn generated_pages_are_committed_as_they_are() {
    for (path, expected) in generated::files().unwrap() {
        let file = repository().join(&path);
        if std::env::var_os("UPDATE").is_some() {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, &expected).unwrap();
        }
        let committed = fs::read_to_string(&file).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
        assert!(committed == expected, "{path} is not what the sources say; write it anew with: cargo xtask generate");
    }
}
