//! Whether a machine may be accepted.

use join_crds::NodeJoinRequest;
use join_trust::names::NodeName;
use join_trust::pin::{PinSet, PublicKeyPin};

use crate::machines::Seen;
use crate::machines::judge::{Machine, Status};
use crate::request::expected_key;

/// Why a machine is not accepted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No machine has announced itself under this name.
    #[error(
        "no machine has announced itself as {name}; see which have with `kubectl njr machines`, and on the machine what it waits for with `join-agent status`; to ask for it in advance: kubectl njr create {name} --key {key}"
    )]
    NobodyAnnounced {
        /// The name.
        name: NodeName,
        /// The key that was given.
        key: PublicKeyPin,
    },
    /// Only other keys have been announced.
    #[error(
        "no machine with the key {key} has announced itself as {name}; announced: {announced}. If you typed what `join-agent status` prints on the right machine, somebody else claims its name; otherwise type its key again"
    )]
    OtherKey {
        /// The name.
        name: NodeName,
        /// The key that was given.
        key: PublicKeyPin,
        /// The keys that were announced.
        announced: PinSet,
    },
    /// There is a request for another machine.
    #[error(
        "there is a request {name} for another machine{with_key}, and which machine it is for cannot be changed; see it with `kubectl njr status {name}`, and if this machine is meant, type first: kubectl delete njr {name}"
    )]
    RequestExists {
        /// The name.
        name: NodeName,
        /// The key that it is for, in words.
        with_key: String,
    },
    /// There is a Node of this name.
    #[error(
        "there is a Node {name} already, which did not come from a request; if it is the remains of an earlier machine, type first: kubectl delete node {name}; or have it replaced once this machine joins, with --replaces-node-uid \"$(kubectl get node {name} -o jsonpath='{{.metadata.uid}}')\""
    )]
    NodeExists {
        /// The name.
        name: NodeName,
    },
}

/// What there is to do.
#[derive(Debug, PartialEq)]
pub enum Choice<'a> {
    /// The request for this machine is there already.
    Unchanged(&'a NodeJoinRequest),
    /// A request has to be made for this machine.
    Create(Box<Machine>),
}

/// Decides for a name and a key. `replaces` tells whether a Node of that name may be there.
pub fn decide<'a>(name: &NodeName, key: &PublicKeyPin, replaces: bool, seen: &'a Seen) -> Result<Choice<'a>, Refusal> {
    if let Some(request) = seen.requests.iter().find(|request| request.node_name() == name.as_str()) {
        return match expected_key(request) {
            Some(expected) if expected == *key => Ok(Choice::Unchanged(request)),
            expected => Err(Refusal::RequestExists {
                name: name.clone(),
                with_key: expected.map(|key| format!(" (key {key})")).unwrap_or_default(),
            }),
        };
    }
    let mut machines = seen.machines();
    machines.retain(|machine| machine.name.as_deref() == Some(name.as_str()));
    let announced: PinSet = machines.iter().filter_map(|machine| machine.public_key_hash).collect();
    let machine = machines.into_iter().find(|machine| machine.public_key_hash == Some(*key));
    match machine {
        Some(machine) if !replaces && (machine.status == Status::NodeExists || has_node(seen, name)) => {
            Err(Refusal::NodeExists { name: name.clone() })
        }
        Some(machine) => Ok(Choice::Create(Box::new(machine))),
        None if announced.is_empty() => Err(Refusal::NobodyAnnounced { name: name.clone(), key: *key }),
        None => Err(Refusal::OtherKey { name: name.clone(), key: *key, announced }),
    }
}

fn has_node(seen: &Seen, name: &NodeName) -> bool {
    seen.nodes.as_ref().is_some_and(|nodes| nodes.contains(name.as_str()))
}

#[cfg(test)]
mod tests {
    use join_crds::Trust;

    use super::*;
    use crate::machines::judge::tests::{announced, pin};

    fn seen(keys: &[&str], request: Option<serde_json::Value>, is_node: bool) -> Seen {
        let made = |machine| {
            NodeJoinRequest::new("w", serde_json::from_value(serde_json::json!({"machine": machine})).unwrap())
        };
        Seen {
            announced: keys.iter().zip(1..).map(|(key, time)| announced("w", key, time)).collect(),
            requests: request.map(made).into_iter().collect(),
            nodes: Some(is_node.then(|| "w".to_owned()).into_iter().collect()),
        }
    }

    fn decide_for<'a>(key: &str, seen: &'a Seen) -> Result<Choice<'a>, Refusal> {
        decide(&NodeName::parse("w").unwrap(), &pin(key), false, seen)
    }

    #[test]
    fn an_announced_key_is_accepted_also_beside_a_strangers() {
        for keys in [&["a"][..], &["b", "a"]] {
            let seen = seen(keys, None, false);
            let Ok(Choice::Create(machine)) = decide_for("a", &seen) else { panic!("refused") };
            assert_eq!(machine.public_key_hash, Some(pin("a")));
        }
    }

    #[test]
    fn another_key_and_no_announcement_are_told_apart() {
        let name = NodeName::parse("w").unwrap();
        let announced = [pin("b"), pin("c")].into_iter().collect();
        let refused = decide_for("a", &seen(&["b", "c"], None, false)).map(|_| ());
        assert_eq!(refused, Err(Refusal::OtherKey { name: name.clone(), key: pin("a"), announced }));
        let refused = decide_for("a", &seen(&[], None, false)).map(|_| ());
        assert_eq!(refused, Err(Refusal::NobodyAnnounced { name, key: pin("a") }));
    }

    #[test]
    fn a_name_that_is_taken_is_refused() {
        let name = NodeName::parse("w").unwrap();
        assert_eq!(
            decide_for("a", &seen(&["a"], None, true)).map(|_| ()),
            Err(Refusal::NodeExists { name: name.clone() })
        );
        assert_eq!(decide_for("a", &seen(&["b", "a"], None, true)).map(|_| ()), Err(Refusal::NodeExists { name }));
    }

    #[test]
    fn a_request_for_this_machine_is_left_and_one_for_another_is_not_touched() {
        let pinned = |key: &str| Some(serde_json::json!({"publicKeyHash": pin(key)}));
        let there = seen(&["a"], pinned("a"), true);
        assert!(matches!(decide_for("a", &there), Ok(Choice::Unchanged(request)) if request.node_name() == "w"));
        let refused = decide_for("a", &seen(&["a"], pinned("b"), false)).unwrap_err().to_string();
        assert!(refused.contains(&pin("b").to_string()), "{refused}");
        let first_use = seen(&["a"], Some(serde_json::json!({"trust": Trust::FirstUse})), false);
        assert!(matches!(decide_for("a", &first_use), Err(Refusal::RequestExists { .. })));
    }
}
