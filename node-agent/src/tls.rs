//! TLS of the agent's connections: whose certificates are believed, and which one is shown.
//!
//! The client library can do this too, out of a kubeconfig with all that one can say. That would link what an agent never
//! uses (credential plugins, JSONPath and regular expressions), a megabyte of it.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// The configuration could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate authority cannot be used.
    #[error("a certificate authority cannot be used: {0}")]
    Authority(#[source] rustls::Error),
    /// There is no usable client certificate or key.
    #[error("the client certificate or its key cannot be read: {0}")]
    Identity(#[source] rustls::pki_types::pem::Error),
    /// Certificate and key do not go together.
    #[error("the client certificate and its key cannot be used: {0}")]
    Mismatch(#[source] rustls::Error),
}

/// Whose certificates are believed.
pub enum Believed<'a> {
    /// Anybody's, as long as he has its key.
    Any,
    /// Those of these authorities, DER each.
    Authorities(Vec<&'a [u8]>),
    /// Those of authorities that are ready for use.
    Roots(Arc<RootCertStore>),
}

/// A certificate and its key, PEM each; both may be the same text.
pub struct Shown<'a> {
    /// The certificate, and what leads to its authority.
    pub certificate: &'a [u8],
    /// Its key.
    pub key: &'a [u8],
}

/// Makes a configuration.
pub fn configuration(believed: &Believed<'_>, shown: Option<&Shown<'_>>) -> Result<ClientConfig, Error> {
    let roots = match believed {
        Believed::Any => Arc::new(RootCertStore::empty()),
        Believed::Authorities(authorities) => {
            let mut roots = RootCertStore::empty();
            for authority in authorities {
                roots.add(CertificateDer::from(authority.to_vec())).map_err(Error::Authority)?;
            }
            Arc::new(roots)
        }
        Believed::Roots(roots) => Arc::clone(roots),
    };
    let builder = ClientConfig::builder().with_root_certificates(roots);
    let mut configuration = match shown {
        None => builder.with_no_client_auth(),
        Some(shown) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(shown.certificate).collect();
            let key = PrivateKeyDer::from_pem_slice(shown.key).map_err(Error::Identity)?;
            builder.with_client_auth_cert(chain.map_err(Error::Identity)?, key).map_err(Error::Mismatch)?
        }
    };
    if matches!(believed, Believed::Any) {
        let algorithms = configuration.crypto_provider().signature_verification_algorithms;
        configuration.dangerous().set_certificate_verifier(Arc::new(Anybody(algorithms)));
    }
    Ok(configuration)
}

/// Believes every certificate, and that whoever shows it has its key.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn certificate() -> (String, String, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let made = CertificateParams::new(vec!["node".to_owned()]).unwrap().self_signed(&key).unwrap();
        (made.pem(), key.serialize_pem(), made.der().to_vec())
    }

    #[test]
    fn what_is_shown_has_to_be_whole() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (pem, key, der) = certificate();
        let believed = Believed::Authorities(vec![&der]);
        let with = |certificate: &str, key: &str| {
            let shown = Shown { certificate: certificate.as_bytes(), key: key.as_bytes() };
            configuration(&believed, Some(&shown))
                .map(|configuration| configuration.client_auth_cert_resolver.has_certs())
        };
        assert!(with(&pem, &key).unwrap());
        // One file with both, as the kubelet keeps them.
        let both = format!("{pem}{key}");
        assert!(with(&both, &both).unwrap());
        assert!(matches!(with(&pem, &pem), Err(Error::Identity(_))));
        assert!(matches!(with(&key, &key), Err(Error::Mismatch(_))));
        assert!(matches!(with(&pem, &certificate().1), Err(Error::Mismatch(_))));
        assert!(!configuration(&Believed::Any, None).unwrap().client_auth_cert_resolver.has_certs());
    }

    #[test]
    fn an_authority_has_to_be_a_certificate() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let wrong = configuration(&Believed::Authorities(vec![b"nonsense"]), None);
        assert!(matches!(wrong, Err(Error::Authority(_))));
    }
}
