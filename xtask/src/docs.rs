//! `cargo xtask docs`: the documentation as a book, in `target/book`.

use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};
use clap::Args;

use crate::build;
use crate::tools::MDBOOK;

#[derive(Args)]
pub struct DocsArguments {
    /// Open the book in a browser
    #[arg(long)]
    open: bool,
}

pub fn run(arguments: &DocsArguments) -> anyhow::Result<ExitCode> {
    build(arguments.open)?;
    println!("{}", build::repository().join("target/book/index.html").display());
    Ok(ExitCode::SUCCESS)
}

/// Builds the book; a chapter that is missing fails it. Links are checked by the tests of the crate `book`.
pub fn build(open: bool) -> anyhow::Result<()> {
    let mut mdbook = Command::new(MDBOOK.program()?);
    mdbook.current_dir(build::repository()).arg("build");
    if open {
        mdbook.arg("--open");
    }
    let status = mdbook.status().context("starting mdbook")?;
    ensure!(status.success(), "mdbook could not build the documentation ({status})");
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use join_book::blocks::blocks;
    use join_book::commands::{calls, lines, understands};
    use join_book::markdown::pages;

    /// What the other programs would say to the documentation's commands is tested in the crate `book`.
    #[test]
    fn every_xtask_command_of_the_documentation_is_understood() {
        let mut seen = 0;
        let mut broken = Vec::new();
        for page in pages().unwrap() {
            // Also those that are not run: they are commands all the same.
            for line in blocks(&page.text).iter().flat_map(lines) {
                for call in calls(&line.text).unwrap_or_default() {
                    let [cargo, xtask, arguments @ ..] = call.as_slice() else { continue };
                    if cargo == "cargo" && xtask == "xtask" {
                        seen += 1;
                        let outcome = understands(crate::Arguments::command(), "cargo xtask", arguments);
                        let place = format!("{}:{}", page.path.display(), line.number);
                        broken.extend(outcome.err().map(|reason| format!("{place}: {reason}")));
                    }
                }
            }
        }
        assert!(seen >= 4, "only {seen} commands were found");
        assert!(broken.is_empty(), "{}", broken.join("\n"));
    }
}
