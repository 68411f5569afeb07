//! Machines that are nothing but keys: a stub of machine, agent and kubelet, for thousands of machines on one host and
//! for those who attack.

use std::net::IpAddr;

use futures::{StreamExt, TryStreamExt, stream};
use join_crds::{NodeJoinRequest, vocabulary};
use join_trust::announcement;
use join_trust::credentials::JoinCredentials;
use join_trust::machine_key::MachineKey;
use join_trust::names::NodeName;
use join_trust::sealing::{self, Binding, SealedEnvelope, SealingKey};
use join_trust::token::BootstrapToken;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::PostParams;
use kube::{Api, Client};

use crate::suite::csr;

/// The usages of a kubelet's client certificate whose key is ECDSA.
pub const CLIENT_USAGES: [&str; 2] = ["digital signature", "client auth"];

/// How many calls of all machines are under way at a time.
pub const AT_ONCE: usize = 32;

/// Announces machines, with the token that they were enrolled with.
pub async fn announce(enrolled: &Client, machines: &[StubMachine]) -> anyhow::Result<()> {
    let api: Api<CertificateSigningRequest> = Api::all(enrolled.clone());
    let announcements: Vec<_> = machines.iter().map(StubMachine::announcement).collect::<anyhow::Result<_>>()?;
    let announced = stream::iter(announcements).map(|object| {
        let api = api.clone();
        async move {
            api.create(&PostParams::default(), &object).await?;
            anyhow::Ok(())
        }
    });
    announced.buffer_unordered(AT_ONCE).try_collect().await
}

/// The announcement of a machine.
pub fn announcement_of(
    name: &str,
    key: &MachineKey,
    sealing: &SealingKey,
    addresses: &[IpAddr],
) -> anyhow::Result<CertificateSigningRequest> {
    let request = announcement::build(key, &sealing.public(), &NodeName::parse(name)?, addresses)?;
    let object_name = vocabulary::announcement_name(name, &key.pin().to_string());
    Ok(csr(&object_name, vocabulary::SIGNER_MACHINE, &announcement::USAGES, request.into_bytes()))
}

/// A machine that can announce itself, open its credential and ask for its certificate.
pub struct StubMachine {
    name: NodeName,
    address: IpAddr,
    key: MachineKey,
    sealing: SealingKey,
}

impl StubMachine {
    /// A machine with new keys.
    pub fn new(name: &str, address: IpAddr) -> anyhow::Result<Self> {
        let (key, sealing) = (MachineKey::generate()?, SealingKey::generate()?);
        Ok(Self { name: NodeName::parse(name)?, address, key, sealing })
    }

    /// The name that its Node is to have.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// The address that it announces.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Its announcement.
    pub fn announcement(&self) -> anyhow::Result<CertificateSigningRequest> {
        announcement_of(self.name(), &self.key, &self.sealing, &[self.address])
    }

    /// A request for this machine and no other.
    pub fn request(&self) -> anyhow::Result<NodeJoinRequest> {
        Ok(serde_json::from_value(serde_json::json!({
            "apiVersion": "nodejoin.dev/v1alpha1", "kind": "NodeJoinRequest", "metadata": {"name": self.name()},
            "spec": {"role": "Worker", "machine": {"publicKeyHash": self.key.pin().to_string()}},
        }))?)
    }

    /// The token that was sealed to it; none before.
    pub fn token(&self, request: &NodeJoinRequest) -> anyhow::Result<Option<BootstrapToken>> {
        let sealed = request.status.as_ref().and_then(|status| status.sealed_credentials.as_ref());
        let Some(sealed) = sealed else { return Ok(None) };
        let envelope = SealedEnvelope::from_base64(&sealed.encapsulated_key, &sealed.ciphertext)?;
        let binding = Binding { uid: request.uid(), name: self.name(), generation: sealed.generation };
        let credentials = JoinCredentials::parse(&sealing::open(&self.sealing, &binding, &envelope)?)?;
        Ok(Some(credentials.token))
    }

    /// Its request for a client certificate, by this token.
    pub fn client_csr(&self, token: &BootstrapToken) -> anyhow::Result<CertificateSigningRequest> {
        let request = self.key.client_csr(&self.name)?.into_bytes();
        let name = vocabulary::client_csr_name(token.id().as_str());
        Ok(csr(&name, vocabulary::SIGNER_KUBELET_CLIENT, &CLIENT_USAGES, request))
    }
}
