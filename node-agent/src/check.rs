//! `join-agent check`: this machine's checks, with or without a configuration, before a join and after it.

use std::net::SocketAddr;
use std::path::Path;

use join_checks::{Finding, Report};
use join_trust::ca_bundle::{CaBundle, CaTrust};
use join_trust::endpoint::Endpoint;
use join_trust::kubeconfig_url::KubeconfigUrl;
use join_trust::token::BootstrapToken;

use crate::checks::beforehand::Beforehand;
use crate::checks::catalogue::{CONFIGURATION, DISCOVERY_FILE};
use crate::checks::health::Health;
use crate::checks::reach::{self, Proof};
use crate::checks::{self, Authorities, Expected, Place, kernel, name};
use crate::config::{self, Configuration, DEFAULT_PATH, Discovery, Surroundings};
use crate::discovery::{self, Origin};
use crate::identity::Identity;
use crate::kubelet::Systemd;
use crate::member::{self, Membership};
use crate::{files, host};

/// What is asked for on the command line.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// The configuration file.
    pub path: &'a Path,
    /// Whether a configuration without pins is accepted.
    pub allow_unsafe_discovery: bool,
    /// The container runtime's socket.
    pub cri_socket: Option<&'a str>,
    /// Checks whose failure does not matter.
    pub ignore: &'a [String],
}

/// Looks at the machine and judges it; changes nothing.
pub async fn run(question: &Question<'_>) -> Report {
    let hostname = host::hostname();
    let surroundings =
        Surroundings { hostname: hostname.clone(), allow_unsafe_discovery: question.allow_unsafe_discovery };
    let loaded = Configuration::load(question.path, &surroundings);
    let told = configured(question.path, loaded.as_ref());
    let configuration = loaded.ok();
    if let Some(configuration) = &configuration
        && let Some(membership) = Membership::current(&configuration.state_directory, &configuration.node_name)
    {
        return of_member(configuration, &membership, question.ignore).await;
    }
    before(question, configuration.as_ref(), &hostname, told).await
}

/// No file in the usual place is no fault: a machine can be checked before anything was brought to it.
fn configured(path: &Path, loaded: Result<&Configuration, &config::Error>) -> Finding {
    match loaded {
        Ok(configuration) => {
            let told = format!("this machine is to be the node {}", configuration.node_name);
            match &configuration.warning {
                None => CONFIGURATION.passed(told),
                Some(warning) => CONFIGURATION
                    .failed_with(format!("{told}; {warning}"), "compare the file with the request")
                    .as_warning(),
            }
        }
        Err(config::Error::Read { path: missing, source })
            if source.kind() == std::io::ErrorKind::NotFound && path == Path::new(DEFAULT_PATH) && missing == path =>
        {
            CONFIGURATION.skipped(format!("there is no {DEFAULT_PATH}"))
        }
        Err(error) => CONFIGURATION.failed(error.to_string()),
    }
}

/// The checks of a machine that is no node yet.
async fn before(
    question: &Question<'_>,
    configuration: Option<&Configuration>,
    hostname: &str,
    told: Finding,
) -> Report {
    let own_name = hostname.trim().to_lowercase();
    let node_name = configuration.map_or(own_name.as_str(), |configuration| configuration.node_name.as_str());
    let (systemd, version, kernel, resolved, way) = tokio::join!(
        Systemd::connect(),
        host::kubelet_version(),
        tokio::task::spawn_blocking(kernel::observe),
        name::look_up(node_name),
        way(configuration),
    );
    let authorities = authorities(configuration, way.reach.as_ref());
    let none = Vec::new();
    let expected = Expected {
        node_name: Some(node_name),
        machine_key: configuration.and_then(|configuration| Identity::existing_pin(&configuration.state_directory)),
        authorities,
        endpoint: way.endpoint.as_ref(),
        node_addresses: configuration.map_or(&none, |configuration| &configuration.node_addresses),
        ..Expected::default()
    };
    let place = Place {
        cri_socket: question.cri_socket.unwrap_or(files::DEFAULT_CRI_SOCKET),
        kubelet_version: version,
        systemd: systemd.as_ref().map_err(ToString::to_string),
        hostname,
    };
    let beforehand = Beforehand { kernel: kernel.ok(), name: Some(resolved), reach: way.reach.clone() };
    let facts = checks::observe(place, &expected, beforehand).await;
    let mut report = checks::judge(&facts, &expected, question.ignore);
    report.checks.extend([told].into_iter().chain(way.fetched));
    checks::waived(report.checks, question.ignore)
}

/// The way to the API server, as discovery will go it.
#[derive(Default)]
struct Way {
    /// Where the API server is, if that is known.
    endpoint: Option<Endpoint>,
    /// What was seen on the way to it.
    reach: Option<reach::Facts>,
    /// What came of fetching the discovery file, if it is elsewhere.
    fetched: Option<Finding>,
}

async fn way(configuration: Option<&Configuration>) -> Way {
    match configuration.map(|configuration| &configuration.discovery) {
        None => Way::default(),
        Some(Discovery::Token { endpoint, token, trust, .. }) => {
            let reach = reach::observe(endpoint, Proof::Token(token, trust)).await;
            Way { endpoint: Some(endpoint.clone()), reach: Some(reach), fetched: None }
        }
        Some(Discovery::File { path, kubeconfig, .. }) => {
            let reach = match discovery::authorities_of_file(Origin::Path(path), kubeconfig) {
                Ok(ca) => by_authorities(&kubeconfig.endpoint, ca).await,
                Err(error) => reach::Facts::without_authorities(&error.to_string()),
            };
            Way { endpoint: Some(kubeconfig.endpoint.clone()), reach: Some(reach), fetched: None }
        }
        Some(Discovery::Url { url, token }) => way_by_url(url, token.as_ref()).await,
    }
}

/// The discovery file comes first: without it nobody knows where the API server is.
async fn way_by_url(url: &KubeconfigUrl, token: Option<&BootstrapToken>) -> Way {
    let file = discovery::fetch_file(url).await;
    let fetched = file.and_then(|file| discovery::client_of_file(Origin::Url(url), &file, token));
    match fetched {
        Ok((cluster, _)) => Way {
            fetched: Some(DISCOVERY_FILE.passed(format!("{url} names the API server {}", cluster.endpoint))),
            reach: Some(by_authorities(&cluster.endpoint, cluster.ca).await),
            endpoint: Some(cluster.endpoint),
        },
        Err(error) => {
            let finding = DISCOVERY_FILE.failed_with(error.to_string(), error.reason().next_step());
            Way { fetched: Some(finding), ..Way::default() }
        }
    }
}

async fn by_authorities(endpoint: &Endpoint, ca: CaBundle) -> reach::Facts {
    reach::observe(endpoint, Proof::Authorities(&ca)).await.with_authorities(ca)
}

/// What is known of the cluster's authorities: all, where the way to the API server was gone to its end.
fn authorities<'a>(configuration: Option<&'a Configuration>, reach: Option<&'a reach::Facts>) -> Authorities<'a> {
    if let Some(ca) = reach.and_then(|reach| reach.authorities.as_ref()) {
        return Authorities::Known(ca);
    }
    match configuration.map(|configuration| &configuration.discovery) {
        Some(Discovery::Token { trust: CaTrust::Pinned(pins), .. }) => Authorities::Pinned(pins),
        _ => Authorities::Unknown,
    }
}

/// The checks of a machine that is a node already.
async fn of_member(configuration: &Configuration, membership: &Membership, ignore: &[String]) -> Report {
    let mut health = Health::new(configuration.node_name.clone());
    health.look().await;
    if let Some(cluster) = member::cluster(membership)
        && let Ok(client) = member::client(&cluster)
    {
        health.ask(&client).await;
    }
    // What the request decides is decided; what a control plane's join looks for is there now, and is its own.
    let mut checks = vec![CONFIGURATION.passed(what_it_is(membership))];
    checks.extend(health.report(None).unwrap_or_default().checks);
    checks::waived(checks, ignore)
}

fn what_it_is(membership: &Membership) -> String {
    let node = format!("this machine is the node {}", membership.node_name);
    match &membership.control_plane {
        None => node,
        Some(own) => format!("{node}, a control plane at {}", SocketAddr::new(own.advertise_address, own.bind_port)),
    }
}

#[cfg(test)]
mod tests {
    use join_checks::Verdict::{Failed, Passed, Skipped, Warning};

    use super::*;

    #[test]
    fn only_a_file_that_was_not_asked_for_may_be_missing() {
        let missing = |path: &str| {
            let error = Configuration::load(Path::new(path), &Surroundings::default()).unwrap_err();
            configured(Path::new(path), Err(&error)).verdict
        };
        assert_eq!(missing("/nonexistent/config.yaml"), Failed);
        let not_found = || std::io::Error::from(std::io::ErrorKind::NotFound);
        let error = |path: &str| config::Error::Read { path: path.into(), source: not_found() };
        assert_eq!(configured(Path::new(DEFAULT_PATH), Err(&error(DEFAULT_PATH))).verdict, Skipped);
        // A file that the configuration names is another matter.
        assert_eq!(configured(Path::new(DEFAULT_PATH), Err(&error("/etc/token"))).verdict, Failed);
    }

    #[test]
    fn a_control_plane_is_known_by_its_membership() {
        let worker = Membership { node_name: "a".to_owned(), ..Membership::default() };
        assert_eq!(what_it_is(&worker), "this machine is the node a");
        let own = member::ControlPlane { advertise_address: "fd00::5".parse().unwrap(), bind_port: 6443 };
        let control_plane = Membership { control_plane: Some(own), ..worker };
        assert_eq!(what_it_is(&control_plane), "this machine is the node a, a control plane at [fd00::5]:6443");
    }

    #[test]
    fn what_is_not_read_of_a_join_configuration_is_a_warning() {
        let text = include_str!("../../fuzz/seeds/join_configuration/good-worker.yaml");
        let surroundings = Surroundings { hostname: "worker-7".to_owned(), allow_unsafe_discovery: false };
        let read = |_: &Path| unreachable!("the file names no other");
        let configuration = Configuration::of_text(Path::new(DEFAULT_PATH), text, &surroundings, &read).unwrap();
        let finding = configured(Path::new(DEFAULT_PATH), Ok(&configuration));
        assert_eq!(finding.verdict, Warning);
        assert!(finding.observed.contains("the node worker-7; not taken from nodeRegistration: "), "{finding:?}");
        let plain = Configuration { warning: None, ..configuration };
        assert_eq!(configured(Path::new(DEFAULT_PATH), Ok(&plain)).verdict, Passed);
    }

    #[tokio::test]
    async fn a_machine_without_a_configuration_can_be_checked() {
        let question = Question {
            path: Path::new("/nonexistent/config.yaml"),
            allow_unsafe_discovery: false,
            cri_socket: Some("/nonexistent/runtime.sock"),
            ignore: &[],
        };
        let report = run(&question).await;
        assert!(!report.is_good());
        let verdict = |id| report.checks.iter().find(|finding| finding.id == id).map(|finding| finding.verdict);
        assert_eq!(verdict("Configuration"), Some(Failed));
        assert_eq!(verdict("CRI"), Some(Failed));
        assert_eq!(verdict("APIServerTCP"), Some(Skipped));
    }
}
