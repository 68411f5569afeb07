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
        // A token file or a kubeconfig, whichever is named: as the target has them.
        let accepted = ["abcdef.0123456789abcdef\n", include_str!("../../fuzz/seeds/discovery_file/good-token.yaml")]
            .into_iter()
            .any(|content| {
                let read = |_: &Path| Ok(Zeroizing::new(content.to_owned()));
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
    let Discovery::Url(url) = &configuration.discovery else { panic!("another kind of discovery: {configuration:?}") };
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
