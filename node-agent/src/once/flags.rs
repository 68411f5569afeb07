//! What `join-agent join` is told on its command line: the flags of `kubeadm join`, and what becomes of each.
//!
//! Where the cluster is and how it is known is the machine's matter. What the node becomes is the request's: such flags are
//! named with the command that puts them into the request, and refused where the machine would become something else.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use join_trust::ca_bundle::CaTrust;
use join_trust::endpoint::Endpoint;
use join_trust::kubeconfig_url::KubeconfigLocation;
use join_trust::names::NodeName;
use join_trust::pin::PinSet;
use join_trust::token::{BootstrapToken, redacted};
use zeroize::Zeroizing;

use crate::config::{self, Configuration, DEFAULT_STATE_DIRECTORY, Discovery, ReadFile, Surroundings};

/// The flags of which each holds a token.
pub const TOKEN_FLAGS: [&str; 3] = ["token", "discovery-token", "tls-bootstrap-token"];

/// What stands for standard input in the place of a file.
pub const STANDARD_INPUT: &str = "-";

/// The command line cannot be carried out. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A flag has a value that it cannot have, or stands where it cannot.
    #[error("--{flag}: {reason}")]
    Flag {
        /// The flag.
        flag: &'static str,
        /// What was expected.
        reason: String,
    },
    /// A file that a flag names is of no use.
    #[error("--{flag}: {source}")]
    File {
        /// The flag.
        flag: &'static str,
        /// What is wrong with it.
        source: config::Error,
    },
}

fn wrong(flag: &'static str, reason: impl std::fmt::Display) -> Error {
    // What is given in the wrong place may be a token.
    Error::Flag { flag, reason: redacted(&reason.to_string()).into_owned() }
}

/// The arguments of `join-agent join`.
#[derive(clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct JoinArguments {
    /// Host and port of the API server, or of the load balancer before it
    #[arg(
        value_name = "HOST:PORT",
        required_unless_present_any = ["discovery_file", "config"],
        conflicts_with_all = ["discovery_file", "config"]
    )]
    api_server_endpoint: Option<Endpoint>,

    /// The enrollment token, which `kubectl njr enroll` makes. It is taken out of the list of processes at once, and stays in
    /// the shell's history: --token-file leaves it in neither
    #[arg(long, value_name = "TOKEN", conflicts_with = "config")]
    token: Option<Zeroizing<String>>,

    /// A file with the enrollment token, mode 0600, or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["token", "discovery_token", "tls_bootstrap_token", "config"])]
    token_file: Option<PathBuf>,

    /// Pin of a certificate authority of the cluster: sha256:<hash>; may be given more than once
    #[arg(long, value_name = "PIN", value_delimiter = ',', conflicts_with_all = ["discovery_file", "config"])]
    discovery_token_ca_cert_hash: Vec<String>,

    /// Trust any certificate authority that a holder of the token shows
    #[arg(long, conflicts_with_all = ["discovery_file", "config"])]
    discovery_token_unsafe_skip_ca_verification: bool,

    /// A kubeconfig to find the cluster by: a path, or an https URL
    #[arg(long, value_name = "FILE|URL", conflicts_with = "config")]
    discovery_file: Option<Zeroizing<String>>,

    /// A configuration of the agent, or a JoinConfiguration of kubeadm, instead of flags; mode 0600
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Allow a configuration file that pins no certificate authority
    #[arg(long, requires = "config", conflicts_with_all = ["api_server_endpoint", "discovery_file"])]
    allow_unsafe_discovery: bool,

    /// Name of the node, and of its request [default: the host name in lower case]
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    node_name: Option<NodeName>,

    /// IP address to announce; may be given more than once [default: that from which the API server is reached]
    #[arg(long = "node-address", value_name = "IP", value_delimiter = ',', conflicts_with = "config")]
    node_addresses: Vec<IpAddr>,

    /// How long to try and to wait for the request, such as 10m or 1h [default: until interrupted]
    #[arg(long, value_name = "DURATION", value_parser = join_checks::duration::parse)]
    pub timeout: Option<Duration>,

    /// What to log on standard error: off, error, warn, info, debug or trace. What is said is not repeated there
    #[arg(long, env = "JOIN_AGENT_LOG", default_value = "off")]
    pub log_level: String,

    #[command(flatten)]
    of_kubeadm: FlagsOfKubeadm,

    /// For tests only: abort the process right after the N-th write of a join to this machine
    #[arg(long, env = "JOIN_AGENT_CRASH_AFTER_WRITES", value_name = "N", hide = true)]
    pub crash_after_writes: Option<u64>,
}

/// Flags of `kubeadm join` that say nothing to the agent.
#[derive(clap::Args)]
#[command(next_help_heading = "Flags of kubeadm join")]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
struct FlagsOfKubeadm {
    /// As --token; another token beside it is refused
    #[arg(long, value_name = "TOKEN", conflicts_with_all = ["discovery_file", "config"])]
    discovery_token: Option<Zeroizing<String>>,

    /// As --token; another token beside it is refused
    #[arg(long, value_name = "TOKEN", conflicts_with = "config")]
    tls_bootstrap_token: Option<Zeroizing<String>>,

    /// Left to the request, which `kubectl njr accept --cri-socket` writes; said, not used
    #[arg(long, value_name = "SOCKET")]
    cri_socket: Option<String>,

    /// Left to the request, which `kubectl njr accept --ignore-preflight-errors` writes; said, not used
    #[arg(long, value_name = "CHECKS", value_delimiter = ',')]
    ignore_preflight_errors: Vec<String>,

    /// Refused: the request says what a machine becomes
    #[arg(long)]
    control_plane: bool,

    /// Refused: the request names a Secret with the key
    #[arg(long, value_name = "KEY")]
    certificate_key: Option<Zeroizing<String>>,

    /// Refused: the request says it
    #[arg(long, value_name = "IP")]
    apiserver_advertise_address: Option<IpAddr>,

    /// Refused: the request says it
    #[arg(long, value_name = "PORT")]
    apiserver_bind_port: Option<u16>,

    /// Refused: `join-agent check` changes nothing
    #[arg(long)]
    dry_run: bool,

    /// Refused: the agent leaves no step of a join out
    #[arg(long, value_name = "PHASES", value_delimiter = ',')]
    skip_phases: Vec<String>,

    /// Refused: the agent does not patch the files that it writes
    #[arg(long, value_name = "FOLDER")]
    patches: Option<PathBuf>,
}

impl JoinArguments {
    /// Whether the token comes by standard input.
    pub fn reads_standard_input(&self) -> bool {
        self.token_file.as_deref() == Some(Path::new(STANDARD_INPUT))
    }

    /// Refuses what would make another join of the command line than it asks for, whatever else it says.
    pub fn check(&self) -> Result<(), Error> {
        self.given_token()?;
        self.of_kubeadm.refusal().map_or(Ok(()), |(flag, reason)| Err(wrong(flag, reason)))
    }

    /// The token that stands in the command line, once or several times.
    fn given_token(&self) -> Result<Option<BootstrapToken>, Error> {
        let given = [&self.token, &self.of_kubeadm.discovery_token, &self.of_kubeadm.tls_bootstrap_token];
        let mut one = None;
        for (flag, text) in TOKEN_FLAGS.into_iter().zip(given) {
            let Some(text) = text else { continue };
            let token = BootstrapToken::parse(text).map_err(|error| wrong(flag, error))?;
            if one.get_or_insert_with(|| token.clone()) != &token {
                return Err(wrong(
                    flag,
                    "is another token than the one beside it, and the agent uses one; leave one out",
                ));
            }
        }
        Ok(one)
    }

    /// What the agent has to know, and what of the command line it leaves to the request. The files that are named are read
    /// by `read`, so that this is pure.
    pub fn configuration(self, hostname: &str, read: &ReadFile<'_>) -> Result<(Configuration, Vec<String>), Error> {
        self.check()?;
        let surroundings =
            Surroundings { hostname: hostname.to_owned(), allow_unsafe_discovery: self.allow_unsafe_discovery };
        let configuration = match &self.config {
            Some(path) => {
                let file = |source| Error::File { flag: "config", source };
                let text = read(path).map_err(file)?;
                Configuration::of_text(path, &text, &surroundings, read).map_err(file)?
            }
            None => self.of_flags(&surroundings, read)?,
        };
        let mut notes: Vec<String> = configuration.warning.iter().cloned().collect();
        notes.extend(self.of_kubeadm.note(&configuration.node_name));
        if let Discovery::Token { trust: CaTrust::UnsafeAny, .. } = configuration.discovery {
            notes.push(
                "no certificate authority is pinned: whoever holds the token can pretend to be the API server".into(),
            );
        }
        Ok((configuration, notes))
    }

    fn of_flags(&self, surroundings: &Surroundings, read: &ReadFile<'_>) -> Result<Configuration, Error> {
        let node_name = if let Some(name) = &self.node_name {
            name.clone()
        } else {
            let name = surroundings.default_name();
            NodeName::parse(&name).map_err(|error| wrong("node-name", format!("by default {name:?}; {error}")))?
        };
        Ok(Configuration {
            node_name,
            discovery: self.discovery(read)?,
            node_addresses: self.node_addresses.clone(),
            state_directory: PathBuf::from(DEFAULT_STATE_DIRECTORY),
            warning: None,
        })
    }

    fn discovery(&self, read: &ReadFile<'_>) -> Result<Discovery, Error> {
        let token = self.bootstrap_token(read)?;
        match (&self.api_server_endpoint, &self.discovery_file) {
            (Some(endpoint), None) => {
                let token = token.ok_or_else(|| {
                    wrong("token", "is not given; `kubectl njr enroll --print-join-command` prints the whole line")
                })?;
                Ok(Discovery::Token { endpoint: endpoint.clone(), token, expires: None, trust: self.trust()? })
            }
            (None, Some(location)) => {
                const FLAG: &str = "discovery-file";
                match KubeconfigLocation::parse(location).map_err(|error| wrong(FLAG, error))? {
                    KubeconfigLocation::Url(url) => Ok(Discovery::Url { url, token }),
                    KubeconfigLocation::Path(file) => {
                        let file = config::file_discovery(Path::new(FLAG), PathBuf::from(file), token, read);
                        file.map_err(|source| match source {
                            config::Error::Field { reason, .. } => wrong(FLAG, reason),
                            source => Error::File { flag: FLAG, source },
                        })
                    }
                }
            }
            _ => Err(wrong("config", "or an API server's HOST:PORT, or --discovery-file is needed")),
        }
    }

    /// The token, wherever it stands.
    fn bootstrap_token(&self, read: &ReadFile<'_>) -> Result<Option<BootstrapToken>, Error> {
        const FLAG: &str = "token-file";
        let Some(path) = &self.token_file else { return self.given_token() };
        let text = read(path).map_err(|source| Error::File { flag: FLAG, source })?;
        Ok(Some(BootstrapToken::parse(text.trim()).map_err(|error| wrong(FLAG, error))?))
    }

    fn trust(&self) -> Result<CaTrust, Error> {
        const FLAG: &str = "discovery-token-ca-cert-hash";
        let pins = PinSet::parse(self.discovery_token_ca_cert_hash.iter().map(String::as_str));
        let pins = pins.map_err(|error| wrong(FLAG, error))?;
        config::trusted(pins, self.discovery_token_unsafe_skip_ca_verification).ok_or_else(|| {
            wrong(
                FLAG,
                "is not given, expected at least one sha256:<hash>, which `kubectl njr ca-hash` prints; without one, whoever \
                 holds the token could pretend to be the API server (--discovery-token-unsafe-skip-ca-verification)",
            )
        })
    }
}

impl FlagsOfKubeadm {
    /// What the agent would do otherwise than the flag says, and what to do instead.
    fn refusal(&self) -> Option<(&'static str, &'static str)> {
        const CONTROL_PLANE: &str = "is left to the request, which says what a machine becomes: leave it out here, and accept \
                                     the machine with `kubectl njr accept NAME --key KEY --role control-plane \
                                     --certificate-key-secret SECRET` (docs/control-planes.md)";
        let flags = [
            ("control-plane", self.control_plane, CONTROL_PLANE),
            ("certificate-key", self.certificate_key.is_some(), CONTROL_PLANE),
            ("apiserver-advertise-address", self.apiserver_advertise_address.is_some(), CONTROL_PLANE),
            ("apiserver-bind-port", self.apiserver_bind_port.is_some(), CONTROL_PLANE),
            ("dry-run", self.dry_run, "is not there; `join-agent check` looks at the machine and changes nothing"),
            ("skip-phases", !self.skip_phases.is_empty(), "names phases of kubeadm, and the agent leaves no step out"),
            ("patches", self.patches.is_some(), "the agent does not patch the files that it writes"),
        ];
        flags.into_iter().find(|(_, is_given, _)| *is_given).map(|(flag, _, reason)| (flag, reason))
    }

    /// What is not used here, and the command that puts it into the request.
    fn note(&self, node: &NodeName) -> Option<String> {
        let mut words = vec!["kubectl", "njr", "accept", node.as_str(), "--key", "KEY"];
        let of_kubectl = words.len();
        let checks = self.ignore_preflight_errors.join(",");
        let given = [
            ("--cri-socket", self.cri_socket.as_deref()),
            ("--ignore-preflight-errors", Some(checks.as_str()).filter(|checks| !checks.is_empty())),
        ];
        words.extend(given.iter().filter_map(|(flag, value)| Some([*flag, (*value)?])).flatten());
        let flags: Vec<&str> = words[of_kubectl..].iter().step_by(2).copied().collect();
        // A word that no shell can be given is one with a zero byte, which no command line has.
        let command = shlex::try_join(words.iter().copied()).unwrap_or_default();
        (!flags.is_empty()).then(|| format!("{} is left to the request; type: {command}", flags.join(" and ")))
    }
}

#[cfg(test)]
#[path = "flags_tests.rs"]
mod tests;
