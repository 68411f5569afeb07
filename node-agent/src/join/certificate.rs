//! The kubelet's client certificate: asked for with the machine's key, waited for, and checked when it comes.

use std::time::Duration;

use futures::TryStreamExt;
use join_crds::vocabulary::{Reason, SIGNER_KUBELET_CLIENT, client_csr_name};
use join_trust::ca_bundle::CaBundle;
use join_trust::machine_key::{MachineKey, MachineKeyError};
use join_trust::names::NodeName;
use join_trust::pin::PublicKeyPin;
use join_trust::token::TokenId;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use kube::api::{ObjectMeta, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::new_token::once_known;
use crate::connection::{CallError, call, explain};

/// How long approval and signature may take. The controller says in the request why it waits.
const PATIENCE: Duration = Duration::from_mins(5);

/// How long to wait before a watch that ended is begun anew.
const WATCH_PAUSE: Duration = Duration::from_millis(500);

/// There is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The request could not be made.
    #[error("failed to make the certificate request: {0}")]
    Build(#[from] MachineKeyError),
    /// Somebody used the token before this machine did.
    #[error(
        "certificate request {name} exists and is not for this machine's key: the token has been used by somebody else; \
         delete the NodeJoinRequest and make a new one"
    )]
    Stolen {
        /// The object.
        name: String,
    },
    /// The request was denied.
    #[error("certificate request {name} was denied: {reason}: {message}")]
    Denied {
        /// The object.
        name: String,
        /// The rule.
        reason: String,
        /// What was seen and expected.
        message: String,
    },
    /// The signer refused the request.
    #[error("certificate request {name} was approved and failed: {reason}: {message}")]
    Failed {
        /// The object.
        name: String,
        /// The signer's reason.
        reason: String,
        /// The signer's words.
        message: String,
    },
    /// The request was deleted while it was waited for.
    #[error("certificate request {name} was deleted before there was a certificate")]
    Deleted {
        /// The object.
        name: String,
    },
    /// Nothing happened.
    #[error(
        "certificate request {name} was not issued within {} s (approved: {approved}); see `kubectl get csr {name}` and \
         the conditions of the NodeJoinRequest",
        PATIENCE.as_secs()
    )]
    Timeout {
        /// The object.
        name: String,
        /// Whether it was approved, so that only the signer is missing.
        approved: bool,
    },
    /// What was issued is not what was asked for.
    #[error("the certificate that was issued for {name} cannot be used: {reason}")]
    Unusable {
        /// The object.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    /// Why, in one word.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Call(error) => error.reason,
            Self::Denied { .. } | Self::Stolen { .. } => Reason::CertificateRequestDenied,
            Self::Timeout { approved: true, .. } | Self::Failed { .. } => Reason::SignerMissing,
            Self::Timeout { approved: false, .. } => Reason::CertificateRequestWaiting,
            Self::Deleted { .. } => Reason::CertificateRequestDeleted,
            Self::Build(_) | Self::Unusable { .. } => Reason::AgentFailed,
        }
    }
}

/// Asks for the certificate and waits for it. Returns its PEM.
///
/// The object's name follows from the token, so an agent that was killed after asking finds its request again.
pub async fn obtain(
    client: &Client,
    token: &TokenId,
    key: &MachineKey,
    node: &NodeName,
    ca: &CaBundle,
) -> Result<String, Error> {
    let api: Api<CertificateSigningRequest> = Api::all(client.clone());
    let name = client_csr_name(token.as_str());
    let request = request(&api, &name, key, node).await?;
    let certificate = match tokio::time::timeout(PATIENCE, wait(&api, request)).await {
        Ok(certificate) => certificate?,
        Err(_elapsed) => {
            let found = api.get_opt(&name).await.ok().flatten();
            let approved = found.is_some_and(|found| condition(&found, "Approved").is_some());
            return Err(Error::Timeout { name, approved });
        }
    };
    check(&certificate.0, key.pin(), node, ca).map_err(|reason| Error::Unusable { name, reason })?;
    Ok(String::from_utf8_lossy(&certificate.0).into_owned())
}

/// Creates the request, or finds the one that this machine created before.
async fn request(
    api: &Api<CertificateSigningRequest>,
    name: &str,
    key: &MachineKey,
    node: &NodeName,
) -> Result<CertificateSigningRequest, Error> {
    let object = CertificateSigningRequest {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        spec: CertificateSigningRequestSpec {
            request: ByteString(key.client_csr(node)?.into_bytes()),
            signer_name: SIGNER_KUBELET_CLIENT.to_owned(),
            usages: Some(vec!["digital signature".to_owned(), "client auth".to_owned()]),
            ..CertificateSigningRequestSpec::default()
        },
        status: None,
    };
    let tried = format!("creating certificate request {name}");
    let create = || {
        call(&tried, async {
            match api.create(&PostParams::default(), &object).await {
                Ok(created) => Ok(Some(created)),
                Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(None),
                Err(error) => Err(error),
            }
        })
    };
    if let Some(created) = once_known(create, |error| error.reason).await? {
        return Ok(created);
    }
    let found = call(&format!("reading certificate request {name}"), api.get(name)).await?;
    let found_key = join_trust::pkcs10::CertificationRequest::parse_pem(&found.spec.request.0);
    if found_key.is_ok_and(|found| found.pin() == key.pin()) {
        Ok(found)
    } else {
        Err(Error::Stolen { name: name.to_owned() })
    }
}

/// Watches one request from the version that is known, so that nothing happens unseen.
async fn wait(api: &Api<CertificateSigningRequest>, known: CertificateSigningRequest) -> Result<ByteString, Error> {
    let name = known.metadata.name.clone().unwrap_or_default();
    let mut known = known;
    let watch = WatchParams::default().fields(&format!("metadata.name={name}"));
    loop {
        if let Some(certificate) = outcome(&name, &known)? {
            return Ok(certificate);
        }
        let version = known.metadata.resource_version.clone().unwrap_or_default();
        let tried = format!("watching certificate request {name}");
        let events = api.watch(&watch, &version).await.map_err(|error| explain(&tried, &error))?;
        let mut events = std::pin::pin!(events);
        while let Ok(Some(event)) = events.try_next().await {
            match event {
                WatchEvent::Added(found) | WatchEvent::Modified(found) => {
                    if let Some(certificate) = outcome(&name, &found)? {
                        return Ok(certificate);
                    }
                }
                WatchEvent::Deleted(_) => return Err(Error::Deleted { name }),
                WatchEvent::Bookmark(_) => {}
                WatchEvent::Error(_) => break,
            }
        }
        // The watch ended, as watches do, or its version is too old: look again and go on from there, but never in a
        // tight loop.
        tokio::time::sleep(WATCH_PAUSE).await;
        known = match call(&tried, api.get_opt(&name)).await? {
            Some(known) => known,
            None => return Err(Error::Deleted { name }),
        };
    }
}

/// What a request has come to: a certificate, nothing yet, or an end without one.
fn outcome(name: &str, request: &CertificateSigningRequest) -> Result<Option<ByteString>, Error> {
    let name = name.to_owned();
    if let Some((reason, message)) = condition(request, "Denied") {
        return Err(Error::Denied { name, reason, message });
    }
    if let Some((reason, message)) = condition(request, "Failed") {
        return Err(Error::Failed { name, reason, message });
    }
    let certificate = request.status.as_ref().and_then(|status| status.certificate.clone());
    Ok(certificate.filter(|certificate| !certificate.0.is_empty()))
}

/// Reason and message of a condition, when it is there.
fn condition(request: &CertificateSigningRequest, kind: &str) -> Option<(String, String)> {
    let conditions = request.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|condition| condition.type_ == kind)?;
    Some((found.reason.clone().unwrap_or_default(), found.message.clone().unwrap_or_default()))
}

/// Whether a certificate is what was asked for: this key, this node, valid now, signed by this cluster.
fn check(pem: &[u8], key: PublicKeyPin, node: &NodeName, ca: &CaBundle) -> Result<(), String> {
    let block = pem::parse(pem).map_err(|_| "it is not one PEM block".to_owned())?;
    let (_, certificate) =
        X509Certificate::from_der(block.contents()).map_err(|_| "it is no X.509 certificate".to_owned())?;
    let found = PublicKeyPin::of_certificate(block.contents()).map_err(|error| error.to_string())?;
    if found != key {
        return Err(format!("its key is {found}, expected this machine's {key}"));
    }
    let names: Vec<&str> = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok()).collect();
    if names != [node.user_name()] {
        return Err(format!("its subject is {}, expected CN={}", certificate.subject(), node.user_name()));
    }
    if !certificate.validity().is_valid() {
        let validity = certificate.validity();
        return Err(format!(
            "it is valid from {} to {}, which is not now: check this machine's clock",
            validity.not_before, validity.not_after
        ));
    }
    let signed = ca.certificates().any(|authority| {
        X509Certificate::from_der(authority)
            .is_ok_and(|(_, authority)| certificate.verify_signature(Some(authority.public_key())).is_ok())
    });
    if signed { Ok(()) } else { Err("no certificate authority of this cluster has signed it".to_owned()) }
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;
