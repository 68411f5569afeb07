//! kubeadm's ClusterConfiguration as a worker and as a control plane reads it, and the static pods that are made of it.
#![no_main]

use std::collections::BTreeSet;
use std::path::{Component, Path};
use std::sync::LazyLock;

use ipnet::IpNet;
use join_control_plane::manifests::MANIFESTS_FOLDER;
use join_control_plane::{ClusterConfiguration, File, Host, Member, etcd_manifest, manifests};
use join_trust::endpoint::Endpoint;
use join_trust::names::NodeName;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

static MEMBER: LazyLock<Member> = LazyLock::new(|| Member {
    node_name: NodeName::parse("control-plane-2").expect("a name"),
    advertise_address: "192.0.2.2".parse().expect("an address"),
    bind_port: Member::DEFAULT_BIND_PORT,
});
static HOST: LazyLock<Host> = LazyLock::new(|| Host {
    ca_folders: BTreeSet::new(),
    environment: vec![("HTTPS_PROXY".to_owned(), "http://192.0.2.9:3128".to_owned())],
    health_check: Host::DEFAULT_HEALTH_CHECK,
});

fuzz_target!(|text: &str| {
    let of_worker = join_agent::files::ClusterConfiguration::parse(text);
    if let Ok(read) = &of_worker {
        let _ = read.networks();
    }
    let Ok(read) = ClusterConfiguration::parse(text) else { return };
    assert!(of_worker.is_ok(), "a control plane reads what a worker does not: {of_worker:?}");
    let first = read.networking.service_subnet.split(',').next().expect("a text has a first part").trim();
    let first: IpNet = first.parse().expect("the networks were read");
    assert!(first.contains(&read.networking.service_address), "the API server's Service is elsewhere");
    Endpoint::parse_url(&read.control_plane_endpoint.url(MEMBER.bind_port)).expect("the kubelet can call it");
    goes_nowhere_but_down(&read.certificates_dir);
    let mut files = manifests(&read, &MEMBER, &HOST).expect("a pod can be written");
    if let Some(etcd) = read.local_etcd() {
        goes_nowhere_but_down(&etcd.data_dir);
        let members = [(String::new(), MEMBER.etcd_peer_url())];
        files.push(etcd_manifest(&read, &MEMBER, &HOST, &members).expect("a pod can be written"));
    }
    let expected = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"];
    for (file, name) in files.iter().zip(expected) {
        is_the_pod(file, name);
    }
});

fn goes_nowhere_but_down(path: &str) {
    let path = Path::new(path);
    assert!(path.is_absolute() && path.file_name().is_some(), "{path:?}");
    assert!(path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_))), "{path:?}");
}

/// Whatever stands in the configuration, the file is the pod of that name and nothing else.
fn is_the_pod(file: &File, name: &str) {
    assert_eq!(file.path, Path::new(MANIFESTS_FOLDER).join(format!("{name}.yaml")));
    assert_eq!(file.mode, 0o600);
    let pod: Value = serde_saphyr::from_slice(file.content.expose()).expect("a manifest is YAML");
    assert_eq!((&pod["apiVersion"], &pod["kind"]), (&"v1".into(), &"Pod".into()));
    assert_eq!((&pod["metadata"]["name"], &pod["metadata"]["namespace"]), (&name.into(), &"kube-system".into()));
    let containers = pod["spec"]["containers"].as_array().expect("a pod has containers");
    assert_eq!(containers.len(), 1);
    assert_eq!((&containers[0]["name"], &containers[0]["command"][0]), (&name.into(), &name.into()));
    assert!(containers[0].get("securityContext").is_none(), "the container has rights of its own");
}
