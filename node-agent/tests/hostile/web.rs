//! A web server that is to have a discovery file.
//!
//! Whoever has the web server's certificate is believed. Everybody else, and every answer that is no kubeconfig with all in
//! itself, gets nothing done, and is told in words that hold neither the URL's query nor what the answer said.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use join_agent::discovery::{self, Cluster, Error, Origin};
use join_crds::vocabulary::Reason;
use join_trust::kubeconfig_url::KubeconfigUrl;
use rcgen::{KeyPair, date_time_ymd};
use rustls::ServerConfig;

use crate::authority::{Authority, signed, text};
use crate::stub::{Answer, Stub, Way, endless, flood};

/// What no message may have.
pub const SECRETS: [&str; 2] = ["0123456789abcdef", "s3cret"];
const LIMIT: usize = 64 * 1024;

pub fn url_of(web: &Stub) -> KubeconfigUrl {
    KubeconfigUrl::parse(&format!("https://{}/lab/discovery.conf?key=s3cret", web.address)).unwrap()
}

/// As the agent does it, with a store of root certificates that has this authority alone.
async fn discover(web: &Stub, root: &Authority) -> Result<Cluster, Error> {
    let url = url_of(web);
    let file = discovery::fetch_file_by(&url, root.root()).await?;
    discovery::by_file(Origin::Url(&url), &file, None).await.map(|discovered| discovered.cluster)
}

/// The kubeconfig of a cluster, with lines for its user.
pub fn kubeconfig(cluster: &Stub, ca: &Authority, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters:\n- name: lab\n  cluster:\n    server: {}\n    \
         certificate-authority-data: {}\nusers:\n- name: user\n  user:\n    {user}\ncontexts:\n- name: c\n  context: \
         {{cluster: lab, user: user}}\n",
        cluster.endpoint().url(),
        STANDARD.encode(&ca.pem),
    )
}

pub const TOKEN: &str = "token: abcdef.0123456789abcdef";

/// A cluster that is what its file says.
pub async fn cluster(real: &Authority) -> Stub {
    Stub::start(|server| vec![Way::cluster_info(&real.server(), signed(&text(server, &[real])))]).await
}

fn answer(code: StatusCode, body: impl Into<Bytes>) -> Answer {
    Response::builder().status(code).body(Full::new(body.into()).boxed()).unwrap()
}

/// A web server with this file.
pub async fn web(config: &Arc<ServerConfig>, file: impl Into<Bytes>) -> Stub {
    let file = file.into();
    Stub::start(|_| vec![Way::answer(config, move || answer(StatusCode::OK, file.clone()))]).await
}

/// What the agent says of it.
async fn refused(web: &Stub, root: &Authority) -> Error {
    let found = tokio::time::timeout(Duration::from_mins(2), discover(web, root)).await;
    let Ok(found) = found else { panic!("the agent is held up") };
    let failure = found.unwrap_err();
    assert!(web.connections() > 0, "the web server was not asked: {failure}");
    let (told, address) = (format!("{failure} {failure:?}"), format!("https://{}/lab/discovery.conf", web.address));
    assert!(!SECRETS.iter().any(|secret| told.contains(secret)), "a secret is told: {told}");
    assert!(failure.to_string().contains(&address), "it is not said which file: {failure}");
    assert!(failure.to_string().len() < 700, "{failure}");
    assert!(!failure.to_string().contains(char::is_control), "{failure:?}");
    assert!(failure.is_temporary(), "a server that is repaired must not have stopped the agent: {failure}");
    failure
}

/// It was not fetched, and this was seen.
fn assert_not_fetched(failure: &Error, seen: &str) {
    assert_eq!(failure.reason(), Reason::DiscoveryFileNotFetched, "{failure}");
    assert!(failure.to_string().contains(seen), "expected {seen:?} in: {failure}");
}

/// It was fetched, and is of no use for this.
fn assert_unusable(failure: &Error, seen: &str) {
    assert_eq!(failure.reason(), Reason::DiscoveryFileUnusable, "{failure}");
    assert!(failure.to_string().contains(seen), "expected {seen:?} in: {failure}");
}

/// Without an attacker, so that the other tests mean something.
#[tokio::test]
async fn a_file_that_is_elsewhere_is_believed() {
    let (root, real) = (Authority::named("web"), Authority::new());
    let cluster = cluster(&real).await;
    let key = KeyPair::generate().unwrap();
    let own = rcgen::CertificateParams::default().self_signed(&key).unwrap();
    let certificate = format!(
        "client-certificate-data: {}\n    client-key-data: {}",
        STANDARD.encode(own.pem()),
        STANDARD.encode(key.serialize_pem())
    );
    for user in [TOKEN, &certificate] {
        let web = web(&root.server(), kubeconfig(&cluster, &real, user)).await;
        let found = discover(&web, &root).await.unwrap();
        assert_eq!((found.endpoint, found.ca.pins()), (cluster.endpoint(), real.pins()));
        assert_eq!(web.asked(), ["GET /lab/discovery.conf?key=s3cret"]);
        assert!(!web.was_told_a_secret());
    }
    assert!(!cluster.was_told_a_secret(), "nobody was announced yet");
}

#[tokio::test]
async fn a_web_server_with_another_certificate() {
    let (root, real) = (Authority::named("web"), Authority::new());
    let cluster = cluster(&real).await;
    let unknown = "no root certificate of this machine leads to the web server's certificate";
    let long_ago = root.server_with(|params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let years_ahead = root.server_with(|params| {
        params.not_before = date_time_ymd(4000, 1, 1);
        params.not_after = date_time_ymd(4001, 1, 1);
    });
    let elsewhere = root.server_with(|params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("files.example".try_into().unwrap())];
    });
    for (config, seen) in [
        (Authority::named("web").server(), unknown),
        (Authority::named("somebody").server(), unknown),
        // The cluster's own authority is none of the machine's roots.
        (real.server(), unknown),
        (long_ago, "certificate expired"),
        (years_ahead, "certificate not valid yet"),
        (elsewhere, "certificate not valid for name \"127.0.0.1\""),
    ] {
        let web = web(&config, kubeconfig(&cluster, &real, TOKEN)).await;
        assert_not_fetched(&refused(&web, &root).await, seen);
        assert_eq!(web.requests(), 0, "the URL's query was sent: {seen}");
    }
    assert_eq!(cluster.connections(), 0);
}

#[tokio::test]
async fn a_redirection_of_the_web_server() {
    let (root, real) = (Authority::named("web"), Authority::new());
    let cluster = cluster(&real).await;
    let other = web(&root.server(), kubeconfig(&cluster, &real, TOKEN)).await;
    for code in [301, 302, 303, 307, 308] {
        let location = HeaderValue::from_str(&format!("https://{}/s3cret", other.address)).unwrap();
        let leads_elsewhere = move || {
            let mut answer = answer(code.try_into().unwrap(), "");
            answer.headers_mut().insert("location", location.clone());
            answer
        };
        let web = Stub::start(|_| vec![Way::answer(&root.server(), leads_elsewhere)]).await;
        let failure = refused(&web, &root).await;
        assert_not_fetched(&failure, &format!("HTTP {code} "));
        assert_not_fetched(&failure, "a redirection is not followed");
    }
    assert_eq!(other.connections(), 0, "a redirection was followed");
}

/// Whatever comes with it, an answer of another status is none.
#[tokio::test]
async fn another_status_than_200() {
    let (root, real) = (Authority::named("web"), Authority::new());
    let cluster = cluster(&real).await;
    for code in [204, 206, 401, 403, 404, 429, 500, 503] {
        let file = kubeconfig(&cluster, &real, TOKEN);
        let refusal = move || answer(code.try_into().unwrap(), file.clone());
        let web = Stub::start(|_| vec![Way::answer(&root.server(), refusal)]).await;
        assert_not_fetched(&refused(&web, &root).await, &format!("HTTP {code} "));
        assert_eq!(web.requests(), 1, "it is asked again in the next round");
    }
    assert_eq!(cluster.connections(), 0);
}

#[tokio::test]
async fn a_file_of_more_than_64_kib() {
    let (root, real) = (Authority::named("web"), Authority::new());
    let cluster = cluster(&real).await;
    let file = |size: usize| {
        let file = kubeconfig(&cluster, &real, TOKEN);
        format!("{file}#{}", "x".repeat(size - file.len() - 1))
    };
    let web_of = async |size| web(&root.server(), file(size)).await;
    assert!(discover(&web_of(LIMIT).await, &root).await.is_ok());
    for size in [LIMIT + 1, 1024 * 1024] {
        assert_not_fetched(&refused(&web_of(size).await, &root).await, "the answer has more than 65536 bytes");
    }
    // Neither says how much is to come.
    let pieces = file(1024 * 1024).into_bytes();
    let pieces: Vec<Bytes> = pieces.chunks(1000).map(Bytes::copy_from_slice).collect();
    let in_pieces = Way::answer(&root.server(), move || endless(futures::stream::iter(pieces.clone())));
    for way in [in_pieces, Way::answer(&root.server(), flood)] {
        let web = Stub::start(|_| vec![way]).await;
        assert_not_fetched(&refused(&web, &root).await, "the answer has more than 65536 bytes");
    }
}

/// Whoever takes his time holds the agent up for ten seconds, and no longer.
#[tokio::test]
async fn a_slow_web_server_is_given_up() {
    let root = Authority::named("web");
    let ways = [
        (Way::Silence, "no connection within 5 s"),
        (Way::Drip(root.server(), "HTTP/1.1 200 OK\r\nx: "), "no answer within 10 s"),
        (
            Way::Drip(root.server(), "HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\nclusters: "),
            "no answer within 10 s",
        ),
    ];
    let tries = ways.map(|(way, seen)| {
        let root = &root;
        async move {
            let web = Stub::start(|_| vec![way]).await;
            assert_not_fetched(&refused(&web, root).await, seen);
        }
    });
    futures::future::join_all(tries).await;
}

/// It may neither have a command run nor a file of the machine read, nor say how to connect.
#[tokio::test]
async fn a_file_that_asks_for_more_than_it_may() {
    let (root, real) = (Authority::named("web"), Authority::new());
    let cluster = cluster(&real).await;
    let folder = tempfile::tempdir().unwrap();
    let ran = folder.path().join("ran");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "abcdef.0123456789abcdef").unwrap();
    let secret = secret.display();
    let good = kubeconfig(&cluster, &real, TOKEN);
    let ca = format!("certificate-authority-data: {}", STANDARD.encode(&real.pem));
    let exec = format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, command: /usr/bin/touch, args: [{}]}}",
        ran.display()
    );
    for (from, to, field) in [
        (TOKEN, exec, "exec"),
        (TOKEN, "auth-provider: {name: gcp}".to_owned(), "auth-provider"),
        (TOKEN, format!("tokenFile: {secret}"), "tokenFile"),
        (TOKEN, format!("{TOKEN}\n    tokenFile: {secret}"), "tokenFile"),
        (TOKEN, format!("client-certificate: {secret}\n    client-key-data: a2V5"), "client-certificate"),
        (TOKEN, format!("client-certificate-data: Yw==\n    client-key: {secret}"), "client-key"),
        (&ca, format!("certificate-authority: {secret}"), "certificate-authority"),
        (&ca, format!("{ca}\n    certificate-authority: {secret}"), "certificate-authority"),
        (&ca, format!("{ca}\n    insecure-skip-tls-verify: true"), "insecure-skip-tls-verify"),
        (&ca, format!("{ca}\n    proxy-url: https://192.0.2.66"), "proxy-url"),
        (&ca, format!("{ca}\n    tls-server-name: evil"), "tls-server-name"),
    ] {
        assert!(good.contains(from));
        let web = web(&root.server(), good.replace(from, &to)).await;
        assert_unusable(&refused(&web, &root).await, field);
    }
    assert!(!ran.exists(), "the command was run");
    assert_eq!(cluster.connections(), 0, "the API server was asked");
}

#[tokio::test]
async fn what_leads_to_no_cluster() {
    let (root, real) = (Authority::named("web"), Authority::new());
    let cluster = cluster(&real).await;
    let good = kubeconfig(&cluster, &real, TOKEN);
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(good.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    let ca = STANDARD.encode(&real.pem);
    let with = |from: &str, to: &str| {
        assert!(good.contains(from));
        good.replace(from, to).into_bytes()
    };
    for (file, seen) in [
        (Vec::new(), "kubeconfig has 0 clusters"),
        (b"<html><body>0123456789abcdef</body></html>".to_vec(), "is not YAML of the expected shape"),
        // Nothing is unpacked.
        (packed, "is not text in UTF-8"),
        (with("kind: Config", "kind: \"a\\nb\\e[31m\""), "expected v1 and Config"),
        (with("kind: Config", &format!("kind: {}", "x".repeat(30_000))), "kubeconfig has apiVersion"),
        (with("    server: https://", "    server: http://"), "is not https"),
        (with(TOKEN, "{}"), "has no credentials to announce this machine with; give it a user"),
        (with(TOKEN, "{}"), "discovery.tlsBootstrapToken, or --token of `join-agent join`"),
        (with(&format!("certificate-authority-data: {ca}"), "x: y"), "names no certificate authority"),
        (with(&ca, "bm8gUEVN"), "certificate"),
        (with(TOKEN, "client-certificate-data: Yw==\n    client-key-data: a2V5"), "client certificate"),
    ] {
        let web = web(&root.server(), file).await;
        assert_unusable(&refused(&web, &root).await, seen);
    }
    assert_eq!(cluster.connections(), 0, "the API server was asked");
}

/// The file says who the API server is, and that has to be true.
#[tokio::test]
async fn a_file_of_another_cluster() {
    let (root, real, other) = (Authority::named("web"), Authority::new(), Authority::new());
    let cluster = cluster(&real).await;
    let web = web(&root.server(), kubeconfig(&cluster, &other, TOKEN)).await;
    let failure = discover(&web, &root).await.unwrap_err();
    assert_eq!(failure.reason(), Reason::ServerAuthorityUnknown, "{failure}");
    assert!(!cluster.was_told_a_secret());
}

/// The program itself, with the store that its environment names: what counts is what is verified by it.
#[tokio::test]
async fn the_machines_own_root_certificates_count() {
    let (root, other, real) = (Authority::named("web"), Authority::named("other"), Authority::new());
    let cluster = cluster(&real).await;
    let web = web(&root.server(), kubeconfig(&cluster, &real, TOKEN)).await;
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let state = folder.path().join("state");
    let configuration = write(
        "config.yaml",
        &format!(
            "{{apiVersion: agent.nodejoin.dev/v1alpha1, kind: AgentConfiguration, stateDirectory: {}, discovery: {{file: \
             {{kubeConfigPath: 'https://{}/lab/discovery.conf?key=s3cret'}}}}}}",
            state.display(),
            web.address
        ),
    );
    let right = write("right/ca.crt", &root.pem);
    let both = write("both.crt", &format!("{}{}", other.pem, root.pem));
    let wrong = write("wrong.crt", &other.pem);
    let none = write("none.crt", "");
    for (variable, value, verdict, seen) in [
        ("SSL_CERT_FILE", right.as_path(), "passed", format!("names the API server {}", cluster.endpoint())),
        ("SSL_CERT_FILE", both.as_path(), "passed", format!("names the API server {}", cluster.endpoint())),
        ("SSL_CERT_DIR", right.parent().unwrap(), "passed", format!("names the API server {}", cluster.endpoint())),
        ("SSL_CERT_FILE", wrong.as_path(), "failed", "no root certificate of this machine leads to".to_owned()),
        ("SSL_CERT_FILE", none.as_path(), "failed", "this machine has no root certificates".to_owned()),
    ] {
        let report = Checked::run(&configuration, variable, value).await;
        let (file, tls) = (report.check("DiscoveryFile"), report.check("APIServerTLS"));
        assert_eq!(file["verdict"], verdict, "{variable}: {file}");
        assert!(file["observed"].as_str().unwrap().contains(&seen), "{variable}: {file}");
        assert_eq!(tls["verdict"], if verdict == "passed" { "passed" } else { "skipped" }, "{variable}: {tls}");
        if verdict == "failed" {
            assert_eq!(file["remedy"], Reason::DiscoveryFileNotFetched.next_step());
            assert!(!report.is_good);
        }
    }
}

/// What `join-agent check` prints; no secret is in it.
pub struct Checked {
    pub is_good: bool,
    report: serde_json::Value,
}

impl Checked {
    /// Runs it with a configuration, and with root certificates by a variable of the environment.
    pub async fn run(configuration: &Path, variable: &str, roots: &Path) -> Self {
        let run = tokio::process::Command::new(env!("CARGO_BIN_EXE_join-agent"))
            .args(["check", "-o", "json", "--config"])
            .arg(configuration)
            .env_remove("SSL_CERT_FILE")
            .env_remove("SSL_CERT_DIR")
            .env(variable, roots)
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        let printed = String::from_utf8(run.stdout).unwrap();
        assert!(!SECRETS.iter().any(|secret| printed.contains(secret)), "a secret is printed: {printed}");
        Self { is_good: run.status.success(), report: serde_json::from_str(&printed).unwrap() }
    }

    pub fn check(&self, id: &str) -> &serde_json::Value {
        let mut checks = self.report["checks"].as_array().unwrap().iter();
        checks.find(|check| check["id"] == id).unwrap_or_else(|| panic!("no check {id}: {}", self.report))
    }
}
