//! Looking at a cluster and a machine after a join.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use join_crds::NodeJoinRequest;
use join_crds::vocabulary::{
    ANNOUNCEMENT_PREFIX, BOOTSTRAP_USER_PREFIX, CLUSTER_INFO, JWS_KEY_PREFIX, KUBE_PUBLIC, KUBE_SYSTEM,
    LABEL_REQUEST_UID, SIGNER_KUBELET_CLIENT, SIGNER_KUBELET_SERVING, SIGNER_MACHINE, node_user, record_name,
};
use join_trust::pkcs10::CertificationRequest;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client};

use super::judge::{Purpose, Remains, SeenRequest};
use crate::lab::Machine;
use crate::operator::NAMESPACE;

/// The name of a token's Secret is this and its id.
const TOKEN_SECRET_PREFIX: &str = "bootstrap-token-";
/// The type of a token's Secret.
const TOKEN_SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";

/// An administrator's look at the cluster.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
}

impl Cluster {
    /// With an administrator's client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The requests.
    pub fn requests(&self) -> Api<NodeJoinRequest> {
        Api::all(self.client.clone())
    }

    /// The nodes.
    pub fn nodes(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    /// Whether a Node is there and Ready.
    pub async fn is_ready(&self, name: &str) -> Result<bool, kube::Error> {
        let node = self.nodes().get_opt(name).await?;
        let conditions = node.and_then(|node| node.status).and_then(|status| status.conditions).unwrap_or_default();
        Ok(conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
    }

    /// What there is of a request.
    pub async fn remains(&self, uid: &str) -> Result<Remains, kube::Error> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), KUBE_SYSTEM);
        let all = secrets.list(&ListParams::default().fields(&format!("type={TOKEN_SECRET_TYPE}"))).await?;
        let id = |secret: &Secret| {
            secret.metadata.name.as_deref().and_then(|name| name.strip_prefix(TOKEN_SECRET_PREFIX)).map(str::to_owned)
        };
        let existing: BTreeSet<String> = all.items.iter().filter_map(id).collect();
        let tokens = all.items.iter().filter(|secret| {
            secret.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_REQUEST_UID)).is_some_and(|of| of == uid)
        });
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), KUBE_PUBLIC);
        let data = maps.get(CLUSTER_INFO).await?.data.unwrap_or_default();
        let signed = data.keys().filter_map(|key| key.strip_prefix(JWS_KEY_PREFIX));
        let records = self.records().list(&ListParams::default().labels(&format!("{LABEL_REQUEST_UID}={uid}"))).await?;
        Ok(Remains {
            tokens: tokens.filter_map(id).collect(),
            signatures: signed.filter(|id| !existing.contains(*id)).map(str::to_owned).collect(),
            records: records.items.into_iter().filter_map(|record| record.metadata.name).collect(),
        })
    }

    fn records(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// The id of the token that a request's record names.
    pub async fn recorded_token(&self, uid: &str) -> Result<Option<String>, kube::Error> {
        let record = self.records().get_opt(&record_name(uid)).await?;
        let id = record.and_then(|record| record.data).and_then(|mut data| data.remove("token-id"));
        Ok(id.and_then(|id| String::from_utf8(id.0).ok()))
    }

    /// The certificate requests of a machine: its announcements, and what it asked for with these tokens or as the node.
    pub async fn certificate_requests(
        &self,
        node: &str,
        tokens: &BTreeSet<String>,
    ) -> Result<Vec<SeenRequest>, kube::Error> {
        let api: Api<CertificateSigningRequest> = Api::all(self.client.clone());
        let announcement = format!("{ANNOUNCEMENT_PREFIX}{node}-");
        let as_node = node_user(node);
        let all = api.list(&ListParams::default()).await?;
        let mine = all.items.iter().filter(|csr| {
            let name = csr.metadata.name.as_deref().unwrap_or_default();
            let user = csr.spec.username.as_deref().unwrap_or_default();
            let by_token = user.strip_prefix(BOOTSTRAP_USER_PREFIX).is_some_and(|id| tokens.contains(id));
            name.starts_with(&announcement) || user == as_node || by_token
        });
        Ok(mine.filter_map(seen).collect())
    }
}

fn seen(csr: &CertificateSigningRequest) -> Option<SeenRequest> {
    let purpose = match csr.spec.signer_name.as_str() {
        SIGNER_MACHINE => Purpose::Announcement,
        SIGNER_KUBELET_CLIENT => Purpose::Client,
        SIGNER_KUBELET_SERVING => Purpose::Serving,
        _ => return None,
    };
    let status = csr.status.as_ref();
    let created = csr.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second());
    let key =
        CertificationRequest::parse_pem(&csr.spec.request.0).map_or_else(|e| e.to_string(), |r| r.pin().to_string());
    Some(SeenRequest {
        name: csr.metadata.name.clone().unwrap_or_default(),
        purpose,
        key,
        is_decided: status.and_then(|status| status.conditions.as_ref()).is_some_and(|all| !all.is_empty()),
        is_issued: status.is_some_and(|status| status.certificate.is_some()),
        age: Duration::from_secs(u64::try_from(Timestamp::now().as_second() - created).unwrap_or_default()),
    })
}

/// Files of interrupted writes, wherever the agent writes.
pub fn temporary_files(machine: &Machine<'_>) -> anyhow::Result<Vec<String>> {
    let find =
        ["find", "/etc/kubernetes", "/var/lib/kubelet", "/var/lib/join-agent", "-xdev", "-name", ".*.join-agent"];
    Ok(machine.run(&find)?.stdout.lines().map(str::to_owned).collect())
}

/// How many client certificates the machine has.
pub fn client_certificates(machine: &Machine<'_>) -> anyhow::Result<usize> {
    let found = std::fs::read_dir(machine.path("/var/lib/kubelet/pki")?).into_iter().flatten().flatten();
    // The year that begins the date in its name; the link to the current one has none.
    let is_certificate = |name: &str| name.starts_with("kubelet-client-2");
    Ok(found.filter(|entry| entry.file_name().to_str().is_some_and(is_certificate)).count())
}

/// What the agent says that it does, and why: its step and message.
pub fn told(machine: &Machine<'_>) -> Option<(String, String)> {
    let said = status(machine)?;
    Some((said["step"].as_str()?.to_owned(), said["message"].as_str()?.to_owned()))
}

/// The key of the machine, as its agent tells it.
pub fn key(machine: &Machine<'_>) -> anyhow::Result<String> {
    let said = status(machine).and_then(|said| said["publicKeyHash"].as_str().map(str::to_owned));
    said.context("the agent does not tell the machine's key")
}

fn status(machine: &Machine<'_>) -> Option<serde_json::Value> {
    let text = std::fs::read(machine.path("/run/join-agent/status.json").ok()?).ok()?;
    serde_json::from_slice(&text).ok()
}
