//! What a machine meets on its way to the API server: each fault is made for real, and has its reason.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Instant;

use join_crds::ConditionType;
use join_e2e::lab::layout::{API_PORT, CONTROL_PLANE};
use join_e2e::suite::joining::Suite;
use libtest_mimic::Failed;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use time::{Duration, OffsetDateTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::agent::Scene;
use super::everywhere::{self, Failure};

/// Where the stubs of API servers listen, in the machine's own network.
const EXPIRED: &str = "127.0.0.1:7443";
const NOT_YET_VALID: &str = "127.0.0.1:7444";

pub type Authority = CertifiedIssuer<'static, KeyPair>;

/// Name, route, connection and TLS.
pub fn each_fault_on_the_way_to_the_api_server_has_its_reason(suite: &Suite) -> Result<(), Failed> {
    let scene = Scene::new(suite, "way-1")?;
    let at = |endpoint: &str| scene.configuration(&json!({"apiServerEndpoint": endpoint}));

    let name = "nowhere.invalid";
    scene.fails(&at(&format!("{name}:{API_PORT}"))?, "the API server's name does not resolve", &[name])?;

    // An address for documentation (RFC 5737), to which the kernel is told that there is no way.
    scene.shell("ip route add unreachable 203.0.113.7/32")?;
    scene.fails(&at("203.0.113.7:6443")?, "there is no route to the API server", &["203.0.113.7:6443", "oute"])?;

    let filter = "nft add table inet way; nft add chain inet way in '{ type filter hook input priority 0; }'; \
                  nft add rule inet way in tcp sport 6443 drop";
    scene.shell(filter)?;
    let configuration = scene.configuration(&json!({}))?;
    scene.fails(
        &configuration,
        "nobody answers: a firewall drops the packets",
        &[&format!("{CONTROL_PLANE}:{API_PORT}"), "5 s"],
    )?;
    scene.shell("nft delete table inet way")?;
    scene.goes_on()?;

    // Nobody listens there.
    let endpoint = format!("{CONTROL_PLANE}:6444");
    scene.fails(&at(&endpoint)?, "the connection is refused", &[&endpoint, "refused"])?;

    // The cluster has another authority, for another purpose.
    let server = format!("{CONTROL_PLANE}:{API_PORT}");
    let configuration = scene.with_file(&server, &scene.pki("front-proxy-ca.crt")?)?;
    scene.fails(&configuration, "TLS: another certificate authority", &[&server, "UnknownIssuer"])?;

    scene.shell(&format!("echo '{CONTROL_PLANE} elsewhere.example' >> /etc/hosts"))?;
    let configuration = scene.with_file(&format!("elsewhere.example:{API_PORT}"), &scene.pki("ca.crt")?)?;
    scene.fails(&configuration, "TLS: a certificate for other names", &["elsewhere.example", "control-plane"])?;

    certificates_of_another_time(&scene)
}

/// A new certificate authority.
pub fn authority() -> Result<Authority, Failed> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?)
}

/// A server with a certificate of that authority.
pub fn tls(parameters: &CertificateParams, authority: &Authority) -> Result<Arc<ServerConfig>, Failed> {
    let key = KeyPair::generate()?;
    let certificate = parameters.signed_by(&key, authority)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let server = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    Ok(Arc::new(server))
}

/// A real API server makes no certificate that has ended: stubs have one.
fn certificates_of_another_time(scene: &Scene<'_>) -> Result<(), Failed> {
    let now = OffsetDateTime::now_utc();
    let authority = authority()?;
    for (address, from, until, seen) in [
        (EXPIRED, now - Duration::days(2), now - Duration::days(1), "TLS: a certificate that has expired"),
        (NOT_YET_VALID, now + Duration::days(1), now + Duration::days(2), "TLS: a certificate that is not valid yet"),
    ] {
        let mut parameters = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
        (parameters.not_before, parameters.not_after) = (from, until);
        let server = tls(&parameters, &authority)?;
        let stub = scene.suite.spawn(serve(scene.listen(address.parse()?)?, server));
        let configuration = scene.with_file(address, &authority.pem())?;
        let outcome = scene.fails(&configuration, seen, &[address, "certificate"]);
        stub.abort();
        outcome?;
    }
    Ok(())
}

/// Answers everybody with the time.
async fn serve(listener: TcpListener, server: Arc<ServerConfig>) {
    let acceptor = TlsAcceptor::from(server);
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    while let Ok((stream, _)) = listener.accept().await {
        // Whoever does not like the certificate hangs up.
        let Ok(mut stream) = acceptor.accept(stream).await else { continue };
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        let now = k8s_openapi::jiff::fmt::rfc2822::DateTimePrinter::new()
            .timestamp_to_rfc9110_string(&k8s_openapi::jiff::Timestamp::now())
            .unwrap_or_default();
        let answer = format!("HTTP/1.1 404 Not Found\r\ndate: {now}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

/// Ten minutes and a day, in both directions. A clock that is ahead is in nobody's way yet, and told all the same.
pub fn a_clock_that_is_off_is_told_in_seconds(suite: &Suite) -> Result<(), Failed> {
    let scene = Scene::new(suite, "clock-1")?;
    let configuration = scene.configuration(&json!({}))?;
    for (offset, seconds, direction) in [
        ("-10m", 600, "behind the API server's"),
        ("+10m", 600, "ahead of the API server's"),
        ("-1d", 86_400, "behind the API server's"),
        ("+1d", 86_400, "ahead of the API server's"),
    ] {
        scene.machine.set_clock_of_unit("join-agent.service", Some(offset))?;
        let began = Instant::now();
        scene.start(&configuration)?;
        let message =
            scene.says(began, "the machine's clock is minutes or days off", &["this machine's clock is", direction])?;
        let told = message.split("clock is ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
        // The way takes a moment, and the API server tells whole seconds.
        let told: i64 = told.parse().map_err(|error| format!("{error}: {message}"))?;
        assert!((told - seconds).abs() <= 5, "{offset}: {message}");
    }
    in_the_request(&scene)?;
    scene.machine.set_clock_of_unit("join-agent.service", None)?;
    scene.start(&configuration)?;
    suite.wait_until_joined(scene.machine.name())?;
    Ok(())
}

/// A machine whose clock is ahead reaches the API server, and so its request says it.
fn in_the_request(scene: &Scene<'_>) -> Result<(), Failed> {
    scene.machine.set_clock_of_unit("join-agent.service", Some("+10m"))?;
    let name = scene.machine.name();
    scene.suite.request(name, &json!({"role": "Worker", "machine": {"trust": "FirstUse"}}))?;
    let began = Instant::now();
    scene.start(&scene.configuration(&json!({}))?)?;
    let skew = Failure {
        seen: "the machine's clock is minutes or days off",
        condition: Some(ConditionType::ClientCertificateIssued),
        machine: Some(&scene.machine),
        event: Some("AgentFailed"),
        names: &["ahead of the API server's"],
    };
    everywhere::find(scene.suite, name, began, &skew)
}
