//! Strict reading of PKCS#10 certificate signing requests (RFC 2986).
//!
//! What we judge must be what the signer signs, and the signer reads with another library. So only one encoding of a
//! request is read: the PEM text must be the one that a writer makes, and the DER inside must equal its own
//! re-encoding. Bytes that one parser skips and another reads have no place to hide in.
//!
//! Reading does not judge: [`crate::policy`] and [`crate::announcement`] decide what a request may contain.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pkcs8::ObjectIdentifier;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::asn1::{PrintableStringRef, Utf8StringRef};
use x509_cert::der::{Decode, Encode, Tag, Tagged};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::request::{CertReq, ExtensionReq};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use crate::limits::{MAX_ALTERNATIVE_NAMES, MAX_CSR_PEM_BYTES};
use crate::pem_text;
use crate::pin::PublicKeyPin;

/// The PEM tag of a request.
pub(crate) const TAG: &str = "CERTIFICATE REQUEST";

const EXTENSION_REQUEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.14");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// Signature algorithms with SHA-1, whose collisions are practical: `sha1WithRSAEncryption` and its OIW twin.
const SHA1_SIGNATURES: [ObjectIdentifier; 2] =
    [ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5"), ObjectIdentifier::new_unwrap("1.3.14.3.2.29")];

/// A request cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Pkcs10Error {
    /// It is too large.
    #[error("certificate signing request has {length} bytes, expected at most {MAX_CSR_PEM_BYTES}")]
    Size {
        /// Its length in bytes.
        length: usize,
    },
    /// It is not exactly one PEM block of the right kind.
    #[error(
        "certificate signing request is not exactly one CERTIFICATE REQUEST block of PEM in lines of 64 characters"
    )]
    Pem,
    /// The DER inside is malformed, has trailing data, or is not the one way of encoding it.
    #[error("certificate signing request is not canonical DER of PKCS#10: {detail}")]
    Der {
        /// What the decoder says.
        detail: String,
    },
    /// There are more alternative names than any machine has.
    #[error("certificate signing request has {count} alternative names, expected at most {MAX_ALTERNATIVE_NAMES}")]
    Names {
        /// How many there are.
        count: usize,
    },
    /// The signature was not made with the request's own key.
    #[error("certificate signing request's signature does not verify with its own key: {detail}")]
    Signature {
        /// What the verifier says.
        detail: &'static str,
    },
}

/// The kind of a public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA over P-256.
    P256,
    /// ECDSA over P-384.
    P384,
    /// Ed25519.
    Ed25519,
    /// RSA, with the size of its modulus in bits.
    Rsa {
        /// Bits of the modulus.
        bits: usize,
    },
    /// Anything else, by its object identifier.
    Other {
        /// The algorithm.
        algorithm: String,
    },
}

/// The type of an attribute of the subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttributeKind {
    /// `CN`
    CommonName,
    /// `O`
    Organization,
    /// Anything else, by its object identifier.
    Other(String),
}

/// One attribute of the subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectAttribute {
    /// Its type.
    pub kind: AttributeKind,
    /// Its value; none if it is neither UTF8String nor PrintableString, whose decoding is where readers differ.
    pub value: Option<String>,
}

/// One subject alternative name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlternativeName {
    /// A DNS name, as it stands there.
    Dns(String),
    /// An IP address; an IPv4 address in its IPv6-mapped form stays an IPv6 address here.
    Ip(IpAddr),
    /// An IP address that has neither 4 nor 16 bytes.
    BadIp {
        /// How many bytes it has.
        length: usize,
    },
    /// Another kind of name: an e-mail address, a URI, …
    Other(&'static str),
}

/// An extension that is asked for, other than subject alternative names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedExtension {
    /// Its object identifier.
    pub oid: String,
    /// Whether it is marked critical.
    pub critical: bool,
    /// Its DER value.
    pub value: Vec<u8>,
}

/// A request as it was read. Nothing is verified until [`Self::verify_signature`] has been called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificationRequest {
    der: Vec<u8>,
    key_kind: KeyKind,
    pin: PublicKeyPin,
    subject: Vec<SubjectAttribute>,
    names: Vec<AlternativeName>,
    extensions: Vec<RequestedExtension>,
    other_attributes: Vec<String>,
    signature_algorithm: ObjectIdentifier,
}

impl CertificationRequest {
    /// Reads one PEM block and nothing else.
    pub fn parse_pem(text: &[u8]) -> Result<Self, Pkcs10Error> {
        if text.len() > MAX_CSR_PEM_BYTES {
            return Err(Pkcs10Error::Size { length: text.len() });
        }
        let der = pem_text::decode_one(TAG, text).ok_or(Pkcs10Error::Pem)?;
        Self::from_der(der)
    }

    fn from_der(der: Vec<u8>) -> Result<Self, Pkcs10Error> {
        let request: CertReq = canonical(&der)?;
        let info = &request.info;
        // Readers disagree about what unused bits mean; keys and signatures are whole bytes.
        let bit_strings = [&request.signature, &info.public_key.subject_public_key];
        if bit_strings.iter().any(|bits| bits.unused_bits() != 0) {
            return Err(Pkcs10Error::Der { detail: "a bit string has unused bits".to_owned() });
        }
        let spki = info.public_key.to_der().map_err(bad_der)?;
        let mut read = Self {
            key_kind: key_kind(&info.public_key),
            pin: PublicKeyPin::of_spki(&spki),
            subject: info.subject.iter().map(subject_attribute).collect(),
            names: Vec::new(),
            extensions: Vec::new(),
            other_attributes: Vec::new(),
            signature_algorithm: request.algorithm.oid,
            der,
        };
        for attribute in info.attributes.iter() {
            if attribute.oid != EXTENSION_REQUEST {
                read.other_attributes.push(attribute.oid.to_string());
                continue;
            }
            for value in attribute.values.iter() {
                let requested: ExtensionReq = canonical(&value.to_der().map_err(bad_der)?)?;
                requested.0.iter().try_for_each(|extension| read.add_extension(extension))?;
            }
        }
        if read.names.len() > MAX_ALTERNATIVE_NAMES {
            return Err(Pkcs10Error::Names { count: read.names.len() });
        }
        Ok(read)
    }

    fn add_extension(&mut self, extension: &Extension) -> Result<(), Pkcs10Error> {
        let oid = extension.extn_id;
        let repeated = self.extensions.iter().any(|seen| seen.oid == oid.to_string());
        if repeated || (oid == SUBJECT_ALT_NAME && !self.names.is_empty()) {
            return Err(Pkcs10Error::Der { detail: format!("extension {oid} is asked for twice") });
        }
        let value = extension.extn_value.as_bytes();
        if oid == SUBJECT_ALT_NAME {
            let names: SubjectAltName = canonical(value)?;
            if names.0.is_empty() {
                return Err(Pkcs10Error::Der { detail: "the list of alternative names is empty".to_owned() });
            }
            self.names = names.0.iter().map(alternative_name).collect();
        } else {
            let requested =
                RequestedExtension { oid: oid.to_string(), critical: extension.critical, value: value.to_vec() };
            self.extensions.push(requested);
        }
        Ok(())
    }

    /// Verifies that the request was signed with its own key: the sender holds the private key.
    ///
    /// Signatures with SHA-1 are refused, as Go's verifier refuses them.
    pub fn verify_signature(&self) -> Result<(), Pkcs10Error> {
        if SHA1_SIGNATURES.contains(&self.signature_algorithm) {
            return Err(Pkcs10Error::Signature { detail: "SHA-1 is not accepted" });
        }
        let (_, request) = X509CertificationRequest::from_der(&self.der)
            .map_err(|_| Pkcs10Error::Signature { detail: "the verifier cannot read it" })?;
        request.verify_signature().map_err(|error| Pkcs10Error::Signature {
            detail: match error {
                x509_parser::error::X509Error::SignatureUnsupportedAlgorithm => "its algorithm is not supported",
                _ => "it was made with another key or over other content",
            },
        })
    }

    /// The kind of the public key.
    pub fn key_kind(&self) -> &KeyKind {
        &self.key_kind
    }

    /// The pin of the public key.
    pub fn pin(&self) -> PublicKeyPin {
        self.pin
    }

    /// All attributes of the subject, in the order in which they stand.
    pub fn subject(&self) -> &[SubjectAttribute] {
        &self.subject
    }

    /// All values of one kind of attribute.
    pub fn subject_values<'a>(&'a self, kind: &'a AttributeKind) -> impl Iterator<Item = Option<&'a str>> {
        self.subject.iter().filter(move |attribute| attribute.kind == *kind).map(|attribute| attribute.value.as_deref())
    }

    /// The common name, if there is exactly one.
    pub fn common_name(&self) -> Option<&str> {
        let mut names = self.subject_values(&AttributeKind::CommonName);
        match (names.next(), names.next()) {
            (Some(only), None) => only,
            _ => None,
        }
    }

    /// All subject alternative names.
    pub fn names(&self) -> &[AlternativeName] {
        &self.names
    }

    /// All extensions asked for, other than subject alternative names.
    pub fn extensions(&self) -> &[RequestedExtension] {
        &self.extensions
    }

    /// The object identifiers of attributes other than the extension request (a challenge password, …).
    pub fn other_attributes(&self) -> &[String] {
        &self.other_attributes
    }
}

/// Decodes DER and refuses what would be encoded differently: trailing data, long forms, unsorted sets, …
fn canonical<'a, T: Decode<'a, Error = x509_cert::der::Error> + Encode>(der: &'a [u8]) -> Result<T, Pkcs10Error> {
    let value = T::from_der(der).map_err(bad_der)?;
    if value.to_der().map_err(bad_der)? == der {
        Ok(value)
    } else {
        Err(Pkcs10Error::Der { detail: "it is not encoded in the one way that DER allows".to_owned() })
    }
}

fn bad_der(error: x509_cert::der::Error) -> Pkcs10Error {
    Pkcs10Error::Der { detail: error.to_string() }
}

fn key_kind(spki: &x509_cert::spki::SubjectPublicKeyInfoOwned) -> KeyKind {
    let curve = || spki.algorithm.parameters.as_ref().and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
    let algorithm = spki.algorithm.oid;
    match algorithm {
        EC_PUBLIC_KEY if curve() == Some(P256) => KeyKind::P256,
        EC_PUBLIC_KEY if curve() == Some(P384) => KeyKind::P384,
        ED25519 if spki.algorithm.parameters.is_none() => KeyKind::Ed25519,
        RSA => rsa_bits(spki.subject_public_key.raw_bytes())
            .map_or_else(|| KeyKind::Other { algorithm: algorithm.to_string() }, |bits| KeyKind::Rsa { bits }),
        _ => KeyKind::Other {
            algorithm: match curve() {
                Some(curve) => format!("{algorithm} with {curve}"),
                None => algorithm.to_string(),
            },
        },
    }
}

/// The bits of the modulus in a PKCS#1 `RSAPublicKey`.
fn rsa_bits(key: &[u8]) -> Option<usize> {
    let (rest, key) = x509_parser::public_key::RSAPublicKey::from_der(key).ok()?;
    let modulus = key.modulus;
    let significant = &modulus[modulus.iter().position(|byte| *byte != 0)?..];
    let top = significant.first()?;
    rest.is_empty().then(|| significant.len() * 8 - top.leading_zeros() as usize)
}

fn subject_attribute(attribute: &AttributeTypeAndValue) -> SubjectAttribute {
    let kind = match attribute.oid {
        COMMON_NAME => AttributeKind::CommonName,
        ORGANIZATION => AttributeKind::Organization,
        other => AttributeKind::Other(other.to_string()),
    };
    let value = match attribute.value.tag() {
        Tag::PrintableString => attribute.value.decode_as::<PrintableStringRef<'_>>().ok().map(|text| text.to_string()),
        Tag::Utf8String => attribute.value.decode_as::<Utf8StringRef<'_>>().ok().map(|text| text.to_string()),
        _ => None,
    };
    SubjectAttribute { kind, value }
}

fn alternative_name(name: &GeneralName) -> AlternativeName {
    match name {
        GeneralName::DnsName(name) => AlternativeName::Dns(name.to_string()),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
                AlternativeName::Ip(Ipv4Addr::from(v4).into())
            } else if let Ok(v6) = <[u8; 16]>::try_from(bytes) {
                AlternativeName::Ip(Ipv6Addr::from(v6).into())
            } else {
                AlternativeName::BadIp { length: bytes.len() }
            }
        }
        GeneralName::Rfc822Name(_) => AlternativeName::Other("e-mail address"),
        GeneralName::UniformResourceIdentifier(_) => AlternativeName::Other("URI"),
        GeneralName::DirectoryName(_) => AlternativeName::Other("directory name"),
        GeneralName::OtherName(_) => AlternativeName::Other("otherName"),
        GeneralName::EdiPartyName(_) => AlternativeName::Other("EDI party name"),
        GeneralName::RegisteredId(_) => AlternativeName::Other("registered identifier"),
    }
}

#[cfg(test)]
#[path = "pkcs10_tests.rs"]
mod tests;
