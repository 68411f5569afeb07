//! A tree as text.

use std::fmt::Write as _;

use anstyle::AnsiColor;
use join_checks::terminal::printable;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use unicode_width::UnicodeWidthStr as _;

use super::model::{Outcome, State, Step, Tree};
use crate::output::{Screen, age};

/// Columns of a line where nothing else is known; kubectl's own tables assume as much.
pub const DEFAULT_WIDTH: usize = 100;
/// Fewer columns than that are treated as that many: words have to fit somewhere.
const LEAST_WIDTH: usize = 40;

/// How a tree is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// What it is drawn on.
    pub screen: Screen,
    /// Columns of a line.
    pub width: usize,
    /// Whether the terminal shows more than ASCII.
    pub unicode: bool,
}

/// The signs of a tree.
struct Signs {
    done: &'static str,
    waiting: &'static str,
    failed: &'static str,
    pending: &'static str,
    branch: &'static str,
    last: &'static str,
    trunk: &'static str,
}

const UNICODE: Signs =
    Signs {
        done: "✓", waiting: "…", failed: "✗", pending: "·", branch: "├─ ", last: "└─ ", trunk: "│  "
    };
const ASCII: Signs =
    Signs { done: "+", waiting: "~", failed: "x", pending: ".", branch: "|- ", last: "`- ", trunk: "|  " };

/// The tree as lines of text, ending with a line feed.
pub fn render(tree: &Tree, look: Look) -> String {
    let now = tree.observed_at.0;
    let mut lines = vec![headline(tree, look)];
    for (index, step) in tree.steps.iter().enumerate() {
        let is_last = index + 1 == tree.steps.len();
        add(step, is_last, now, look, &mut lines);
    }
    for obstacle in &tree.obstacles {
        for line in wrap(&format!("not shown: {}", printable(obstacle)), look.width) {
            lines.push(look.screen.paint(AnsiColor::Yellow, &line));
        }
    }
    lines.join("\n") + "\n"
}

fn headline(tree: &Tree, look: Look) -> String {
    let color = match tree.outcome {
        Outcome::Ready => AnsiColor::Green,
        Outcome::Stalled | Outcome::Absent => AnsiColor::Red,
        Outcome::Waiting | Outcome::Announced => AnsiColor::Yellow,
    };
    let word = match tree.outcome {
        Outcome::Stalled => format!("Stalled ({})", printable(&tree.status)),
        Outcome::Absent => "neither a request nor an announcement".to_owned(),
        Outcome::Announced => "announced, not requested".to_owned(),
        Outcome::Ready | Outcome::Waiting => printable(&tree.status).into_owned(),
    };
    let since =
        tree.since.as_ref().map(|since| format!("   {}", elapsed(since, tree.observed_at.0))).unwrap_or_default();
    format!("{}: {}{since}", printable(&tree.name), look.screen.paint(color, &word))
}

fn elapsed(since: &Time, now: Timestamp) -> String {
    age::human(now.duration_since(since.0).as_secs())
}

fn add(step: &Step, is_last: bool, now: Timestamp, look: Look, lines: &mut Vec<String>) {
    const NAME_WIDTH: usize = 20;
    let signs = if look.unicode { UNICODE } else { ASCII };
    let (sign, color) = match step.state {
        State::Done => (signs.done, AnsiColor::Green),
        State::Waiting => (signs.waiting, AnsiColor::Yellow),
        State::Failed => (signs.failed, AnsiColor::Red),
        State::Pending => (signs.pending, AnsiColor::BrightBlack),
    };
    let mut line = format!(
        "{}{} {:NAME_WIDTH$}{}",
        if is_last { signs.last } else { signs.branch },
        look.screen.paint(color, sign),
        step.name,
        if step.state == State::Pending && step.reason == "Progressing" {
            String::new()
        } else {
            printable(&step.reason).into_owned()
        },
    );
    if let Some(since) = &step.since {
        line = format!("{line}   {}", elapsed(since, now));
    }
    lines.push(line.trim_end().to_owned());
    let indent = if is_last { "   " } else { signs.trunk };
    let mut detail = |label: &str, text: &str, color: Option<AnsiColor>| {
        let room = look.width.max(LEAST_WIDTH) - indent.width() - 2;
        for line in wrap(&format!("{label}{}", printable(text)), room) {
            let shown = color.map_or_else(|| line.clone(), |color| look.screen.paint(color, &line));
            lines.push(format!("{indent}  {shown}"));
        }
    };
    if let Some(object) = &step.object {
        detail("", object, None);
    }
    let is_open = matches!(step.state, State::Waiting | State::Failed);
    for seen in step.seen.iter().filter(|_| is_open) {
        detail("seen: ", seen, None);
    }
    if let Some(event) = step.event.as_ref().filter(|event| is_open || event.warning) {
        let when = event.last_seen.as_ref().map(|at| format!("{} ago", elapsed(at, now))).unwrap_or_default();
        let text = format!("{} {when}: {}", event.reason, event.note);
        detail("event: ", &text, event.warning.then_some(AnsiColor::Yellow));
    }
    if let Some(next) = step.next.as_ref().filter(|_| is_open) {
        detail("next: ", next, None);
    }
    if let Some(command) = step.command.as_ref().filter(|_| is_open) {
        // A command must stay in one piece, so that it can be copied.
        lines.push(format!("{indent}  type: {}", look.screen.paint(AnsiColor::Cyan, &printable(command))));
    }
}

/// Breaks a line between words, so that no part is wider than `width` unless a single word is.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if line.width() + 1 + word.width() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            // What goes on is indented, to be told from what begins.
            lines.push(format!("  {word}"));
        }
    }
    lines
}

/// What changed from one tree to the next, a line for each step: for output that cannot be redrawn.
pub fn changes(before: Option<&Tree>, after: &Tree) -> String {
    let mut text = String::new();
    let stamp = after.observed_at.0.strftime("%H:%M:%SZ");
    for step in &after.steps {
        let old = before.and_then(|tree| tree.steps.iter().find(|old| old.name == step.name));
        let is_same =
            old.is_some_and(|old| (old.state, &old.reason, &old.seen) == (step.state, &step.reason, &step.seen));
        if is_same || (old.is_none() && step.state == State::Pending) {
            continue;
        }
        let detail = match (step.state, step.seen.first()) {
            (State::Waiting | State::Failed, Some(seen)) => format!(": {}", printable(seen)),
            _ => String::new(),
        };
        // Writing to a String does not fail.
        let _ = writeln!(text, "{stamp} {} {:?} {}{detail}", step.name, step.state, printable(&step.reason));
    }
    if before.is_none_or(|before| before.outcome != after.outcome) {
        let _ = writeln!(text, "{stamp} {} {:?} {}", printable(&after.name), after.outcome, printable(&after.status));
    }
    text
}
