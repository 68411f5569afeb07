//! `cargo xtask …`: the one place for developer commands.

mod bench;
mod build;
mod chaos;
mod compile;
mod demo;
mod docs;
mod fuzz;
mod generate;
mod image;
mod lab;
mod mutants;
mod package;
mod reproduce;
mod revision;
mod sbom;
mod suites;
mod test;
mod tools;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer commands of join-operator")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measures joins beside kubeadm's
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Joins machines while something is killed, cut off, full or off its time, and writes docs/reliability.md
    Chaos(chaos::ChaosArguments),
    /// Shows the main job: a machine joins a real cluster
    Demo(demo::DemoArguments),
    /// Builds the documentation as a book
    Docs(docs::DocsArguments),
    /// Gives every fuzz target inputs for a while, and writes docs/fuzzing.md
    Fuzz(fuzz::FuzzArguments),
    /// Makes the controller's container image as an archive, reproducibly and without a container engine
    Image(image::ImageArguments),
    /// Runs a real cluster in network namespaces
    #[command(subcommand)]
    Lab(lab::LabCommand),
    /// Changes the policy on certificate requests in every small way, and runs its tests for each
    Mutants,
    /// Makes the agent's Debian and RPM packages and the archives of the programs, with their checksums
    Package(package::PackageArguments),
    /// Builds the last commit in two places and compares what comes out, byte by byte
    Reproduce(reproduce::ReproduceArguments),
    /// Runs every test: format, lints, licences, unit tests, and the end-to-end suites in a lab
    Test(test::TestArguments),
    /// Writes the files that are generated from the code (the CRD and the tables in docs)
    Generate,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Bench(command) => bench::run(&command),
        Command::Chaos(arguments) => chaos::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Docs(arguments) => docs::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Image(arguments) => image::run(&arguments),
        Command::Lab(command) => lab::run(command),
        Command::Mutants => mutants::run(),
        Command::Package(arguments) => package::run(&arguments),
        Command::Reproduce(arguments) => reproduce::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Generate => generate::write(),
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("error: {failure:#}");
            ExitCode::FAILURE
        }
    }
}
