//! Widths, colours, signs, and the lines of what changed.

use proptest::prelude::*;
use unicode_width::UnicodeWidthStr;

use super::super::model::tree;
use super::super::render::{Look, changes, render};
use super::{PLAIN, compare, states};
use crate::output::Screen;

fn of(name: &str) -> super::Gathered {
    states().into_iter().find(|(known, _)| *known == name).unwrap().1
}

#[test]
fn without_a_locale_the_tree_is_ascii() {
    let text = render(&tree(&of("two-machines")), Look { unicode: false, ..PLAIN });
    assert!(text.is_ascii(), "{text}");
    compare("two-machines-ascii", &text);
}

#[test]
fn on_a_narrow_terminal_lines_are_broken_between_words_and_commands_are_not() {
    let text = render(&tree(&of("two-machines")), Look { width: 48, ..PLAIN });
    compare("two-machines-narrow", &text);
    for line in text.lines().filter(|line| !line.contains("type: ")) {
        let longest = line.split(' ').map(UnicodeWidthStr::width).max().unwrap_or_default();
        assert!(line.width() <= 48.max(longest + 9), "{line:?}");
    }
}

#[test]
fn colours_are_all_that_a_terminal_adds() {
    let tree = tree(&of("two-machines"));
    let coloured = render(&tree, Look { screen: Screen { color: true, is_terminal: true }, ..PLAIN });
    assert!(coloured.contains("\u{1b}[31m✗\u{1b}[0m"), "{coloured:?}");
    let mut plain = String::new();
    for (index, part) in coloured.split('\u{1b}').enumerate() {
        plain.push_str(if index == 0 { part } else { part.split_once('m').unwrap().1 });
    }
    assert_eq!(plain, render(&tree, PLAIN));
}

#[test]
fn only_what_changed_is_told_where_nothing_can_be_redrawn() {
    let (before, after) = (tree(&of("waiting-for-machine")), tree(&of("ready")));
    let expected = "\
12:00:00Z request Done Applied
12:00:00Z machine Waiting WaitingForMachine: No machine has announced itself under this name yet. No token is made before one does.
12:00:00Z worker-1 Waiting WaitingForMachine
";
    assert_eq!(changes(None, &before), expected);
    assert_eq!(changes(Some(&before), &before), "");
    let expected = "\
12:00:00Z machine Done MachineKeyPinned
12:00:00Z credential Done TokenRemoved
12:00:00Z client certificate Done CertificateIssued
12:00:00Z node Done NodeRegistered
12:00:00Z serving certificate Pending NotRequested
12:00:00Z kubelet Done Ready
12:00:00Z worker-1 Ready Joined
";
    assert_eq!(changes(Some(&before), &after), expected);
}

proptest! {
    #[test]
    fn any_text_of_the_cluster_is_drawn_without_control_characters(text in any::<String>(), width in 0_usize..200) {
        let mut gathered = of("node-not-ready");
        gathered.obstacles.push(text.clone());
        let status = gathered.request.as_mut().unwrap().status.as_mut().unwrap();
        status.conditions[2].message = text;
        status.conditions[2].status = "False".to_owned();
        status.conditions[2].reason = "AgentFailed".to_owned();
        let drawn = render(&tree(&gathered), Look { width, ..PLAIN });
        prop_assert!(drawn.chars().all(|one| one == '\n' || !one.is_control()));
    }
}
