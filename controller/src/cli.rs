//! Flags and environment of the `join-controller` binary.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

/// Turns NodeJoinRequests into Nodes: mints bootstrap tokens, decides kubelets' certificate requests, labels nodes.
///
/// Without --kubeconfig it uses the ServiceAccount of the Pod that it runs in.
#[derive(Debug, Clone, Parser)]
#[command(name = "join-controller", version = crate::telemetry::VERSION, max_term_width = 100)]
pub struct Cli {
    /// What to do instead of the controller's work.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Namespace of the controller's own objects: records, join commands, the lease.
    #[arg(long, global = true, env = "JOIN_CONTROLLER_NAMESPACE", default_value = "join-system")]
    pub namespace: String,

    /// Kubeconfig file to use instead of the Pod's ServiceAccount.
    #[arg(long, global = true, env = "JOIN_CONTROLLER_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Where joining machines reach the API server. Used only where kube-public/cluster-info is missing and must be made.
    #[arg(long, env = "JOIN_CONTROLLER_CLUSTER_ENDPOINT", value_name = "HOST:PORT")]
    pub cluster_endpoint: Option<String>,

    /// Address on which /metrics is served; without --metrics-secure it may be the same as --health-address.
    #[arg(long, env = "JOIN_CONTROLLER_METRICS_ADDRESS", value_name = "IP:PORT", default_value = "0.0.0.0:8080")]
    pub metrics_address: SocketAddr,

    /// Serve /metrics over TLS, to those only whose bearer token has the right to get the URL /metrics; with =false
    /// over plain HTTP, to everybody.
    #[arg(long, env = "JOIN_CONTROLLER_METRICS_SECURE", value_name = "BOOL", default_value_t = true,
          action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true,
          overrides_with = "metrics_secure")]
    pub metrics_secure: bool,

    /// Folder with tls.crt and tls.key for /metrics, read again when they change. Without it the controller makes
    /// itself a certificate whenever it starts.
    #[arg(long, env = "JOIN_CONTROLLER_METRICS_CERTIFICATE_DIR", value_name = "DIR")]
    pub metrics_certificate_dir: Option<PathBuf>,

    /// Address on which /livez and /readyz are served.
    #[arg(long, env = "JOIN_CONTROLLER_HEALTH_ADDRESS", value_name = "IP:PORT", default_value = "0.0.0.0:8081")]
    pub health_address: SocketAddr,

    /// How log lines are written to standard error.
    #[arg(long, env = "JOIN_CONTROLLER_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,

    /// Level of the log, or a filter such as `info,join_controller=debug`.
    #[arg(long, env = "JOIN_CONTROLLER_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    pub log_level: String,

    /// Name of this replica in the lease; unique among replicas. Default: the host name and a random part.
    #[arg(long, env = "JOIN_CONTROLLER_IDENTITY", value_name = "NAME")]
    pub identity: Option<String>,

    /// Most requests that are worked on at the same time.
    #[arg(long, env = "JOIN_CONTROLLER_CONCURRENCY", value_name = "N", default_value_t = 20,
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub concurrency: u16,

    /// Most tokens that are alive at the same time; further joins wait. Each has an entry in cluster-info, which every
    /// joining machine downloads.
    #[arg(long, env = "JOIN_CONTROLLER_MAX_JOINS_IN_FLIGHT", value_name = "N", default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub max_joins_in_flight: u32,

    /// Seconds from an approval after which a missing certificate is reported as a missing signer (SignerMissing).
    #[arg(long, env = "JOIN_CONTROLLER_SIGNER_TIMEOUT_SECONDS", value_name = "SECONDS", default_value_t = 20,
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub signer_timeout_seconds: u32,

    /// Networks that no serving certificate may name, beside those of Services. Repeatable, comma-separated.
    #[arg(long, env = "JOIN_CONTROLLER_FORBIDDEN_NETWORKS", value_name = "CIDR", value_delimiter = ',')]
    pub forbidden_networks: Vec<String>,

    /// For tests only: abort the process right after the N-th write to the API server (leases and Events not counted).
    #[arg(long, env = "JOIN_CONTROLLER_CRASH_AFTER_WRITES", value_name = "N", hide = true)]
    pub crash_after_writes: Option<u64>,

    /// For tests only, which move the time on: believe this host's clock, and not the API server's.
    #[arg(long, hide = true)]
    pub own_clock: bool,
}

/// What to do instead of the controller's work.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Looks whether the cluster and the controller are fit for joins, with the controller's own rights, and ends
    /// with 1 if something is not. Changes nothing.
    Check {
        /// How the result is shown.
        #[arg(long, short, value_enum, default_value_t = CheckFormat::Table)]
        output: CheckFormat,
    },
}

/// How the result of a check is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// Every check with what was seen.
    Table,
    /// What is wrong, a line each.
    Short,
    /// JSON.
    Json,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Text for people.
    Text,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults_need_no_flag() {
        let cli = Cli::try_parse_from(["join-controller"]).unwrap();
        assert_eq!(cli.namespace, "join-system");
        assert_eq!(cli.concurrency, 20);
        assert_eq!(cli.crash_after_writes, None);
    }

    #[test]
    fn metrics_are_secure_unless_told_otherwise() {
        let secure = |arguments: &[&str]| {
            Cli::try_parse_from([&["join-controller"], arguments].concat()).map(|cli| cli.metrics_secure).ok()
        };
        assert_eq!(secure(&[]), Some(true));
        assert_eq!(secure(&["--metrics-secure"]), Some(true));
        assert_eq!(secure(&["--metrics-secure=false"]), Some(false));
        assert_eq!(secure(&["--metrics-secure=false", "--metrics-secure=true"]), Some(true));
        assert_eq!(secure(&["--metrics-secure=no-idea"]), None);
    }

    #[test]
    fn a_check_takes_the_namespace_before_and_after_its_name() {
        for line in [["--namespace=a", "check"], ["check", "--namespace=a"]] {
            let cli = Cli::try_parse_from(std::iter::once("join-controller").chain(line)).unwrap();
            assert_eq!(cli.namespace, "a");
            assert!(matches!(cli.command, Some(Command::Check { output: CheckFormat::Table })));
        }
    }

    #[test]
    fn unbounded_concurrency_is_refused() {
        assert!(Cli::try_parse_from(["join-controller", "--concurrency", "0"]).is_err());
    }
}
