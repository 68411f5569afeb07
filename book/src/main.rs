//! `join-book`: writes the generated pages, and is mdBook's preprocessor.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use join_book::{generated, preprocessor, repository};

#[derive(Parser)]
#[command(name = "join-book", about = "Makes the pages of the documentation that come from the code")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes the generated pages
    Generate,
    /// Speaks mdBook's protocol of preprocessors
    Preprocess {
        #[command(subcommand)]
        question: Option<Question>,
    },
}

#[derive(Subcommand)]
enum Question {
    /// Whether a renderer is supported: every one is
    Supports {
        /// Its name
        renderer: String,
    },
}

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("join-book: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Generate => {
            for (path, text) in generated::files()? {
                let file = repository().join(&path);
                if let Some(folder) = file.parent() {
                    std::fs::create_dir_all(folder)?;
                }
                std::fs::write(file, text)?;
                println!("{path}");
            }
        }
        Command::Preprocess { question: Some(Question::Supports { .. }) } => {}
        Command::Preprocess { question: None } => {
            preprocessor::run(std::io::stdin().lock(), std::io::stdout().lock())?;
        }
    }
    Ok(())
}
