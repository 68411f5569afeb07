use clap::Parser;
use rstest::rstest;

use super::*;

const PIN: &str = "sha256:3b793efefe27a19f93b0fbe6e637e9c41d0dde8a377d6ab1c0f656bf1136dd8a";
const PINS: &str = concat!(
    "sha256:3b793efefe27a19f93b0fbe6e637e9c41d0dde8a377d6ab1c0f656bf1136dd8a,",
    "sha256:3b793efefe27a19f93b0fbe6e637e9c41d0dde8a377d6ab1c0f656bf1136dd8a"
);
const TOKEN: &str = "abcdef.0123456789abcdef";
const OTHER: &str = "fedcba.0123456789abcdef";

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: JoinArguments,
}

/// The line of words, in which `T`, `O` and `P` stand for a token, another one and a pin.
fn parse(line: &str) -> Result<JoinArguments, clap::Error> {
    let words = line.split_whitespace().map(|word| match word {
        "T" => TOKEN,
        "O" => OTHER,
        "P" => PIN,
        "P,P" => PINS,
        word => word,
    });
    Line::try_parse_from(std::iter::once("join").chain(words)).map(|line| line.arguments)
}

fn read(path: &Path) -> Result<Zeroizing<String>, config::Error> {
    let text = match path.to_str() {
        Some("token" | "-") => format!("{TOKEN}\n"),
        Some("kubeconfig") => include_str!("../../../fuzz/seeds/discovery_file/good-token.yaml").to_owned(),
        Some("cluster-info") => include_str!("../../../fuzz/seeds/discovery_file/good-cluster-info.yaml").to_owned(),
        Some("token-as-kubeconfig") => format!("{TOKEN}: x"),
        Some("agent.yaml") => format!(
            "apiVersion: agent.nodejoin.dev/v1alpha1\nkind: AgentConfiguration\nnodeName: of-the-file\ndiscovery:\n  \
             bootstrapToken: {{apiServerEndpoint: '10.0.0.1:6443', tokenFile: token, caCertHashes: ['{PIN}']}}\n"
        ),
        Some("kubeadm.yaml") => format!(
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\nnodeRegistration: {{criSocket: \
             unix:///x.sock}}\ndiscovery:\n  bootstrapToken: {{apiServerEndpoint: '10.0.0.1:6443', token: {TOKEN}, \
             caCertHashes: ['{PIN}']}}\n"
        ),
        _ => {
            let source = std::io::ErrorKind::NotFound.into();
            return Err(config::Error::Read { path: path.to_owned(), source });
        }
    };
    Ok(Zeroizing::new(text))
}

fn configure(line: &str) -> Result<(Configuration, Vec<String>), Error> {
    parse(line).unwrap().configuration("Worker-1", &read)
}

#[rstest]
#[case::as_kubeadm_prints_it("10.0.0.1:6443 --token T --discovery-token-ca-cert-hash P")]
#[case::the_same_token_thrice(
    "10.0.0.1:6443 --token T --discovery-token T --tls-bootstrap-token T --discovery-token-ca-cert-hash P"
)]
#[case::discovery_token_alone("10.0.0.1:6443 --discovery-token T --discovery-token-ca-cert-hash P")]
#[case::token_of_a_file("10.0.0.1:6443 --token-file token --discovery-token-ca-cert-hash P")]
#[case::token_of_standard_input("10.0.0.1:6443 --token-file - --discovery-token-ca-cert-hash P,P")]
#[case::pins_count_more_than_skipping(
    "10.0.0.1:6443 --token T --discovery-token-ca-cert-hash P --discovery-token-unsafe-skip-ca-verification"
)]
fn a_line_for_token_discovery(#[case] line: &str) {
    let (configuration, notes) = configure(line).unwrap();
    assert_eq!((configuration.node_name.as_str(), notes), ("worker-1", Vec::new()));
    assert_eq!(configuration.state_directory, Path::new("/var/lib/join-agent"));
    let Discovery::Token { endpoint, token, trust: CaTrust::Pinned(pins), expires: None } = configuration.discovery
    else {
        panic!("another kind of discovery");
    };
    assert_eq!((endpoint.to_string().as_str(), pins.to_string().as_str()), ("10.0.0.1:6443", PIN));
    assert_eq!(token, BootstrapToken::parse(TOKEN).unwrap());
}

#[test]
fn without_a_pin_it_is_said_what_that_means() {
    let (configuration, notes) = configure("e:1 --token T --discovery-token-unsafe-skip-ca-verification").unwrap();
    assert!(matches!(configuration.discovery, Discovery::Token { trust: CaTrust::UnsafeAny, .. }));
    assert!(notes[0].contains("can pretend to be the API server"), "{notes:?}");
}

#[test]
fn name_and_addresses_are_the_machines_own_matter() {
    let line = "--discovery-file kubeconfig --node-name n --node-address 10.0.0.7,fd00::7";
    let (configuration, _) = configure(line).unwrap();
    let addresses: Vec<String> = configuration.node_addresses.iter().map(ToString::to_string).collect();
    assert_eq!((configuration.node_name.as_str(), addresses), ("n", vec!["10.0.0.7".to_owned(), "fd00::7".to_owned()]));
    assert!(matches!(configuration.discovery, Discovery::File { token: None, .. }));
    let (configuration, _) = configure("--discovery-file https://files.example.com/x").unwrap();
    assert!(matches!(configuration.discovery, Discovery::Url { token: None, .. }));
}

#[rstest]
#[case::as_for_kubeadm("--discovery-file cluster-info --tls-bootstrap-token T")]
#[case::the_same_token_for_all("--discovery-file cluster-info --token T")]
#[case::token_of_standard_input("--discovery-file cluster-info --token-file -")]
#[case::from_a_web_server("--discovery-file https://files.example.com/x --token T")]
fn a_token_beside_a_file_without_a_user(#[case] line: &str) {
    let (Discovery::File { token, .. } | Discovery::Url { token, .. }) = configure(line).unwrap().0.discovery else {
        panic!("another kind of discovery");
    };
    assert_eq!(token, Some(BootstrapToken::parse(TOKEN).unwrap()));
}

#[rstest]
#[case::of_the_agent("--config agent.yaml", "of-the-file", "")]
#[case::of_kubeadm("--config kubeadm.yaml", "worker-1", "not taken from nodeRegistration: criSocket")]
fn a_configuration_file_will_do(#[case] line: &str, #[case] name: &str, #[case] note: &str) {
    let (configuration, notes) = configure(line).unwrap();
    assert_eq!(configuration.node_name.as_str(), name);
    assert!(notes.join("\n").starts_with(note), "{notes:?}");
}

#[test]
fn what_the_request_decides_is_named_with_the_command_for_it() {
    let line =
        "e:1 --token T --discovery-token-ca-cert-hash P --ignore-preflight-errors Swap --cri-socket unix:///x.sock";
    let (_, notes) = configure(&format!("{line} --ignore-preflight-errors=Mem")).unwrap();
    let expected = "--cri-socket and --ignore-preflight-errors is left to the request; type: kubectl njr accept worker-1 \
                    --key KEY --cri-socket unix:///x.sock --ignore-preflight-errors 'Swap,Mem'";
    assert_eq!(notes, [expected]);
}

#[rstest]
#[case::no_token("e:1 --discovery-token-ca-cert-hash P", "--token: is not given")]
#[case::no_pin("e:1 --token T", "--discovery-token-ca-cert-hash: is not given, expected at least one sha256:<hash>")]
#[case::a_bad_pin("e:1 --token T --discovery-token-ca-cert-hash sha1:00", "--discovery-token-ca-cert-hash: ")]
#[case::a_bad_token("e:1 --token abc --discovery-token-ca-cert-hash P", "--token: ")]
#[case::a_bad_token_beside_a_good_one("e:1 --token T --tls-bootstrap-token abc", "--tls-bootstrap-token: ")]
#[case::two_tokens("e:1 --token T --tls-bootstrap-token O", "--tls-bootstrap-token: is another token")]
#[case::no_token_file("e:1 --token-file none --discovery-token-ca-cert-hash P", "--token-file: failed to read none")]
#[case::no_discovery_file("--discovery-file none", "--discovery-file: failed to read none")]
#[case::a_bad_discovery_file("--discovery-file token-as-kubeconfig", "--discovery-file: token-as-kubeconfig: ")]
#[case::a_file_without_a_user("--discovery-file cluster-info", "--discovery-file: cluster-info: has no credentials")]
#[case::a_url_without_tls("--discovery-file http://x/y", "--discovery-file: ")]
#[case::no_configuration("--config none", "--config: failed to read none")]
#[case::a_control_plane("e:1 --token T --control-plane", "--control-plane: is left to the request")]
#[case::its_key("e:1 --token T --certificate-key 00", "--certificate-key: is left to the request")]
#[case::its_address("e:1 --token T --apiserver-advertise-address 10.0.0.1", "--apiserver-advertise-address: is left")]
#[case::its_port("e:1 --token T --apiserver-bind-port 6443", "--apiserver-bind-port: is left to the request")]
#[case::nothing_done("e:1 --token T --dry-run", "--dry-run: is not there; `join-agent check`")]
#[case::phases("--config agent.yaml --skip-phases preflight", "--skip-phases: names phases of kubeadm")]
#[case::patches("e:1 --token T --patches /x", "--patches: the agent does not patch")]
fn what_cannot_be_is_refused_by_the_flags_name(#[case] line: &str, #[case] expected: &str) {
    let error = configure(line).unwrap_err().to_string();
    assert!(error.starts_with(expected), "{error}");
    assert!(!error.contains("0123456789abcdef"), "{error}");
}

#[test]
fn a_host_name_that_no_node_can_have_is_told_with_the_flag_that_helps() {
    let line = parse("e:1 --token T --discovery-token-ca-cert-hash P").unwrap();
    let error = line.configuration("under_score", &read).unwrap_err().to_string();
    assert!(error.starts_with("--node-name: by default \"under_score\"; "), "{error}");
}

#[rstest]
#[case::nothing("")]
#[case::two_ways("e:1 --discovery-file kubeconfig")]
#[case::a_file_and_flags("--config agent.yaml --token T")]
#[case::a_file_and_a_name("--config agent.yaml --node-name n")]
#[case::token_twice("e:1 --token T --token-file token")]
#[case::pins_for_a_file("--discovery-file kubeconfig --discovery-token-ca-cert-hash P")]
#[case::unsafe_without_a_file("e:1 --token T --allow-unsafe-discovery")]
#[case::no_endpoint("nowhere --token T")]
#[case::no_duration("e:1 --token T --timeout soon")]
fn what_contradicts_itself_is_refused_before_anything_is_read(#[case] line: &str) {
    assert!(parse(line).is_err());
}

#[test]
fn only_a_dash_is_standard_input() {
    for (line, expected) in [("e:1 --token-file -", true), ("e:1 --token-file ./-", false), ("e:1 --token T", false)] {
        assert_eq!(parse(line).unwrap().reads_standard_input(), expected, "{line}");
    }
}
