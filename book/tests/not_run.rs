//! Which blocks of the documentation no test runs or validates, and why: a list, so that a new one is seen.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end where it fails")]

use std::fmt::Write as _;
use std::fs;

use join_book::blocks::blocks;
use join_book::markdown::pages;
use join_book::repository;

const LIST: &str = "book/tests/golden/not-run.txt";

#[test]
fn what_is_not_run_is_listed_with_its_reason() {
    let mut seen = String::new();
    for page in pages().unwrap() {
        for block in blocks(&page.text) {
            let Some(reason) = block.not_run() else { continue };
            let first = block.text.lines().next().unwrap_or_default().trim();
            let place = page.path.display();
            assert!(!reason.is_empty(), "{place}:{}: a block that is not run needs a reason", block.line);
            // Without the line, which changes with everything above it.
            writeln!(seen, "{place}\n  {first}\n  {reason}").unwrap();
        }
    }
    let path = repository().join(LIST);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &seen).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        seen == expected,
        "{LIST} is not what the pages say; read what differs, then: UPDATE=1 cargo test -p join-book --test not_run\n{seen}"
    );
}
