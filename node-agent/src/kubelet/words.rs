//! The kubelet's last words: the errors at the end of its log, short, printable and without secrets.

use std::error::Error;
use std::process::Stdio;
use std::time::Duration;

use join_checks::terminal::printable;
use join_trust::token::BootstrapToken;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// How long the log may take to be read.
const TIMEOUT: Duration = Duration::from_secs(2);
/// So many lines at the end of the log are looked at, and no more than so many bytes of them.
const LINES: &str = "--lines=40";
const MAX_BYTES: u64 = 64 * 1024;
/// So many errors are told, and no more than so many characters of each.
const ERRORS: usize = 3;
const MAX_CHARACTERS: usize = 240;
/// What stands for a secret.
const SECRET: &str = "<secret>";
/// Words that long in base64 are keys, certificates or tokens.
const LEAST_SECRET: usize = 40;

/// The last errors of one run of the kubelet, from journald. Empty when there are none or they cannot be read.
pub async fn of_kubelet(invocation: &str) -> String {
    let read = async {
        let mut command = Command::new("journalctl");
        command
            .args([LINES, "--output=cat", "--no-pager", "--quiet"])
            .arg(format!("_SYSTEMD_INVOCATION_ID={invocation}"))
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let mut bytes = Vec::new();
        if let Some(output) = child.stdout.take() {
            output.take(MAX_BYTES).read_to_end(&mut bytes).await?;
        }
        child.start_kill()?;
        child.wait().await?;
        Ok::<_, std::io::Error>(bytes)
    };
    match tokio::time::timeout(TIMEOUT, read).await {
        Ok(Ok(bytes)) => errors(&String::from_utf8_lossy(&bytes)),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the kubelet's log could not be read");
            String::new()
        }
        Err(_elapsed) => String::new(),
    }
}

/// What an error says at its root: what stands above it is told already.
pub fn innermost(error: &dyn Error) -> String {
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// The last errors in a log of the kubelet: lines of klog with severity E or F, and lines that are not klog's, which the
/// kubelet writes before its log is set up. Where there are none of them, the last line whatever it is.
fn errors(log: &str) -> String {
    let lines: Vec<Line<'_>> = log.lines().filter(|line| !line.trim().is_empty()).map(Line::parse).collect();
    let mut told: Vec<&str> = Vec::new();
    for line in lines.iter().rev().filter(|line| line.is_error) {
        if !told.contains(&line.text) {
            told.push(line.text);
        }
        if told.len() == ERRORS {
            break;
        }
    }
    if told.is_empty() {
        told.extend(lines.last().map(|line| line.text));
    }
    told.reverse();
    told.into_iter().map(clean).collect::<Vec<_>>().join(" | ")
}

struct Line<'a> {
    is_error: bool,
    text: &'a str,
}

impl<'a> Line<'a> {
    /// klog's lines are `Emmdd hh:mm:ss.uuuuuu threadid file:line] message`.
    fn parse(line: &'a str) -> Self {
        let severity = line.chars().next().unwrap_or(' ');
        let is_klog = line.get(1..5).is_some_and(|date| date.bytes().all(|byte| byte.is_ascii_digit()));
        match line.split_once("] ").filter(|_| is_klog && "IWEF".contains(severity)) {
            Some((_, text)) => Self { is_error: matches!(severity, 'E' | 'F'), text },
            // Usage and the traces of a crash are indented.
            None => Self { is_error: !line.starts_with([' ', '\t']) && line != "Usage:", text: line.trim() },
        }
    }
}

/// Cuts a line first, so that what is long costs nothing; takes out control characters and what may be a secret.
fn clean(line: &str) -> String {
    let cut: String = line.chars().take(MAX_CHARACTERS).collect();
    let more = if cut.len() < line.len() { "…" } else { "" };
    let is_of_word = |letter: char| letter.is_ascii_alphanumeric() || "+/=_-.".contains(letter);
    let mut cleaned = String::with_capacity(cut.len());
    let mut rest = cut.as_str();
    while !rest.is_empty() {
        let end = rest.find(|letter| !is_of_word(letter)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        cleaned.push_str(if is_secret(word) { SECRET } else { word });
        let end = after.find(is_of_word).unwrap_or(after.len());
        let (between, after) = after.split_at(end);
        cleaned.push_str(between);
        rest = after;
    }
    format!("{}{more}", printable(&cleaned))
}

/// Whether a part of the word is a bootstrap token, as in `--token=…`.
fn has_token(word: &str) -> bool {
    let parts: Vec<&str> = word.split(|letter: char| !letter.is_ascii_alphanumeric()).collect();
    parts.windows(2).any(|pair| BootstrapToken::parse(&pair.join(".")).is_ok())
}

fn is_secret(word: &str) -> bool {
    let word = word.trim_end_matches('.');
    let is_path = word.starts_with('/') || word.starts_with('.');
    let is_hash = word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    has_token(word) || word.starts_with("eyJ") || (word.len() >= LEAST_SECRET && !is_path && !is_hash)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_errors_are_told() {
        let unknown_flag = "\
I1124 15:00:00.000001    1 server.go:1] \"Starting\"\n\
E1124 15:00:00.000002    1 run.go:72] \"command failed\" err=\"failed to parse kubelet flag: unknown flag: --nonsense\"\n";
        let usage = "Error: unknown flag: --nonsense\nUsage:\n  kubelet [flags]\n      --v level\n";
        let several = "E1124 15:00:00.0 1 a.go:1] first\nE1124 15:00:00.0 1 a.go:1] second\nE1124 15:00:00.0 1 a.go:1] second\n\
            W1124 15:00:00.0 1 a.go:1] warned\nE1124 15:00:00.0 1 a.go:1] third\nF1124 15:00:00.0 1 a.go:1] fourth\n";
        for (log, expected) in [
            (unknown_flag, "\"command failed\" err=\"failed to parse kubelet flag: unknown flag: --nonsense\""),
            (usage, "Error: unknown flag: --nonsense"),
            (several, "second | third | fourth"),
            ("I1124 15:00:00.0 1 a.go:1] first\nI1124 15:00:00.0 1 a.go:1] last\n", "last"),
            ("\n \n", ""),
        ] {
            assert_eq!(errors(log), expected, "{log}");
        }
    }

    #[test]
    fn secrets_control_characters_and_length_are_cut() {
        let key = "A".repeat(64);
        let id = "0123456789abcdef".repeat(4);
        let path = "/var/lib/kubelet/pods/0f0f0f0f-0000-4000-8000-000000000007/volumes";
        for (line, expected) in [
            ("token abcdef.0123456789abcdef is bad", "token <secret> is bad".to_owned()),
            ("--token=abcdef.0123456789abcdef", "<secret>".to_owned()),
            ("Bearer eyJhbGciOi.J9.x, then", "Bearer <secret>, then".to_owned()),
            (&format!("key \"{key}\""), "key \"<secret>\"".to_owned()),
            (&format!("container {id}: {path}"), format!("container {id}: {path}")),
        ] {
            assert_eq!(clean(line), expected);
        }
        assert!(!clean("\u{1b}[31mred").contains('\u{1b}'));
        let long = clean(&"word ".repeat(1000));
        assert!(long.chars().count() <= MAX_CHARACTERS + 1 && long.ends_with('…'), "{long}");
    }

    proptest! {
        #[test]
        fn no_token_gets_through(before in ".{0,40}", id in "[a-z0-9]{6}", secret in "[a-z0-9]{16}") {
            let told = errors(&format!("E1124 15:00:00.0 1 a.go:1] {before} {id}.{secret}\n"));
            prop_assert!(!told.contains(&secret), "{}", told);
        }
    }
}
