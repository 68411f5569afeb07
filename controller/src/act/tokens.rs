//! Bootstrap tokens, join commands, and the credential that is sealed to a machine.
//!
//! In kube-system the controller may create and delete Secrets and not read them: whoever may do both could make
//! himself a token of any ServiceAccount.

use std::collections::BTreeMap;

use join_crds::spec::{NodeJoinRequest, Role};
use join_crds::status::SealedCredentials;
use join_crds::vocabulary::{
    ANNOTATION_NODE_NAME, KUBE_SYSTEM, LABEL_MANAGED_BY, LABEL_REQUEST_UID, MANAGED_BY_CONTROLLER,
    MANAGER_JOIN_COMMAND, MANAGER_TOKEN, join_command_secret_name,
};
use join_trust::certificate_key::CertificateKey;
use join_trust::cluster_info::ClusterInfo;
use join_trust::credentials::JoinCredentials;
use join_trust::names::{CONTROL_PLANE_GROUP, JOIN_GROUP};
use join_trust::sealing::{Binding, seal};
use join_trust::token::{BootstrapToken, SECRET_TYPE, SecretSpec, TokenId};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource as _};

use super::{ActError, deleted};
use crate::record::{Machine, Record, Token};

/// The key in a Secret under which the certificate key stands; kubeadm's name for it.
const CERTIFICATE_KEY: &str = "certificateKey";

/// Writes tokens and join commands.
pub struct Tokens {
    tokens: Api<Secret>,
    commands: Api<Secret>,
}

impl Tokens {
    /// Writes tokens to kube-system and join commands to this namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { tokens: Api::namespaced(client.clone(), KUBE_SYSTEM), commands: Api::namespaced(client, namespace) }
    }

    /// Creates the Secret of a record's token. One that exists is ours already: its id is random and was recorded.
    pub async fn create(
        &self,
        record: &Record,
        token: &Token,
        whole: &BootstrapToken,
        role: Role,
    ) -> Result<(), ActError> {
        let description = format!("join of node {} (NodeJoinRequest {})", record.node_name, record.request_uid);
        let spec = SecretSpec {
            expires_at: token.expires_at,
            description: &description,
            signing: true,
            authentication: true,
            groups: match role {
                Role::Worker => &[JOIN_GROUP],
                Role::ControlPlane => &[CONTROL_PLANE_GROUP, JOIN_GROUP],
            },
        };
        let data = spec.string_data(whole)?;
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(token.id.secret_name()),
                labels: Some(labels(&record.request_uid)),
                annotations: Some(node_name(record)),
                ..ObjectMeta::default()
            },
            type_: Some(SECRET_TYPE.to_owned()),
            string_data: Some(data.iter().map(|(key, value)| ((*key).to_owned(), value.to_string())).collect()),
            ..Secret::default()
        };
        let params = PostParams { field_manager: Some(MANAGER_TOKEN.to_owned()), ..PostParams::default() };
        match self.tokens.create(&params, &secret).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            other => other.map(drop).map_err(ActError::api("create bootstrap token", token.id.as_str())),
        }
    }

    /// Deletes a token's Secret.
    pub async fn delete(&self, id: &TokenId) -> Result<(), ActError> {
        deleted(self.tokens.delete(&id.secret_name(), &DeleteParams::default()).await)
            .map_err(ActError::api("delete bootstrap token", id.as_str()))
    }

    /// Writes the Secret with the join command for stock kubeadm; it goes with the request.
    pub async fn write_command(
        &self,
        request: &NodeJoinRequest,
        record: &Record,
        token: &BootstrapToken,
        info: &ClusterInfo,
    ) -> Result<(), ActError> {
        let name = join_command_secret_name(record.node_name.as_str());
        let hashes: Vec<String> = info.ca_pins().iter().map(ToString::to_string).collect();
        let command = join_command(request, token, info, &hashes);
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                labels: Some(labels(&record.request_uid)),
                annotations: Some(node_name(record)),
                owner_references: request.owner_ref(&()).map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            type_: Some("Opaque".to_owned()),
            string_data: Some(BTreeMap::from([
                ("token".to_owned(), token.expose().to_string()),
                ("join-command".to_owned(), command),
                ("caCertHashes".to_owned(), hashes.join(",")),
            ])),
            ..Secret::default()
        };
        self.commands
            .patch(&name, &PatchParams::apply(MANAGER_JOIN_COMMAND).force(), &Patch::Apply(&secret))
            .await
            .map(drop)
            .map_err(ActError::api("write join command", name))
    }

    /// Reads the key to the certificates that control planes share from a Secret of the controller's namespace.
    pub async fn certificate_key(&self, name: &str) -> Result<CertificateKey, ActError> {
        let lacks = |why: String| ActError::CertificateKey { secret: name.to_owned(), why };
        let secret = self.commands.get_opt(name).await.map_err(ActError::api("read Secret", name))?;
        let data = secret.ok_or_else(|| lacks("does not exist".to_owned()))?.data.unwrap_or_default();
        let key = data.get(CERTIFICATE_KEY).ok_or_else(|| lacks(format!("has no key {CERTIFICATE_KEY}")))?;
        let key = std::str::from_utf8(&key.0).map_err(|_| lacks(format!("has a {CERTIFICATE_KEY} that is no text")))?;
        CertificateKey::parse(key)
            .map_err(|error| lacks(format!("has no certificate key under {CERTIFICATE_KEY}: {error}")))
    }

    /// Deletes the Secret with the join command.
    pub async fn delete_command(&self, node_name: &str) -> Result<(), ActError> {
        let name = join_command_secret_name(node_name);
        deleted(self.commands.delete(&name, &DeleteParams::default()).await)
            .map_err(ActError::api("delete join command", name))
    }
}

/// Seals what a machine needs to join: to its key, and to this generation of this request.
pub fn seal_credential(
    request: &NodeJoinRequest,
    machine: &Machine,
    token: BootstrapToken,
    info: &ClusterInfo,
    certificate_key: Option<CertificateKey>,
) -> Result<SealedCredentials, ActError> {
    let generation = request.generation();
    let credentials = JoinCredentials {
        token,
        api_server_endpoint: info.endpoint().clone(),
        ca_bundle: info.ca().clone(),
        certificate_key,
    };
    let binding = Binding { uid: request.uid(), name: request.node_name(), generation };
    let sealed = seal(&machine.sealing_key, &binding, &credentials.to_json()?)?;
    Ok(SealedCredentials {
        generation,
        encapsulated_key: sealed.encapsulated_key_base64(),
        ciphertext: sealed.ciphertext_base64(),
    })
}

/// The line to run on the machine. Each part is of a grammar without spaces or quotes, except the socket, which the
/// schema holds to a URL.
fn join_command(request: &NodeJoinRequest, token: &BootstrapToken, info: &ClusterInfo, hashes: &[String]) -> String {
    let mut command = format!(
        "kubeadm join {} --node-name {} --token {}",
        info.endpoint(),
        request.node_name(),
        token.expose().as_str()
    );
    for hash in hashes {
        command.push_str(" --discovery-token-ca-cert-hash ");
        command.push_str(hash);
    }
    if let Some(socket) = &request.spec.node_registration.cri_socket {
        command.push_str(" --cri-socket ");
        command.push_str(socket);
    }
    command
}

fn labels(request_uid: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (LABEL_MANAGED_BY.to_owned(), MANAGED_BY_CONTROLLER.to_owned()),
        (LABEL_REQUEST_UID.to_owned(), request_uid.to_owned()),
    ])
}

fn node_name(record: &Record) -> BTreeMap<String, String> {
    BTreeMap::from([(ANNOTATION_NODE_NAME.to_owned(), record.node_name.as_str().to_owned())])
}
