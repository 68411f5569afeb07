//! Every check leads to the section that explains it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end where it fails")]

use std::path::Path;

use join_agent::checks::catalogue;
use join_book::markdown::{anchors, read};
use join_checks::{Finding, cluster};

#[test]
fn every_check_leads_to_its_section() {
    let machine = catalogue::all().map(|kind| kind.id);
    let mut seen = 0;
    for id in machine.chain(cluster::ids::ALL.iter().copied()) {
        let place = Finding::passed(id, "", "").documentation();
        let (page, anchor) = place.split_once('#').unwrap();
        let anchors = anchors(&read(Path::new(page)).unwrap());
        assert!(anchors.iter().any(|known| known == anchor), "{id}: {page} has no heading whose anchor is {anchor}");
        seen += 1;
    }
    assert!(seen > 60, "only {seen} checks");
}
