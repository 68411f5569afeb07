//! How a machine announces itself: a certificate signing request for which nothing is ever issued.
//!
//! The request's self-signature proves that the sender holds the machine key; its content says which node it wants to
//! be, at which addresses it can be found, and to which key credentials may be sealed. Kubernetes stores it, shows it
//! with `kubectl get csr`, and cleans it up after a day.

use std::net::IpAddr;

use pkcs8::ObjectIdentifier;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, SanType};
use x509_cert::der::asn1::{OctetString, OctetStringRef};
use x509_cert::der::{Decode, Encode};

use crate::limits::MAX_ALTERNATIVE_NAMES;
use crate::machine_key::{MachineKey, MachineKeyError, printable};
use crate::names::{NameError, NodeName};
use crate::pin::PublicKeyPin;
use crate::pkcs10::{AlternativeName, AttributeKind, CertificationRequest, KeyKind, Pkcs10Error};
use crate::sealing::{SealingError, SealingPublicKey};

/// The usages of an announcement's object.
pub const USAGES: [&str; 1] = ["digital signature"];

/// The extension that carries the sealing key: the 32 bytes of an X25519 public key (RFC 7748) in an OCTET STRING.
///
/// The arc is the one that is free for anybody to use with a UUID of his own, split into seven numbers of at most 24
/// bits (as for schema attributes of directories); the UUID is 36b38f7e-a599-4139-83ef-049a3db7182e.
pub const SEALING_KEY_EXTENSION: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113556.1.8000.2554.14003.36734.42393.16697.33775.301629.11999278");

/// An announcement could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// There are too many addresses.
    #[error("the machine has {count} addresses to announce, expected at most {MAX_ALTERNATIVE_NAMES}")]
    Addresses {
        /// How many there are.
        count: usize,
    },
    /// The request could not be made.
    #[error(transparent)]
    Key(#[from] MachineKeyError),
    /// The sealing key could not be encoded.
    #[error("cannot encode the sealing key")]
    Encode,
}

/// An announcement is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnnouncementError {
    /// It is not a request, or not signed with its own key.
    #[error(transparent)]
    Request(#[from] Pkcs10Error),
    /// Its key is not ECDSA P-256.
    #[error("announcement is made with a key of kind {found:?}, expected ECDSA P-256")]
    Key {
        /// The kind that was found.
        found: KeyKind,
    },
    /// Its subject is not a common name alone.
    #[error(
        "announcement's subject has {count} attributes or a value of another type, expected one common name and nothing else"
    )]
    Subject {
        /// How many attributes there are.
        count: usize,
    },
    /// Its common name is no node name.
    #[error("announcement's common name: {0}")]
    NodeName(#[from] NameError),
    /// It has alternative names other than IP addresses.
    #[error("announcement has an alternative name that is not an IP address")]
    Names,
    /// It asks for extensions or has attributes that no announcement has.
    #[error("announcement has an extension or attribute {oid} that does not belong there")]
    Extension {
        /// Its object identifier.
        oid: String,
    },
    /// The extension with the sealing key is missing.
    #[error("announcement has no sealing key (extension {SEALING_KEY_EXTENSION})")]
    NoSealingKey,
    /// The sealing key cannot be used.
    #[error("announcement's sealing key: {0}")]
    SealingKey(#[from] SealingError),
}

/// What a machine says of itself; everything in it is as true as the machine is honest, but it all comes from the
/// holder of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The node that it wants to be.
    pub node_name: NodeName,
    /// The pin of its machine key, whose possession it has proven.
    pub public_key_hash: PublicKeyPin,
    /// Its addresses, in the order in which it named them; may be empty.
    pub addresses: Vec<IpAddr>,
    /// The key to which credentials may be sealed.
    pub sealing_key: SealingPublicKey,
}

/// Makes the PEM request of an announcement.
pub fn build(
    machine_key: &MachineKey,
    sealing_key: &SealingPublicKey,
    node_name: &NodeName,
    addresses: &[IpAddr],
) -> Result<String, BuildError> {
    if addresses.len() > MAX_ALTERNATIVE_NAMES {
        return Err(BuildError::Addresses { count: addresses.len() });
    }
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, printable(node_name.as_str())?);
    params.subject_alt_names = addresses.iter().copied().map(SanType::IpAddress).collect();
    let value = OctetStringRef::new(sealing_key.as_bytes()).and_then(|bytes| bytes.to_der());
    let value = value.map_err(|_| BuildError::Encode)?;
    let arcs: Vec<u64> = SEALING_KEY_EXTENSION.arcs().map(u64::from).collect();
    params.custom_extensions.push(CustomExtension::from_oid_content(&arcs, value));
    Ok(machine_key.sign_request(&params)?)
}

/// Reads an announcement and verifies everything about it that can be verified without knowing the machine.
pub fn verify(request_pem: &[u8]) -> Result<Announcement, AnnouncementError> {
    let request = CertificationRequest::parse_pem(request_pem)?;
    if *request.key_kind() != KeyKind::P256 {
        return Err(AnnouncementError::Key { found: request.key_kind().clone() });
    }
    request.verify_signature()?;
    let node_name = node_name(&request)?;
    let addresses = request.names().iter().map(address).collect::<Result<_, _>>()?;
    let sealing_key = sealing_key(&request)?;
    Ok(Announcement { node_name, public_key_hash: request.pin(), addresses, sealing_key })
}

fn node_name(request: &CertificationRequest) -> Result<NodeName, AnnouncementError> {
    match request.subject() {
        [only] if only.kind == AttributeKind::CommonName => match &only.value {
            Some(name) => Ok(NodeName::parse(name)?),
            None => Err(AnnouncementError::Subject { count: 1 }),
        },
        subject => Err(AnnouncementError::Subject { count: subject.len() }),
    }
}

fn address(name: &AlternativeName) -> Result<IpAddr, AnnouncementError> {
    match name {
        // One address must have one spelling, or lists of approved addresses would not find it.
        AlternativeName::Ip(address) if address.to_canonical() == *address => Ok(*address),
        _ => Err(AnnouncementError::Names),
    }
}

fn sealing_key(request: &CertificationRequest) -> Result<SealingPublicKey, AnnouncementError> {
    if let Some(oid) = request.other_attributes().first() {
        return Err(AnnouncementError::Extension { oid: oid.clone() });
    }
    let wanted = SEALING_KEY_EXTENSION.to_string();
    if let Some(other) = request.extensions().iter().find(|extension| extension.oid != wanted) {
        return Err(AnnouncementError::Extension { oid: other.oid.clone() });
    }
    let extension = request.extensions().first().ok_or(AnnouncementError::NoSealingKey)?;
    let bytes = OctetString::from_der(&extension.value).map_err(|_| AnnouncementError::NoSealingKey)?;
    Ok(SealingPublicKey::from_bytes(bytes.as_bytes())?)
}

#[cfg(test)]
#[path = "announcement_tests.rs"]
mod tests;
