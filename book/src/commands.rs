//! Commands of code blocks, and whether a program would understand them.

use clap::Command as Program;
use clap::error::ErrorKind;

use crate::blocks::Block;

/// What a reader replaces by the hash of a machine's key.
pub const MACHINE_KEY: &str = "MACHINE-KEY";

/// Who types a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The administrator, with kubectl, helm and the plugin in PATH.
    Administrator,
    /// Root on the machine that joins.
    Machine,
}

/// One command as it stands in a block, continued lines put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The line of the page, from 1.
    pub number: usize,
    /// Who types it.
    pub place: Place,
    /// The command.
    pub text: String,
}

/// The commands of a block; none when it holds no commands.
pub fn lines(block: &Block) -> Vec<Line> {
    let place = if block.attribute("machine").is_some() { Place::Machine } else { Place::Administrator };
    // The line after the opening fence is the first.
    let numbered = block.text.lines().enumerate().map(|(index, line)| (block.line + 1 + index, line));
    match block.language.as_str() {
        "sh" | "shell" => join(numbered.map(|(number, line)| (number, place, line)).filter(|(_, _, line)| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with('#')
        })),
        "console" => join(numbered.filter_map(|(number, line)| {
            let administrator = line.strip_prefix("$ ").map(|command| (number, Place::Administrator, command));
            administrator.or_else(|| {
                let (prompt, command) = line.split_once("# ")?;
                // A prompt is one word: the machine's name.
                let is_prompt = !prompt.is_empty() && !prompt.contains(char::is_whitespace);
                is_prompt.then_some((number, Place::Machine, command))
            })
        })),
        _ => Vec::new(),
    }
}

/// Puts together what a backslash at the end of a line continues, or a quote or parenthesis that is open.
fn join<'a>(lines: impl Iterator<Item = (usize, Place, &'a str)>) -> Vec<Line> {
    let mut joined: Vec<Line> = Vec::new();
    let mut is_open = false;
    for (number, place, text) in lines {
        let (text, continues) = match text.trim_end().strip_suffix('\\') {
            Some(start) => (start.trim_end(), true),
            None => (text.trim_end(), false),
        };
        match joined.last_mut() {
            Some(last) if is_open => {
                last.text.push(' ');
                last.text.push_str(text.trim_start());
            }
            _ => joined.push(Line { number, place, text: text.to_owned() }),
        }
        is_open = continues || joined.last().is_some_and(|last| calls(&last.text).is_none());
    }
    joined
}

/// The calls of programs in one command: the parts of a pipeline and of a list, then what stands in `$(…)`.
///
/// Not a shell's parser: operators are expected to stand apart, which is how the documentation writes them. Returns
/// `None` for quotes and parentheses that do not close.
pub fn calls(command: &str) -> Option<Vec<Vec<String>>> {
    let (command, substitutions) = without_substitutions(command)?;
    let mut calls: Vec<Vec<String>> = vec![Vec::new()];
    for word in shlex::split(&command)? {
        if matches!(word.as_str(), "|" | "||" | "&&" | ";" | "&") {
            calls.push(Vec::new());
            continue;
        }
        let Some(call) = calls.last_mut() else { continue };
        // Variables before a program, and `sudo`, belong to the shell and not to the call.
        let is_before_program =
            call.is_empty() && (word == "sudo" || word.split_once('=').is_some_and(|(name, _)| is_variable(name)));
        if !is_before_program {
            call.push(word);
        }
    }
    for call in &mut calls {
        if let Some(redirection) = call.iter().position(|word| word.starts_with(['>', '<']) || word.starts_with("2>")) {
            call.truncate(redirection);
        }
    }
    calls.retain(|call| !call.is_empty());
    for substitution in substitutions {
        calls.extend(self::calls(&substitution)?);
    }
    Some(calls)
}

/// The command with a word in place of each `$(…)`, and what stood in them.
fn without_substitutions(command: &str) -> Option<(String, Vec<String>)> {
    let mut rest = command;
    let mut kept = String::new();
    let mut found = Vec::new();
    while let Some((before, after)) = rest.split_once("$(") {
        let mut depth = 1_u32;
        let end = after.find(|one| {
            match one {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            depth == 0
        })?;
        kept.push_str(before);
        kept.push_str("VALUE");
        found.push(after[..end].to_owned());
        rest = &after[end + 1..];
    }
    kept.push_str(rest);
    Some((kept, found))
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|one| one.is_ascii_alphanumeric() || one == '_')
}

/// Whether a program understands a call; the words after the program's own name.
///
/// # Errors
/// What the program would say.
pub fn understands(program: Program, name: &str, arguments: &[String]) -> Result<(), String> {
    let words = std::iter::once(name.to_owned()).chain(arguments.iter().cloned());
    match program.no_binary_name(false).try_get_matches_from(words) {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::blocks;

    fn texts(markdown: &str) -> Vec<(Place, String)> {
        blocks(markdown).iter().flat_map(lines).map(|line| (line.place, line.text)).collect()
    }

    #[test]
    fn commands_of_a_script_and_of_a_transcript() {
        let script = "```sh machine\n# A comment.\napt-get install \\\n  ./join-agent.deb\n\njoin-agent status\n```\n";
        assert_eq!(
            texts(script),
            [
                (Place::Machine, "apt-get install ./join-agent.deb".to_owned()),
                (Place::Machine, "join-agent status".to_owned())
            ]
        );
        let transcript =
            "```console\n$ kubectl get njr\nNAME   READY\nworker-1# join-agent status\nnode # of it\n```\n";
        assert_eq!(
            texts(transcript),
            [(Place::Administrator, "kubectl get njr".to_owned()), (Place::Machine, "join-agent status".to_owned())]
        );
        assert_eq!(texts("```text\n$ no command\n```\n"), []);
        let quoted = "```sh\njq 'a\n  | b' file\nls\n```\n";
        assert_eq!(
            texts(quoted),
            [(Place::Administrator, "jq 'a | b' file".to_owned()), (Place::Administrator, "ls".to_owned())]
        );
    }

    #[test]
    fn calls_of_a_command() {
        let calls =
            |text: &str| -> Vec<String> { calls(text).unwrap().into_iter().map(|call| call.join(" ")).collect() };
        assert_eq!(calls("kubectl get njr | grep x && ls > /dev/null"), ["kubectl get njr", "grep x", "ls"]);
        assert_eq!(calls("A=b sudo join-agent status"), ["join-agent status"]);
        assert_eq!(
            calls("kubectl njr accept a --key \"$(jq '.x(0)' \"key\" | head)\" --yes"),
            ["kubectl njr accept a --key VALUE --yes", "jq .x(0) key", "head"]
        );
    }

    #[test]
    fn quotes_that_do_not_close_are_found() {
        assert_eq!(calls("echo 'a"), None);
        assert_eq!(calls("echo $(date"), None);
    }

    #[test]
    fn what_a_program_does_not_know_is_found() {
        use clap::CommandFactory as _;
        let program = join_agent::cli::Arguments::command;
        let check = |words: &[&str]| {
            understands(program(), "join-agent", &words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(check(&["status", "--help"]), Ok(()));
        assert!(check(&["status", "--no-such-flag"]).is_err());
        assert!(check(&["no-such-command"]).is_err());
    }
}
