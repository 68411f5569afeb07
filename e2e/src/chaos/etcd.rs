//! etcd's alarm NOSPACE, raised and taken back: from then on etcd behaves as when its quota is exhausted, with the same
//! code (etcd, server/etcdserver/apply: the applier "capped").
//!
//! Raised by the maintenance API, because filling even the smallest quota takes minutes on a slow host, and emptying it a
//! compaction and a defragmentation that have nothing to do with joins.

use std::path::PathBuf;

use k8s_openapi::ByteString;
use kube::Client;

use crate::lab::Lab;
use crate::lab::layout::CONTROL_PLANE;

/// Where etcd listens beside 127.0.0.1.
const PORT: u16 = 2379;

/// A client of etcd's JSON gateway, with the certificate that kubeadm made for its probes.
pub async fn client(lab: &Lab) -> anyhow::Result<Client> {
    let pki = lab.layout().control_plane_etc().join("pki/etcd");
    let read = |name: &str| std::fs::read(pki.join(name)).map(ByteString);
    let kubeconfig = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "etcd",
        "clusters": [{"name": "etcd", "cluster": {
            "server": format!("https://{CONTROL_PLANE}:{PORT}"), "certificate-authority-data": read("ca.crt")?,
        }}],
        "users": [{"name": "etcd", "user": {
            "client-certificate-data": read("healthcheck-client.crt")?,
            "client-key-data": read("healthcheck-client.key")?,
        }}],
        "contexts": [{"name": "etcd", "context": {"cluster": "etcd", "user": "etcd"}}],
    });
    let path: PathBuf = lab.layout().folder().join("etcd.conf");
    std::fs::write(&path, kubeconfig.to_string())?;
    Ok(lab.client_of(path).await?)
}

/// Raises the alarm, or takes it back.
pub async fn set_full(client: &Client, full: bool) -> anyhow::Result<()> {
    let action = if full { "ACTIVATE" } else { "DEACTIVATE" };
    let body = serde_json::json!({"action": action, "memberID": "0", "alarm": "NOSPACE"}).to_string();
    client.request::<serde_json::Value>(http::Request::post("/v3/maintenance/alarm").body(body.into_bytes())?).await?;
    let asked = serde_json::json!({"action": "GET"}).to_string();
    let asked = http::Request::post("/v3/maintenance/alarm").body(asked.into_bytes())?;
    let raised = client.request::<serde_json::Value>(asked).await?;
    let raised = raised["alarms"].as_array().is_some_and(|alarms| !alarms.is_empty());
    anyhow::ensure!(raised == full, "etcd's alarm NOSPACE: expected raised={full}, seen raised={raised}");
    Ok(())
}
