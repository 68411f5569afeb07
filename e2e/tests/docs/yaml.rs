//! Every YAML block, given to the program that reads it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use join_book::blocks::{Block, blocks};
use join_book::commands::Place;
use join_book::markdown::pages;
use join_e2e::lab::layout::{API_PORT, CONTROL_PLANE};
use join_e2e::lab::{command, patience, wait_until};
use libtest_mimic::Failed;
use serde_json::Value;

use super::suite::{MACHINE, PATIENCE, Suite};

const API_SERVER: &str = "kube-apiserver";
/// What an agent's configuration may name, so that it is there to be read.
const DISCOVERY_FILE: &str = include_str!("../../../fuzz/seeds/discovery_file/good-token.yaml");
/// A configuration that names a discovery file.
const BY_A_FILE: &str = "\
apiVersion: agent.nodejoin.dev/v1alpha1
kind: AgentConfiguration
discovery: {file: {kubeConfigPath: /etc/join-agent/discovery.conf}}
";

/// Who reads a block.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reader {
    /// join-agent: a file of this text.
    Agent(String),
    /// join-agent: the kubeconfig that discovery by a file is given.
    DiscoveryFile,
    /// Helm: values of the chart.
    Helm,
    /// kube-apiserver when it starts: the file that this flag names.
    ApiServer(&'static str),
    /// The API server: objects.
    Cluster,
}

/// Has every block read.
pub fn blocks_are_taken_by_their_programs(suite: &Suite) -> Result<(), Failed> {
    install_types(suite)?;
    let mut broken = Vec::new();
    let mut seen: Vec<(Reader, String)> = Vec::new();
    for page in pages()? {
        for block in blocks(&page.text).iter().filter(|block| block.language == "yaml" && block.not_run().is_none()) {
            let place = format!("{}:{}", page.path.display(), block.line);
            let read = reader(block).and_then(|reader| {
                // One file on two pages is one file.
                if !seen.contains(&(reader.clone(), block.text.clone())) {
                    seen.push((reader.clone(), block.text.clone()));
                    give(suite, &reader, &block.text)?;
                }
                println!("{place}: {reader:?}");
                Ok(())
            });
            broken.extend(read.err().map(|failure| format!("{place}: {}", failure.message().unwrap_or_default())));
        }
    }
    for reader in [Reader::Helm, Reader::Cluster, Reader::DiscoveryFile, AUTHENTICATION, AUDIT] {
        if !seen.iter().any(|(found, _)| *found == reader) {
            broken.push(format!("no page has a block for {reader:?}"));
        }
    }
    if broken.is_empty() { Ok(()) } else { Err(broken.join("\n").into()) }
}

/// Each program refuses what is wrong: one that takes everything would prove nothing.
pub fn wrong_blocks_are_refused(suite: &Suite) -> Result<(), Failed> {
    install_types(suite)?;
    let agent = "apiVersion: agent.nodejoin.dev/v1alpha1\nkind: AgentConfiguration\n";
    let kubeadm = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\n";
    let request = "apiVersion: nodejoin.dev/v1alpha1\nkind: NodeJoinRequest\nmetadata: {name: a}\n";
    for (reader, text, expected) in [
        (Reader::Agent(format!("{agent}discovery: {{}}")), String::new(), "expected exactly one"),
        (Reader::Agent(format!("{kubeadm}discovery: {{caCertHash: []}}")), String::new(), "caCertHash"),
        (Reader::DiscoveryFile, "apiVersion: v1\nkind: Config\nclusters: []".to_owned(), "0 clusters"),
        (Reader::Helm, "replicas: 3".to_owned(), "replicas"),
        (Reader::Cluster, format!("{request}spec: {{machine: {{}}}}"), "needs either publicKeyHash"),
        (
            AUTHENTICATION,
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\nanonymus: {}".to_owned(),
            "anonymus",
        ),
        (AUDIT, "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Everything}]".to_owned(), "Everything"),
    ] {
        let refused = give(suite, &reader, &text).err();
        let said = refused.as_ref().and_then(Failed::message).unwrap_or("nothing");
        if !said.contains(expected) {
            return Err(format!("{reader:?} should have refused {text:?} for {expected:?}, and said: {said}").into());
        }
    }
    Ok(())
}

const AUTHENTICATION: Reader = Reader::ApiServer("--authentication-config");
const AUDIT: Reader = Reader::ApiServer("--audit-policy-file");

/// Who reads a block, by what it says of itself.
fn reader(block: &Block) -> Result<Reader, Failed> {
    if block.attribute("values").is_some() {
        return Ok(Reader::Helm);
    }
    let documents: Vec<Value> = serde_saphyr::from_multiple(&block.text)?;
    let document = documents.first().unwrap_or(&Value::Null);
    if block.text.starts_with("#cloud-config") {
        let mut files = document["write_files"].as_array().into_iter().flatten();
        let file = files.find(|file| file["path"] == "/etc/join-agent/config.yaml");
        let content = file.and_then(|file| file["content"].as_str()).ok_or("writes no configuration of the agent")?;
        return Ok(Reader::Agent(content.to_owned()));
    }
    let text = |field: &str| document[field].as_str().unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    let group = version.split('/').next().unwrap_or_default();
    match (group, kind) {
        ("agent.nodejoin.dev", _) | ("kubeadm.k8s.io", "JoinConfiguration") => Ok(Reader::Agent(block.text.clone())),
        ("apiserver.config.k8s.io", "AuthenticationConfiguration") => Ok(AUTHENTICATION),
        ("audit.k8s.io", "Policy") => Ok(AUDIT),
        ("v1", "Config") => Ok(Reader::DiscoveryFile),
        _ if version.is_empty() => Err("has no apiVersion".into()),
        // Files of programs, which no API server stores.
        _ if group.ends_with(".config.k8s.io") || group == "kubeadm.k8s.io" => {
            Err(format!("no program is given a {kind} of {version} here").into())
        }
        _ => Ok(Reader::Cluster),
    }
}

fn give(suite: &Suite, reader: &Reader, text: &str) -> Result<(), Failed> {
    let file = |name: &str| fs::write(suite.desk(name), text);
    let shell = |script: &str| suite.shell(Place::Administrator, "", script).map(drop);
    match reader {
        Reader::Agent(text) => give_agent(suite, text, DISCOVERY_FILE),
        Reader::DiscoveryFile => give_agent(suite, BY_A_FILE, text),
        Reader::Helm => {
            file("values.yaml")?;
            shell("helm template join-operator charts/join-operator --namespace join-system --values values.yaml")
        }
        Reader::Cluster => {
            file("object.yaml")?;
            shell("kubectl create --dry-run=server --validate=strict --filename object.yaml")
        }
        Reader::ApiServer(flag) => give_api_server(suite, flag, text),
    }
}

/// Has the agent read its configuration on a machine, where it looks at the machine as well and finds what it finds.
fn give_agent(suite: &Suite, text: &str, discovery_file: &str) -> Result<(), Failed> {
    let machine = suite.machine(MACHINE)?;
    let program = machine.path("/root/join-agent-of-the-test")?;
    fs::copy(suite.binaries().join("join-agent"), &program)?;
    let files = [
        ("/etc/join-agent/discovery.conf", discovery_file),
        ("/etc/join-agent/token", "abcdef.0123456789abcdef\n"),
        ("/root/agent.yaml", text),
    ];
    for (path, content) in files {
        let place = machine.path(path)?;
        fs::create_dir_all(place.parent().unwrap_or(&place))?;
        fs::write(&place, content)?;
        fs::set_permissions(&place, fs::Permissions::from_mode(0o600))?;
    }
    let mut check = machine.command("/root/join-agent-of-the-test")?;
    check.args(["check", "--config=/root/agent.yaml", "--output=json"]);
    let printed = String::from_utf8(command::output(&mut check)?.stdout)?;
    let report: Value = serde_json::from_str(&printed).map_err(|error| format!("{error}: {printed}"))?;
    let mut findings = report["checks"].as_array().into_iter().flatten();
    let finding = findings.find(|finding| finding["id"] == "Configuration").ok_or_else(|| format!("{report:#}"))?;
    // A warning tells what of a JoinConfiguration is not the agent's to read.
    if finding["verdict"] == "passed" || finding["verdict"] == "warning" {
        Ok(())
    } else {
        Err(finding.to_string().into())
    }
}

/// Starts the API server with a file, and then as it was.
fn give_api_server(suite: &Suite, flag: &str, text: &str) -> Result<(), Failed> {
    let lab = suite.lab();
    fs::write(lab.layout().control_plane_etc().join("of-the-page.yaml"), text)?;
    let began = fs::read_to_string(lab.log_file(API_SERVER))?.len();
    lab.kill_process(API_SERVER)?;
    lab.start_process(API_SERVER, &[&format!("{flag}=/etc/kubernetes/of-the-page.yaml")])?;
    let has_started = wait_until("the API server to start or to end", patience(PATIENCE), || {
        if lab.has_ended(API_SERVER) {
            return Ok(false);
        }
        let ready = lab.kubectl_output(&["get", "--raw", "/readyz"]);
        ready.map(|_| true).map_err(|failure| failure.to_string())
    });
    let outcome = match has_started {
        Ok(true) if flag == "--authentication-config" => anonymous_may_do_the_least(suite),
        Ok(true) => Ok(()),
        Ok(false) => {
            let log = fs::read_to_string(lab.log_file(API_SERVER))?;
            Err(format!("{API_SERVER} {flag} ended: {}", log.get(began..).unwrap_or_default()).into())
        }
        Err(failure) => Err(failure.into()),
    };
    // Also when something went wrong: the next block needs it.
    let _ = lab.kill_process(API_SERVER);
    lab.start_process(API_SERVER, &[])?;
    lab.wait_for_api_server()?;
    outcome
}

/// What the pages promise of their configuration: who is nobody reads cluster-info, and nothing else that is not about
/// the API server's health.
fn anonymous_may_do_the_least(suite: &Suite) -> Result<(), Failed> {
    for (path, expected) in [
        ("/livez", "200"),
        ("/api/v1/namespaces/kube-public/configmaps/cluster-info", "200"),
        ("/version", "401"),
        ("/api/v1/nodes", "401"),
    ] {
        let ask = format!(
            "curl --silent --output /dev/null --write-out '%{{http_code}}' --cacert /etc/kubernetes/pki/ca.crt \
             https://{CONTROL_PLANE}:{API_PORT}{path}"
        );
        let seen = suite.shell(Place::Administrator, "", &ask)?.stdout;
        if seen != expected {
            return Err(format!("{path} was answered with {seen}, expected {expected}").into());
        }
    }
    Ok(())
}

/// The API server knows requests; no controller runs.
fn install_types(suite: &Suite) -> Result<(), Failed> {
    let install = "helm upgrade --install join-operator charts/join-operator --namespace join-system \
                   --create-namespace --set replicaCount=0";
    suite.shell(Place::Administrator, "", install).map(drop)
}
