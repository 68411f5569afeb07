//! The way to the API server, one step after the other: name, connection, TLS, cluster-info; and what time it is there.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use join_checks::Finding;
use join_checks::clock::Skew;
use join_crds::vocabulary::Reason;
use join_trust::ca_bundle::{CaBundle, CaTrust};
use join_trust::cluster_info::ClusterInfo;
use join_trust::endpoint::Endpoint;
use join_trust::token::BootstrapToken;
use kube::Client;
use tokio::net::TcpStream;

use super::catalogue::{API_SERVER_DNS, API_SERVER_TCP, API_SERVER_TLS, CLOCK_SKEW, CLUSTER_INFO, Kind};
use super::name;
use crate::connection::{self, Answer, As, CallError, Server};
use crate::discovery;

/// How long a connection to one address may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How the API server is recognised.
#[derive(Clone, Copy)]
pub enum Proof<'a> {
    /// By these authorities.
    Authorities(&'a CaBundle),
    /// By a token's signature in cluster-info, which names the authorities.
    Token(&'a BootstrapToken, &'a CaTrust),
}

/// One step: what was seen, or what went wrong and what to do. `None` when an earlier step stopped it.
pub type Step = Option<Result<String, Trouble>>;

/// What went wrong at a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What was seen.
    pub seen: String,
    /// What to do, where more is known than the check's own advice.
    pub remedy: Option<&'static str>,
}

impl From<CallError> for Trouble {
    fn from(error: CallError) -> Self {
        Self { seen: error.seen, remedy: Some(error.reason.next_step()) }
    }
}

/// What was seen on the way.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The addresses of the API server's name.
    pub addresses: Vec<IpAddr>,
    /// The name's resolution.
    pub dns: Step,
    /// The connection.
    pub tcp: Step,
    /// TLS.
    pub tls: Step,
    /// The signature of cluster-info; never tried where the authorities are known already.
    pub cluster_info: Step,
    /// How far this machine's clock and the API server's are apart.
    pub skew: Option<Skew>,
    /// The authorities that cluster-info named.
    pub authorities: Option<CaBundle>,
}

impl Facts {
    /// With the authorities that were known before.
    #[must_use]
    pub fn with_authorities(self, ca: CaBundle) -> Self {
        Self { authorities: Some(ca), ..self }
    }

    /// There are no authorities to recognise the API server by.
    pub fn without_authorities(why: &str) -> Self {
        Self { tls: Some(Err(Trouble { seen: why.to_owned(), remedy: None })), ..Self::default() }
    }
}

/// Goes the way to the API server as far as it leads.
pub async fn observe(endpoint: &Endpoint, proof: Proof<'_>) -> Facts {
    let mut facts = Facts::default();
    facts.addresses = match endpoint.ip() {
        Some(ip) => vec![ip],
        None => match name::look_up(endpoint.host()).await {
            Ok(addresses) if !addresses.is_empty() => addresses,
            Ok(_) => return stopped(facts, "the name has no address"),
            Err(error) => return stopped(facts, &error),
        },
    };
    let shown: Vec<String> = facts.addresses.iter().take(4).map(IpAddr::to_string).collect();
    facts.dns = Some(Ok(shown.join(", ")));
    let connected = connect(&facts.addresses, endpoint.port()).await;
    let is_connected = connected.is_ok();
    facts.tcp = Some(connected);
    if is_connected {
        ask(&mut facts, endpoint, proof).await;
    }
    facts
}

fn stopped(facts: Facts, seen: &str) -> Facts {
    Facts { dns: Some(Err(Trouble { seen: seen.to_owned(), remedy: None })), ..facts }
}

/// Connects to one address after the other, as a client would.
async fn connect(addresses: &[IpAddr], port: u16) -> Result<String, Trouble> {
    let mut last = Trouble { seen: "there is no address".to_owned(), remedy: None };
    for ip in addresses.iter().take(4) {
        let address = SocketAddr::from((*ip, port));
        match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Ok(format!("{address} accepts connections")),
            Ok(Err(error)) => {
                let remedy = connection::reason_of_io(error.kind()).next_step();
                last = Trouble { seen: format!("{address}: {error}"), remedy: Some(remedy) };
            }
            Err(_elapsed) => {
                let seen = format!("{address} does not answer within {} s", CONNECT_TIMEOUT.as_secs());
                last = Trouble { seen, remedy: Some(Reason::ConnectionTimedOut.next_step()) };
            }
        }
    }
    Err(last)
}

/// TLS and cluster-info.
async fn ask(facts: &mut Facts, endpoint: &Endpoint, proof: Proof<'_>) {
    let (token, trust) = match proof {
        Proof::Authorities(ca) => {
            let asked = fetch(endpoint, Server::Verified(ca)).await;
            facts.skew = asked.as_ref().ok().and_then(Answer::skew);
            let verified = asked.map(|_| "verified by the cluster's authority".to_owned());
            if verified.is_err() {
                // A clock that is far off is why a certificate is not valid: the time is asked of whoever is there.
                facts.skew = fetch(endpoint, Server::Unverified).await.ok().as_ref().and_then(Answer::skew);
            }
            facts.tls = Some(verified.map_err(Trouble::from));
            return;
        }
        Proof::Token(token, trust) => (token, trust),
    };
    let asked = match fetch(endpoint, Server::Unverified).await {
        Ok(asked) => asked,
        Err(error) => {
            facts.tls = Some(Err(error.into()));
            return;
        }
    };
    facts.skew = asked.skew();
    let verified = discovery::cluster_info_of(&asked, endpoint).map_err(Trouble::from).and_then(|data| {
        let found = ClusterInfo::verify(&data, token, trust);
        found.map_err(|error| Trouble { seen: error.to_string(), remedy: None })
    });
    match verified {
        Ok(found) => {
            facts.cluster_info = Some(Ok("signed with the token; its authority is pinned".to_owned()));
            let again = fetch(endpoint, Server::Verified(found.ca())).await;
            facts.tls =
                Some(again.map(|_| "verified by the authority in cluster-info".to_owned()).map_err(Trouble::from));
            facts.authorities = Some(found.ca().clone());
        }
        Err(error) => facts.cluster_info = Some(Err(error)),
    }
}

/// Fetches cluster-info. Any answer will do, a refusal too: it comes from a server that speaks TLS and HTTP.
async fn fetch(endpoint: &Endpoint, server: Server<'_>) -> Result<Answer, CallError> {
    let client: Client = connection::client(endpoint, server, As::Anonymous).map_err(|error| CallError {
        tried: format!("connecting to {endpoint}"),
        seen: error.to_string(),
        reason: Reason::AgentFailed,
        code: None,
        temporary: false,
    })?;
    discovery::ask(&client, endpoint).await
}

/// Judges what was seen; `None` when there is nowhere to go.
pub fn judge(facts: Option<&Facts>) -> Vec<Finding> {
    let Some(facts) = facts else {
        let unknown = "the API server's address is not known";
        let all = [API_SERVER_DNS, API_SERVER_TCP, API_SERVER_TLS, CLUSTER_INFO, CLOCK_SKEW];
        return all.iter().map(|kind| kind.skipped(unknown)).collect();
    };
    let earlier = "an earlier step of the way failed";
    let told = |kind: Kind, step: &Step, otherwise: &str| match step {
        None => kind.skipped(otherwise),
        Some(Ok(seen)) => kind.passed(seen.clone()),
        Some(Err(trouble)) => kind.failed_with(trouble.seen.clone(), trouble.remedy.unwrap_or(kind.mend)),
    };
    let needs_none = matches!(facts.tls, Some(Ok(_)));
    let info = if needs_none { "the cluster's authority is known already" } else { earlier };
    vec![
        told(API_SERVER_DNS, &facts.dns, earlier),
        told(API_SERVER_TCP, &facts.tcp, earlier),
        told(API_SERVER_TLS, &facts.tls, earlier),
        told(CLUSTER_INFO, &facts.cluster_info, info),
        clock(facts.skew),
    ]
}

fn clock(skew: Option<Skew>) -> Finding {
    let Some(skew) = skew else { return CLOCK_SKEW.skipped("the API server did not tell its time") };
    if skew.is_too_much() {
        CLOCK_SKEW.failed(skew.to_string())
    } else if skew.is_noticeable() {
        CLOCK_SKEW.warning(skew.to_string())
    } else {
        CLOCK_SKEW.passed(skew.to_string())
    }
}

#[cfg(test)]
mod tests {
    use join_checks::Verdict::{Failed, Passed, Skipped, Warning};

    use super::*;
    use crate::checks::tests::verdict;

    fn trouble() -> Result<String, Trouble> {
        Err(Trouble { seen: "seen".to_owned(), remedy: None })
    }

    fn fine() -> String {
        "seen".to_owned()
    }

    #[test]
    fn each_step_is_told_by_itself() {
        for (facts, expected) in [
            (None, [Skipped; 5]),
            (Some(Facts { dns: Some(trouble()), ..Facts::default() }), [Failed, Skipped, Skipped, Skipped, Skipped]),
            (
                Some(Facts { dns: Some(Ok(fine())), tcp: Some(trouble()), ..Facts::default() }),
                [Passed, Failed, Skipped, Skipped, Skipped],
            ),
            (
                Some(Facts {
                    dns: Some(Ok(fine())),
                    tcp: Some(Ok(fine())),
                    tls: Some(trouble()),
                    skew: Some(Skew::ahead(0)),
                    ..Facts::default()
                }),
                [Passed, Passed, Failed, Skipped, Passed],
            ),
            (
                Some(Facts {
                    dns: Some(Ok(fine())),
                    tcp: Some(Ok(fine())),
                    cluster_info: Some(trouble()),
                    skew: Some(Skew::ahead(11)),
                    ..Facts::default()
                }),
                [Passed, Passed, Skipped, Failed, Warning],
            ),
            (
                Some(Facts {
                    dns: Some(Ok(fine())),
                    tcp: Some(Ok(fine())),
                    tls: Some(Ok(fine())),
                    skew: Some(Skew::ahead(-300)),
                    ..Facts::default()
                }),
                [Passed, Passed, Passed, Skipped, Failed],
            ),
        ] {
            let findings = judge(facts.as_ref());
            let ids = ["APIServerDNS", "APIServerTCP", "APIServerTLS", "ClusterInfo", "ClockSkew"];
            assert_eq!(ids.map(|id| verdict(&findings, id)), expected, "{facts:?}");
        }
    }

    #[test]
    fn a_difference_of_clocks_is_told_in_seconds_and_direction() {
        for (skew, expected, seen) in [
            (Some(0), Passed, "0 s apart"),
            (Some(9), Passed, "9 s apart"),
            (Some(-10), Warning, "10 s behind"),
            (Some(86_400), Failed, "86400 s ahead of"),
            (Some(-600), Failed, "600 s behind"),
            (None, Skipped, "did not tell"),
        ] {
            let finding = clock(skew.map(Skew::ahead));
            assert_eq!(finding.verdict, expected);
            assert!(finding.observed.contains(seen), "{finding:?}");
        }
    }

    #[tokio::test]
    async fn the_way_ends_where_nobody_listens() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let endpoint = Endpoint::parse(&format!("127.0.0.1:{port}")).unwrap();
        let ca = CaBundle::parse_pem(crate::checks::tests::authority("ca").as_bytes()).unwrap();
        let facts = observe(&endpoint, Proof::Authorities(&ca)).await;
        let findings = judge(Some(&facts));
        assert_eq!(verdict(&findings, "APIServerTCP"), Failed);
        assert_eq!(verdict(&findings, "APIServerTLS"), Skipped);
        let listening = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Endpoint::parse(&format!("localhost:{}", listening.local_addr().unwrap().port())).unwrap();
        std::thread::spawn(move || {
            use std::io::Write;
            for stream in listening.incoming().flatten() {
                let _ = { stream }.write_all(b"SSH-2.0-OpenSSH\r\n");
            }
        });
        let facts = observe(&endpoint, Proof::Authorities(&ca)).await;
        let findings = judge(Some(&facts));
        assert_eq!(verdict(&findings, "APIServerDNS"), Passed);
        assert_eq!(verdict(&findings, "APIServerTCP"), Passed);
        assert_eq!(verdict(&findings, "APIServerTLS"), Failed);
    }
}
