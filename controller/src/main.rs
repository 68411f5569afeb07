//! The `join-controller` binary.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use join_controller::cli::{CheckFormat, Cli, Command};
use join_controller::{check, run, telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    // Before anything else: with two providers in the dependency graph, the first TLS connection would panic.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("join-controller: a cryptography provider was installed already");
        return ExitCode::FAILURE;
    }
    let cli = Cli::parse();
    if let Some(Command::Check { output }) = cli.command {
        return report(&cli, output).await;
    }
    if let Err(error) = telemetry::install(cli.log_format, &cli.log_level) {
        eprintln!("join-controller: {error}");
        return ExitCode::FAILURE;
    }
    run::announce();
    match run::run(cli).await {
        Ok(()) => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!(%error, "ending");
            ExitCode::FAILURE
        }
    }
}

async fn report(cli: &Cli, output: CheckFormat) -> ExitCode {
    match check::run(cli).await {
        Ok(report) => {
            // A reader that has gone, such as head, changes nothing of what was found.
            let _ = std::io::stdout().write_all(report.render(output.into()).as_bytes());
            if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("join-controller: {error}");
            ExitCode::FAILURE
        }
    }
}
