//! The node's name: its form, whether it resolves, and whether it is the machine's own.

use std::net::IpAddr;
use std::time::Duration;

use join_checks::Finding;

use super::catalogue::{HOSTNAME, NODE_NAME};

/// How long a lookup may take. kubeadm waits for as long as the resolver does, which is 10 s and more without an answer.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// What a lookup came to.
pub type Lookup = Result<Vec<IpAddr>, String>;

/// Looks a name up, in /etc/hosts and in the DNS, as this machine is configured.
pub async fn look_up(name: &str) -> Lookup {
    look_up_within(LOOKUP_TIMEOUT, name).await
}

/// The same with another limit.
pub async fn look_up_within(limit: Duration, name: &str) -> Lookup {
    let lookup = tokio::net::lookup_host((name, 0));
    match tokio::time::timeout(limit, lookup).await {
        Ok(Ok(found)) => {
            let mut addresses = Vec::new();
            for address in found.map(|found| found.ip()) {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            Ok(addresses)
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_elapsed) => Err(format!("no answer within {} s", limit.as_secs())),
    }
}

/// Judges the node's name. `found` is `None` while it is still being looked up.
pub fn judge(node_name: Option<&str>, hostname: &str, found: Option<&Lookup>) -> Vec<Finding> {
    // kubeadm's default as well: the host name in lower case.
    let own = hostname.trim().to_lowercase();
    let name = node_name.unwrap_or(&own);
    let mismatch = (name != own).then(|| format!("the machine is {hostname}, and the node is to be {name}"));
    vec![resolves(name, found), NODE_NAME.unless(mismatch, name.to_owned()).as_warning()]
}

fn resolves(name: &str, found: Option<&Lookup>) -> Finding {
    if !is_qualified(name) {
        return HOSTNAME.warning(format!("{name:?} is no name that a label can hold"));
    }
    match found {
        None => HOSTNAME.skipped(format!("{name} is still being looked up")),
        Some(Err(error)) => HOSTNAME.warning(format!("{name} does not resolve: {error}")),
        Some(Ok(addresses)) if addresses.is_empty() => HOSTNAME.warning(format!("{name} has no address")),
        Some(Ok(addresses)) => {
            let shown: Vec<String> = addresses.iter().take(4).map(IpAddr::to_string).collect();
            HOSTNAME.passed(format!("{name} is {}", shown.join(", ")))
        }
    }
}

/// Kubernetes' qualified name without a prefix: letters, digits, `-`, `_` and `.`, at most 63 of them, the first and
/// the last a letter or digit.
fn is_qualified(name: &str) -> bool {
    let inner = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let is_end = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric());
    name.len() <= 63 && name.chars().all(inner) && is_end(name.chars().next()) && is_end(name.chars().next_back())
}

#[cfg(test)]
mod tests {
    use join_checks::Verdict::{Passed, Skipped, Warning};

    use super::*;
    use crate::checks::tests::verdict;

    #[test]
    fn a_name_is_judged_by_form_resolution_and_host_name() {
        let address: IpAddr = "10.0.0.5".parse().unwrap();
        let (known, unknown): (Lookup, Lookup) = (Ok(vec![address]), Err("not found".to_owned()));
        let long = "n".repeat(64);
        for (node, host, found, hostname, node_name) in [
            (Some("worker-1"), "worker-1", Some(&known), Passed, Passed),
            (Some("worker-1"), "Worker-1", Some(&known), Passed, Passed),
            (None, "worker-1", Some(&known), Passed, Passed),
            (Some("worker-1"), "other", Some(&known), Passed, Warning),
            (Some("worker-1"), "worker-1", Some(&unknown), Warning, Passed),
            (Some("worker-1"), "worker-1", Some(&Ok(Vec::new())), Warning, Passed),
            (Some("worker-1"), "worker-1", None, Skipped, Passed),
            (Some(long.as_str()), long.as_str(), Some(&known), Warning, Passed),
            (Some("-x"), "-x", Some(&known), Warning, Passed),
            (Some("a b"), "a b", Some(&known), Warning, Passed),
        ] {
            let findings = judge(node, host, found);
            assert_eq!(verdict(&findings, "Hostname"), hostname, "{node:?} {host} {found:?}");
            assert_eq!(verdict(&findings, "NodeName"), node_name, "{node:?} {host}");
        }
    }

    #[tokio::test]
    async fn a_name_is_looked_up() {
        assert!(look_up("localhost").await.unwrap().iter().all(IpAddr::is_loopback));
        assert!(look_up("name.invalid").await.is_err());
    }
}
