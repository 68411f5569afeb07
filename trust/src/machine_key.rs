//! The key that is a machine's identity: ECDSA P-256, made on the machine and never sent anywhere.
//!
//! Its pin is what an admin approves; the same key then asks for the kubelet's first client certificate, which is how
//! the approval binds the certificate. Later certificates have keys of the kubelet's own making.

use std::fmt;

use pkcs8::PrivateKeyInfoRef;
use pkcs8::der::pem::LineEnding;
use pkcs8::der::{Decode, SecretDocument};
use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use sec1::{EcParameters, EcPrivateKey};
use zeroize::{Zeroize, Zeroizing};

use crate::limits::MAX_KEY_FILE_BYTES;
use crate::names::{NODES_GROUP, NodeName};
use crate::pin::PublicKeyPin;

/// The PEM tag of a PKCS#8 private key (RFC 7468).
pub(crate) const PKCS8_TAG: &str = "PRIVATE KEY";
const SEC1_TAG: &str = "EC PRIVATE KEY";

/// A machine key could not be made, read or used. No variant holds any part of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MachineKeyError {
    /// The key could not be made.
    #[error("cannot generate an ECDSA P-256 key: {reason}")]
    Generate {
        /// What the cryptography library says.
        reason: String,
    },
    /// The file is too large to be a key.
    #[error("machine key file has {length} bytes, expected at most {MAX_KEY_FILE_BYTES}")]
    Size {
        /// Its length in bytes.
        length: usize,
    },
    /// The file is not one PEM block of a PKCS#8 key.
    #[error("machine key file is not PEM with one PRIVATE KEY block (PKCS#8)")]
    Pem,
    /// The key is damaged or of another kind.
    #[error("machine key file does not hold an ECDSA P-256 key")]
    Kind,
    /// The key could not be written.
    #[error("cannot encode the machine key")]
    Encode,
    /// The request could not be signed.
    #[error("cannot make a certificate signing request: {reason}")]
    Request {
        /// What the X.509 library says.
        reason: String,
    },
}

/// An ECDSA P-256 key pair.
///
/// The encoded key is wiped when dropped, and so is every PEM text that is made of it. The copy inside the
/// cryptography library is not: it offers no way to do so, which is one reason why the agent keeps no core dumps.
///
/// Keys are compared by their pins, which are public:
///
/// ```compile_fail,E0369
/// use join_trust::machine_key::MachineKey;
/// fn same(one: &MachineKey, other: &MachineKey) -> bool { one == other }
/// ```
pub struct MachineKey {
    key: KeyPair,
    pin: PublicKeyPin,
}

impl MachineKey {
    /// Makes a key from the operating system's random source.
    pub fn generate() -> Result<Self, MachineKeyError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
            .map_err(|error| MachineKeyError::Generate { reason: error.to_string() })?;
        Ok(Self::new(key))
    }

    /// Reads what [`Self::to_pem`] wrote.
    pub fn from_pem(text: &str) -> Result<Self, MachineKeyError> {
        if text.len() > MAX_KEY_FILE_BYTES {
            return Err(MachineKeyError::Size { length: text.len() });
        }
        let (tag, document) = SecretDocument::from_pem(text).map_err(|_| MachineKeyError::Pem)?;
        if tag != PKCS8_TAG {
            return Err(MachineKeyError::Pem);
        }
        let key = KeyPair::try_from(document.as_bytes()).map_err(|_| MachineKeyError::Kind)?;
        if key.is_compatible(&PKCS_ECDSA_P256_SHA256) { Ok(Self::new(key)) } else { Err(MachineKeyError::Kind) }
    }

    fn new(key: KeyPair) -> Self {
        let pin = PublicKeyPin::of_spki(&key.subject_public_key_info());
        Self { key, pin }
    }

    /// The key as PEM of PKCS#8, for a file of mode 0600.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, MachineKeyError> {
        SecretDocument::try_from(self.key.serialized_der())
            .and_then(|document| document.to_pem(PKCS8_TAG, LineEnding::LF))
            .map_err(|_| MachineKeyError::Encode)
    }

    /// The key as PEM of SEC 1 (`EC PRIVATE KEY`), byte for byte as Go's `x509.MarshalECPrivateKey` writes it.
    ///
    /// This is the form of the key block in `kubelet-client-current.pem`.
    pub fn to_sec1_pem(&self) -> Result<Zeroizing<String>, MachineKeyError> {
        sec1_pem(&self.key)
    }

    /// The pin of the public key: what is shown to people and stands in `spec.machine.publicKeyHash`.
    pub fn pin(&self) -> PublicKeyPin {
        self.pin
    }

    /// The public key as DER `SubjectPublicKeyInfo`.
    pub fn public_key_der(&self) -> Vec<u8> {
        self.key.subject_public_key_info()
    }

    /// The request for a kubelet's client certificate, as PEM, in exactly the shape that a kubelet sends.
    ///
    /// Subject `O=system:nodes` then `CN=system:node:<name>`, both PrintableString; no alternative names, no
    /// extensions. Only the signature differs between two calls, since ECDSA is randomised.
    pub fn client_csr(&self, node: &NodeName) -> Result<String, MachineKeyError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, printable(NODES_GROUP)?);
        params.distinguished_name.push(DnType::CommonName, printable(&node.user_name())?);
        self.sign_request(&params)
    }

    pub(crate) fn sign_request(&self, params: &CertificateParams) -> Result<String, MachineKeyError> {
        let request = params.serialize_request(&self.key);
        let request = request.map_err(|error| MachineKeyError::Request { reason: error.to_string() })?;
        Ok(crate::pem_text::encode(crate::pkcs10::TAG, request.der()))
    }
}

/// A key of an elliptic curve as PEM of SEC 1 (`EC PRIVATE KEY`), byte for byte as Go's `x509.MarshalECPrivateKey` writes
/// it, with its curve and its public key.
pub fn sec1_pem(key: &KeyPair) -> Result<Zeroizing<String>, MachineKeyError> {
    let outer = PrivateKeyInfoRef::from_der(key.serialized_der()).map_err(|_| MachineKeyError::Encode)?;
    let curve = outer.algorithm.parameters_oid().map_err(|_| MachineKeyError::Encode)?;
    let inner = EcPrivateKey::from_der(outer.private_key.as_bytes()).map_err(|_| MachineKeyError::Encode)?;
    let complete = EcPrivateKey {
        private_key: inner.private_key,
        parameters: Some(EcParameters::NamedCurve(curve)),
        public_key: Some(key.der_bytes()),
    };
    SecretDocument::encode_msg(&complete)
        .and_then(|document| document.to_pem(SEC1_TAG, LineEnding::LF))
        .map_err(|_| MachineKeyError::Encode)
}

/// A value as PrintableString, Go's first choice; node names and the groups have no character outside its set.
pub(crate) fn printable(text: &str) -> Result<DnValue, MachineKeyError> {
    let text = text.try_into().map_err(|error: rcgen::Error| MachineKeyError::Request { reason: error.to_string() })?;
    Ok(DnValue::PrintableString(text))
}

impl Drop for MachineKey {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl fmt::Debug for MachineKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MachineKey({})", self.pin)
    }
}

#[cfg(test)]
#[path = "machine_key_tests.rs"]
mod tests;
