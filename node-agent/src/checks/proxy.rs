//! HTTP proxies: whether what must be reached directly would go through one.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use ipnet::IpNet;
use join_checks::Finding;

use super::catalogue::{HTTP_PROXY, HTTP_PROXY_CIDR, PROXY_VARIABLES};
use super::cluster::Expected;

/// Proxy variables of one program. The address of a proxy can have a password in it, so they are not shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Variables {
    /// `HTTPS_PROXY`
    https: String,
    /// `NO_PROXY`
    no: String,
}

impl fmt::Debug for Variables {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Variables(proxy: {}, NO_PROXY: {:?})", !self.https.is_empty(), self.no)
    }
}

impl Variables {
    /// Those in a list of `NAME=value`. As for Go, upper case goes before lower case.
    pub fn of<'a>(environment: &[(&'a str, &'a str)]) -> Self {
        let value = |name: &str| {
            let find = |name: &str| environment.iter().find(|(found, _)| *found == name).map(|(_, value)| *value);
            let lower = name.to_ascii_lowercase();
            find(name).filter(|value| !value.is_empty()).or_else(|| find(&lower)).unwrap_or_default().to_owned()
        };
        Self { https: value("HTTPS_PROXY"), no: value("NO_PROXY") }
    }

    /// The proxy through which a host would be reached, without what is secret in its address.
    fn on_the_way_to(&self, host: &str) -> Option<String> {
        let is_loopback = host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        // To the library an asterisk means every name, and to Go every address as well.
        let is_for_nothing = self.no.split(',').any(|entry| entry.trim() == "*");
        // Go never asks a proxy for this machine itself.
        if self.https.is_empty() || is_for_nothing || host == "localhost" || is_loopback {
            return None;
        }
        let matcher = Matcher::builder().https(self.https.clone()).no(self.no.clone()).build();
        let bracketed = host.parse::<Ipv6Addr>().map_or_else(|_| host.to_owned(), |ip| format!("[{ip}]"));
        let proxy = matcher.intercept(&format!("https://{bracketed}").parse::<Uri>().ok()?)?;
        let uri = proxy.uri();
        let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
        Some(format!("{}{port}", uri.host().unwrap_or("a proxy")))
    }
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Of this program, as kubeadm looks at its own.
    pub own: Variables,
    /// Of the units that matter, each with its name.
    pub units: Vec<(&'static str, Variables)>,
}

/// Looks at this program's variables, and at those of the units, `NAME=value` each.
pub fn observe(units: &[(&'static str, &[String])]) -> Facts {
    let own: Vec<String> = std::env::vars_os()
        .filter_map(|(name, value)| Some(format!("{}={}", name.to_str()?, value.to_str()?)))
        .collect();
    let of = |environment: &[String]| {
        let pairs: Vec<(&str, &str)> = environment.iter().filter_map(|variable| variable.split_once('=')).collect();
        Variables::of(&pairs)
    };
    Facts { own: of(&own), units: units.iter().map(|(name, environment)| (*name, of(environment))).collect() }
}

/// Judges what was seen.
pub fn judge(facts: &Facts, expected: &Expected<'_>) -> Vec<Finding> {
    let Some(endpoint) = expected.endpoint else {
        let unknown = "the API server's address is not known";
        return vec![HTTP_PROXY.skipped(unknown), HTTP_PROXY_CIDR.skipped(unknown), PROXY_VARIABLES.skipped(unknown)];
    };
    let host = endpoint.host();
    let through = facts.own.on_the_way_to(host).map(|proxy| format!("https://{host} would be reached through {proxy}"));
    vec![HTTP_PROXY.unless(through, "directly").as_warning(), networks(facts, expected), units(facts, expected, host)]
}

/// By the first address of each network, as kubeadm does.
fn first(network: &IpNet) -> IpAddr {
    network.hosts().next().unwrap_or_else(|| network.addr())
}

fn networks(facts: &Facts, expected: &Expected<'_>) -> Finding {
    if expected.networks.is_empty() {
        return HTTP_PROXY_CIDR.skipped("the cluster's networks are not known yet");
    }
    let through = expected.networks.iter().filter_map(|network| {
        let proxy = facts.own.on_the_way_to(&first(network).to_string())?;
        Some(format!("{network} through {proxy}"))
    });
    let through: Vec<String> = through.collect();
    let problem = (!through.is_empty()).then(|| through.join(", "));
    HTTP_PROXY_CIDR.unless(problem, "directly").as_warning()
}

fn units(facts: &Facts, expected: &Expected<'_>, host: &str) -> Finding {
    let mut problems = Vec::new();
    for (unit, variables) in &facts.units {
        let networks = expected.networks.iter().map(|network| first(network).to_string());
        for host in [host.to_owned()].into_iter().chain(networks) {
            if let Some(proxy) = variables.on_the_way_to(&host) {
                problems.push(format!("{unit} would reach {host} through {proxy}"));
            }
        }
    }
    let problem = (!problems.is_empty()).then(|| problems.join("; "));
    PROXY_VARIABLES.unless(problem, "directly").as_warning()
}

#[cfg(test)]
mod tests {
    use join_checks::Verdict::{self, Passed, Skipped, Warning};
    use join_trust::endpoint::Endpoint;

    use super::*;
    use crate::checks::tests::verdict;

    fn variables(https: &str, no: &str) -> Variables {
        Variables { https: https.to_owned(), no: no.to_owned() }
    }

    fn told(facts: &Facts, endpoint: &str, id: &str) -> Verdict {
        let endpoint = Endpoint::parse(endpoint).unwrap();
        let networks: [IpNet; 2] = ["10.96.0.0/12".parse().unwrap(), "fd00:10::/64".parse().unwrap()];
        let expected = Expected { endpoint: Some(&endpoint), networks: &networks, ..Expected::default() };
        verdict(&judge(facts, &expected), id)
    }

    #[test]
    fn a_proxy_counts_unless_no_proxy_names_the_host() {
        for (https, no, endpoint, expected) in [
            ("", "", "10.0.0.1:6443", Passed),
            ("http://proxy:3128", "", "10.0.0.1:6443", Warning),
            ("http://proxy:3128", "10.0.0.0/8", "10.0.0.1:6443", Passed),
            ("http://proxy:3128", "10.0.0.1", "10.0.0.1:6443", Passed),
            ("http://proxy:3128", "10.0.0.2", "10.0.0.1:6443", Warning),
            ("proxy:3128", "", "api.example.com:6443", Warning),
            ("http://proxy:3128", "example.com", "api.example.com:6443", Passed),
            ("http://proxy:3128", ".example.com", "api.example.com:6443", Passed),
            ("http://proxy:3128", "", "[fd00::1]:6443", Warning),
            ("http://proxy:3128", "fd00::/8", "[fd00::1]:6443", Passed),
            ("http://proxy:3128", "*", "10.0.0.1:6443", Passed),
            ("http://proxy:3128", "", "localhost:6443", Passed),
            ("http://proxy:3128", "", "127.0.0.1:6443", Passed),
        ] {
            let facts = Facts { own: variables(https, no), units: Vec::new() };
            assert_eq!(told(&facts, endpoint, "HTTPProxy"), expected, "{https} {no} {endpoint}");
        }
    }

    #[test]
    fn networks_and_units_are_judged_by_their_own_variables() {
        let proxied = variables("http://user:secret@proxy:3128", "10.0.0.1");
        let facts = Facts { own: proxied.clone(), units: vec![("kubelet.service", proxied.clone())] };
        let endpoint = "10.0.0.1:6443";
        assert_eq!(told(&facts, endpoint, "HTTPProxy"), Passed);
        assert_eq!(told(&facts, endpoint, "HTTPProxyCIDR"), Warning);
        assert_eq!(told(&facts, endpoint, "ProxyVariables"), Warning);
        let open = variables("http://proxy:3128", "10.0.0.0/8,fd00::/8");
        assert_eq!(told(&Facts { own: open.clone(), units: vec![("x", open)] }, endpoint, "HTTPProxyCIDR"), Passed);
        assert_eq!(told(&Facts { own: variables("", ""), ..facts.clone() }, endpoint, "HTTPProxyCIDR"), Passed);
        assert_eq!(told(&Facts { units: Vec::new(), ..facts.clone() }, endpoint, "ProxyVariables"), Passed);
        assert_eq!(verdict(&judge(&facts, &Expected::default()), "HTTPProxy"), Skipped);
        // What is secret in a proxy's address is not shown.
        assert_eq!(proxied.on_the_way_to("192.0.2.1").unwrap(), "proxy:3128");
    }

    #[test]
    fn upper_case_goes_first_and_an_empty_value_is_none() {
        let of = Variables::of;
        assert_eq!(of(&[("https_proxy", "a"), ("HTTPS_PROXY", "b")]), variables("b", ""));
        assert_eq!(of(&[("https_proxy", "a"), ("HTTPS_PROXY", ""), ("no_proxy", "c")]), variables("a", "c"));
        let facts = observe(&[("kubelet.service", &["HTTPS_PROXY=x=y".to_owned(), "nonsense".to_owned()])]);
        assert_eq!(facts.units, [("kubelet.service", variables("x=y", ""))]);
    }
}
