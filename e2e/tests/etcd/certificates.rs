//! Certificates as kubeadm makes them for etcd, and what connects with them.

use std::path::Path;

use libtest_mimic::Failed;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose as Purpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use secrecy::SecretString;

/// etcd's authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate for a client, and its key.
pub struct ForClient {
    pub certificate: String,
    pub key: SecretString,
}

impl Authority {
    pub fn new() -> Result<Self, Failed> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(rcgen::DnType::CommonName, "etcd-ca");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)? })
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// As `etcd/healthcheck-client`.
    pub fn client(&self) -> Result<ForClient, Failed> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(rcgen::DnType::CommonName, "kube-etcd-healthcheck-client");
        params.extended_key_usages = vec![Purpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(ForClient { certificate, key: key.serialize_pem().into() })
    }

    /// Writes `ca.crt`, and `member.crt` and `member.key` for an etcd with an address, which serves as its certificate for
    /// clients and for the other members.
    pub fn write_member(&self, folder: &Path, address: &str) -> Result<(), Failed> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(["localhost", "127.0.0.1", address].map(str::to_owned))?;
        params.extended_key_usages = vec![Purpose::ServerAuth, Purpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer)?;
        std::fs::write(folder.join("ca.crt"), self.pem())?;
        std::fs::write(folder.join("member.crt"), certificate.pem())?;
        std::fs::write(folder.join("member.key"), key.serialize_pem())?;
        Ok(())
    }
}
