//! The `join-controller` binary.

use std::process::ExitCode;

use clap::Parser as _;
use join_controller::cli::Cli;
use join_controller::{run, telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    // Before anything else: with two providers in the dependency graph, the first TLS connection would panic.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("join-controller: a cryptography provider was installed already");
        return ExitCode::FAILURE;
    }
    let cli = Cli::parse();
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
