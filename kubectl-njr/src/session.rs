//! A connection to the cluster that the command line names, and calls whose failures are explained.

use std::time::Duration;

use http::{HeaderValue, header};
use join_checks::terminal::printable;
use join_trust::pin::{PinSet, PublicKeyPin};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::options::GlobalOptions;

/// How this program names itself to the API server, for its audit log.
const USER_AGENT: &str = concat!("kubectl-njr/", env!("CARGO_PKG_VERSION"));
/// How much of a server's own words is repeated.
const MAX_SEEN: usize = 1024;

/// There is no connection to be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig cannot be used.
    #[error(
        "failed to find out how to reach the cluster: {0}; name a kubeconfig file with --kubeconfig or the variable KUBECONFIG, and see its contexts with: kubectl config get-contexts"
    )]
    Kubeconfig(String),
    /// The client cannot be set up.
    #[error(
        "failed to set up a connection to {server}: {reason}; check the certificates and the user in the kubeconfig"
    )]
    Setup {
        /// The API server.
        server: String,
        /// Why.
        reason: String,
    },
}

/// A call that failed: what was tried, what was seen, and what to do next.
#[derive(Debug, thiserror::Error)]
#[error("failed to {tried}: {seen}; {remedy}")]
pub struct CallError {
    /// What was tried, as in "failed to …".
    pub tried: String,
    /// What came back; printable.
    pub seen: String,
    /// What a person can do about it.
    pub remedy: String,
    /// The HTTP status, where a server answered.
    pub code: Option<u16>,
}

impl CallError {
    /// Whether the object is not there.
    pub fn is_not_found(&self) -> bool {
        self.code == Some(404)
    }

    /// Whether the right to do it is missing.
    pub fn is_forbidden(&self) -> bool {
        self.code == Some(403)
    }

    /// Whether the object exists already, or was changed by somebody else meanwhile.
    pub fn is_conflict(&self) -> bool {
        self.code == Some(409)
    }
}

/// A cluster to work with.
#[derive(Clone)]
pub struct Session {
    client: Client,
    config: Config,
    namespace: String,
    server: String,
    kubeconfig_pins: PinSet,
    timeout: Duration,
}

impl Session {
    /// Reads the kubeconfig and sets up a client. Nothing is sent yet.
    pub async fn open(options: &GlobalOptions) -> Result<Self, ConnectError> {
        let mut config = configuration(options).await?;
        config.headers.push((header::USER_AGENT, HeaderValue::from_static(USER_AGENT)));
        let server = config.cluster_url.to_string();
        let authorities = config.root_cert.iter().flatten();
        let kubeconfig_pins = authorities.filter_map(|der| PublicKeyPin::of_certificate(der).ok()).collect();
        let setup = |error: kube::Error| ConnectError::Setup {
            server: printable(&server).into_owned(),
            reason: printable(&innermost(&error)).into_owned(),
        };
        let client = Client::try_from(config.clone()).map_err(setup)?;
        Ok(Self {
            client,
            config,
            namespace: options.namespace.clone(),
            server: server.trim_end_matches('/').to_owned(),
            kubeconfig_pins,
            timeout: options.request_timeout,
        })
    }

    /// The client, for [`kube::Api`].
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// What the client was made of, for a second one that differs from it.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The namespace of join-operator's own objects.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The API server's URL as the kubeconfig has it.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The pins of the certificate authorities by which the kubeconfig recognises the API server; empty if it names none.
    pub fn kubeconfig_pins(&self) -> &PinSet {
        &self.kubeconfig_pins
    }

    /// Runs one call with the time limit, and explains its failure. `tried` goes on from "failed to".
    pub async fn call<T>(
        &self,
        tried: &str,
        work: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, CallError> {
        // Zero stands for no limit.
        if self.timeout.is_zero() {
            return work.await.map_err(|error| explain(tried, &self.server, &error));
        }
        match tokio::time::timeout(self.timeout, work).await {
            Ok(answer) => answer.map_err(|error| explain(tried, &self.server, &error)),
            Err(_elapsed) => Err(CallError {
                tried: tried.to_owned(),
                seen: format!("no answer within {:?}", self.timeout),
                remedy: "check the network to the API server, or give more time with --request-timeout".to_owned(),
                code: None,
            }),
        }
    }

    /// As [`Self::call`], with none where the object is not there.
    pub async fn call_opt<T>(
        &self,
        tried: &str,
        work: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<Option<T>, CallError> {
        match self.call(tried, work).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

async fn configuration(options: &GlobalOptions) -> Result<Config, ConnectError> {
    let wrong = |error: String| ConnectError::Kubeconfig(printable(&error).into_owned());
    let chosen = KubeConfigOptions {
        context: options.context.clone(),
        cluster: options.cluster.clone(),
        user: options.user.clone(),
    };
    let read = match &options.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let mut kubeconfig = match read {
        Ok(kubeconfig) => kubeconfig,
        // In a Pod there is a ServiceAccount instead, as for kubectl.
        Err(error) if options.kubeconfig.is_none() => {
            return Config::incluster().map_err(|_| wrong(chain(&error)));
        }
        Err(error) => return Err(wrong(chain(&error))),
    };
    if let Some(user) = &options.impersonate {
        for authentication in kubeconfig.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
            authentication.impersonate = Some(user.clone());
            authentication.impersonate_groups = Some(options.impersonate_group.clone());
        }
    }
    Config::from_custom_kubeconfig(kubeconfig, &chosen).await.map_err(|error| wrong(chain(&error)))
}

/// Explains an error of the client library.
fn explain(tried: &str, server: &str, error: &kube::Error) -> CallError {
    let (seen, remedy, code) = match error {
        kube::Error::Api(status) => (status.message.clone(), remedy(status.code).to_owned(), Some(status.code)),
        other => {
            let server = printable(server);
            let remedy = format!("check that the API server {server} of the kubeconfig is the right one and runs");
            (innermost(other), remedy, None)
        }
    };
    // Messages of the API server end without a full stop, those of admission policies with one.
    let seen: String = printable(seen.trim_end_matches('.')).chars().take(MAX_SEEN).collect();
    CallError { tried: tried.to_owned(), seen, remedy, code }
}

fn remedy(code: u16) -> &'static str {
    match code {
        401 => "log in again: the credentials in the kubeconfig are not accepted",
        403 => "ask an administrator for the right, or see what you may do with: kubectl auth can-i --list",
        404 => "see whether join-operator is installed with: kubectl get crd nodejoinrequests.nodejoin.dev",
        409 => "somebody else has made or changed it: look at it and try again",
        422 | 400 => "correct what the message names",
        429 => "the API server is busy: try again",
        _ => "see the API server's log",
    }
}

/// The message at the end of a chain of causes, where the reason is.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// All messages of a chain of causes, each once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let message = cause.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn what_a_server_says_cannot_move_the_cursor() {
        let status = Status::failure(&format!("no\u{1b}[2J\nway{}", "x".repeat(5000)), "Forbidden").with_code(403);
        let error = explain("list secrets", "https://x", &kube::Error::Api(status.boxed()));
        assert!(error.is_forbidden());
        let shown = error.to_string();
        assert!(shown.starts_with("failed to list secrets: no\\u{1b}[2J\\nwayxxx"), "{shown}");
        assert!(shown.ends_with("kubectl auth can-i --list") && shown.len() < 1300, "{shown}");
    }

    #[test]
    fn codes_are_told_apart() {
        for (code, expected) in [(401, "log in again"), (404, "installed"), (409, "try again"), (500, "log")] {
            let status = Status::failure("because", "Reason").with_code(code);
            let error = explain("try", "https://x", &kube::Error::Api(status.boxed()));
            assert!(error.remedy.contains(expected), "{code}: {}", error.remedy);
            assert_eq!((error.is_not_found(), error.is_conflict()), (code == 404, code == 409));
        }
    }
}
