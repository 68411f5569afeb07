//! The failures that are told apart: the page, the reasons and the tests name the same ones.
#![allow(clippy::unwrap_used, reason = "a test may end where it fails")]

use std::collections::BTreeSet;
use std::path::Path;

use join_book::markdown;

#[path = "../../e2e/tests/failures/rows.rs"]
mod rows;

use rows::ROWS;

/// The page's lines that name a reason as a table's second column does: what is seen, and the reason.
fn rows_of_page(page: &str) -> BTreeSet<(String, String)> {
    let row = |line: &str| {
        let mut cells = line.trim().strip_prefix('|')?.split('|').map(str::trim);
        let (seen, reason) = (cells.next()?, cells.next()?);
        let (name, link) = reason.strip_prefix("[`")?.split_once("`](")?;
        let expected = format!("reasons.md#{})", name.to_lowercase());
        (link == expected).then(|| (seen.to_owned(), name.to_owned()))
    };
    page.lines().filter_map(row).collect()
}

#[test]
fn the_page_has_the_failures_that_are_tested_and_no_others() {
    let page = markdown::read(Path::new("docs/troubleshooting.md")).unwrap();
    let expected: BTreeSet<(String, String)> =
        ROWS.iter().map(|row| (row.seen.to_owned(), row.reason.as_str().to_owned())).collect();
    assert_eq!(expected.len(), ROWS.len(), "a failure is there twice");
    assert_eq!(rows_of_page(&page), expected);
}

#[test]
fn each_failure_has_a_test() {
    let suite = markdown::read(Path::new("e2e/tests/failures/main.rs")).unwrap();
    for row in ROWS {
        assert!(suite.contains(&format!("\"{}\"", row.test)), "{} has no test {}", row.seen, row.test);
    }
}

#[test]
fn a_row_is_read_with_its_link() {
    let page =
        "| a | [`Joined`](reasons.md#joined) | b |\n| a | [`Joined`](reasons.md#other) |\n| a | Joined |\nJoined\n";
    assert_eq!(rows_of_page(page), BTreeSet::from([("a".to_owned(), "Joined".to_owned())]));
}
