//! What a command printed, compared with a file.

use std::fmt::Write as _;
use std::path::Path;

use libtest_mimic::Failed;
use regex::Regex;

/// A token with its secret.
const TOKEN: &str = r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b";

/// What one run of a command came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The command line.
    pub line: String,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The exit code; none after a signal.
    pub code: Option<i32>,
}

impl Outcome {
    /// The outcome, if the command did what was asked.
    pub fn good(self) -> Result<Self, Failed> {
        self.with_code(0)
    }

    /// The outcome, if the command ended with this exit code.
    pub fn with_code(self, code: i32) -> Result<Self, Failed> {
        if self.code == Some(code) { Ok(self) } else { Err(format!("expected exit code {code}: {self:#?}").into()) }
    }

    /// Fails when a secret is in either stream.
    pub fn without(self, secret: &str) -> Result<Self, Failed> {
        if self.stdout.contains(secret) || self.stderr.contains(secret) {
            return Err(format!("{:?} showed a secret", self.line).into());
        }
        Ok(self)
    }
}

/// What a snapshot shows of outcomes. `known` are texts of this run, each with the word that stands for it.
pub fn shown(outcomes: &[&Outcome], known: &[(String, String)]) -> Result<String, Failed> {
    let mut text = String::new();
    for outcome in outcomes {
        // Writing to a String does not fail.
        let _ = write!(text, "$ kubectl njr {}\n{}", outcome.line, outcome.stdout);
        if !outcome.stderr.is_empty() {
            let _ = write!(text, "--- standard error\n{}", outcome.stderr);
        }
        let code = outcome.code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        let _ = writeln!(text, "--- exit code {code}\n");
    }
    normalised(text, known)
}

/// Compares a text with `snapshots/<name>.txt`.
pub fn compare_text(name: &str, text: &str) -> Result<(), Failed> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kubectl/snapshots").join(name).with_extension("txt");
    if std::env::var_os("UPDATE").is_some() {
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::write(&path, text)?;
        return Ok(());
    }
    let expected = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    if text == expected {
        return Ok(());
    }
    Err(format!("{} differs; run with UPDATE=1 if this is meant. Seen:\n{text}", path.display()).into())
}

/// The whole tokens, with their secrets, in a text.
pub fn tokens(text: &str) -> Result<Vec<String>, Failed> {
    Ok(Regex::new(TOKEN)?.find_iter(text).map(|found| found.as_str().to_owned()).collect())
}

fn normalised(mut text: String, known: &[(String, String)]) -> Result<String, Failed> {
    for (value, word) in known {
        text = text.replace(value, word);
    }
    for (pattern, word) in [
        (TOKEN, "<token>"),
        (r"\bbootstrap-token-[a-z0-9]{6}\b", "bootstrap-token-<id>"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "<time>"),
        (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "<uid>"),
        // Who holds a lease: the host's name and an id, new with each start of a component.
        (r"[A-Za-z0-9.-]+_<uid>", "<holder>"),
        (r#"resourceVersion: "\d+""#, "resourceVersion: <version>"),
        // An age in a column, and in a sentence.
        (r"  \d+[smh](\d+[ms])?(   +|\n)", "  <age>$2"),
        (r"\b\d+[smh](\d+[ms])? ago", "<age> ago"),
        (r"\bends in \d+[smh](\d+[ms])?", "ends in <time>"),
    ] {
        text = Regex::new(pattern)?.replace_all(&text, word).into_owned();
    }
    Ok(text)
}
