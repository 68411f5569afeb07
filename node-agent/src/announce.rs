//! Announcing the machine: a certificate request that nobody will ever sign. Its own signature proves that this
//! machine has the key; its content says what the machine is called and how to seal something to it.

use std::net::IpAddr;

use join_crds::vocabulary::{Reason, SIGNER_MACHINE};
use join_trust::announcement::{self, BuildError};
use join_trust::names::{NodeName, announcement_object_name};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

use crate::connection::{CallError, call};
use crate::identity::Identity;

/// How many names are tried when others hold those that this machine's key gives.
const MOST_NAMES: u32 = 5;

/// The machine could not be announced.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The announcement could not be made.
    #[error("failed to make the announcement: {0}")]
    Build(#[from] BuildError),
    /// Somebody else made objects under all names that this machine would use.
    #[error(
        "the names {first} to -{MOST_NAMES} are taken by announcements of other keys: somebody with an enrollment token \
         stands in this machine's way; an administrator can delete them"
    )]
    Squatted {
        /// The first name.
        first: String,
    },
}

impl Error {
    /// Why, in one word.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Call(error) => error.reason,
            Self::Build(_) => Reason::AgentFailed,
            Self::Squatted { .. } => Reason::MachineConflict,
        }
    }
}

/// Makes sure that the machine is announced, and returns the announcement's name.
///
/// The name follows from the node's name and the key, so that the same machine finds its own announcement again after
/// a crash. An object of that name with another key in it is somebody else's: the next name is used.
pub async fn announce(
    client: &Client,
    identity: &Identity,
    node: &NodeName,
    addresses: &[IpAddr],
) -> Result<String, Error> {
    let api: Api<CertificateSigningRequest> = Api::all(client.clone());
    let first = announcement_object_name(node, &identity.machine.pin());
    let request = announcement::build(&identity.machine, &identity.sealing.public(), node, addresses)?;
    for number in 1..=MOST_NAMES {
        let name = if number == 1 { first.clone() } else { format!("{first}-{number}") };
        if create(&api, &name, &request).await? || is_ours(&api, &name, identity).await? {
            return Ok(name);
        }
        tracing::warn!(name, "an announcement of another key has this name");
    }
    Err(Error::Squatted { first })
}

/// Whether the announcement of that name is still there, and this machine's.
pub async fn is_announced(client: &Client, identity: &Identity, name: &str) -> Result<bool, Error> {
    is_ours(&Api::all(client.clone()), name, identity).await
}

/// Creates the object; `false` when the name is taken.
async fn create(api: &Api<CertificateSigningRequest>, name: &str, request: &str) -> Result<bool, Error> {
    let object = CertificateSigningRequest {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        spec: CertificateSigningRequestSpec {
            request: ByteString(request.as_bytes().to_vec()),
            signer_name: SIGNER_MACHINE.to_owned(),
            usages: Some(announcement::USAGES.map(str::to_owned).to_vec()),
            ..CertificateSigningRequestSpec::default()
        },
        status: None,
    };
    let tried = format!("announcing this machine as {name}");
    let created = call(&tried, async {
        match api.create(&PostParams::default(), &object).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(false),
            Err(error) => Err(error),
        }
    });
    Ok(created.await?)
}

/// Whether the object of that name announces this machine's keys.
async fn is_ours(api: &Api<CertificateSigningRequest>, name: &str, identity: &Identity) -> Result<bool, Error> {
    let found = call(&format!("reading the announcement {name}"), api.get_opt(name)).await?;
    // Deleted since: the next round creates it.
    let Some(found) = found else { return Ok(false) };
    let announced = announcement::verify(&found.spec.request.0);
    Ok(announced.is_ok_and(|announced| {
        announced.public_key_hash == identity.machine.pin() && announced.sealing_key == identity.sealing.public()
    }))
}
