//! A program's commands and options, from its own definition.

use std::fmt::Write as _;

use clap::{Arg, Command};

use super::note;
use super::table::{code, escaped, head, row};

/// The page of one program.
pub fn page(mut program: Command, source: &str) -> String {
    program.build();
    let mut page = note(source);
    section(&program, 1, &mut page);
    page
}

/// A command and, below it, its own commands.
fn section(command: &Command, level: usize, page: &mut String) {
    // Set by `build`: the command with those above it.
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned();
    // Writing to a String cannot fail.
    let _ = write!(page, "{} {name}\n\n", "#".repeat(level));
    if let Some(about) = command.get_long_about().or_else(|| command.get_about()) {
        let _ = write!(page, "{}\n\n", escaped(&about.to_string()));
    }
    let usage = command.clone().render_usage().to_string();
    let _ = write!(page, "```text\n{}\n```\n", usage.trim_start_matches("Usage: "));
    // What every command takes is told once, above them all.
    let is_told = |argument: &&Arg| is_shown(argument) && (level == 1 || !argument.is_global_set());
    let shown: Vec<&Arg> = command.get_arguments().filter(is_told).collect();
    if !shown.is_empty() {
        page.push('\n');
        page.push_str(&head(&["Option", "Default", "Environment", "Meaning"]));
        for argument in shown {
            page.push_str(&argument_row(argument));
        }
    }
    for below in command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help") {
        page.push('\n');
        section(below, level + 1, page);
    }
}

fn is_shown(argument: &Arg) -> bool {
    !argument.is_hide_set() && !matches!(argument.get_id().as_str(), "help" | "version")
}

fn argument_row(argument: &Arg) -> String {
    let defaults: Vec<String> = argument
        .get_default_values()
        .iter()
        .map(|value| code(&value.to_string_lossy()))
        .filter(|_| argument.get_action().takes_values())
        .collect();
    let environment = argument.get_env().map(|name| code(&name.to_string_lossy())).unwrap_or_default();
    let help = argument.get_long_help().or_else(|| argument.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut meaning = help.replace("\n\n", " ");
    let choices = if argument.get_action().takes_values() { argument.get_possible_values() } else { Vec::new() };
    let choices: Vec<String> =
        choices.iter().filter(|choice| !choice.is_hide_set()).map(|choice| code(choice.get_name())).collect();
    if !choices.is_empty() {
        if !meaning.ends_with(['.', '?', '!']) {
            meaning.push('.');
        }
        let _ = write!(meaning, " One of {}.", choices.join(", "));
    }
    row(&[&code(&signature(argument)), &defaults.join(", "), &environment, &meaning])
}

/// How an argument is written: `-o, --output <FORMAT>`.
fn signature(argument: &Arg) -> String {
    let values: Vec<String> = if argument.get_action().takes_values() {
        let names = argument.get_value_names().unwrap_or_default();
        names.iter().map(|name| format!("<{name}>")).collect()
    } else {
        Vec::new()
    };
    let short = argument.get_short().map(|short| format!("-{short}"));
    let long = argument.get_long().map(|long| format!("--{long}"));
    let flags: Vec<String> = short.into_iter().chain(long).collect();
    let many = if argument.get_num_args().is_some_and(|range| range.max_values() > 1) { "…" } else { "" };
    format!("{} {}{many}", flags.join(", "), values.join(" ")).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgAction, Command};

    use super::*;

    #[test]
    fn a_program_is_shown_with_its_commands() {
        let output = Arg::new("output").short('o').long("output").value_name("FORMAT").default_value("text");
        let output = output.value_parser(["text", "json"]).help("How to print it");
        let loud = Arg::new("loud").long("loud").action(ArgAction::SetTrue).help("More <words>").env("LOUD");
        let secret = Arg::new("secret").long("secret").hide(true);
        let status = Command::new("status").about("Says what is").arg(output).arg(secret);
        let program = Command::new("agent").about("An agent").arg(loud).subcommand(status);
        assert_eq!(
            page(program, "x.rs"),
            "<!-- Generated from x.rs by `cargo xtask generate`. Do not edit. -->\n\
             # agent\n\nAn agent\n\n```text\nagent [OPTIONS] [COMMAND]\n```\n\n\
             | Option | Default | Environment | Meaning |\n|---|---|---|---|\n\
             | `--loud` |  | `LOUD` | More &lt;words> |\n\n\
             ## agent status\n\nSays what is\n\n```text\nagent status [OPTIONS]\n```\n\n\
             | Option | Default | Environment | Meaning |\n|---|---|---|---|\n\
             | `-o, --output <FORMAT>` | `text` |  | How to print it. One of `text`, `json`. |\n"
        );
    }
}
