//! What the machine says about itself.

use std::net::{IpAddr, UdpSocket};

use join_crds::Versions;
use join_trust::endpoint::Endpoint;

/// The machine's host name, as the kernel has it.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The address by which this machine reaches the API server; nothing is sent to find it out.
pub fn address_towards(endpoint: &Endpoint) -> Option<IpAddr> {
    let any = if endpoint.ip().is_some_and(|ip| ip.is_ipv6()) { "[::]:0" } else { "0.0.0.0:0" };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect((endpoint.host(), endpoint.port())).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The versions of what runs on this machine, as far as they can be told without starting anything lasting.
pub async fn versions() -> Versions {
    let uname = rustix::system::uname();
    Versions {
        agent: Some(env!("CARGO_PKG_VERSION").to_owned()),
        kubelet: kubelet_version().await,
        container_runtime: None,
        kernel: Some(limited(&uname.release().to_string_lossy())),
        os_image: std::fs::read_to_string("/etc/os-release").ok().as_deref().and_then(pretty_name),
    }
}

/// What `kubelet --version` prints, for example `v1.37.2`.
pub async fn kubelet_version() -> Option<String> {
    let mut command = tokio::process::Command::new("kubelet");
    let run = command.arg("--version").env("LC_ALL", "C").kill_on_drop(true).output();
    let output = tokio::time::timeout(crate::connection::CALL_TIMEOUT, run).await.ok()?.ok()?;
    parse_kubelet_version(&String::from_utf8_lossy(&output.stdout))
}

fn parse_kubelet_version(text: &str) -> Option<String> {
    text.trim().strip_prefix("Kubernetes ").filter(|version| version.starts_with('v')).map(limited)
}

/// The human-readable name in an os-release(5) file.
fn pretty_name(os_release: &str) -> Option<String> {
    let line = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(limited(line.trim_matches(['"', '\''])))
}

/// The API's limit for such texts.
fn limited(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_programs_and_files_say() {
        assert_eq!(parse_kubelet_version("Kubernetes v1.37.2\n").as_deref(), Some("v1.37.2"));
        assert_eq!(parse_kubelet_version("error: no such flag"), None);
        let os_release = "NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";
        assert_eq!(pretty_name(os_release).as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
        assert_eq!(pretty_name(""), None);
    }

    #[test]
    fn the_address_towards_the_local_host_is_the_local_host() {
        let endpoint = Endpoint::parse("127.0.0.1:6443").unwrap();
        assert_eq!(address_towards(&endpoint), Some(IpAddr::from([127, 0, 0, 1])));
    }
}
