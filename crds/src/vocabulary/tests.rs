use std::collections::BTreeSet;

use super::*;

/// What metav1.Condition and events.k8s.io ask of a reason.
fn is_one_word(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|first: char| first.is_ascii_uppercase())
        && text.chars().all(|character| character.is_ascii_alphanumeric())
}

/// Text that a person reads: whole sentences on one line that a table can hold.
fn is_sentences(text: &str) -> bool {
    text.starts_with(|first: char| first.is_uppercase())
        && text.ends_with('.')
        && !text.contains(['\n', '|'])
        && !text.contains("  ")
}

#[test]
fn every_reason_is_one_word_with_a_meaning_and_a_next_step() {
    for reason in Reason::ALL {
        assert!(is_one_word(reason.as_str()), "{reason}");
        assert!(is_sentences(reason.meaning()), "{reason}: {}", reason.meaning());
        assert!(is_sentences(reason.next_step()), "{reason}: {}", reason.next_step());
        assert_eq!(reason.documentation(), format!("docs/reasons.md#{}", reason.as_str().to_lowercase()));
        assert_eq!(reason.as_str().parse(), Ok(*reason));
    }
    for event in EventReason::ALL {
        assert!(is_one_word(event.as_str()) && is_one_word(event.action()), "{event}");
        assert!(is_sentences(event.meaning()) && is_sentences(event.next_step()), "{event}");
    }
}

#[test]
fn what_needs_a_person_tells_what_to_do() {
    for reason in Reason::ALL.iter().filter(|reason| reason.conditions().contains(&ConditionType::Stalled)) {
        let is_the_initial_one = *reason == Reason::Progressing;
        assert!(is_the_initial_one || !reason.next_step().starts_with("Nothing"), "{reason}");
        // Whatever stalls a request is what its STATUS column says.
        assert!(reason.conditions().contains(&ConditionType::Ready), "{reason}");
    }
}

/// What an agent says shows in conditions; what stalls a request must not be among it.
#[test]
fn an_agent_may_give_few_reasons() {
    for reason in Reason::OF_AGENT {
        assert_eq!(Reason::of_agent(reason.as_str()), Some(*reason));
        assert!(!reason.conditions().contains(&ConditionType::Stalled), "{reason}");
    }
    for other in ["Joined", "NodeAlreadyExists", "kubeletUnhealthy", ""] {
        assert_eq!(Reason::of_agent(other), None, "{other}");
    }
}

#[test]
fn no_two_reasons_are_the_same() {
    let reasons: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(reasons.len(), Reason::ALL.len());
    let events: BTreeSet<&str> = EventReason::ALL.iter().map(|event| event.as_str()).collect();
    assert_eq!(events.len(), EventReason::ALL.len());
}

#[test]
fn every_condition_has_reasons_of_its_own() {
    for condition in ConditionType::ALL {
        let own = Reason::ALL.iter().filter(|reason| reason.conditions().contains(&condition)).count();
        assert!(own >= 3, "{condition} has {own}");
    }
}

#[test]
fn an_unknown_reason_is_named_and_cut() {
    let failure = "x".repeat(1000).parse::<Reason>().unwrap_err().to_string();
    assert!(failure.contains(&format!("\"{}\"", "x".repeat(64))), "{failure}");
    assert!("progressing".parse::<Reason>().is_err());
}

#[test]
fn the_reference_has_every_entry() {
    let page = reasons_markdown();
    for reason in Reason::ALL {
        assert!(page.contains(&format!("\n### {reason}\n\n{}\n", reason.meaning())), "{reason}");
    }
    for event in EventReason::ALL {
        assert!(page.contains(&format!("\n| `{event}` | ")), "{event}");
    }
    for condition in ConditionType::ALL {
        assert!(page.contains(&format!("\n| `{condition}` | ")), "{condition}");
    }
}

#[test]
fn names_of_objects() {
    let digits = "0123456789abcdef".repeat(4);
    let announcement = "nodejoin-machine-worker-7-0123456789abcdef";
    assert_eq!(announcement_name("worker-7", &format!("sha256:{digits}")), announcement);
    assert_eq!(announcement_name("worker-7", &digits), announcement);
    assert_eq!(announcement_name("worker-7", "sha256:ab"), "nodejoin-machine-worker-7-ab");
    assert_eq!(record_name("0b5c"), "njr-0b5c");
    assert_eq!(client_csr_name("abcdef"), "nodejoin-client-abcdef");
    assert_eq!(join_command_secret_name("worker-7"), "njr-worker-7-join-command");
    assert_eq!(bootstrap_user("abcdef"), "system:bootstrap:abcdef");
    assert_eq!(node_user("worker-7"), "system:node:worker-7");
    assert_eq!(API_VERSION, format!("{GROUP}/{VERSION}"));
}
