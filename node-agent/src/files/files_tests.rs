//! The golden files were left on a machine by `kubeadm join` of the version that names their folder; the inputs beside
//! them are the ConfigMaps of the same cluster.

use join_crds::{KubeletArg, NodeRegistration, Taint, TaintEffect};
use join_trust::kubeconfig::{DiscoveryFile, Material};
use rstest::rstest;

use super::*;

struct Golden {
    config_yaml: &'static str,
    instance_config_yaml: &'static str,
    kubeadm_flags_env: &'static str,
    kubelet_conf: &'static str,
    kubelet_config: &'static str,
    cluster_configuration: &'static str,
}

macro_rules! golden {
    ($version:literal) => {
        Golden {
            config_yaml: include_str!(concat!("../../tests/golden/", $version, "/config.yaml")),
            instance_config_yaml: include_str!(concat!("../../tests/golden/", $version, "/instance-config.yaml")),
            kubeadm_flags_env: include_str!(concat!("../../tests/golden/", $version, "/kubeadm-flags.env")),
            kubelet_conf: include_str!(concat!("../../tests/golden/", $version, "/kubelet.conf")),
            kubelet_config: include_str!(concat!("../../tests/golden/", $version, "/kubelet-config.yaml")),
            cluster_configuration: include_str!(concat!(
                "../../tests/golden/",
                $version,
                "/cluster-configuration.yaml"
            )),
        }
    };
}

/// Renders with the certificate authority and the server that the golden kubeconfig names.
fn render(golden: &Golden, registration: &NodeRegistration) -> Result<Rendered, Error> {
    // The golden file names its client certificate by path, which only the kubelet reads.
    let discovered = DiscoveryFile::parse(golden.kubelet_conf).unwrap();
    let Some(Material::Inline(ca)) = discovered.ca else { panic!("the golden kubeconfig embeds no CA") };
    Rendered::new(&Inputs {
        taints: registration.taints.as_deref().unwrap_or_default(),
        node_name: &NodeName::parse("worker-1").unwrap(),
        hostname: "worker-1",
        endpoint: &discovered.endpoint,
        ca: &CaBundle::parse_pem(&ca).unwrap(),
        kubelet_config: golden.kubelet_config,
        cluster: &ClusterConfiguration::parse(golden.cluster_configuration)?,
        registration,
        systemd_resolved: false,
    })
}

#[test]
fn every_file_is_kubeadms_to_the_byte() {
    for golden in [golden!("1.37"), golden!("1.35")] {
        let rendered = render(&golden, &NodeRegistration::default()).unwrap();
        assert_eq!(rendered.config_yaml, golden.config_yaml);
        assert_eq!(rendered.instance_config_yaml, golden.instance_config_yaml);
        assert_eq!(rendered.kubeadm_flags_env, golden.kubeadm_flags_env);
        assert_eq!(rendered.kubelet_conf, golden.kubelet_conf);
    }
}

#[test]
fn flags_are_sorted_defaults_then_the_given_ones_which_win() {
    let argument = |name: &str, value: &str| KubeletArg { name: name.to_owned(), value: value.to_owned() };
    let taints = [
        Taint { key: "edge".to_owned(), value: Some("yes".to_owned()), effect: TaintEffect::NoSchedule },
        Taint { key: "bare".to_owned(), value: None, effect: TaintEffect::NoExecute },
    ];
    let flags = |hostname: &str, extra: &[KubeletArg]| {
        kubeadm_flags_env(&FlagSource { node_name: "worker-1", hostname, taints: &taints, extra })
    };
    assert_eq!(
        flags("Worker-1", &[argument("node-ip", "10.0.0.1"), argument("v", "4")]),
        "KUBELET_KUBEADM_ARGS=\"--register-with-taints=edge=yes:NoSchedule,bare:NoExecute --node-ip=10.0.0.1 --v=4\"\n"
    );
    assert_eq!(
        flags("host", &[argument("register-with-taints", "")]),
        "KUBELET_KUBEADM_ARGS=\"--hostname-override=worker-1 --register-with-taints=\"\n"
    );
    assert_eq!(
        kubeadm_flags_env(&FlagSource {
            node_name: "a",
            hostname: "a",
            taints: &[],
            extra: &[argument("node-labels", r#"a="b\c""#)],
        }),
        "KUBELET_KUBEADM_ARGS=\"--node-labels=a=\\\"b\\\\c\\\"\"\n"
    );
}

#[test]
fn missing_fields_get_kubeadms_defaults_and_present_ones_stay() {
    let cluster = ClusterConfiguration::parse(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkubernetesVersion: v1.37.2\nnetworking: {serviceSubnet: 'fd00::/108,10.96.0.0/12', dnsDomain: edge.local}\n",
    )
    .unwrap();
    let bare = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\ncgroupDriver: cgroupfs\nrotateCertificates: false\n";
    let text = kubelet_config(bare, &cluster, "unix:///run/crio/crio.sock", true).unwrap();
    for line in [
        "cgroupDriver: cgroupfs",
        "clusterDomain: edge.local",
        "clusterDNS:\n- fd00::a\n",
        "resolvConf: /run/systemd/resolve/resolv.conf",
        "rotateCertificates: true",
        "    clientCAFile: /etc/kubernetes/pki/ca.crt",
        "containerRuntimeEndpoint: unix:///run/crio/crio.sock",
        "staticPodPath: /etc/kubernetes/manifests",
    ] {
        assert!(text.contains(line), "{line:?} is not in:\n{text}");
    }
}

#[test]
fn what_kubeadm_did_not_write_is_refused_with_the_map_named() {
    let cluster =
        ClusterConfiguration::parse("apiVersion: kubeadm.k8s.io/v1beta4\nkubernetesVersion: v1.37.2\n").unwrap();
    for text in ["", "[]", "apiVersion: v1", "a: [", "apiVersion: kubelet.config.k8s.io/v1"] {
        let error = kubelet_config(text, &cluster, "unix:///x", false).unwrap_err().to_string();
        assert!(error.contains("kube-system/kubelet-config"), "{error}");
    }
    let error = ClusterConfiguration::parse("apiVersion: kubeadm.k8s.io/v1beta2\nkubernetesVersion: v1").unwrap_err();
    assert!(error.to_string().contains("v1beta4"), "{error}");
}

#[rstest]
#[case::beta3("kubeadm.k8s.io/v1beta3", "networking: {dnsDomain: edge.local}", "clusterDomain: edge.local\n")]
#[case::v1("kubeadm.k8s.io/v1", "networking: {dnsDomain: edge.local}", "clusterDomain: edge.local\n")]
#[case::empty_domain("kubeadm.k8s.io/v1beta4", "networking: {dnsDomain: ''}", "clusterDomain: cluster.local\n")]
#[case::empty_folder("kubeadm.k8s.io/v1beta4", "certificatesDir: ''", "    clientCAFile: /etc/kubernetes/pki/ca.crt\n")]
#[case::slash(
    "kubeadm.k8s.io/v1beta4",
    "certificatesDir: /etc/kubernetes/keys/",
    "clientCAFile: /etc/kubernetes/keys/ca.crt\n"
)]
#[case::nothing("kubeadm.k8s.io/v1beta4", "networking:\ncertificatesDir:", "clusterDNS:\n- 10.96.0.10\n")]
#[case::empty_network("kubeadm.k8s.io/v1beta4", "networking: {serviceSubnet: ''}", "clusterDNS:\n- 10.96.0.10\n")]
#[case::host_bits("kubeadm.k8s.io/v1beta4", "networking: {serviceSubnet: 10.32.0.7/24}", "clusterDNS:\n- 10.32.0.10\n")]
#[case::small(
    "kubeadm.k8s.io/v1beta4",
    "networking: {serviceSubnet: 255.255.255.248/29}",
    "clusterDNS:\n- 10.96.0.10\n"
)]
fn defaults_are_kubeadms_where_the_cluster_says_nothing_or_something_odd(
    #[case] version: &str,
    #[case] fields: &str,
    #[case] expected: &str,
) {
    let text = format!("apiVersion: {version}\nkubernetesVersion: v1.36.2\n{fields}\n");
    let cluster = ClusterConfiguration::parse(&text).unwrap();
    let rendered =
        kubelet_config("apiVersion: kubelet.config.k8s.io/v1beta1\n", &cluster, "unix:///run/x.sock", false).unwrap();
    assert!(rendered.contains(expected), "{expected:?} is not in:\n{rendered}");
}

#[test]
fn a_socket_without_a_scheme_is_a_unix_socket() {
    let registration = |socket: &str| NodeRegistration { cri_socket: Some(socket.to_owned()), ..Default::default() };
    assert_eq!(cri_socket(&registration("/run/crio/crio.sock")), "unix:///run/crio/crio.sock");
    assert_eq!(cri_socket(&registration("unix:///run/a.sock")), "unix:///run/a.sock");
    assert_eq!(cri_socket(&NodeRegistration::default()), DEFAULT_CRI_SOCKET);
}

#[test]
fn the_kubelet_is_asked_where_it_listens() {
    let golden = golden!("1.37").config_yaml;
    assert_eq!(healthz_url(golden).as_deref(), Some("http://127.0.0.1:10248"));
    for (text, expected) in [
        ("kind: KubeletConfiguration", Some("http://127.0.0.1:10248")),
        ("healthzBindAddress: 10.0.0.1\nhealthzPort: 9", Some("http://10.0.0.1:9")),
        ("healthzBindAddress: 0.0.0.0", Some("http://127.0.0.1:10248")),
        ("healthzBindAddress: '::'", Some("http://[::1]:10248")),
        ("healthzPort: 0", None),
        ("healthzBindAddress: here", None),
    ] {
        assert_eq!(healthz_url(text).as_deref(), expected, "{text}");
    }
}

/// A fuzzer that starts from files which the first check refuses explores nothing: `good-*` are accepted, others not.
#[test]
fn seeds_of_the_fuzz_target() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    let cluster = std::fs::read_to_string(seeds.join("cluster_configuration/good-uploaded.yaml")).unwrap();
    let cluster = ClusterConfiguration::parse(&cluster).unwrap();
    let mut good = 0;
    for entry in std::fs::read_dir(seeds.join("kubelet_configuration")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let rendered = kubelet_config(&text, &cluster, "unix:///run/containerd/containerd.sock", false);
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(rendered.is_ok(), name.starts_with("good-"), "{name}: {rendered:?}");
        good += usize::from(rendered.is_ok());
    }
    assert!(good > 0, "no seed is accepted");
}
