use std::os::unix::fs::PermissionsExt;

use super::*;

const PIN: &str = "sha256:3b793efefe27a19f93b0fbe6e637e9c41d0dde8a377d6ab1c0f656bf1136dd8a";
const SECRET: &str = "0123456789abcdef";

fn file(text: &str, mode: u32) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    file
}

fn load(text: &str) -> Result<Configuration, Error> {
    let surroundings = Surroundings { hostname: "Worker-1".to_owned(), allow_unsafe_discovery: false };
    Configuration::load(file(text, 0o600).path(), &surroundings)
}

fn with(token: &str) -> String {
    format!(
        "apiVersion: agent.nodejoin.dev/v1alpha1\nkind: AgentConfiguration\ndiscovery:\n  bootstrapToken:\n{}",
        token.lines().flat_map(|line| ["    ", line, "\n"]).collect::<String>()
    )
}

fn good() -> String {
    with(&format!("apiServerEndpoint: 10.0.0.1:6443\ntoken: abcdef.{SECRET}\ncaCertHashes: [\"{PIN}\"]"))
}

#[test]
fn a_minimal_file_takes_the_host_name_in_lower_case() {
    let configuration = load(&good()).unwrap();
    assert_eq!(configuration.node_name.as_str(), "worker-1");
    assert_eq!(configuration.state_directory, Path::new("/var/lib/join-agent"));
    let Discovery::Token { endpoint, trust: CaTrust::Pinned(pins), .. } = configuration.discovery else {
        panic!("another kind of discovery");
    };
    assert_eq!((endpoint.host(), endpoint.port(), pins.len()), ("10.0.0.1", 6443, 1));
}

#[test]
fn the_packaged_example_is_a_configuration() {
    let example = include_str!("../packaging/config.yaml");
    load(example).unwrap();
}

/// A fuzzer that starts from files which the first check refuses explores nothing: `good-*` are accepted, others not.
#[test]
fn seeds_of_the_fuzz_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/agent_configuration");
    let surroundings = Surroundings { hostname: "worker-7".to_owned(), allow_unsafe_discovery: false };
    let mut good = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        // A token file or a kubeconfig, whichever is named, or both by their names: as the target has them.
        let accepted = ["abcdef.0123456789abcdef\n", include_str!("../../fuzz/seeds/discovery_file/good-token.yaml")]
            .into_iter()
            .any(|content| {
                let of = |path: &Path| if path.ends_with("token") { "abcdef.0123456789abcdef\n" } else { content };
                let read = |path: &Path| Ok(Zeroizing::new(of(path).to_owned()));
                Configuration::of_text(&path, &text, &surroundings, &read).is_ok()
            });
        assert_eq!(accepted, path.file_name().unwrap().to_str().unwrap().starts_with("good-"), "{}", path.display());
        good += usize::from(accepted);
    }
    assert!(good > 0, "no seed is accepted");
}

/// Each mistake names its field, and none repeats the token.
#[test]
fn mistakes_name_the_field_and_never_the_secret() {
    let endpoint = "apiServerEndpoint: 10.0.0.1:6443";
    let token = format!("token: abcdef.{SECRET}");
    let pins = format!("caCertHashes: [\"{PIN}\"]");
    let cases = [
        (with(&format!("{endpoint}\n{token}")), "caCertHashes"),
        (with(&format!("{endpoint}\n{token}\ncaCertHashes: [\"sha256:12\"]")), "caCertHashes"),
        (with(&format!("apiServerEndpoint: 10.0.0.1\n{token}\n{pins}")), "apiServerEndpoint"),
        (with(&format!("{endpoint}\ntoken: abcdef-{SECRET}\n{pins}")), "bootstrapToken.token"),
        (with(&format!("{endpoint}\n{pins}")), "exactly one of token and tokenFile"),
        (with(&format!("{endpoint}\n{token}\nunsafeSkipCAVerification: true")), "--allow-unsafe-discovery"),
        (with(&format!("{endpoint}\n{token}\n{pins}\nunknown: 1")), "unknown"),
        (good().replace("v1alpha1", "v2"), "apiVersion"),
        (good().replace("AgentConfiguration", "Pod"), "kind"),
        (format!("nodeName: Not_A_Name\n{}", good()), "nodeName"),
        (format!("nodeAddresses: [example.com]\n{}", good()), "nodeAddresses"),
        (good().replace("bootstrapToken:", "nothing:"), "nothing"),
        (good().replace("    token", "  token"), "line"),
        (with(&format!("apiServerEndpoint: abcdef.{SECRET}\n{token}\n{pins}")), "apiServerEndpoint"),
        (with(&format!("{endpoint}\n{token}\n{pins}\nabcdef.{SECRET}: 1")), "unknown field"),
        (format!("nodeAddresses: [abcdef.{SECRET}]\n{}", good()), "nodeAddresses"),
        (format!("nodeAddresses: &a [192.0.2.1]\nstateDirectory: *a\n{}", good()), "too large or too complex"),
    ];
    for (text, expected) in cases {
        let error = load(&text).expect_err(&text).to_string();
        assert!(error.contains(expected), "expected {expected:?} in: {error}");
        assert!(!error.contains(SECRET), "the secret is in: {error}");
    }
}

/// Nothing is fetched yet: the web server may be down.
#[test]
fn a_discovery_file_may_be_elsewhere() {
    let with = |place: &str| {
        let head = "apiVersion: agent.nodejoin.dev/v1alpha1\nkind: AgentConfiguration\n";
        load(&format!("{head}discovery: {{file: {{kubeConfigPath: '{place}'}}}}\n"))
    };
    let configuration = with("https://files.invalid/d.conf?key=s3cret").unwrap();
    let Discovery::Url { url, token: None } = &configuration.discovery else { panic!("another: {configuration:?}") };
    assert_eq!(url.to_string(), "https://files.invalid:443/d.conf");
    assert!(!format!("{configuration:?}").contains("s3cret"), "{configuration:?}");
    for (place, expected) in [
        ("http://files.invalid/d.conf?key=s3cret", "is a URL with the scheme \"http\", expected https"),
        ("https://root:s3cret@files.invalid/d.conf", "is a URL with a user name or a password in it"),
        ("https://files.invalid/d.conf#s3cret", "is a URL with a fragment"),
        (&format!("abcdef.{SECRET}://files.invalid/"), "is a URL with the scheme"),
        ("/nonexistent/d.conf", "failed to read /nonexistent/d.conf"),
        ("file:///nonexistent/d.conf", "failed to read /nonexistent/d.conf"),
    ] {
        let error = with(place).unwrap_err().to_string();
        assert!(error.contains(expected), "expected {expected:?} in: {error}");
        assert!(!error.contains("s3cret") && !error.contains(SECRET), "a secret is in: {error}");
    }
}

const OF_CLUSTER_INFO: &str = include_str!("../../fuzz/seeds/discovery_file/good-cluster-info.yaml");
const WITH_USER: &str = include_str!("../../fuzz/seeds/discovery_file/good-token.yaml");
const TOKEN: &str = "abcdef.0123456789abcdef";

/// A discovery with these lines, on a machine that has a kubeconfig at `/k` and a token at `/t`.
fn discovering(lines: &[&str], kubeconfig: &str) -> Result<Discovery, Error> {
    let head = "apiVersion: agent.nodejoin.dev/v1alpha1\nkind: AgentConfiguration\ndiscovery:\n";
    let text = format!("{head}{}", lines.iter().flat_map(|line| ["  ", line, "\n"]).collect::<String>());
    let read = |path: &Path| {
        let content = if path == Path::new("/t") { "abcdef.0123456789abcdef\n" } else { kubeconfig };
        Ok(Zeroizing::new(content.to_owned()))
    };
    let surroundings = Surroundings { hostname: "a".to_owned(), allow_unsafe_discovery: false };
    let loaded = Configuration::of_text(Path::new("config.yaml"), &text, &surroundings, &read);
    for told in [format!("{loaded:?}"), loaded.as_ref().err().map(ToString::to_string).unwrap_or_default()] {
        assert!(!told.contains(SECRET), "the secret is told: {told}");
    }
    loaded.map(|configuration| configuration.discovery)
}

/// The token beside a file counts whether or not the file has a user, as for kubeadm; one of them there must be.
#[test]
fn a_token_beside_a_file_authenticates() {
    let expected = Some(BootstrapToken::parse(TOKEN).unwrap());
    let (path, url) = ("file: {kubeConfigPath: /k}", "file: {kubeConfigPath: 'https://files.invalid/d.conf'}");
    for given in ["tlsBootstrapToken: abcdef.0123456789abcdef", "tlsBootstrapTokenFile: /t"] {
        for kubeconfig in [OF_CLUSTER_INFO, WITH_USER] {
            let Discovery::File { token, .. } = discovering(&[path, given], kubeconfig).unwrap() else {
                panic!("{given}")
            };
            assert_eq!(token, expected, "{given}");
        }
        let Discovery::Url { token, .. } = discovering(&[url, given], "").unwrap() else { panic!("{given}") };
        assert_eq!(token, expected, "{given}");
    }
    assert!(matches!(discovering(&[path], WITH_USER).unwrap(), Discovery::File { token: None, .. }));
    // What a web server has is seen when it is fetched.
    assert!(matches!(discovering(&[url], "").unwrap(), Discovery::Url { token: None, .. }));
    let error = discovering(&[path], OF_CLUSTER_INFO).unwrap_err().to_string();
    for part in ["config.yaml: discovery.file.kubeConfigPath: /k: has no credentials", "a user", "tlsBootstrapToken"] {
        assert!(error.contains(part), "expected {part:?} in: {error}");
    }
}

#[test]
fn a_token_beside_a_file_is_one_token() {
    let (file, token) = ("file: {kubeConfigPath: /k}", "tlsBootstrapToken: abcdef.0123456789abcdef");
    let of_token = &format!("bootstrapToken: {{apiServerEndpoint: 'a:1', token: {TOKEN}, caCertHashes: ['{PIN}']}}");
    assert!(matches!(discovering(&[of_token, token], "").unwrap(), Discovery::Token { .. }));
    assert!(matches!(discovering(&[of_token, "tlsBootstrapTokenFile: /t"], "").unwrap(), Discovery::Token { .. }));
    for (lines, expected) in [
        ([file, token, "tlsBootstrapTokenFile: /t"].as_slice(), "at most one of tlsBootstrapToken and"),
        (&[file, "tlsBootstrapToken: abcdef-0123456789abcdef"], "discovery.tlsBootstrapToken: bootstrap token"),
        (&[file, "tlsBootstrapToken: ''"], "discovery.tlsBootstrapToken: bootstrap token"),
        (&[file, "tlsBootstrapTokenFile: /k"], "discovery.tlsBootstrapTokenFile: bootstrap token"),
        (&[token], "exactly one of bootstrapToken and file"),
        (&[of_token, "tlsBootstrapToken: abcdee.0123456789abcdef"], "discovery.tlsBootstrapToken: is another token"),
        (&[of_token, "tlsBootstrapToken: abcdef.0123456789abcdee"], "discovery.tlsBootstrapToken: is another token"),
    ] {
        let error = discovering(lines, OF_CLUSTER_INFO).unwrap_err().to_string();
        assert!(error.contains(expected), "expected {expected:?} in: {error}");
    }
}

#[test]
fn a_file_that_others_can_read_is_refused_with_its_remedy() {
    let file = file(&good(), 0o640);
    let error = Configuration::load(file.path(), &Surroundings::default()).unwrap_err().to_string();
    assert!(error.contains("mode 640") && error.contains("chmod 600"), "{error}");
}

#[test]
fn a_file_that_is_too_large_is_refused() {
    let error = load(&format!("{}# {}", good(), "x".repeat(70_000))).unwrap_err().to_string();
    assert!(error.contains("expected at most 65536"), "{error}");
}

#[test]
fn discovery_without_pins_needs_the_flag_as_well() {
    let text =
        with(&format!("apiServerEndpoint: 10.0.0.1:6443\ntoken: abcdef.{SECRET}\nunsafeSkipCAVerification: true"));
    let surroundings = Surroundings { hostname: "a".to_owned(), allow_unsafe_discovery: true };
    let configuration = Configuration::load(file(&text, 0o600).path(), &surroundings).unwrap();
    assert!(matches!(configuration.discovery, Discovery::Token { trust: CaTrust::UnsafeAny, .. }));
}

#[test]
fn debug_output_has_no_secret() {
    assert!(!format!("{:?}", load(&good()).unwrap()).contains(SECRET));
}
