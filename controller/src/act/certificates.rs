//! Approvals and denials of certificate requests.

use std::sync::Arc;

use join_crds::spec::NodeJoinRequest;
use join_crds::vocabulary::MANAGER_CERTIFICATES;
use join_trust::policy::Finding;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::ActError;
use crate::cache::Shared;
use crate::cache::csr::CsrEntry;
use crate::plan::APPROVAL_REASON;

/// Writes decisions.
pub struct Certificates {
    api: Api<CertificateSigningRequest>,
    requests: Api<NodeJoinRequest>,
}

impl Certificates {
    /// Writes with this client.
    pub fn new(client: Client) -> Self {
        Self { api: Api::all(client.clone()), requests: Api::all(client) }
    }

    /// Approves a certificate request, if it is still the object that was decided, and if the NodeJoinRequest still asks for
    /// what it was decided for. The approval names that and which key (a pin) it certifies: `docs/audit.md` reads both.
    ///
    /// What the watches tell comes late at times, and of two watches one comes later than the other. An approval cannot be
    /// taken back, so that the API server itself is asked right before it: whoever has deleted or changed a request can be
    /// sure that nothing is approved by what it was.
    pub async fn approve(
        &self,
        csr: &CsrEntry,
        request: &NodeJoinRequest,
        key: &str,
        table: &Shared<CsrEntry>,
    ) -> Result<(), ActError> {
        let name = request.node_name();
        let seen = self.requests.get_opt(name).await;
        let seen = seen.map_err(ActError::api("read", format!("NodeJoinRequest {name}")))?;
        if let Some(change) = change_since(request, seen.as_ref()) {
            return Err(ActError::Outdated { request: name.to_owned(), change });
        }
        let message = format!(
            "every rule of the join policy holds for NodeJoinRequest {name} (UID {}), key {key}",
            request.uid()
        );
        self.write("approve", csr, condition("Approved", APPROVAL_REASON, &message), table).await
    }

    /// Denies a request, if it is still the object that was decided.
    pub async fn deny(&self, csr: &CsrEntry, finding: &Finding, table: &Shared<CsrEntry>) -> Result<(), ActError> {
        self.write("deny", csr, condition("Denied", finding.rule.as_str(), &finding.detail), table).await
    }

    async fn write(
        &self,
        action: &'static str,
        csr: &CsrEntry,
        condition: Value,
        table: &Shared<CsrEntry>,
    ) -> Result<(), ActError> {
        let name = &csr.request.name;
        // The list of conditions is empty, since nobody has decided; version and UID make that certain.
        let patch = json!({
            "metadata": { "uid": csr.request.uid, "resourceVersion": csr.version },
            "status": { "conditions": [condition] },
        });
        let params = PatchParams { field_manager: Some(MANAGER_CERTIFICATES.to_owned()), ..PatchParams::default() };
        let written = self
            .api
            .patch_approval(name, &params, &Patch::Merge(patch))
            .await
            .map_err(ActError::api(action, format!("certificate request {name}")))?;
        if let Some(entry) = CsrEntry::read(written) {
            table.write().insert(Arc::new(entry));
        }
        Ok(())
    }
}

/// What has become of a request since something was decided for it; none if it asks for the same.
fn change_since(decided: &NodeJoinRequest, seen: Option<&NodeJoinRequest>) -> Option<&'static str> {
    let Some(seen) = seen else { return Some("it was deleted") };
    if seen.uid() != decided.uid() {
        return Some("it was deleted, and another one was made under its name");
    }
    if seen.metadata.deletion_timestamp.is_some() && decided.metadata.deletion_timestamp.is_none() {
        return Some("it is being deleted");
    }
    (seen.metadata.generation != decided.metadata.generation).then_some("its spec was changed")
}

fn condition(kind: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": kind,
        "status": "True",
        "reason": reason,
        "message": join_crds::conditions::clean_message(message),
    })
}

#[cfg(test)]
#[path = "certificates_tests.rs"]
mod tests;
