//! Every check in the good case and in bad ones.

mod chart;
mod checks;
mod doctor;
mod observed;
mod scene;

use crate::cluster::ids;

#[test]
fn every_check_has_its_section_of_the_documentation() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/troubleshooting.md");
    let page = std::fs::read_to_string(path).unwrap();
    for id in ids::ALL {
        assert!(page.lines().any(|line| line == format!("### {id}")), "{path} has no section \"### {id}\"");
    }
    let mut sorted = ids::ALL.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), ids::ALL.len());
}
