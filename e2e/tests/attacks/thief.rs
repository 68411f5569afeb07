//! What attackers have in common: clients with what they stole, machines that are nothing but keys, certificate requests
//! of any shape, and looking at what became of them.

use std::net::IpAddr;

use join_crds::{ConditionType, NodeJoinRequest, Reason, vocabulary};
use join_e2e::lab::layout::{API_PORT, CONTROL_PLANE};
use join_e2e::stub_machine;
use join_e2e::suite::csr;
use join_e2e::suite::joining::Suite;
use join_trust::machine_key::MachineKey;
use join_trust::names::NodeName;
use join_trust::sealing::SealingKey;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{Event, Node, Secret};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use libtest_mimic::Failed;
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, KeyPair, PKCS_ECDSA_P256_SHA256, SanType,
};
use serde_json::{Value, json};

pub use join_e2e::stub_machine::CLIENT_USAGES;

pub const SERVING_USAGES: [&str; 2] = ["digital signature", "server auth"];

/// A client that authenticates with a certificate.
fn client_with_certificate(suite: &Suite, certificate: &[u8], key: &str) -> Result<Client, Failed> {
    let authority = std::fs::read(suite.lab().layout().control_plane_etc().join("pki/ca.crt"))?;
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "lab",
        "clusters": [{"name": "lab", "cluster": {
            "server": format!("https://{CONTROL_PLANE}:{API_PORT}"),
            "certificate-authority-data": ByteString(authority),
        }}],
        "users": [{"name": "user", "user": {
            "client-certificate-data": ByteString(certificate.to_vec()),
            "client-key-data": ByteString(key.as_bytes().to_vec()),
        }}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "user"}}],
    });
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), kubeconfig.to_string())?;
    Ok(suite.block_on(suite.lab().client_of(file.path().to_owned()))?)
}

/// A client of a new ServiceAccount in the namespace `default`, which has a ClusterRole.
pub fn client_of_account(suite: &Suite, name: &str, role: &str) -> Result<Client, Failed> {
    let operator = suite.operator();
    operator.kubectl(&["create", "serviceaccount", name])?;
    let subject = format!("--serviceaccount=default:{name}");
    operator.kubectl(&["create", "clusterrolebinding", name, &format!("--clusterrole={role}"), &subject])?;
    suite.client_with_token(operator.kubectl(&["create", "token", name])?.trim())
}

/// A certificate request as somebody made it by hand.
pub struct Forged {
    pub organizations: Vec<String>,
    pub common_names: Vec<String>,
    pub unit: Option<&'static str>,
    pub names: Vec<SanType>,
    pub authority: bool,
}

impl Forged {
    /// What a kubelet would ask for.
    pub fn of_node(name: &str) -> Self {
        Self {
            organizations: vec![vocabulary::GROUP_NODES.to_owned()],
            common_names: vec![vocabulary::node_user(name)],
            unit: None,
            names: Vec::new(),
            authority: false,
        }
    }

    pub fn named(mut self, name: &str) -> Self {
        self.common_names = vec![name.to_owned()];
        self
    }

    pub fn with(mut self, names: &[SanType]) -> Self {
        self.names = names.to_vec();
        self
    }

    /// Signs the request with a key that is given as PEM.
    pub fn sign(&self, key: &str) -> Result<Vec<u8>, Failed> {
        // Every further attribute of a kind is given by its object identifier: the library keeps one of each kind.
        let kinds = |first: DnType, oid: u64| std::iter::once(first).chain(std::iter::repeat(custom(oid)));
        let mut subject = DistinguishedName::new();
        let organizations = kinds(DnType::OrganizationName, 10).zip(&self.organizations);
        let common_names = kinds(DnType::CommonName, 3).zip(&self.common_names);
        for (kind, value) in organizations.chain(common_names) {
            subject.push(kind, DnValue::Utf8String(value.clone()));
        }
        if let Some(unit) = self.unit {
            subject.push(DnType::OrganizationalUnitName, unit);
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = subject;
        params.subject_alt_names.clone_from(&self.names);
        if self.authority {
            // Basic constraints: CA.
            params
                .custom_extensions
                .push(CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 0x03, 0x01, 0x01, 0xff]));
        }
        let key = KeyPair::from_pem_and_sign_algo(key, &PKCS_ECDSA_P256_SHA256)?;
        Ok(params.serialize_request(&key)?.pem()?.into_bytes())
    }
}

/// An attribute of the arc `id-at`.
fn custom(number: u64) -> DnType {
    DnType::CustomDnType(vec![2, 5, 4, number])
}

pub fn dns(name: &str) -> Result<SanType, Failed> {
    Ok(SanType::DnsName(name.try_into()?))
}

pub fn ip(address: &str) -> Result<SanType, Failed> {
    Ok(SanType::IpAddress(address.parse()?))
}

/// Creates a certificate request, or says why the API server does not take it.
pub fn ask(suite: &Suite, client: &Client, object: &CertificateSigningRequest) -> Result<(), String> {
    let created = suite.block_on(Api::all(client.clone()).create(&PostParams::default(), object));
    created.map(drop).map_err(|failure| failure.to_string())
}

/// Creates a certificate request and waits until it is denied; fails when it is decided otherwise, or for another rule.
pub fn denied(suite: &Suite, client: &Client, object: &CertificateSigningRequest, rule: &str) -> Result<(), Failed> {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    ask(suite, client, object).map_err(|failure| format!("{name}: {failure}"))?;
    let (kind, reason, issued) = decided(suite, name)?;
    if (kind.as_str(), reason.as_str(), issued) == ("Denied", rule, false) {
        return Ok(());
    }
    Err(format!("{name}: expected a denial by rule {rule}, seen {kind} ({reason}), certificate issued: {issued}")
        .into())
}

/// Type and reason of a decision, once there is one, and whether there is a certificate.
pub fn decided(suite: &Suite, name: &str) -> Result<(String, String, bool), Failed> {
    let conditions =
        |csr: &CertificateSigningRequest| csr.status.clone().and_then(|status| status.conditions).unwrap_or_default();
    let object = suite.wait(&Api::all(suite.client()), name, "a decision", |csr| !conditions(csr).is_empty())?;
    let issued = object.status.as_ref().is_some_and(|status| status.certificate.is_some());
    let first = conditions(&object).swap_remove(0);
    Ok((first.type_, first.reason.unwrap_or_default(), issued))
}

/// Whether nobody has decided a certificate request.
pub fn undecided(suite: &Suite, name: &str) -> Result<bool, Failed> {
    let api: Api<CertificateSigningRequest> = Api::all(suite.client());
    let status = suite.block_on(api.get(name))?.status.unwrap_or_default();
    Ok(status.conditions.unwrap_or_default().is_empty() && status.certificate.is_none())
}

/// Announces a machine of that name, which consists of a key and an address.
pub fn announce(
    suite: &Suite,
    client: &Client,
    name: &str,
    key: &MachineKey,
    addresses: &[IpAddr],
) -> Result<(), Failed> {
    let object = stub_machine::announcement_of(name, key, &SealingKey::generate()?, addresses)?;
    ask(suite, client, &object)?;
    Ok(())
}

/// How a machine that is nothing but a key is told its token.
pub enum Delivery {
    /// It announces itself with these addresses, and its key is pinned.
    Sealed(Vec<IpAddr>),
    /// The request is for stock kubeadm and says these addresses.
    Token(Vec<IpAddr>),
}

/// A machine whose token is out.
pub struct Invited {
    pub name: String,
    pub key: MachineKey,
    pub request: NodeJoinRequest,
    pub token: String,
    pub client: Client,
}

/// Applies a request for a machine that is nothing but a key, and takes its token, as who broke into the machine would.
pub fn invite(suite: &Suite, name: &str, delivery: &Delivery) -> Result<Invited, Failed> {
    let key = MachineKey::generate()?;
    let spec = match delivery {
        Delivery::Sealed(addresses) => {
            let enrolled = suite.client_with_token(&suite.enrollment().token())?;
            announce(suite, &enrolled, name, &key, addresses)?;
            json!({"role": "Worker", "machine": {"publicKeyHash": key.pin().to_string()}})
        }
        Delivery::Token(addresses) => json!({
            "role": "Worker", "machine": {"trust": "FirstUse"}, "delivery": "Token", "addresses": addresses,
        }),
    };
    suite.request(name, &spec)?;
    let request = suite.wait_for(name, ConditionType::CredentialIssued, "True", Reason::TokenIssued)?;
    let token = token_of(suite, &request)?;
    let client = suite.client_with_token(&token)?;
    Ok(Invited { name: name.to_owned(), key, request, token, client })
}

/// The token of a request, out of its Secret.
fn token_of(suite: &Suite, request: &NodeJoinRequest) -> Result<String, Failed> {
    let credential = request.status.as_ref().and_then(|status| status.credential.as_ref());
    let id = &credential.ok_or("no credential in the status")?.token_id;
    let secrets: Api<Secret> = Api::namespaced(suite.client(), vocabulary::KUBE_SYSTEM);
    let secret = suite.block_on(secrets.get(&format!("bootstrap-token-{id}")))?;
    let secret = secret.data.unwrap_or_default().remove("token-secret").ok_or("the Secret has no token-secret")?;
    Ok(format!("{id}.{}", String::from_utf8(secret.0)?))
}

impl Invited {
    /// The key as PEM.
    pub fn key(&self) -> Result<String, Failed> {
        Ok(self.key.to_pem()?.to_string())
    }

    pub fn uid(&self) -> String {
        self.request.metadata.uid.clone().unwrap_or_default()
    }

    /// The machine's own certificate request.
    pub fn own_csr(&self, name: &str) -> Result<CertificateSigningRequest, Failed> {
        let request = self.key.client_csr(&NodeName::parse(&self.name)?)?;
        Ok(csr(name, vocabulary::SIGNER_KUBELET_CLIENT, &CLIENT_USAGES, request.into_bytes()))
    }

    /// Takes the certificate that the machine is entitled to, and registers its Node.
    pub fn join(self, suite: &Suite) -> Result<Joined, Failed> {
        let name = format!("joins-{}", self.name);
        ask(suite, &self.client, &self.own_csr(&name)?)?;
        let issued =
            suite.wait(&Api::all(suite.client()), &name, "a certificate", |csr: &CertificateSigningRequest| {
                csr.status.as_ref().is_some_and(|status| status.certificate.is_some())
            })?;
        let certificate = issued.status.and_then(|status| status.certificate).ok_or("no certificate")?;
        let client = client_with_certificate(suite, &certificate.0, &self.key()?)?;
        let node = register(suite, &client, &self.name, &json!({}))?;
        let request = suite.wait_for(&self.name, ConditionType::NodeRegistered, "True", Reason::NodeRegistered)?;
        Ok(Joined { name: self.name, client, node, request })
    }
}

/// A machine that is a node: with the certificate of its kubelet, and without a kubelet.
pub struct Joined {
    pub name: String,
    pub client: Client,
    pub node: Node,
    pub request: NodeJoinRequest,
}

/// Registers a Node as its kubelet would.
pub fn register(suite: &Suite, client: &Client, name: &str, labels: &Value) -> Result<Node, Failed> {
    let node = serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}}))?;
    Ok(suite.block_on(Api::all(client.clone()).create(&PostParams::default(), &node))?)
}

/// Invites a machine and lets it join.
pub fn node(suite: &Suite, name: &str, delivery: &Delivery) -> Result<Joined, Failed> {
    invite(suite, name, delivery)?.join(suite)
}

/// The notes of the Events of a reason about a request.
pub fn events(suite: &Suite, uid: &str, reason: &str) -> Result<Vec<String>, Failed> {
    let events: Api<Event> = Api::namespaced(suite.client(), "default");
    let filter = ListParams::default().fields(&format!("involvedObject.uid={uid},reason={reason}"));
    Ok(suite.block_on(events.list(&filter))?.items.into_iter().filter_map(|event| event.message).collect())
}
