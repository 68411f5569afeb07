//! What a machine may believe of `kube-public/cluster-info`.
//!
//! The machine fetches it anonymously from a server that it cannot verify yet. Two things make it true: the signature
//! of somebody who knows the token, and a certificate authority whose key is pinned. Then it is fetched again over
//! TLS verified with that authority, and must be the same to the byte ([`ClusterInfo::confirm`]).
//!
//! Stricter than kubeadm where kubeadm is known to be weak: exactly one cluster may stand in it (kubeadm checks one
//! and may use another), and only pinned authorities are trusted afterwards (kubeadm trusts the whole bundle).

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::ca_bundle::{CaBundle, CaBundleError, CaTrust};
use crate::endpoint::Endpoint;
use crate::jws::{self, JwsError};
use crate::kubeconfig::{KubeconfigError, RawKubeconfig};
use crate::pin::PinSet;
use crate::token::BootstrapToken;

/// The namespace of the ConfigMap.
pub const NAMESPACE: &str = "kube-public";
/// The name of the ConfigMap.
pub const NAME: &str = "cluster-info";
/// The data key that holds the kubeconfig.
pub const KUBECONFIG_KEY: &str = "kubeconfig";

/// cluster-info is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterInfoError {
    /// There is no kubeconfig in it.
    #[error("cluster-info has no kubeconfig: this API server is not set up for token discovery")]
    NoKubeconfig,
    /// The signature is missing or wrong.
    #[error(transparent)]
    Signature(#[from] JwsError),
    /// The kubeconfig cannot be used.
    #[error("cluster-info: {0}")]
    Kubeconfig(#[from] KubeconfigError),
    /// Its certificate authorities cannot be used or trusted.
    #[error("cluster-info: {0}")]
    Ca(#[from] CaBundleError),
    /// The second fetch, over verified TLS, gave another text than the first.
    #[error(
        "cluster-info read over verified TLS differs from the one that was read first: somebody changed it on the way, or it has just been edited"
    )]
    Changed,
    /// The kubeconfig to publish could not be written.
    #[error("cannot write the kubeconfig of cluster-info as YAML")]
    Render,
}

/// A cluster-info that was found to be true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterInfo {
    endpoint: Endpoint,
    ca: CaBundle,
    text: String,
}

impl ClusterInfo {
    /// Verifies the token's signature in a ConfigMap's data, then parses its kubeconfig.
    ///
    /// The order matters: nothing of the text is parsed before its signature has been verified. A missing signature
    /// ([`JwsError::Missing`]) is worth retrying, everything else is definite.
    pub fn verify(
        data: &BTreeMap<String, String>,
        token: &BootstrapToken,
        trust: &CaTrust,
    ) -> Result<Self, ClusterInfoError> {
        let text = kubeconfig(data)?;
        jws::verify_in(token, text, data)?;
        Self::parse(text, trust)
    }

    /// Parses the `kubeconfig` value of a cluster-info whose origin is known to be right.
    pub fn parse(text: &str, trust: &CaTrust) -> Result<Self, ClusterInfoError> {
        let raw = RawKubeconfig::parse(text)?;
        let cluster = raw.only_cluster()?;
        let endpoint = cluster.endpoint()?;
        let ca = CaBundle::parse_pem(&cluster.embedded_ca()?)?.restrict(trust)?;
        Ok(Self { endpoint, ca, text: text.to_owned() })
    }

    /// Checks that the second fetch, made over TLS verified with [`Self::ca`], gave the same text.
    pub fn confirm(&self, data: &BTreeMap<String, String>) -> Result<(), ClusterInfoError> {
        if kubeconfig(data)? == self.text { Ok(()) } else { Err(ClusterInfoError::Changed) }
    }

    /// The API server that the cluster names for itself, which may be another than the one that was asked.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The certificate authorities that may be trusted from here on.
    pub fn ca(&self) -> &CaBundle {
        &self.ca
    }

    /// The pins of these authorities.
    pub fn ca_pins(&self) -> PinSet {
        self.ca.pins()
    }

    /// The text, exactly as it was read.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Writes the `kubeconfig` value of a cluster-info with kubeadm's layout, to the byte.
///
/// For a cluster that has none. Every token's signature covers these bytes, so two writers that laid the same content
/// out differently would invalidate each other's signatures.
pub fn render(endpoint: &Endpoint, ca: &CaBundle) -> Result<String, ClusterInfoError> {
    let kubeconfig = Published {
        api_version: "v1",
        clusters: [PublishedCluster {
            cluster: PublishedServer {
                certificate_authority_data: STANDARD.encode(ca.to_pem()),
                server: endpoint.url(),
            },
            name: "",
        }],
        contexts: None,
        current_context: "",
        kind: "Config",
        users: None,
    };
    // Kubernetes writes lists without indentation and long text on one line.
    let options = serde_saphyr::ser_options! { compact_list_indent: true, prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(&kubeconfig, options).map_err(|_| ClusterInfoError::Render)
}

fn kubeconfig(data: &BTreeMap<String, String>) -> Result<&str, ClusterInfoError> {
    data.get(KUBECONFIG_KEY).map(String::as_str).filter(|text| !text.is_empty()).ok_or(ClusterInfoError::NoKubeconfig)
}

#[derive(Serialize)]
struct Published {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    clusters: [PublishedCluster; 1],
    contexts: Option<()>,
    #[serde(rename = "current-context")]
    current_context: &'static str,
    kind: &'static str,
    users: Option<()>,
}

#[derive(Serialize)]
struct PublishedCluster {
    cluster: PublishedServer,
    name: &'static str,
}

#[derive(Serialize)]
struct PublishedServer {
    #[serde(rename = "certificate-authority-data")]
    certificate_authority_data: String,
    server: String,
}

#[cfg(test)]
#[path = "cluster_info_tests.rs"]
mod tests;
