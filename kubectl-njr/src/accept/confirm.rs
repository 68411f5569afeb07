//! The question before a machine is accepted.

use std::fmt::Write as _;
use std::io::{BufRead, Read as _, Write};

use join_checks::terminal::printable;
use join_crds::NodeJoinRequestSpec;
use k8s_openapi::jiff::Timestamp;

use super::role_in_words;
use crate::machines::judge::{Machine, Status};
use crate::machines::key_groups;
use crate::output::age;

/// The longest answer that is read.
const MAX_ANSWER_BYTES: u64 = 1024;
/// Groups of a key's digits on one line.
const GROUPS_IN_LINE: usize = 8;

/// Everything that a person should look at, and the question.
pub fn question(machine: &Machine, spec: &NodeJoinRequestSpec, now: Timestamp) -> String {
    let name = machine.name.as_deref().unwrap_or_default();
    let mut text = String::new();
    let mut line = |head: &str, value: &str| {
        let head = if head.is_empty() { String::new() } else { format!("{head}:") };
        // Writing to a String does not fail.
        let _ = writeln!(text, "{head:12}{}", printable(value));
    };
    line("Machine", name);
    let groups = machine.public_key_hash.map(|key| key_groups(&key)).unwrap_or_default();
    for (index, groups) in groups.chunks(GROUPS_IN_LINE).enumerate() {
        line(if index == 0 { "Key" } else { "" }, &groups.join(" "));
    }
    let join =
        |addresses: &[std::net::IpAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    line("Announced", &format!("{} ago, by {}", age::since(machine.announced, now), machine.announced_by));
    if spec.addresses.is_empty() {
        line("Addresses", &format!("{}, as the machine says", join(&machine.addresses)));
    } else {
        line("Addresses", &format!("{} (the machine says {})", join(&spec.addresses), join(&machine.addresses)));
    }
    line("Role", role_in_words(spec.role));
    if machine.status == Status::KeyConflict {
        line("Warning", "another machine has announced itself under this name with another key");
    }
    let _ = write!(text, "\nAccept this machine as node {}? [y/N] ", printable(name));
    text
}

/// Asks; only yes is yes.
pub fn ask(question: &str, input: &mut impl BufRead, output: &mut impl Write) -> std::io::Result<bool> {
    output.write_all(question.as_bytes())?;
    output.flush()?;
    let mut answer = String::new();
    input.take(MAX_ANSWER_BYTES).read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::machines::judge::judge;
    use crate::machines::judge::tests::announced;

    #[test]
    fn the_question_shows_the_whole_key_and_hides_no_trick() {
        let mut one = announced("worker-1", "a", 697);
        one.requested_by = "system:bootstrap:abcdef\u{1b}[1A".to_owned();
        let machines = judge(&[one, announced("worker-1", "b", 698)], &[], None);
        let spec = serde_json::from_value(serde_json::json!({"machine": {}, "addresses": ["192.0.2.1"]})).unwrap();
        let expected = "\
Machine:    worker-1
Key:        ca97 8112 ca1b bdca fac2 31b3 9a23 dc4d
            a786 eff8 147c 4e72 b980 7785 afee 48bb
Announced:  5m3s ago, by system:bootstrap:abcdef\\u{1b}[1A
Addresses:  192.0.2.1 (the machine says 192.0.2.17)
Role:       worker
Warning:    another machine has announced itself under this name with another key

Accept this machine as node worker-1? [y/N] ";
        assert_eq!(question(&machines[0], &spec, Timestamp::from_second(1000).unwrap()), expected);
    }

    #[rstest]
    #[case("y\n", true)]
    #[case("YES\n", true)]
    #[case("n\n", false)]
    #[case("\n", false)]
    #[case("", false)]
    #[case("yes please\n", false)]
    fn only_yes_is_yes(#[case] answer: &str, #[case] expected: bool) {
        let mut shown = Vec::new();
        assert_eq!(ask("?", &mut answer.as_bytes(), &mut shown).unwrap(), expected);
        assert_eq!(shown, b"?");
    }
}
