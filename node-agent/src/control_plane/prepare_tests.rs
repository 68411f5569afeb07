use std::net::Ipv4Addr;

use join_crds::Reason;

use super::*;

const KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn configuration(more: &str) -> String {
    format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: v1.37.2\n\
         controlPlaneEndpoint: api.example.com:6443\n{more}"
    )
}

/// What comes of a configuration and the request's `localAPIEndpoint`, on a machine whose address is 10.0.0.5.
fn intended(
    more: &str,
    local_api_endpoint: Option<&LocalApiEndpoint>,
    has_key: bool,
) -> Result<NewControlPlane, Error> {
    let node_name = NodeName::parse("control-plane-2").unwrap();
    let key = CertificateKey::parse(KEY).unwrap();
    let trusted = CaBundle::parse_pem(crate::checks::tests::authority("ca").as_bytes()).unwrap();
    let asked = Asked {
        node_name: &node_name,
        local_api_endpoint,
        address: Some(Ipv4Addr::new(10, 0, 0, 5).into()),
        certificate_key: has_key.then_some(&key),
        trusted: &trusted,
    };
    Intended::new(&configuration(more), &asked).map(|intended| intended.needs())
}

#[test]
fn what_a_machine_needs_comes_from_the_request_and_the_clusters_configuration() {
    let default = NewControlPlane {
        advertise_address: Ipv4Addr::new(10, 0, 0, 5).into(),
        bind_port: 6443,
        bind_addresses: BindAddresses::default(),
        with_etcd: true,
    };
    assert_eq!(intended("", None, true).unwrap(), default);
    let address: IpAddr = "fd00::5".parse().unwrap();
    let own = LocalApiEndpoint { advertise_address: Some(address), bind_port: 8443 };
    let given = NewControlPlane { advertise_address: address, bind_port: 8443, ..default };
    assert_eq!(intended("etcd: {local: {dataDir: /var/lib/etcd}}\n", Some(&own), true).unwrap(), given);
    let external = "etcd: {external: {endpoints: ['https://192.0.2.1:2379']}}\n";
    assert_eq!(intended(external, None, true).unwrap(), NewControlPlane { with_etcd: false, ..default });
    let bound = "\
apiServer: {extraArgs: [{name: bind-address, value: 10.0.0.1}, {name: bind-address, value: 10.0.0.2}]}
controllerManager: {extraArgs: [{name: bind-address, value: '::'}]}
scheduler: {extraArgs: [{name: bind-address, value: everywhere}, {name: v, value: '2'}]}
";
    let bind_addresses = BindAddresses {
        api_server: Some(Ipv4Addr::new(10, 0, 0, 2).into()),
        controller_manager: Some("::".parse().unwrap()),
        scheduler: None,
    };
    assert_eq!(intended(bound, None, true).unwrap(), NewControlPlane { bind_addresses, ..default });
}

#[test]
fn what_does_not_fit_has_its_own_reason() {
    for (more, has_key, expected) in [
        ("", false, Reason::AgentFailed),
        // Without a key nothing else counts.
        ("etcd: []\n", false, Reason::AgentFailed),
        ("etcd: []\n", true, Reason::ControlPlaneUnsuitable),
        ("etcd: {local: {dataDir: /data/etcd}}\n", true, Reason::ControlPlaneUnsuitable),
        ("certificatesDir: /srv/pki\n", true, Reason::ControlPlaneUnsuitable),
    ] {
        let error = intended(more, None, has_key).unwrap_err();
        assert_eq!(error.reason(), expected, "{more:?} {error}");
    }
}
