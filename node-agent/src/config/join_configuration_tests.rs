use join_trust::ca_bundle::CaTrust;
use rstest::rstest;
use zeroize::Zeroizing;

use super::*;

const SECRET: &str = "0123456789abcdef";
const WORKER: &str = include_str!("../../../fuzz/seeds/join_configuration/good-worker.yaml");
const DOCUMENTS: &str = include_str!("../../../fuzz/seeds/join_configuration/good-documents.yaml");
const V1BETA3: &str = include_str!("../../../fuzz/seeds/join_configuration/good-v1beta3.yaml");
const FILE: &str = include_str!("../../../fuzz/seeds/join_configuration/good-file.yaml");
const FILE_AND_TOKEN: &str = include_str!("../../../fuzz/seeds/join_configuration/good-file-and-token.yaml");
const CLUSTER_INFO: &str = include_str!("../../../fuzz/seeds/discovery_file/good-cluster-info.yaml");
const CONTROL_PLANE: &str = include_str!("../../../fuzz/seeds/join_configuration/good-control-plane.yaml");
const KUBECONFIG: &str = include_str!("../../../fuzz/seeds/discovery_file/good-token.yaml");

fn load_with(text: &str, allow_unsafe_discovery: bool) -> Result<Configuration, Error> {
    load_beside(text, KUBECONFIG, allow_unsafe_discovery)
}

fn load_beside(text: &str, kubeconfig: &str, allow_unsafe_discovery: bool) -> Result<Configuration, Error> {
    let surroundings = Surroundings { hostname: " Host-1\n".to_owned(), allow_unsafe_discovery };
    let read = |path: &Path| {
        assert_eq!(path, Path::new("/etc/d.conf"));
        Ok(Zeroizing::new(kubeconfig.to_owned()))
    };
    Configuration::of_text(Path::new("config.yaml"), text, &surroundings, &read)
}

fn load(text: &str) -> Result<Configuration, Error> {
    load_with(text, false)
}

fn worker_with(from: &str, to: &str) -> String {
    assert!(WORKER.contains(from), "{from}");
    WORKER.replace(from, to)
}

#[test]
fn a_worker_is_what_its_file_says() {
    let configuration = load(WORKER).unwrap();
    assert_eq!(configuration.node_name.as_str(), "worker-7");
    let addresses: Vec<String> = configuration.node_addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["192.0.2.17", "2001:db8::17"]);
    assert_eq!(configuration.state_directory, Path::new("/var/lib/join-agent"));
    let Discovery::Token { endpoint, token, expires, trust: CaTrust::Pinned(pins) } = &configuration.discovery else {
        panic!("another kind of discovery: {configuration:?}");
    };
    let pins: Vec<String> = pins.iter().map(ToString::to_string).collect();
    assert_eq!((endpoint.to_string().as_str(), token.id().as_str(), *expires), ("192.0.2.1:6443", "abcdef", None));
    assert_eq!(pins, ["sha256:3b793efefe27a19f93b0fbe6e637e9c41d0dde8a377d6ab1c0f656bf1136dd8a"]);
    assert!(!format!("{configuration:?}").contains(SECRET));
}

#[test]
fn the_name_is_the_hosts_where_the_file_has_none() {
    assert_eq!(load(V1BETA3).unwrap().node_name.as_str(), "host-1");
    assert_eq!(load(DOCUMENTS).unwrap().node_name.as_str(), "worker-8");
}

#[test]
fn a_kubeconfig_is_read_where_the_file_says() {
    let configuration = load(FILE).unwrap();
    assert!(matches!(configuration.discovery, Discovery::File { path, .. } if path == Path::new("/etc/d.conf")));
    assert_eq!(configuration.warning, None);
}

/// `kubeadm join --discovery-file /etc/d.conf --tls-bootstrap-token abcdef.0123456789abcdef`, and the same with a URL.
#[test]
fn a_token_beside_a_kubeconfig_is_used() {
    let given = BootstrapToken::parse("abcdef.0123456789abcdef").unwrap();
    for kubeconfig in [CLUSTER_INFO, KUBECONFIG] {
        let configuration = load_beside(FILE_AND_TOKEN, kubeconfig, false).unwrap();
        let Discovery::File { token, .. } = &configuration.discovery else { panic!("another: {configuration:?}") };
        assert_eq!(token.as_ref(), Some(&given));
        assert!(!format!("{configuration:?}").contains(SECRET), "{configuration:?}");
    }
    let configuration = load(&FILE_AND_TOKEN.replace("/etc/d.conf", "https://example.com/d.conf")).unwrap();
    let Discovery::Url { token, .. } = &configuration.discovery else { panic!("another: {configuration:?}") };
    assert_eq!(token.as_ref(), Some(&given));
}

#[test]
fn a_kubeconfig_without_a_user_needs_a_token() {
    let error = load_beside(FILE, CLUSTER_INFO, false).unwrap_err().to_string();
    assert!(
        error.starts_with("config.yaml: discovery.file.kubeConfigPath: /etc/d.conf: has no credentials"),
        "{error}"
    );
    assert!(error.contains("give it a user") && error.contains("discovery.tlsBootstrapToken"), "{error}");
}

#[test]
fn what_is_not_read_is_named() {
    assert_eq!(
        load(WORKER).unwrap().warning.unwrap(),
        "not taken from nodeRegistration: criSocket, taints, kubeletExtraArgs, ignorePreflightErrors; the request's \
         spec.nodeRegistration decides them, and `kubectl njr create NAME --join-configuration FILE` takes them from the \
         file; without a meaning to the agent: nodeRegistration.imagePullPolicy, nodeRegistration.imagePullSerial, timeouts"
    );
    let warning = load(DOCUMENTS).unwrap().warning.unwrap();
    assert_eq!(warning, "without a meaning to the agent: KubeletConfiguration, KubeProxyConfiguration");
    // Empty taints are something that is asked for.
    assert!(load(V1BETA3).unwrap().warning.unwrap().starts_with("not taken from nodeRegistration: taints, kubelet"));
}

/// Without pins nothing is trusted, unless both the file and the command line say so.
#[rstest]
#[case(true, true, true)]
#[case(true, false, false)]
#[case(false, true, false)]
fn pins_are_needed(#[case] skip: bool, #[case] allowed: bool, #[case] expected: bool) {
    let pins = "    caCertHashes:\n    - sha256:3b793efefe27a19f93b0fbe6e637e9c41d0dde8a377d6ab1c0f656bf1136dd8a\n";
    let text = worker_with(pins, &format!("    unsafeSkipCAVerification: {skip}\n"));
    let loaded = load_with(&text, allowed);
    assert_eq!(loaded.is_ok(), expected, "{loaded:?}");
    if let Ok(Configuration { discovery: Discovery::Token { trust, .. }, .. }) = loaded {
        assert!(matches!(trust, CaTrust::UnsafeAny));
    }
}

#[rstest]
#[case("timeouts:", "controlPlane: {}\ntimeouts:", "controlPlane: asks for a control plane")]
#[case("timeouts:", "dryRun: true\ntimeouts:", "dryRun: is true")]
#[case("timeouts:", "skipPhases: [preflight]\ntimeouts:", "skipPhases: names phases")]
#[case("timeouts:", "patches: {directory: /p}\ntimeouts:", "patches: the agent does not patch")]
#[case("/etc/kubernetes/pki/ca.crt", "/etc/ssl/ca.crt", "caCertPath: is \"/etc/ssl/ca.crt\"")]
#[case("tlsBootstrapToken: abcdef", "tlsBootstrapToken: abcdee", "discovery.tlsBootstrapToken: is another token")]
#[case("  name: worker-7", "  name: worker_7", "nodeRegistration.name: node name is not")]
#[case("192.0.2.17,", "192.0.2.17;", "node-ip: \"192.0.2.17;2001:db8::17\" is no IP address")]
#[case("caCertHashes", "caCertHash", "line 8, column 5: unknown field `caCertHash`")]
#[case("v1beta4", "v1beta2", "kubeadm config migrate")]
#[case("kind: JoinConfiguration", "kind: InitConfiguration", "has 0 documents of kind JoinConfiguration")]
fn what_would_be_another_join_is_refused(#[case] from: &str, #[case] to: &str, #[case] expected: &str) {
    let error = load(&worker_with(from, to)).unwrap_err().to_string();
    assert!(error.starts_with("config.yaml: ") && error.contains(expected), "{error}");
    assert!(!error.contains(SECRET), "{error}");
}

#[test]
fn a_kubeconfig_is_fetched_where_the_file_says() {
    let configuration = load(&FILE.replace("file:///etc/d.conf", "https://example.com/d.conf?s3cret")).unwrap();
    let Discovery::Url { url, token: None } = &configuration.discovery else { panic!("another: {configuration:?}") };
    assert_eq!(url.path_and_query().as_str(), "/d.conf?s3cret");
    assert!(!format!("{configuration:?}").contains("s3cret"), "{configuration:?}");
}

#[rstest]
#[case("file:///etc/d.conf", "https://a:b@example.com/d.conf", "kubeConfigPath: is a URL with a user name")]
#[case("file:///etc/d.conf", "http://example.com/d.conf", "kubeConfigPath: is a URL with the scheme \"http\"")]
#[case("}}}", "}, tlsBootstrapToken: abcdef-0123456789abcdef}}", "discovery.tlsBootstrapToken: bootstrap token")]
fn files_that_kubeadm_would_take_otherwise_are_refused(#[case] from: &str, #[case] to: &str, #[case] expected: &str) {
    let error = load(&FILE.replace(from, to)).unwrap_err().to_string();
    assert!(error.contains(expected) && !error.contains("a:b@") && !error.contains(SECRET), "{error}");
}

#[test]
fn a_control_plane_is_refused_before_all_else() {
    let error = load_with(CONTROL_PLANE, true).unwrap_err().to_string();
    assert!(error.contains("controlPlane: asks for a control plane") && !error.contains("c0ffee"), "{error}");
}
