//! A member of etcd.

use http::Uri;
use k8s_openapi::api::core::v1::Container;
use semver::Version;

use super::pod::{Probes, environment, pod, requests};
use super::{File, Host, ManifestError, Member, file, volumes};
use crate::arguments::{Arguments, last};
use crate::configuration::{ClusterConfiguration, LocalEtcd};

const ETCD: &str = "etcd";
/// Where etcd tells whether it is well; no certificate is asked for there.
const METRICS_PORT: u16 = 2381;
/// kubeadm finds the members of a cluster by it.
const ADVERTISE_CLIENT_URLS: &str = "kubeadm.kubernetes.io/etcd.advertise-client-urls";

/// The manifest of the member that joins: `members` are the name and peer URL of each, the new one's with them.
///
/// etcd answers with them when a member is added; one that has not started has no name yet. kubeadm gives the new one its
/// node's name, and others that have none their number.
pub fn etcd_manifest(
    configuration: &ClusterConfiguration,
    member: &Member,
    host: &Host,
    members: &[(String, String)],
) -> Result<File, ManifestError> {
    let etcd = configuration.local_etcd().ok_or(ManifestError::ExternalEtcd)?;
    let peer_url = member.etcd_peer_url();
    if !members.iter().any(|(_, url)| *url == peer_url) {
        let members = members.iter().map(|(_, url)| url.clone()).collect();
        return Err(ManifestError::NotAMember { peer_url, members });
    }
    let volumes = volumes::etcd(&etcd.data_dir, &configuration.certificates_dir);
    // kubeadm lists these by hand.
    let mut mounts = volumes.mounts();
    mounts.reverse();
    let repository = etcd.image_repository.as_deref().unwrap_or(&configuration.image_repository);
    let container = Container {
        name: ETCD.to_owned(),
        image: Some(format!("{repository}/{ETCD}:{}", image_tag(configuration, etcd))),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(command(configuration, etcd, member, members)),
        env: environment(etcd.extra_envs.iter()),
        volume_mounts: Some(mounts),
        resources: Some(requests([("cpu", "100m"), ("memory", "100Mi")])),
        ..Container::default()
    };
    let (probe_host, port, scheme) = metrics(etcd, member);
    let probes =
        Probes { host: Some(probe_host), port, scheme, live: "/livez", ready: Some("/readyz"), started: "/readyz" };
    let annotation = (ADVERTISE_CLIENT_URLS, member.etcd_client_url());
    file(&pod(probes.on(container, host.health_check), volumes.volumes(), Some(annotation)))
}

fn image_tag<'a>(configuration: &ClusterConfiguration, etcd: &'a LocalEtcd) -> &'a str {
    etcd.image_tag.as_deref().unwrap_or_else(|| configuration.version.minor().etcd_tag())
}

fn command(
    configuration: &ClusterConfiguration,
    etcd: &LocalEtcd,
    member: &Member,
    members: &[(String, String)],
) -> Vec<String> {
    let pki = |name: &str| format!("{}/etcd/{name}", configuration.certificates_dir);
    let cluster: Vec<String> = members.iter().map(|(name, url)| format!("{name}={url}")).collect();
    let client_url = member.etcd_client_url();
    let mut arguments = Arguments::from([
        ("name", member.node_name.to_string()),
        ("listen-client-urls", format!("{},{client_url}", member.etcd_local_url())),
        ("advertise-client-urls", client_url),
        ("listen-peer-urls", member.etcd_peer_url()),
        ("initial-advertise-peer-urls", member.etcd_peer_url()),
        ("data-dir", etcd.data_dir.clone()),
        ("cert-file", pki("server.crt")),
        ("key-file", pki("server.key")),
        ("trusted-ca-file", pki("ca.crt")),
        ("client-cert-auth", "true".to_owned()),
        ("peer-cert-file", pki("peer.crt")),
        ("peer-key-file", pki("peer.key")),
        ("peer-trusted-ca-file", pki("ca.crt")),
        ("peer-client-cert-auth", "true".to_owned()),
        ("snapshot-count", "10000".to_owned()),
        ("listen-metrics-urls", format!("http://{}", std::net::SocketAddr::new(member.loopback(), METRICS_PORT))),
        ("initial-cluster", cluster.join(",")),
        ("initial-cluster-state", "existing".to_owned()),
    ]);
    if configuration.version.minor().knows_etcd_before_3_6() && is_before_3_6(image_tag(configuration, etcd)) {
        arguments.add("experimental-initial-corrupt-check", "true");
        arguments.add("experimental-watch-progress-notify-interval", "5s");
    } else {
        arguments.add("feature-gates", "InitialCorruptCheck=true");
        arguments.add("watch-progress-notify-interval", "5s");
    }
    arguments.command(ETCD, &etcd.extra_args)
}

/// To kubeadm 1.35 a tag that is no version is an old one.
fn is_before_3_6(tag: &str) -> bool {
    Version::parse(tag.strip_prefix('v').unwrap_or(tag)).map_or(true, |version| version < Version::new(3, 6, 0))
}

/// Where etcd tells whether it is well: the first of its `listen-metrics-urls` (`GetEtcdProbeEndpoint`).
fn metrics(etcd: &LocalEtcd, member: &Member) -> (String, u16, &'static str) {
    let default = || (member.loopback().to_string(), METRICS_PORT, "HTTP");
    let Some(argument) = last(&etcd.extra_args, "listen-metrics-urls") else { return default() };
    let url = argument.value.split(',').next().unwrap_or_default();
    let Some(uri) = url.parse::<Uri>().ok().filter(|uri| uri.scheme().is_some()) else { return default() };
    let (host, port, _) = default();
    let named = uri.host().map(|host| host.trim_start_matches('[').trim_end_matches(']').to_owned());
    let scheme = if uri.scheme_str() == Some("https") { "HTTPS" } else { "HTTP" };
    (
        named.filter(|named| !named.is_empty()).unwrap_or(host),
        uri.port_u16().filter(|port| *port != 0).unwrap_or(port),
        scheme,
    )
}
