//! Every link of every page leads somewhere, and every page of the book can be found.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end where it fails")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use join_book::markdown::{self, anchors, links, pages};
use join_book::preprocessor::resolve;
use join_book::repository;

const SUMMARY: &str = "docs/SUMMARY.md";

/// What is wrong with one link of a page; `None` when it leads somewhere.
fn wrong(page: &Path, text: &str, target: &str) -> Option<String> {
    if target.starts_with("https://") || target.starts_with("mailto:") {
        return None;
    }
    if target.contains("://") {
        return Some("is neither https nor relative".to_owned());
    }
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let (file, anchors) = if path.is_empty() {
        (page.to_owned(), anchors(text))
    } else {
        let Some(file) = resolve(page, path) else { return Some("leaves the repository".to_owned()) };
        if !repository().join(&file).exists() {
            return Some(format!("leads to {}, which is not there", file.display()));
        }
        let is_page = file.extension().is_some_and(|extension| extension == "md");
        let anchors = if is_page { anchors(&markdown::read(&file).unwrap()) } else { Vec::new() };
        (file, anchors)
    };
    let anchor = anchor?;
    let is_known = anchors.iter().any(|known| known == anchor);
    (!is_known).then(|| format!("{} has no heading whose anchor is {anchor}", file.display()))
}

#[test]
fn every_link_leads_somewhere() {
    let mut seen = 0;
    let mut broken = Vec::new();
    for page in pages().unwrap() {
        for link in links(&page.text) {
            seen += 1;
            if let Some(reason) = wrong(&page.path, &page.text, &link.target) {
                broken.push(format!("{}:{}: {} {reason}", page.path.display(), link.line, link.target));
            }
        }
    }
    assert!(seen > 50, "only {seen} links were found");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn a_broken_link_is_found() {
    let text = "# One heading\n";
    let page = Path::new("docs/architecture.md");
    for (target, is_broken) in [
        ("#one-heading", false),
        ("#another", true),
        ("../README.md", false),
        ("../NO.md", true),
        ("../../outside.md", true),
        ("reasons.md#conditions", false),
        ("reasons.md#no-such-reason", true),
        ("http://example.com", true),
        ("https://example.com", false),
    ] {
        assert_eq!(wrong(page, text, target).is_some(), is_broken, "{target}");
    }
}

/// A page that the summary does not name is not in the book, and nobody finds it there.
#[test]
fn every_page_is_in_the_summary_once() {
    let summary = Path::new(SUMMARY);
    let mut named = BTreeSet::new();
    for link in links(&markdown::read(summary).unwrap()) {
        let path = resolve(summary, &link.target).unwrap();
        assert!(named.insert(path.clone()), "{} is in the summary twice", path.display());
    }
    let written: BTreeSet<PathBuf> = pages()
        .unwrap()
        .into_iter()
        .map(|page| page.path)
        .filter(|path| path.starts_with("docs") && path != summary)
        .collect();
    assert_eq!(named, written, "pages that the summary names, and pages of the folder");
}
