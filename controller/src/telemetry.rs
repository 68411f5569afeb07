//! Log output and the identity of the build.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::cli::LogFormat;
use crate::reconcile::decisions::TARGET;

/// Version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be parsed.
    #[error("log level {level:?} is neither a level (error, warn, info, debug, trace) nor a filter: {source}")]
    Filter {
        /// What was given.
        level: String,
        /// Why it is none.
        source: ParseError,
    },
    /// Another subscriber was installed before.
    #[error("cannot install the log output: {0}")]
    Install(Box<dyn std::error::Error + Send + Sync>),
}

/// What is logged at a level: decisions on certificate requests always are, since they are the record of who was let in.
fn filter(level: &str) -> Result<EnvFilter, TelemetryError> {
    let filter =
        EnvFilter::try_new(level).map_err(|source| TelemetryError::Filter { level: level.to_owned(), source })?;
    let decisions = format!("{TARGET}=info");
    let directive = decisions.parse().map_err(|source| TelemetryError::Filter { level: decisions, source })?;
    Ok(filter.add_directive(directive))
}

/// Installs the log output on standard error.
pub fn install(format: LogFormat, level: &str) -> Result<(), TelemetryError> {
    let filter = filter(level)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
        LogFormat::Text => builder.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init(),
    }
    .map_err(TelemetryError::Install)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_level_silences_decisions() {
        for level in ["error", "off", "info", "join_controller=off", "join_controller::decision=off"] {
            let filter = filter(level).unwrap().to_string();
            assert!(filter.split(',').any(|directive| directive == "join_controller::decision=info"), "{filter}");
        }
        assert!(matches!(filter("join_controller=loud"), Err(TelemetryError::Filter { .. })));
    }
}
