//! The failures that are told apart: the page, the reasons and the tests name the same ones.
#![allow(clippy::unwrap_used, reason = "a test may end where it fails")]

use std::collections::BTreeSet;
use std::path::Path;

use join_book::markdown;

#[path = "../../e2e/tests/failures/rows.rs"]
mod rows;

use rows::{ROWS, ROWS_OF_CONTROL_PLANES, Row};

/// The rows of both suites.
fn all() -> impl Iterator<Item = &'static Row> {
    ROWS.iter().chain(ROWS_OF_CONTROL_PLANES)
}

/// The page's lines that name a reason as a table's second column does: what is seen, the reason, and how soon it is told.
fn rows_of_page(page: &str) -> BTreeSet<(String, String, String)> {
    let row = |line: &str| {
        let mut cells = line.trim().strip_prefix('|')?.split('|').map(str::trim);
        let (seen, reason, within) = (cells.next()?, cells.next()?, cells.next()?);
        let (name, link) = reason.strip_prefix("[`")?.split_once("`](")?;
        let expected = format!("reasons.md#{})", name.to_lowercase());
        (link == expected).then(|| (seen.to_owned(), name.to_owned(), within.to_owned()))
    };
    page.lines().filter_map(row).collect()
}

#[test]
fn the_page_has_the_failures_that_are_tested_and_no_others() {
    let page = markdown::read(Path::new("docs/troubleshooting.md")).unwrap();
    let within = |row: &Row| match row.because {
        Some(because) => format!("{} s: {because}", row.within),
        None => format!("{} s", row.within),
    };
    let expected: BTreeSet<_> =
        all().map(|row| (row.seen.to_owned(), row.reason.as_str().to_owned(), within(row))).collect();
    let seen: BTreeSet<&str> = all().map(|row| row.seen).collect();
    assert_eq!(seen.len(), all().count(), "a failure is there twice");
    assert_eq!(rows_of_page(&page), expected);
}

#[test]
fn what_takes_longer_says_why() {
    for row in all() {
        assert_eq!(row.within > rows::SOON, row.because.is_some(), "{}", row.seen);
    }
}

/// A row is provoked where the suite names it: that is where its reason and its time are taken from.
#[test]
fn each_failure_is_provoked() {
    let files = ["cluster_info", "kubelet", "machine", "requests", "way", "web"].map(|file| format!("failures/{file}"));
    for (files, rows) in [(&files[..], ROWS), (&["control_plane/failures".to_owned()], ROWS_OF_CONTROL_PLANES)] {
        let read = |file: &String| markdown::read(Path::new(&format!("e2e/tests/{file}.rs"))).unwrap();
        let suite: String = files.iter().map(read).collect();
        for row in rows {
            assert!(suite.contains(&format!("{:?}", row.seen)), "nothing provokes: {}", row.seen);
        }
    }
}

#[test]
fn each_failure_has_a_test() {
    for (suite, rows) in [("failures", ROWS), ("control_plane", ROWS_OF_CONTROL_PLANES)] {
        let main = markdown::read(Path::new(&format!("e2e/tests/{suite}/main.rs"))).unwrap();
        for row in rows {
            assert!(main.contains(&format!("\"{}\"", row.test)), "{} has no test {}", row.seen, row.test);
        }
    }
}

#[test]
fn a_row_is_read_with_its_link() {
    let page = "| a | [`Joined`](reasons.md#joined) | 10 s |\n| a | [`Joined`](reasons.md#other) | 10 s |\n\
                | a | Joined | 10 s |\n| a | [`Joined`](reasons.md#joined)\nJoined\n";
    let expected = ("a".to_owned(), "Joined".to_owned(), "10 s".to_owned());
    assert_eq!(rows_of_page(page), BTreeSet::from([expected]));
}
