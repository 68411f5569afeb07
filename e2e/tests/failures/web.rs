//! A discovery file on a web server, whose certificate the machine knows by its own root certificates.

use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use join_e2e::lab::layout::{API_PORT, CONTROL_PLANE};
use join_e2e::suite::joining::Suite;
use libtest_mimic::Failed;
use rcgen::CertificateParams;
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::agent::Scene;
use super::way;

const NAME: &str = "files.example";
/// Where the web server listens, in the machine's own network.
const ADDRESS: &str = "127.0.0.1:8443";
const NOT_FETCHED: &str = "the discovery file cannot be fetched from its URL";
const UNUSABLE: &str = "what the discovery file's URL answers with cannot be used";

/// What the web server answers with.
type File = Arc<Mutex<Value>>;

/// The agent is started once: what is mended around it is enough.
pub fn a_discovery_file_at_a_url_is_fetched_or_told(suite: &Suite) -> Result<(), Failed> {
    let scene = Scene::new(suite, "web-1")?;
    scene.shell(&format!("echo '127.0.0.1 {NAME}' >> /etc/hosts"))?;
    let authority = way::authority()?;
    let tls = way::tls(&CertificateParams::new(vec![NAME.to_owned()])?, &authority)?;

    let good = scene.kubeconfig(&format!("{CONTROL_PLANE}:{API_PORT}"), &scene.pki("ca.crt")?);
    let mut with_command = good.clone();
    with_command["users"][0]["user"] = json!({"exec": {"command": "/usr/bin/touch", "args": ["/run/ran"]}});
    let file = File::new(Mutex::new(with_command));
    let server = suite.spawn(serve(scene.listen(ADDRESS.parse()?)?, tls, Arc::clone(&file)));
    let outcome = fetched_or_told(&scene, &authority.pem(), &file, good);
    server.abort();
    outcome
}

fn fetched_or_told(scene: &Scene<'_>, authority: &str, file: &File, good: Value) -> Result<(), Failed> {
    let url = format!("https://{NAME}:8443/lab/discovery.conf");
    let configuration = Scene::with_file_at(&format!("{url}?key=of-the-url"));
    let unknown = "no root certificate of this machine leads to the web server's certificate";
    scene.fails(&configuration, NOT_FETCHED, &[&url, unknown])?;

    let began = Instant::now();
    let store = scene.machine.path("/etc/ssl/certs")?;
    std::fs::create_dir_all(&store)?;
    std::fs::write(store.join("web.pem"), authority)?;
    let message = scene.says(began, UNUSABLE, &[&url, "kubeconfig sets exec"])?;
    assert!(!message.contains("of-the-url"), "the query is told: {message}");

    *file.lock().unwrap_or_else(PoisonError::into_inner) = good;
    scene.goes_on()?;
    scene.shell("test ! -e /run/ran")?;
    let journal = scene.shell("journalctl --no-pager -u join-agent.service")?;
    assert!(!journal.contains("of-the-url"), "the query is in the journal: {journal}");
    Ok(())
}

/// Answers everybody with the file as it is now.
async fn serve(listener: TcpListener, tls: Arc<ServerConfig>, file: File) {
    let acceptor = TlsAcceptor::from(tls);
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    while let Ok((stream, _)) = listener.accept().await {
        // Whoever does not like the certificate hangs up.
        let Ok(mut stream) = acceptor.accept(stream).await else { continue };
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        let file = file.lock().unwrap_or_else(PoisonError::into_inner).to_string();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", file.len());
        let _ = stream.write_all(format!("{head}{file}").as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}
