//! The way to the API server, one step after the other: name, connection, TLS, cluster-info; and what time it is there.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use join_checks::Finding;
use join_trust::ca_bundle::{CaBundle, CaTrust};
use join_trust::cluster_info::{self, ClusterInfo};
use join_trust::endpoint::Endpoint;
use join_trust::token::BootstrapToken;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::fmt::rfc2822;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Client;
use tokio::net::TcpStream;

use super::catalogue::{API_SERVER_DNS, API_SERVER_TCP, API_SERVER_TLS, CLOCK_SKEW, CLUSTER_INFO, Kind};
use super::name;
use crate::connection::{self, Answer, As, CallError, Server};

/// How long a connection to one address may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The API server itself takes no object of more than about 1.5 MiB.
const MAX_ANSWER: usize = 2 * 1024 * 1024;
/// From here on a difference of clocks is told.
const NOTICEABLE: i64 = 10;
/// From here on it stops a join: certificates are valid from five minutes before they are issued.
const TOO_MUCH: i64 = 300;

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
        Self { seen: error.seen, remedy: Some(error.remedy) }
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
    /// By how many seconds this machine's clock is ahead of the API server's; negative when it is behind.
    pub skew: Option<i64>,
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
                let remedy = match error.kind() {
                    std::io::ErrorKind::ConnectionRefused => {
                        "nothing listens there: check the address and port, and that the API server runs"
                    }
                    std::io::ErrorKind::HostUnreachable | std::io::ErrorKind::NetworkUnreachable => {
                        "there is no route: check this machine's network with `ip route`"
                    }
                    _ => "check the network between this machine and the API server",
                };
                last = Trouble { seen: format!("{address}: {error}"), remedy: Some(remedy) };
            }
            Err(_elapsed) => {
                let seen = format!("{address} does not answer within {} s", CONNECT_TIMEOUT.as_secs());
                last = Trouble { seen, remedy: Some("a firewall drops the packets, or the address is nobody's") };
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
            facts.skew = asked.as_ref().ok().and_then(|asked| asked.skew);
            let verified = asked.map(|_| "verified by the cluster's authority".to_owned());
            if verified.is_err() {
                // A clock that is far off is why a certificate is not valid: the time is asked of whoever is there.
                facts.skew = fetch(endpoint, Server::Unverified).await.ok().and_then(|asked| asked.skew);
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
    facts.skew = asked.skew;
    let verified = asked.cluster_info().map_err(Trouble::from).and_then(|data| {
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

/// An answer, and what it tells of the server's clock.
struct Asked {
    answer: Answer,
    skew: Option<i64>,
}

impl Asked {
    fn cluster_info(&self) -> Result<BTreeMap<String, String>, CallError> {
        Ok(self.answer.object::<ConfigMap>("fetching cluster-info")?.data.unwrap_or_default())
    }
}

/// Fetches cluster-info. Any answer will do, a refusal too: it comes from a server that speaks TLS and HTTP.
async fn fetch(endpoint: &Endpoint, server: Server<'_>) -> Result<Asked, CallError> {
    let client: Client = connection::client(endpoint, server, As::Anonymous).map_err(|error| CallError {
        tried: format!("connecting to {endpoint}"),
        seen: error.to_string(),
        remedy: "check the certificate authorities in the configuration",
        temporary: false,
    })?;
    let path = format!("/api/v1/namespaces/{}/configmaps/{}", cluster_info::NAMESPACE, cluster_info::NAME);
    let sent = Timestamp::now();
    let answer = connection::ask_limited(&client, "fetching cluster-info", &path, MAX_ANSWER).await?;
    let skew = answer.date.as_deref().and_then(|date| skew(date, sent, Timestamp::now()));
    Ok(Asked { answer, skew })
}

/// By how many whole seconds this clock is ahead of the one that wrote `date` (RFC 9110, whole seconds) between `sent`
/// and `received`. What can be explained by the rounding and by the way is no difference.
fn skew(date: &str, sent: Timestamp, received: Timestamp) -> Option<i64> {
    let theirs = rfc2822::parse(date).ok()?.timestamp();
    // Their clock was somewhere in [theirs, theirs + 1 s) at some time in [sent, received].
    let ahead = sent.duration_since(theirs.checked_add(SignedDuration::from_secs(1)).ok()?);
    let behind = received.duration_since(theirs);
    Some(if ahead > SignedDuration::ZERO {
        ahead.as_secs() + i64::from(ahead.subsec_nanos() > 0)
    } else if behind < SignedDuration::ZERO {
        behind.as_secs() - i64::from(behind.subsec_nanos() < 0)
    } else {
        0
    })
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

fn clock(skew: Option<i64>) -> Finding {
    let Some(skew) = skew else { return CLOCK_SKEW.skipped("the API server did not tell its time") };
    let seconds = skew.unsigned_abs();
    let direction = if skew > 0 { "ahead of" } else { "behind" };
    let seen = format!("this machine's clock is {seconds} s {direction} the API server's");
    if skew.abs() >= TOO_MUCH {
        CLOCK_SKEW.failed(seen)
    } else if skew.abs() >= NOTICEABLE {
        CLOCK_SKEW.warning(seen)
    } else {
        CLOCK_SKEW.passed(format!("{seconds} s apart"))
    }
}

#[cfg(test)]
mod tests {
    use join_checks::Verdict::{Failed, Passed, Skipped, Warning};
    use proptest::prelude::*;

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
                    skew: Some(0),
                    ..Facts::default()
                }),
                [Passed, Passed, Failed, Skipped, Passed],
            ),
            (
                Some(Facts {
                    dns: Some(Ok(fine())),
                    tcp: Some(Ok(fine())),
                    cluster_info: Some(trouble()),
                    skew: Some(11),
                    ..Facts::default()
                }),
                [Passed, Passed, Skipped, Failed, Warning],
            ),
            (
                Some(Facts {
                    dns: Some(Ok(fine())),
                    tcp: Some(Ok(fine())),
                    tls: Some(Ok(fine())),
                    skew: Some(-300),
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
            let finding = clock(skew);
            assert_eq!(finding.verdict, expected);
            assert!(finding.observed.contains(seen), "{finding:?}");
        }
    }

    #[test]
    fn a_date_that_is_none_tells_nothing() {
        let now = Timestamp::now();
        assert_eq!(skew("yesterday", now, now), None);
    }

    proptest! {
        #[test]
        fn the_skew_is_what_it_was_made_with(
            milliseconds in 0_i64..4_000_000_000_000, offset in -100_000_i64..100_000, way in 0_i64..400
        ) {
            // Our clock is `offset` seconds ahead of theirs; they write the date in the middle of the way.
            let theirs = Timestamp::from_millisecond(milliseconds).unwrap();
            let date = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&theirs).unwrap();
            let ours = |shift: i64| Timestamp::from_millisecond(milliseconds + offset * 1000 + shift).unwrap();
            let told = skew(&date, ours(-way), ours(way)).unwrap();
            prop_assert!((told - offset).abs() <= 1 || told == 0 && offset.abs() <= 1, "{told} for {offset}");
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
