//! Approvals and denials of certificate requests.

use std::sync::Arc;

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
}

impl Certificates {
    /// Writes with this client.
    pub fn new(client: Client) -> Self {
        Self { api: Api::all(client) }
    }

    /// Approves a request, if it is still the object that was decided. The approval names for which NodeJoinRequest it
    /// is and which key (a pin) it certifies: `docs/audit.md` reads both.
    pub async fn approve(
        &self,
        csr: &CsrEntry,
        request: &str,
        key: &str,
        table: &Shared<CsrEntry>,
    ) -> Result<(), ActError> {
        let message = format!("every rule of the join policy holds for NodeJoinRequest {request}, key {key}");
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

fn condition(kind: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": kind,
        "status": "True",
        "reason": reason,
        "message": join_crds::conditions::clean_message(message),
    })
}
