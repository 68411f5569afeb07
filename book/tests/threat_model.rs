//! Every row of the threat model names the test that tries it, and every attack that is tried has a row.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end where it fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use join_book::markdown::{OPTIONS, read};
use join_book::repository;
use pulldown_cmark::{Event, Parser, Tag, TagEnd};

const PAGE: &str = "docs/threat-model.md";
/// The heading of the column that names tests.
const COLUMN: &str = "Test";

/// The code in the last column of each row of the tables that end with [`COLUMN`].
fn rows(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut cells): (Vec<Vec<String>>, Vec<Vec<String>>) = (Vec::new(), Vec::new());
    let (mut plain, mut code, mut wanted) = (String::new(), Vec::new(), false);
    for event in Parser::new_ext(text, OPTIONS) {
        match event {
            Event::Start(Tag::TableHead | Tag::TableRow) => cells.clear(),
            Event::Start(Tag::TableCell) => {
                plain.clear();
                code.clear();
            }
            Event::Text(piece) => plain.push_str(&piece),
            Event::Code(piece) => code.push(piece.to_string()),
            Event::End(TagEnd::TableCell) => cells.push(code.clone()),
            Event::End(TagEnd::TableHead) => wanted = plain == COLUMN,
            Event::End(TagEnd::TableRow) if wanted => rows.push(cells.pop().unwrap_or_default()),
            _ => {}
        }
    }
    rows
}

/// The Rust files below a folder.
fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Whether there is a test `<suite or folder>/<name>`.
fn exists(test: &str) -> bool {
    let Some((place, name)) = test.split_once('/') else { return false };
    let suite = repository().join("e2e/tests").join(place);
    let crate_ = repository().join(place);
    let mut files = Vec::new();
    if suite.is_dir() {
        sources(&suite, &mut files);
        return files.iter().any(|file| fs::read_to_string(file).unwrap().contains(&format!("\"{name}\"")));
    }
    for folder in ["src", "tests", "fuzz_targets"].map(|folder| crate_.join(folder)) {
        if folder.is_dir() {
            sources(&folder, &mut files);
        }
    }
    let is_it = |file: &PathBuf| {
        fs::read_to_string(file).unwrap().contains(&format!("fn {name}("))
            || file.file_stem().is_some_and(|stem| stem == name)
    };
    files.iter().any(is_it)
}

#[test]
fn every_row_names_a_test_that_is_there() {
    let rows = rows(&read(Path::new(PAGE)).unwrap());
    assert!(rows.len() >= 20, "only {} rows", rows.len());
    for tests in rows {
        assert!(!tests.is_empty(), "a row of {PAGE} names no test");
        for test in tests {
            assert!(exists(&test), "{PAGE} names the test {test}, which is not there");
        }
    }
}

#[test]
fn every_attack_has_a_row() {
    let named: BTreeSet<String> = rows(&read(Path::new(PAGE)).unwrap()).into_iter().flatten().collect();
    let table = fs::read_to_string(repository().join("e2e/tests/attacks/main.rs")).unwrap();
    let (_, table) = table.split_once("const TESTS").unwrap();
    let (table, _) = table.split_once("];").unwrap();
    // Odd pieces between quotation marks are the names.
    let attacks: Vec<String> = table.split('"').skip(1).step_by(2).map(|name| format!("attacks/{name}")).collect();
    assert!(attacks.len() >= 10, "only {} attacks", attacks.len());
    for attack in attacks {
        assert!(named.contains(&attack), "{attack} has no row in {PAGE}");
    }
}
