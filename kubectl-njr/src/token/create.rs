//! `kubectl njr token create`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use join_checks::duration;
use join_crds::vocabulary::GROUP_ENROLL;

use join_trust::token::{BootstrapToken, TokenError};
use zeroize::Zeroizing;

use super::make::{self, Wanted};
use crate::cluster_info::Published;
use crate::join_line::join_line;
use crate::options::{DryRun, DryRunOption, GlobalOptions};
use crate::output::{self, stderr};
use crate::secret_text;
use crate::session::Session;

/// The group whose certificate requests kubeadm's clusters approve for any node name.
const GROUP_KUBEADM: &str = "system:bootstrappers:kubeadm:default-node-token";
/// A token has 23 characters; a file that is longer than this is something else.
const MAX_FILE_BYTES: usize = 1024;

/// The command line asks for what makes no sense. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A join command that would wait for ever.
    #[error(
        "stock kubeadm could not join with this token: nobody approves certificates for the groups {groups}. For one node, type: kubectl njr create NAME --first-use --delivery token, then: kubectl njr join-command NAME. For a token with which any machine becomes any node, as kubeadm makes it, add: --groups {GROUP_KUBEADM}"
    )]
    NoJoin {
        /// The groups.
        groups: String,
    },
    /// A token without the uses that a join needs.
    #[error("stock kubeadm needs a token for signing and authentication: give --usages signing,authentication")]
    NoUsage,
    /// The file cannot be read.
    #[error("failed to read a token from {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file does not hold a token.
    #[error("{path}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What was expected.
        reason: TokenError,
    },
}

/// What a token may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Usage {
    /// Signing cluster-info
    Signing,
    /// Authenticating to the API server
    Authentication,
}

/// Arguments of `token create`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// File with the token to make, - for standard input [default: a random token]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// How long the token lives
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration::parse)]
    ttl: Duration,

    /// What the token may be used for
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Usage::Signing, Usage::Authentication])]
    usages: Vec<Usage>,

    /// Groups that the token's bearer is given
    #[arg(long, value_name = "GROUP", value_delimiter = ',', default_value = GROUP_ENROLL)]
    groups: Vec<String>,

    /// For people who list tokens
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,

    /// Print the line to type on a machine instead of the token
    #[arg(long)]
    print_join_command: bool,

    #[command(flatten)]
    dry_run: DryRunOption,
}

impl Arguments {
    fn check(&self) -> Result<(), Error> {
        if !self.print_join_command {
            return Ok(());
        }
        if !self.groups.iter().any(|group| group == GROUP_KUBEADM) {
            return Err(Error::NoJoin { groups: self.groups.join(",") });
        }
        let has = |usage| self.usages.contains(&usage);
        if has(Usage::Signing) && has(Usage::Authentication) { Ok(()) } else { Err(Error::NoUsage) }
    }
}

/// Makes the token and prints it.
pub async fn run(options: &GlobalOptions, arguments: &Arguments) -> Result<(), super::Error> {
    arguments.check()?;
    let token = arguments.token_file.as_ref().map(read_token).transpose()?;
    let session = Session::open(options).await?;
    let published = Published::read(&session).await?;
    if let Some(warning) = published.strange_authorities(&session) {
        stderr::warning(&warning);
    }
    let authentication = arguments.usages.contains(&Usage::Authentication);
    let wanted = Wanted {
        token,
        ttl: arguments.ttl,
        description: arguments.description.clone(),
        groups: if authentication { arguments.groups.clone() } else { Vec::new() },
        signing: arguments.usages.contains(&Usage::Signing),
        authentication,
    };
    let dry_run = arguments.dry_run.dry_run;
    let made = make::make(&session, &published, wanted, dry_run).await?;
    let text = if dry_run == DryRun::None {
        if arguments.print_join_command {
            let line = join_line("kubeadm", published.endpoint(), &made.token, &published.pins());
            // kubeadm prints a space at the end.
            Zeroizing::new(format!("{} \n", &*line))
        } else {
            Zeroizing::new(format!("{}\n", &*made.token.expose()))
        }
    } else {
        // A token that is not there is worth nothing, so it is not shown.
        Zeroizing::new(format!("secret/{} created{}\n", made.token.id().secret_name(), dry_run.suffix()))
    };
    Ok(output::print(&text)?)
}

fn read_token(path: &PathBuf) -> Result<BootstrapToken, Error> {
    let text = if path.as_os_str() == "-" {
        secret_text::read(std::io::stdin().lock(), MAX_FILE_BYTES)
    } else {
        std::fs::File::open(path).and_then(|file| secret_text::read(file, MAX_FILE_BYTES))
    };
    let text = text.map_err(|source| Error::Read { path: path.clone(), source })?;
    BootstrapToken::parse(text.trim()).map_err(|reason| Error::Content { path: path.clone(), reason })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn check(line: &[&str]) -> Result<(), String> {
        let line = Line::try_parse_from([&["x"], line].concat()).unwrap();
        line.arguments.check().map_err(|error| error.to_string())
    }

    #[test]
    fn a_join_command_that_cannot_work_is_not_printed() {
        assert_eq!(check(&[]), Ok(()));
        let kubeadm = format!("--groups={GROUP_KUBEADM}");
        assert_eq!(check(&["--print-join-command", &kubeadm]), Ok(()));
        let refused = check(&["--print-join-command"]).unwrap_err();
        assert!(refused.contains("kubectl njr join-command NAME"), "{refused}");
        let refused = check(&["--print-join-command", &kubeadm, "--usages=signing"]).unwrap_err();
        assert!(refused.contains("--usages"), "{refused}");
    }

    #[test]
    fn a_token_is_read_from_a_file_and_never_quoted() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abcdef.0123456789abcdef\n").unwrap();
        assert_eq!(read_token(&file.path().to_owned()).unwrap().id().as_str(), "abcdef");
        std::fs::write(file.path(), "abcdef.hunter2\n").unwrap();
        let error = read_token(&file.path().to_owned()).unwrap_err().to_string();
        assert!(error.contains("token secret") && !error.contains("hunter2"), "{error}");
    }
}
