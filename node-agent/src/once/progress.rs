//! What a person at the terminal sees of a join: a line for each thing that changes.

use std::fmt::Write as _;

use join_checks::terminal::printable;

use crate::local_status::{LocalStatus, LocalStep};

/// The word at the beginning of a line, as kubeadm has its phases.
fn phase(step: LocalStep) -> &'static str {
    match step {
        LocalStep::Discovering => "discovery",
        LocalStep::Announcing => "announcement",
        LocalStep::WaitingForRequest => "request",
        LocalStep::Joining => "join",
        LocalStep::Failed => "failed",
        LocalStep::Joined => "joined",
        LocalStep::Leaving => "leaving",
    }
}

/// Which machine this is, for whoever accepts it.
pub fn beginning(node: &str, key: &str) -> String {
    format!("[machine] this is {node}, with the key {key}\n")
}

/// What the command line says and the agent leaves to others.
pub fn note(text: &str) -> String {
    format!("[note] {}\n", printable(text))
}

/// One thing that was said.
pub fn line(status: &LocalStatus) -> String {
    let phase = phase(status.step);
    // Some of it was said by whoever answered.
    let mut text = match status.reason {
        Some(reason) => format!("[{phase}] {reason}: {}\n", printable(&status.message)),
        None => format!("[{phase}] {}\n", printable(&status.message)),
    };
    for (name, value) in [("next", &status.next_step), ("see", &status.documentation)] {
        if let Some(value) = value {
            let _ = writeln!(text, "[{phase}]   {name}: {}", printable(value));
        }
    }
    text
}

/// The command that accepts this very machine, for when its request is waited for.
pub fn how_to_accept(node: &str, key: &str) -> String {
    let phase = phase(LocalStep::WaitingForRequest);
    format!("[{phase}]   to accept this machine, where kubectl is: kubectl njr accept {node} --key {key}\n")
}

/// What goes on, and what does not, when the program has ended.
pub fn ending(node: &str) -> String {
    format!(
        "[joined] see it with: kubectl njr status {node}\n\
         [joined] nothing of join-agent runs on: for removal Drain and the checks of a running node, configure and start its \
         service (docs/agent.md)\n"
    )
}

/// Why the program has ended before the machine is a node.
pub fn unfinished(why: &str, last: &LocalStatus) -> String {
    let last = line(last);
    format!("{why}; the last thing was:\n{last}To go on, type the same command again; what was done is not done twice.")
}
