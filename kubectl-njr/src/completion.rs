//! `kubectl njr completion`: scripts by which a shell completes commands and flags.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::output;

/// Arguments of `completion`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script for `kubectl-njr`.
pub fn run(arguments: &Arguments) -> Result<(), output::Error> {
    output::print(&script(arguments.shell)?)
}

fn script(shell: Shell) -> Result<String, output::Error> {
    let mut text = Vec::new();
    // By the name of the file: what completes `kubectl njr` is kubectl's own script, which asks no plugin's.
    clap_complete::generate(shell, &mut Cli::command().bin_name("kubectl-njr"), "kubectl-njr", &mut text);
    let text = String::from_utf8(text)
        .map_err(|error| output::Error::Encode { format: "a script", reason: error.to_string() })?;
    // For a program with a hyphen in its name the library writes one name where it finds out which command was typed and
    // another one where it lists what that command takes (https://github.com/clap-rs/clap/issues/6421): nothing would be
    // completed after a command. Without the mistake there is nothing to replace.
    Ok(if shell == Shell::Bash { text.replace("kubectl__subcmd__njr", "kubectl__njr") } else { text })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Shell::Bash, "complete -F")]
    #[case(Shell::Zsh, "#compdef kubectl-njr")]
    #[case(Shell::Fish, "complete -c kubectl-njr")]
    fn scripts_know_the_commands(#[case] shell: Shell, #[case] mark: &str) {
        let script = script(shell).unwrap();
        assert!(script.contains(mark), "{script}");
        for word in ["machines", "accept", "dry-run"] {
            assert!(script.contains(word), "{word} is not in the script for {shell}");
        }
    }
}
