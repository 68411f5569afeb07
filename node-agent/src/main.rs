//! `join-agent`: the agent on a machine that is to become a node.

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use join_agent::cli::{Arguments, CheckOutput, Command, ConfigurationArguments, LogFormat, Output, ResetArguments};
use join_agent::config::{Configuration, DEFAULT_STATE_DIRECTORY, Surroundings};
use join_agent::journal::CrashSwitch;
use join_agent::local_status::Told;
use join_agent::once::{self, command_line, flags::JoinArguments};
use join_agent::{check, host, reset, run};
use join_trust::token::redacted;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

fn main() -> ExitCode {
    // Keys and tokens must not end in a core file, nor be readable by another process of the same user.
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable) {
        eprintln!("join-agent: failed to forbid core files: {error}");
        return ExitCode::FAILURE;
    }
    let outcome = match arguments().command {
        Command::Run { configuration, log_level, log_format, crash_after_writes } => {
            serve(&configuration, &log_level, log_format, CrashSwitch::after(crash_after_writes))
        }
        Command::Join(arguments) => join(*arguments),
        Command::Status { output } => print_status(output),
        Command::Check { configuration, output, ignore_preflight_errors, cri_socket } => {
            let question = check::Question {
                path: &configuration.config,
                allow_unsafe_discovery: configuration.allow_unsafe_discovery,
                cri_socket: cri_socket.as_deref(),
                ignore: &ignore_preflight_errors,
            };
            print_checks(&question, output)
        }
        Command::Reset(arguments) => reset_machine(&arguments),
        Command::Version => {
            println!("join-agent {}", env!("CARGO_PKG_VERSION"));
            Ok(ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("join-agent: {error}");
        ExitCode::FAILURE
    })
}

type Failure = Box<dyn std::error::Error>;

/// The command line; the program ends here if it is wrong.
fn arguments() -> Arguments {
    Arguments::try_parse().unwrap_or_else(|error| {
        if !error.use_stderr() {
            error.exit();
        }
        // What is not expected is quoted, and may be a token.
        eprint!("{}", redacted(&error.render().to_string()));
        std::process::exit(error.exit_code());
    })
}

/// What asynchronous code runs on, with the cryptography that TLS needs. One thread: the agent waits nearly all of its life.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn load(arguments: &ConfigurationArguments) -> Result<(Configuration, String), Failure> {
    let hostname = host::hostname();
    let surroundings =
        Surroundings { hostname: hostname.clone(), allow_unsafe_discovery: arguments.allow_unsafe_discovery };
    Ok((Configuration::load(&arguments.config, &surroundings)?, hostname))
}

/// Exit code 1 tells that something would stop a join, or that the node is not sound.
fn print_checks(question: &check::Question<'_>, output: CheckOutput) -> Result<ExitCode, Failure> {
    let runtime = runtime()?;
    let report = runtime.block_on(check::run(question));
    // A lookup that nobody answers must not keep the program waiting at its end.
    runtime.shutdown_background();
    print!("{}", report.render(output.into()));
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn serve(
    arguments: &ConfigurationArguments,
    log_level: &str,
    log_format: LogFormat,
    crash: CrashSwitch,
) -> Result<ExitCode, Failure> {
    log(log_level, log_format)?;
    let (configuration, hostname) = load(arguments)?;
    if let Some(warning) = &configuration.warning {
        tracing::warn!(file = %arguments.config.display(), "{warning}");
    }
    let runtime = runtime()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            ended = run::run(configuration, hostname, crash) => match ended {
                Ok(never) => match never {},
                Err(error) => Err(error.into()),
            },
            _ = terminate.recv() => Ok(ExitCode::SUCCESS),
            _ = tokio::signal::ctrl_c() => Ok(ExitCode::SUCCESS),
        }
    })
}

fn log(level: &str, format: LogFormat) -> Result<(), Failure> {
    let filter: Targets = level.parse().map_err(|error| format!("--log-level {level}: {error}"))?;
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let logs = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => logs.with(layer.with_ansi(false)).init(),
        LogFormat::Json => logs.with(layer.json()).init(),
    }
    Ok(())
}

fn join(arguments: JoinArguments) -> Result<ExitCode, Failure> {
    arguments.check()?;
    command_line::hide_token().map_err(|error| format!("failed to take the token out of the command line: {error}"))?;
    log(&arguments.log_level, LogFormat::Text)?;
    let runtime = runtime()?;
    let joined = runtime.block_on(once::join(arguments));
    // A lookup that nobody answers must not keep the program waiting at its end.
    runtime.shutdown_background();
    joined?;
    Ok(ExitCode::SUCCESS)
}

fn print_status(output: Output) -> Result<ExitCode, Failure> {
    let told = Told::read(Path::new(DEFAULT_STATE_DIRECTORY))?;
    match output {
        Output::Text => print!("{}", told.text()),
        Output::Json => println!("{}", serde_json::to_string_pretty(&told)?),
    }
    Ok(if told.is_running() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn reset_machine(arguments: &ResetArguments) -> Result<ExitCode, Failure> {
    // A reset must work where the configuration does not.
    let configured = || {
        let surroundings = Surroundings { hostname: host::hostname(), allow_unsafe_discovery: true };
        Configuration::load(&arguments.config, &surroundings).map(|configuration| configuration.state_directory).ok()
    };
    let state_directory = arguments.state_directory.clone().or_else(configured);
    let options = reset::Options {
        dry_run: arguments.dry_run,
        all: arguments.all,
        yes: arguments.yes,
        forget_keys: arguments.forget_keys,
        keep_etcd_member: arguments.keep_etcd_member,
        keep_pods: arguments.keep_pods,
        start_agent: arguments.start_agent,
        state_directory: state_directory.unwrap_or_else(|| DEFAULT_STATE_DIRECTORY.into()),
        crash: CrashSwitch::after(arguments.crash_after_writes),
    };
    let runtime = runtime()?;
    runtime.block_on(reset::reset(&options))?;
    Ok(ExitCode::SUCCESS)
}
