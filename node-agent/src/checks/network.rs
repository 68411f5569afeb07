//! Forwarding between pods, and the address of the node.

use std::net::{IpAddr, UdpSocket};

use join_checks::Finding;

use super::catalogue::{IP_FORWARD, IP6_FORWARD, Kind, NODE_IP, NODE_IP_CANDIDATES};
use super::cluster::Expected;

/// How the interfaces of container networks begin; their addresses are no node's.
const VIRTUAL: [&str; 12] =
    ["cni", "docker", "veth", "virbr", "cali", "flannel", "cilium", "lxc", "kube-", "nodelocaldns", "weave", "br-"];

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// `net.ipv4.ip_forward`
    pub ip_forward: Option<String>,
    /// `net.ipv6.conf.default.forwarding`
    pub ip6_forward: Option<String>,
    /// The addresses of the machine's interfaces that a node could have, each with its interface.
    pub addresses: Vec<(String, IpAddr)>,
    /// The address that leads to the API server, or elsewhere where none is known.
    pub towards: Option<IpAddr>,
    /// Of the addresses that the node is to have, those that the machine has not.
    pub absent: Vec<IpAddr>,
}

/// Looks at the machine.
pub fn observe(expected: &Expected<'_>) -> Facts {
    let setting = |path: &str| std::fs::read_to_string(path).ok().map(|value| value.trim().to_owned());
    let asked = expected.node_ip.iter().chain(expected.node_addresses);
    Facts {
        ip_forward: setting("/proc/sys/net/ipv4/ip_forward"),
        ip6_forward: setting("/proc/sys/net/ipv6/conf/default/forwarding"),
        addresses: addresses(),
        towards: expected.endpoint.and_then(crate::host::address_towards),
        absent: asked.copied().filter(|address| !is_own(*address)).collect(),
    }
}

/// Only an address of this machine can be bound to; nothing is sent.
fn is_own(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

fn addresses() -> Vec<(String, IpAddr)> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let usable = interfaces.into_iter().filter(|interface| {
        !VIRTUAL.iter().any(|prefix| interface.name.starts_with(prefix)) && can_be_a_nodes(interface.ip())
    });
    usable.map(|interface| (interface.name.clone(), interface.ip())).collect()
}

/// Neither this host alone nor one link alone, nor a group.
fn can_be_a_nodes(address: IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(address.is_loopback() || address.is_unspecified() || address.is_multicast() || is_link_local)
}

/// Judges what was seen. `endpoint_addresses` are those of the API server's name.
pub fn judge(facts: &Facts, expected: &Expected<'_>, endpoint_addresses: &[IpAddr]) -> Vec<Finding> {
    let mut findings = forwarding(facts, expected, endpoint_addresses);
    findings.push(node_ip(facts, expected));
    findings.push(candidates(facts, expected));
    findings
}

/// In the family of the API server, as far as it is known; else in that of the machine's own address.
fn forwarding(facts: &Facts, expected: &Expected<'_>, endpoint_addresses: &[IpAddr]) -> Vec<Finding> {
    let endpoint: Vec<IpAddr> = match expected.endpoint.and_then(join_trust::endpoint::Endpoint::ip) {
        Some(ip) => vec![ip],
        // A name can have addresses of both families; the one that is used is the one that this machine has a way to.
        None if facts.towards.is_some() => facts.towards.into_iter().collect(),
        None if !endpoint_addresses.is_empty() => endpoint_addresses.to_vec(),
        None => facts.addresses.iter().map(|(_, address)| *address).collect(),
    };
    let told = |kind: Kind, name: &str, wanted: bool, value: Option<&str>| match (wanted, value) {
        (false, _) => kind.skipped("the cluster is not of this family, as far as is known"),
        (true, Some("1")) => kind.passed("1"),
        (true, value) => kind.failed(format!("{name} is {}", value.unwrap_or("absent"))),
    };
    // A machine that has both families and no cluster yet is judged in the first, as most clusters use it.
    let v4 = endpoint.iter().any(IpAddr::is_ipv4);
    let v6 = endpoint.iter().any(IpAddr::is_ipv6) && !(expected.endpoint.is_none() && v4);
    vec![
        told(IP_FORWARD, "net.ipv4.ip_forward", v4, facts.ip_forward.as_deref()),
        told(IP6_FORWARD, "net.ipv6.conf.default.forwarding", v6, facts.ip6_forward.as_deref()),
    ]
}

fn node_ip(facts: &Facts, expected: &Expected<'_>) -> Finding {
    let asked: Vec<IpAddr> = expected.node_ip.iter().chain(expected.node_addresses).copied().collect();
    if asked.is_empty() {
        return NODE_IP.skipped("no address is asked for");
    }
    let shown = |addresses: &[IpAddr]| addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
    if facts.absent.is_empty() {
        return NODE_IP.passed(shown(&asked));
    }
    let own: Vec<IpAddr> = facts.addresses.iter().map(|(_, address)| *address).collect();
    let seen = format!("{} is on no interface; this machine has {}", shown(&facts.absent), shown(&own));
    // What the agent announces may be an address outside, behind NAT; the kubelet's own must be here.
    let is_the_kubelets = facts.absent.iter().any(|address| expected.node_ip.contains(address));
    if is_the_kubelets { NODE_IP.failed(seen) } else { NODE_IP.warning(seen) }
}

fn candidates(facts: &Facts, expected: &Expected<'_>) -> Finding {
    if !expected.node_ip.is_empty() {
        return NODE_IP_CANDIDATES.passed("node-ip is given");
    }
    let family = facts.towards.or_else(|| facts.addresses.first().map(|(_, address)| *address));
    let Some(family) = family else { return NODE_IP_CANDIDATES.skipped("the machine has no address") };
    let of_family: Vec<&(String, IpAddr)> =
        facts.addresses.iter().filter(|(_, address)| address.is_ipv4() == family.is_ipv4()).collect();
    let shown: Vec<String> = of_family.iter().map(|(name, address)| format!("{address} ({name})")).collect();
    let shown = shown.join(", ");
    if of_family.len() <= 1 {
        return NODE_IP_CANDIDATES.passed(shown);
    }
    let way = facts.towards.map(|address| format!("; the way to the API server begins at {address}"));
    NODE_IP_CANDIDATES.warning(format!("the node can get any of {shown}{}", way.unwrap_or_default()))
}

#[cfg(test)]
pub mod tests {
    use join_checks::Verdict::{Failed, Passed, Skipped, Warning};
    use join_trust::endpoint::Endpoint;

    use super::*;
    use crate::checks::tests::verdict;

    const V4: &str = "FileContent--proc-sys-net-ipv4-ip_forward";
    const V6: &str = "FileContent--proc-sys-net-ipv6-conf-default-forwarding";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    pub fn sound() -> Facts {
        Facts {
            ip_forward: Some("1".to_owned()),
            ip6_forward: Some("1".to_owned()),
            addresses: vec![("eth0".to_owned(), ip("10.0.0.5"))],
            towards: Some(ip("10.0.0.5")),
            absent: Vec::new(),
        }
    }

    #[test]
    fn forwarding_is_judged_in_the_family_of_the_api_server() {
        let off = Facts { ip_forward: Some("0".to_owned()), ip6_forward: None, towards: None, ..sound() };
        let towards = |address: &str| Facts { towards: Some(ip(address)), ..off.clone() };
        for (facts, endpoint, resolved, v4, v6) in [
            (off.clone(), Some("10.0.0.1:6443"), vec![], Failed, Skipped),
            (off.clone(), Some("[fd00::1]:6443"), vec![], Skipped, Failed),
            (off.clone(), Some("api.example.com:6443"), vec![ip("10.0.0.1")], Failed, Skipped),
            (off.clone(), Some("api.example.com:6443"), vec![ip("fd00::1")], Skipped, Failed),
            (off.clone(), Some("api.example.com:6443"), vec![ip("fd00::1"), ip("10.0.0.1")], Failed, Failed),
            (towards("10.0.0.5"), Some("api.example.com:6443"), vec![ip("fd00::1")], Failed, Skipped),
            (off.clone(), None, vec![], Failed, Skipped),
            (
                Facts { addresses: vec![("eth0".to_owned(), ip("fd00::5"))], ..off.clone() },
                None,
                vec![],
                Skipped,
                Failed,
            ),
            (sound(), Some("10.0.0.1:6443"), vec![], Passed, Skipped),
            (sound(), Some("[fd00::1]:6443"), vec![], Skipped, Passed),
        ] {
            let endpoint = endpoint.map(|endpoint| Endpoint::parse(endpoint).unwrap());
            let expected = Expected { endpoint: endpoint.as_ref(), ..Expected::default() };
            let findings = judge(&facts, &expected, &resolved);
            assert_eq!(
                (verdict(&findings, V4), verdict(&findings, V6)),
                (v4, v6),
                "{endpoint:?} {resolved:?} {facts:?}"
            );
        }
    }

    #[test]
    fn a_node_ip_must_be_here_and_an_announced_address_should_be() {
        let absent = Facts { absent: vec![ip("192.0.2.9")], ..sound() };
        let asked = [ip("192.0.2.9")];
        let node_ip = Expected { node_ip: &asked, ..Expected::default() };
        let announced = Expected { node_addresses: &asked, ..Expected::default() };
        for (facts, expected, verdict_of) in [
            (&sound(), &node_ip, Passed),
            (&absent, &node_ip, Failed),
            (&absent, &announced, Warning),
            (&sound(), &Expected::default(), Skipped),
        ] {
            assert_eq!(verdict(&judge(facts, expected, &[]), "NodeIP"), verdict_of);
        }
    }

    #[test]
    fn several_addresses_are_told_unless_one_is_chosen() {
        let mut facts = sound();
        facts.addresses.push(("eth1".to_owned(), ip("192.168.1.2")));
        let told = |facts: &Facts, node_ip: &[IpAddr]| {
            let expected = Expected { node_ip, ..Expected::default() };
            verdict(&judge(facts, &expected, &[]), "NodeIPCandidates")
        };
        assert_eq!(told(&sound(), &[]), Passed);
        assert_eq!(told(&facts, &[]), Warning);
        assert_eq!(told(&facts, &[ip("192.168.1.2")]), Passed);
        // The other family is no candidate.
        facts.addresses[1].1 = ip("2001:db8::2");
        assert_eq!(told(&facts, &[]), Passed);
        assert_eq!(told(&Facts { addresses: Vec::new(), towards: None, ..sound() }, &[]), Skipped);
    }

    #[test]
    fn own_addresses_are_told_from_others() {
        assert!(is_own(ip("127.0.0.1")));
        assert!(!is_own(ip("192.0.2.1")));
        for (address, expected) in
            [("10.0.0.1", true), ("169.254.1.1", false), ("127.0.0.1", false), ("fe80::1", false), ("fd00::1", true)]
        {
            assert_eq!(can_be_a_nodes(ip(address)), expected, "{address}");
        }
    }
}
