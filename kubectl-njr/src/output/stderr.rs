//! Standard error: what went wrong, and what else a person should know.

use std::io::Write as _;

use join_checks::terminal::printable;

/// Writes `error: …`.
pub fn error(message: &str) {
    write("error: ", message);
}

/// Writes `Warning: …`, as kubectl does.
pub fn warning(message: &str) {
    write("Warning: ", message);
}

/// Writes a remark that is not part of the result.
pub fn note(message: &str) {
    write("", message);
}

/// The lines of a message are ours to break; within a line nothing is left that a terminal would obey.
fn write(before: &str, message: &str) {
    let lines: Vec<_> = message.lines().map(printable).collect();
    // Where standard error does not take it, there is nowhere left to say so.
    let _ = writeln!(std::io::stderr().lock(), "{before}{}", lines.join("\n"));
}
