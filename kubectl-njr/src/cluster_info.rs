//! What the cluster publishes of itself in `kube-public/cluster-info`, and what a new token has to change there.

use std::collections::BTreeMap;

use join_checks::terminal::printable;
use join_crds::vocabulary::{CLUSTER_INFO, KUBE_PUBLIC};
use join_trust::ca_bundle::CaTrust;
use join_trust::cluster_info::{ClusterInfo, ClusterInfoError, KUBECONFIG_KEY};
use join_trust::endpoint::Endpoint;
use join_trust::jws::{self, JwsError};
use join_trust::pin::PinSet;
use join_trust::token::BootstrapToken;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::session::{CallError, Session};

/// Field manager of what this program changes in cluster-info.
const FIELD_MANAGER: &str = "kubectl-njr";

/// cluster-info cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there.
    #[error(
        "there is no ConfigMap kube-public/cluster-info, from which machines learn the cluster's CA; join-controller makes it when it runs: see its pods with `kubectl -n {namespace} get pods`, or make it with `kubeadm init phase bootstrap-token`"
    )]
    Missing {
        /// The namespace of join-operator.
        namespace: String,
    },
    /// Its content is not what it should be.
    #[error(
        "kube-public/cluster-info cannot be used: {0}; look at it with `kubectl -n kube-public get configmap cluster-info -o yaml`"
    )]
    Content(#[from] ClusterInfoError),
    /// The token's signature cannot be made.
    #[error(transparent)]
    Signature(#[from] JwsError),
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// What cluster-info says, read over the administrator's own connection.
#[derive(Debug)]
pub struct Published {
    info: ClusterInfo,
}

impl Published {
    /// Reads it.
    pub async fn read(session: &Session) -> Result<Self, Error> {
        let api: Api<ConfigMap> = Api::namespaced(session.client(), KUBE_PUBLIC);
        let map = session.call_opt("read kube-public/cluster-info", api.get(CLUSTER_INFO)).await?;
        let data = map.and_then(|map| map.data);
        let data = data.ok_or_else(|| Error::Missing { namespace: session.namespace().to_owned() })?;
        Ok(Self { info: parse(&data)? })
    }

    /// Where machines reach the API server.
    pub fn endpoint(&self) -> &Endpoint {
        self.info.endpoint()
    }

    /// The pins of the certificate authorities in it.
    pub fn pins(&self) -> PinSet {
        self.info.ca_pins()
    }

    /// What a person should look at before machines trust this: authorities that the kubeconfig does not trust.
    pub fn strange_authorities(&self, session: &Session) -> Option<String> {
        strange(&self.pins(), session.kubeconfig_pins())
    }

    /// Puts the token's signature into cluster-info, so that machines need not wait for kube-controller-manager's
    /// bootstrapsigner, which may be off.
    ///
    /// The signature is the same to the byte as bootstrapsigner's. One key is patched, never the whole map.
    pub async fn sign(&self, session: &Session, token: &BootstrapToken) -> Result<(), Error> {
        let signature = jws::sign(token, self.info.text())?;
        let patch = Patch::Merge(json!({"data": {jws::data_key(token.id()): signature}}));
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let api: Api<ConfigMap> = Api::namespaced(session.client(), KUBE_PUBLIC);
        let written = api.patch(CLUSTER_INFO, &params, &patch);
        session.call("put the token's signature into kube-public/cluster-info", written).await?;
        Ok(())
    }
}

fn parse(data: &BTreeMap<String, String>) -> Result<ClusterInfo, ClusterInfoError> {
    let text = data.get(KUBECONFIG_KEY).filter(|text| !text.is_empty()).ok_or(ClusterInfoError::NoKubeconfig)?;
    // The connection is verified with the kubeconfig's own CA, so what is in the object is what the cluster says.
    ClusterInfo::parse(text, &CaTrust::UnsafeAny)
}

fn strange(published: &PinSet, trusted: &PinSet) -> Option<String> {
    if trusted.is_empty() {
        return None;
    }
    let strange: PinSet = published.iter().filter(|pin| !trusted.matches(pin)).copied().collect();
    (!strange.is_empty()).then(|| {
        let text = format!(
            "kube-public/cluster-info has certificate authorities that your kubeconfig does not trust: {strange}. \
             Machines will trust them. If nobody is rotating the cluster's CA, find out who put them there."
        );
        printable(&text).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use join_trust::pin::PublicKeyPin;

    use super::*;

    #[test]
    fn authorities_that_the_kubeconfig_does_not_trust_are_told() {
        let (ours, other) = (PublicKeyPin::of_spki(b"ours"), PublicKeyPin::of_spki(b"other"));
        let set = |pins: &[PublicKeyPin]| pins.iter().copied().collect::<PinSet>();
        assert_eq!(strange(&set(&[ours]), &set(&[ours, other])), None);
        assert_eq!(strange(&set(&[ours]), &PinSet::default()), None);
        let told = strange(&set(&[ours, other]), &set(&[ours])).unwrap();
        assert!(told.contains(&other.to_string()) && !told.contains(&ours.to_string()), "{told}");
    }

    #[test]
    fn a_cluster_info_without_a_kubeconfig_is_none() {
        for data in [BTreeMap::new(), BTreeMap::from([(KUBECONFIG_KEY.to_owned(), String::new())])] {
            assert_eq!(parse(&data), Err(ClusterInfoError::NoKubeconfig));
        }
    }
}
