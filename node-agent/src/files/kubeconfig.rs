//! `/etc/kubernetes/kubelet.conf`, as a kubelet itself writes it after its TLS bootstrap.

use std::path::Path;

use join_trust::ca_bundle::CaBundle;
use join_trust::endpoint::Endpoint;
use join_trust::go_yaml;
use k8s_openapi::ByteString;
use serde::Serialize;

use super::Error;

/// Renders the kubeconfig; certificate and key are both in the file `pem`.
pub fn kubelet_conf(endpoint: &Endpoint, ca: &CaBundle, pem: &Path) -> Result<String, Error> {
    let pem = pem.display().to_string();
    Ok(go_yaml::to_string(&serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "default-context",
        "clusters": [{
            "name": "default-cluster",
            "cluster": {"server": endpoint.url(), "certificate-authority-data": base64(ca.to_pem().as_bytes())},
        }],
        "contexts": [{
            "name": "default-context",
            "context": {"cluster": "default-cluster", "namespace": "default", "user": "default-auth"},
        }],
        "users": [{"name": "default-auth", "user": {"client-certificate": pem, "client-key": pem}}],
    }))?)
}

fn base64(bytes: &[u8]) -> serde_json::Value {
    // The API's own type of bytes has the encoding that is wanted.
    ByteString(bytes.to_vec()).serialize(serde_json::value::Serializer).unwrap_or_default()
}
