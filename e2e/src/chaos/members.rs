//! What must hold of etcd's members when a machine became a control plane, and after its reset. No IO.

use crate::lab::etcd::Member;
use crate::lab::layout::CONTROL_PLANE_MEMBER;

/// What was seen of etcd's members.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The machine.
    pub machine: String,
    /// The members while the machine was a control plane.
    pub joined: Vec<Member>,
    /// The members after its reset.
    pub left: Vec<Member>,
}

/// What must not be, each a sentence: each machine of the control plane has one member, and each member votes.
pub fn violations(seen: &Seen) -> Vec<String> {
    let first = CONTROL_PLANE_MEMBER;
    let mut found = Vec::new();
    for (when, members, expected) in [
        ("while the machine was a control plane", &seen.joined, &[first, &seen.machine][..]),
        ("after the reset", &seen.left, &[first]),
    ] {
        let mut names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
        let mut expected = expected.to_vec();
        names.sort_unstable();
        expected.sort_unstable();
        if names != expected {
            found.push(format!("etcd's members were {names:?} {when}; expected {expected:?}"));
        }
        let learners = members.iter().filter(|member| member.is_learner);
        found.extend(learners.map(|learner| format!("etcd's member {:?} had no vote {when}", learner.name)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, is_learner: bool) -> Member {
        Member { name: name.to_owned(), peer_urls: Vec::new(), is_learner }
    }

    fn seen(joined: &[(&str, bool)], left: &[(&str, bool)]) -> Seen {
        let members = |names: &[(&str, bool)]| names.iter().map(|(name, learner)| member(name, *learner)).collect();
        Seen { machine: "chaos-1".to_owned(), joined: members(joined), left: members(left) }
    }

    #[test]
    fn each_machine_has_one_member_that_votes() {
        let (first, own) = ((CONTROL_PLANE_MEMBER, false), ("chaos-1", false));
        assert_eq!(violations(&seen(&[own, first], &[first])), Vec::<String>::new());
        for (joined, left, expected) in [
            (&[first][..], &[first][..], "while the machine was a control plane; expected"),
            (&[first, own, own], &[first], "while the machine was a control plane; expected"),
            (&[first, ("", false)], &[first], "while the machine was a control plane; expected"),
            (&[first, ("chaos-1", true)], &[first], "\"chaos-1\" had no vote while"),
            (&[first, own], &[first, own], "after the reset; expected"),
            (&[first, own], &[], "after the reset; expected"),
        ] {
            let found = violations(&seen(joined, left));
            assert!(matches!(&found[..], [only] if only.contains(expected)), "{expected}: {found:?}");
        }
    }
}
