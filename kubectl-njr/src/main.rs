//! The `kubectl-njr` binary, which kubectl runs as `kubectl njr`.

use std::process::ExitCode;

use clap::Parser as _;
use join_kubectl::cli::Cli;
use join_kubectl::output::stderr;
use join_kubectl::run;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // Before anything else: with two providers in the dependency graph, the first TLS connection would panic.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        stderr::error("a cryptography provider was installed already");
        return ExitCode::FAILURE;
    }
    match run::run(Cli::parse()).await {
        Ok(code) => code,
        Err(error) => {
            stderr::error(&error.to_string());
            ExitCode::FAILURE
        }
    }
}
