use rstest::rstest;

use super::*;

const SECRET: &str = "0123456789abcdef";
const PIN: &str = "sha256:3b793efefe27a19f93b0fbe6e637e9c41d0dde8a377d6ab1c0f656bf1136dd8a";

/// Everything that a worker's file can say; tests replace parts of it.
const FULL: &str = r#"apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
caCertPath: /etc/kubernetes/pki/ca.crt
discovery:
  bootstrapToken:
    apiServerEndpoint: 192.0.2.1:6443
    token: abcdef.0123456789abcdef
    caCertHashes:
    - sha256:3b793efefe27a19f93b0fbe6e637e9c41d0dde8a377d6ab1c0f656bf1136dd8a
    unsafeSkipCAVerification: false
  tlsBootstrapToken: abcdef.0123456789abcdef
dryRun: false
nodeRegistration:
  name: " Worker-7 "
  criSocket: unix:///run/containerd/containerd.sock
  taints:
  - key: dedicated
    value: gpu
    effect: NoSchedule
  - {key: other, effect: NoExecute, timeAdded: null}
  kubeletExtraArgs:
  - name: v
    value: "4"
  - name: node-ip
    value: 192.0.2.17,2001:db8::17
  - name: v
    value: ""
  ignorePreflightErrors: [NumCPU, Swap]
  imagePullPolicy: IfNotPresent
  imagePullSerial: true
patches:
  directory: /etc/kubernetes/patches
skipPhases: [preflight]
timeouts:
  discovery: 5m0s
  kubeletHealthCheck: 4m0s
"#;

fn full_with(from: &str, to: &str) -> String {
    assert!(FULL.contains(from), "{from}");
    FULL.replace(from, to)
}

fn arg(name: &str, value: &str) -> KubeletArg {
    KubeletArg { name: name.to_owned(), value: value.to_owned() }
}

#[test]
fn every_field_is_read() {
    let read = JoinConfiguration::parse(FULL).unwrap();
    let expected = JoinConfiguration {
        discovery: Discovery::BootstrapToken {
            endpoint: Endpoint::parse("192.0.2.1:6443").unwrap(),
            token: BootstrapToken::parse("abcdef.0123456789abcdef").unwrap(),
            pins: PinSet::parse([PIN]).unwrap(),
            unsafe_skip_ca_verification: false,
        },
        tls_bootstrap_token: Some(BootstrapToken::parse("abcdef.0123456789abcdef").unwrap()),
        node_registration: NodeRegistration {
            name: Some(NodeName::parse("worker-7").unwrap()),
            cri_socket: Some("unix:///run/containerd/containerd.sock".to_owned()),
            taints: Some(vec![
                Taint { key: "dedicated".to_owned(), value: Some("gpu".to_owned()), effect: "NoSchedule".to_owned() },
                Taint { key: "other".to_owned(), value: None, effect: "NoExecute".to_owned() },
            ]),
            kubelet_extra_args: vec![arg("v", "4"), arg("node-ip", "192.0.2.17,2001:db8::17"), arg("v", "")],
            ignore_preflight_errors: vec!["NumCPU".to_owned(), "Swap".to_owned()],
            image_pull_policy: Some("IfNotPresent".to_owned()),
            image_pull_serial: Some(true),
        },
        control_plane: None,
        ca_cert_path: Some("/etc/kubernetes/pki/ca.crt".to_owned()),
        skip_phases: vec!["preflight".to_owned()],
        patches: Some("/etc/kubernetes/patches".to_owned()),
        timeouts: vec![("kubeletHealthCheck", "4m0s".to_owned()), ("discovery", "5m0s".to_owned())],
        dry_run: false,
        not_read: Vec::new(),
    };
    assert_eq!(read, expected);
}

#[test]
fn absent_empty_and_null_are_told_apart_where_it_matters() {
    let least = "{apiVersion: kubeadm.k8s.io/v1beta4, kind: JoinConfiguration, discovery: {file: {kubeConfigPath: /k}}";
    let read = |more: &str| JoinConfiguration::parse(&format!("{least}{more}}}")).unwrap();
    let bare = read("");
    assert_eq!(bare.discovery, Discovery::File { path: "/k".to_owned() });
    assert_eq!((bare.node_registration.clone(), bare.control_plane.clone()), (NodeRegistration::default(), None));
    for same in [
        ", nodeRegistration: null, controlPlane: null, skipPhases: null, patches: {}, timeouts: {}, caCertPath: ''",
        ", nodeRegistration: {name: ' ', taints: null, kubeletExtraArgs: null, criSocket: '', imagePullPolicy: ''}",
        ", nodeRegistration: {kubeletExtraArgs: {}}, dryRun: null, patches: {directory: ''}",
        ", nodeRegistration: {kubeletExtraArgs: []}, timeouts: {discovery: ''}",
    ] {
        assert_eq!(read(same), bare, "{same}");
    }
    assert_eq!(read(", nodeRegistration: {taints: []}").node_registration.taints, Some(Vec::new()));
    assert_eq!(read(", controlPlane: {}").control_plane, Some(ControlPlane::default()));
    assert_eq!(
        read(", controlPlane: {localAPIEndpoint: {bindPort: 0, advertiseAddress: ''}}").control_plane,
        Some(ControlPlane::default())
    );
}

#[test]
fn the_older_version_is_read_as_kubeadm_converts_it() {
    let text = "apiVersion: kubeadm.k8s.io/v1beta3\nkind: JoinConfiguration\ndiscovery:\n  file: {kubeConfigPath: \
                \"file:///etc/d.conf\"}\n  timeout: 2m0s\nnodeRegistration:\n  kubeletExtraArgs: {v: 4, node-ip: \
                192.0.2.17, a: ''}\n";
    let read = JoinConfiguration::parse(text).unwrap();
    assert_eq!(read.discovery, Discovery::File { path: "/etc/d.conf".to_owned() });
    assert_eq!(read.timeouts, [("discovery", "2m0s".to_owned())]);
    assert_eq!(read.node_registration.kubelet_extra_args, [arg("a", ""), arg("node-ip", "192.0.2.17"), arg("v", "4")]);
}

#[test]
fn a_control_plane_is_read_without_its_key() {
    let key = "c0ffee".repeat(10) + "c0ff";
    let stanza = format!(
        "controlPlane:\n  certificateKey: {key}\n  localAPIEndpoint: {{advertiseAddress: 192.0.2.9, bindPort: 7443}}\n"
    );
    let read = JoinConfiguration::parse(&format!("{FULL}{stanza}")).unwrap();
    assert!(!format!("{read:?}").contains(&key));
    let expected = ControlPlane {
        advertise_address: Some("192.0.2.9".parse().unwrap()),
        bind_port: Some(7443),
        has_certificate_key: true,
    };
    assert_eq!(read.control_plane, Some(expected));
}

#[test]
fn other_documents_are_named_and_not_read() {
    let text = format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nanything: [1]\n---\n{FULL}---\n---\n\
         apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nnodeRegistration: 7\n"
    );
    let read = JoinConfiguration::parse(&text).unwrap();
    assert_eq!(read.not_read, ["KubeletConfiguration", "InitConfiguration"]);
    assert_eq!(JoinConfiguration { not_read: Vec::new(), ..read }, JoinConfiguration::parse(FULL).unwrap());
    // A mistake is told with its line in the file.
    let error = JoinConfiguration::parse(&text.replace("caCertHashes", "caCertHash")).unwrap_err().to_string();
    assert!(error.starts_with("line 12, column 5: unknown field `caCertHash`"), "{error}");
}

#[rstest]
#[case("apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration", true)]
#[case("apiVersion: kubeadm.k8s.io/v1beta2\nkind: JoinConfiguration", true)]
#[case("apiVersion: agent.nodejoin.dev/v1alpha1\nkind: AgentConfiguration", false)]
#[case("kind: A\n---\napiVersion: kubeadm.k8s.io/v1beta4", true)]
#[case("apiVersion: [", false)]
#[case("", false)]
fn files_of_kubeadm_are_told_by_their_version(#[case] text: &str, #[case] expected: bool) {
    assert_eq!(is_of_kubeadm(text), expected);
}

#[rstest]
#[case("kubeadm.k8s.io/v1beta4\n", "kubeadm.k8s.io/v1beta2\n", "kubeadm config migrate")]
#[case("kubeadm.k8s.io/v1beta4\n", "kubeadm.k8s.io/v1\n", "kubeadm.k8s.io/v1beta4")]
#[case("kubeadm.k8s.io/v1beta4\n", "v1beta4\n", "kubeadm config migrate")]
#[case("kind: JoinConfiguration", "kind: InitConfiguration", "has 0 documents of kind JoinConfiguration")]
#[case("kind: JoinConfiguration", "note: x", "the document at line 1 has no apiVersion and kind")]
#[case("skipPhases: [preflight]", "skipPhase: [preflight]", "unknown field `skipPhase`")]
#[case("caCertHashes", "caCertHash", "unknown field `caCertHash`")]
#[case("directory:", "folder:", "unknown field `folder`")]
#[case("kubeletHealthCheck:", "kubeletHealth:", "unknown field `kubeletHealth`")]
#[case("  name: \" Worker-7 \"", "  nodeName: worker-7", "unknown field `nodeName`")]
#[case("effect: NoSchedule", "effekt: NoSchedule", "unknown field `effekt`")]
#[case("discovery:\n  bootstrapToken:", "discovery:\n  timeout: 1m\n  bootstrapToken:", "discovery.timeout: only")]
#[case("192.0.2.1:6443", "192.0.2.1", "discovery.bootstrapToken.apiServerEndpoint: API server address")]
#[case("192.0.2.1:6443", "abcdef.0123456789abcdef", "apiServerEndpoint: API server address \"[redacted]\" has no")]
#[case("192.0.2.1:6443", "''", "discovery.bootstrapToken.apiServerEndpoint: is missing or empty")]
#[case("    token: abcdef.0123456789abcdef", "    token: ''", "discovery.bootstrapToken.token: is missing or empty")]
#[case("    token: abcdef.", "    token: abcdefg.", "discovery.bootstrapToken.token: bootstrap token id")]
#[case("tlsBootstrapToken: abcdef.", "tlsBootstrapToken: abcdef-", "discovery.tlsBootstrapToken: bootstrap token is")]
#[case("- sha256:3b", "- sha256:", "discovery.bootstrapToken.caCertHashes: public key hash has 62")]
#[case("discovery:\n", "discovery:\n  file: {kubeConfigPath: /k}\n", "exactly one of bootstrapToken and file")]
#[case("\" Worker-7 \"", "Worker_7", "nodeRegistration.name: node name is not a DNS-1123")]
#[case("- name: v", "- name: ''", "nodeRegistration.kubeletExtraArgs: has an argument without a name")]
#[case("dryRun: false", "dryRun: perhaps", "line 12")]
#[case(
    "skipPhases:",
    "controlPlane: {localAPIEndpoint: {bindPort: 65536}}\nskipPhases:",
    "bindPort: is 65536, expected"
)]
#[case(
    "skipPhases:",
    "controlPlane: {localAPIEndpoint: {advertiseAddress: cp.example}}\nskipPhases:",
    "controlPlane.localAPIEndpoint.advertiseAddress: \"cp.example\" is no IP address"
)]
fn what_is_wrong_is_named(#[case] from: &str, #[case] to: &str, #[case] expected: &str) {
    let error = JoinConfiguration::parse(&full_with(from, to)).unwrap_err();
    assert!(error.to_string().contains(expected), "{error}");
    assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");
}

fn url(text: &str) -> Discovery {
    Discovery::Url(KubeconfigUrl::parse(text).unwrap())
}

#[rstest]
#[case("/etc/d.conf", Some(Discovery::File { path: "/etc/d.conf".to_owned() }))]
#[case("file:///etc/d.conf", Some(Discovery::File { path: "/etc/d.conf".to_owned() }))]
#[case("https://example.com/d.conf?s3cret", Some(url("https://example.com/d.conf?s3cret")))]
#[case("https://user:s3cret@example.com/d.conf", None)]
#[case("https://example.com/d.conf#s3cret", None)]
#[case("http://user:s3cret@example.com/d.conf", None)]
#[case("file://etc/d.conf", None)]
#[case("", None)]
fn files_are_paths_or_urls(#[case] path: &str, #[case] expected: Option<Discovery>) {
    let text = format!(
        "{{apiVersion: kubeadm.k8s.io/v1beta4, kind: JoinConfiguration, discovery: {{file: {{kubeConfigPath: {path:?}}}}}}}"
    );
    let read = JoinConfiguration::parse(&text);
    assert!(!format!("{read:?}").contains("s3cret"), "{read:?}");
    assert_eq!(read.ok().map(|read| read.discovery), expected);
}

#[rstest]
#[case("dryRun: true", "dryRun: only kubeadm.k8s.io/v1beta4")]
#[case("timeouts: {}", "timeouts: only kubeadm.k8s.io/v1beta4")]
#[case("nodeRegistration: {imagePullSerial: false}", "nodeRegistration.imagePullSerial: only kubeadm.k8s.io/v1beta4")]
#[case("nodeRegistration: {kubeletExtraArgs: [{name: v, value: '4'}]}", "kubeletExtraArgs as a list: only")]
fn the_older_version_has_no_fields_of_the_newer(#[case] field: &str, #[case] expected: &str) {
    let text = format!(
        "apiVersion: kubeadm.k8s.io/v1beta3\nkind: JoinConfiguration\ndiscovery: {{file: {{kubeConfigPath: /k}}}}\n{field}\n"
    );
    let error = JoinConfiguration::parse(&text).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn the_newer_version_has_no_map_of_arguments() {
    let list = "  kubeletExtraArgs:\n  - name: v\n    value: \"4\"\n  - name: node-ip\n    value: 192.0.2.17,2001:db8::17\n  \
                - name: v\n    value: \"\"\n";
    let error = JoinConfiguration::parse(&full_with(list, "  kubeletExtraArgs: {v: '4'}\n")).unwrap_err().to_string();
    assert!(error.contains("kubeletExtraArgs as a map: only kubeadm.k8s.io/v1beta3"), "{error}");
}

#[rstest]
#[case("192.0.2.17,2001:db8::17", Some("192.0.2.17 2001:db8::17"))]
#[case("192.0.2.17, 192.0.2.18,", Some("192.0.2.17 192.0.2.18"))]
#[case("'::'", Some(""))]
#[case("0.0.0.0", Some(""))]
#[case("''", Some(""))]
#[case("worker-7", None)]
#[case("192.0.2.17/24", None)]
fn addresses_are_those_of_node_ip(#[case] value: &str, #[case] expected: Option<&str>) {
    let read = JoinConfiguration::parse(&full_with("192.0.2.17,2001:db8::17", value)).unwrap();
    let addresses = read.node_registration.node_ips().ok();
    let texts = addresses.map(|addresses| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    assert_eq!(texts.as_deref(), expected);
}

#[test]
fn the_last_node_ip_counts() {
    let text = full_with("  - name: v\n    value: \"\"", "  - {name: node-ip, value: 192.0.2.99}");
    let addresses = JoinConfiguration::parse(&text).unwrap().node_registration.node_ips().unwrap();
    assert_eq!(addresses, ["192.0.2.99".parse::<IpAddr>().unwrap()]);
}

#[test]
fn sizes_are_bounded_and_aliases_refused() {
    let long = format!("{FULL}#{}", "x".repeat(MAX_JOIN_CONFIGURATION_BYTES));
    assert_eq!(JoinConfiguration::parse(&long), Err(JoinConfigurationError::Size { length: long.len() }));
    assert!(!is_of_kubeadm(&long));
    let aliased = full_with("skipPhases: [preflight]", "skipPhases: &a [preflight]\nnot: [*a, *a]");
    assert!(matches!(JoinConfiguration::parse(&aliased), Err(JoinConfigurationError::Yaml(_))));
    // Also in a document that is not read otherwise.
    let beside = format!("{FULL}---\napiVersion: v1\nkind: List\na: &a [x]\nb: [*a, *a]\n");
    assert!(matches!(JoinConfiguration::parse(&beside), Err(JoinConfigurationError::Yaml(_))));
}

#[test]
fn secrets_are_not_printed() {
    assert!(!format!("{:?}", JoinConfiguration::parse(FULL).unwrap()).contains(SECRET));
}
