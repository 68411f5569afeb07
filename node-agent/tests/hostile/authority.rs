//! Certificate authorities, and what they say of a cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use join_trust::ca_bundle::CaBundle;
use join_trust::cluster_info::{self, KUBECONFIG_KEY};
use join_trust::endpoint::Endpoint;
use join_trust::jws;
use join_trust::pin::{PinSet, PublicKeyPin};
use join_trust::token::BootstrapToken;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PublicKeyData};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};

/// The token that the attacker has as well.
pub fn token() -> BootstrapToken {
    BootstrapToken::parse("abcdef.0123456789abcdef").unwrap()
}

/// The data of cluster-info.
pub type Data = BTreeMap<String, String>;

/// A text with the token's own signature: what everybody who has the token can make.
pub fn signed(text: &str) -> Data {
    Data::from([
        (KUBECONFIG_KEY.to_owned(), text.to_owned()),
        (jws::data_key(token().id()), jws::sign(&token(), text).unwrap()),
    ])
}

/// The text of a cluster-info with these authorities.
pub fn text(server: &Endpoint, authorities: &[&Authority]) -> String {
    let bundle: String = authorities.iter().map(|authority| authority.pem.as_str()).collect();
    cluster_info::render(server, &CaBundle::parse_pem(bundle.as_bytes()).unwrap()).unwrap()
}

/// A certificate authority with its key.
pub struct Authority {
    pub pem: String,
    pub pin: PublicKeyPin,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// One whose name is kubeadm's: who wants to be taken for an authority takes its name.
    pub fn new() -> Self {
        Self::named("kubernetes")
    }

    pub fn named(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let pin = PublicKeyPin::of_spki(&key.subject_public_key_info());
        let (pem, der) = (certificate.pem(), certificate.der().clone());
        Self { pem, pin, certificate: der, issuer: Issuer::new(params, key) }
    }

    pub fn pins(&self) -> PinSet {
        [self.pin].into_iter().collect()
    }

    pub fn bundle(&self) -> CaBundle {
        CaBundle::parse_pem(self.pem.as_bytes()).unwrap()
    }

    /// A store that has this authority alone.
    pub fn root(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        Arc::new(roots)
    }

    /// A server of this authority, with a certificate that is right in everything else.
    pub fn server(&self) -> Arc<ServerConfig> {
        self.server_with(|_| {})
    }

    /// A server of this authority, with another certificate than the right one.
    pub fn server_with(&self, change: impl FnOnce(&mut CertificateParams)) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "kubernetes".to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let chain = vec![certificate.der().clone(), self.certificate.clone()];
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::Pkcs8(key.serialize_der().into()));
        Arc::new(config.unwrap())
    }
}
