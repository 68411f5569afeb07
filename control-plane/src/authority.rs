//! A certificate authority that all control planes share, and what it signs.

use std::path::{Path, PathBuf};

use pkcs8::der::asn1::{AnyRef, OctetStringRef};
use pkcs8::der::{Decode, SecretDocument};
use pkcs8::spki::AlgorithmIdentifierRef;
use pkcs8::{ObjectIdentifier, PrivateKeyInfoRef};
use rcgen::{CertificateParams, CustomExtension, IsCa, Issuer, KeyPair, PublicKeyData, SerialNumber};
use ring::rand::{SecureRandom, SystemRandom};
use sec1::{EcParameters, EcPrivateKey};
use time::OffsetDateTime;
use x509_parser::asn1_rs::Tag;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};
use zeroize::Zeroize;

use crate::certificates::CertificateError;
use crate::file::File;
use crate::pem;

const CERTIFICATE: &[&str] = &["CERTIFICATE"];
/// `rsaEncryption` (RFC 8017).
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// `id-ecPublicKey` (RFC 5480).
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// `id-ce-basicConstraints` (RFC 5280), and its value for a certificate that signs no others.
const BASIC_CONSTRAINTS: (&[u64], &[u8]) = (&[2, 5, 29, 19], &[0x30, 0x00]);

/// An authority with its key, which is wiped when dropped.
pub(crate) struct Authority {
    path: PathBuf,
    certificate: Vec<u8>,
    key: Key,
    /// When its certificate began to be valid.
    pub not_before: OffsetDateTime,
    has_key_identifier: bool,
}

/// A key pair that is wiped when dropped. The copy inside the cryptography library is not.
pub(crate) struct Key(KeyPair);

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Key {
    pub(crate) fn generate(algorithm: &'static rcgen::SignatureAlgorithm) -> Result<Self, CertificateError> {
        let pair = KeyPair::generate_for(algorithm);
        Ok(Self(pair.map_err(|error| CertificateError::Generate { reason: error.to_string() })?))
    }

    pub(crate) fn pair(&self) -> &KeyPair {
        &self.0
    }
}

impl Authority {
    /// Finds the authority of these paths among the files, and makes sure that its certificate and its key belong together.
    pub(crate) fn find(files: &[File], certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let find = |path: &Path| {
            let missing = || CertificateError::NotGiven { path: path.to_owned() };
            files.iter().find(|file| file.path == path).ok_or_else(missing)
        };
        let (certificate, key) = (find(certificate)?, find(key)?);
        let path = certificate.path.clone();
        let wrong = |reason: &str| CertificateError::Authority { path: path.clone(), reason: reason.to_owned() };
        // The first one is the authority; what follows are those above it.
        let block = certificate.content.text().and_then(|text| pem::first_block(text, CERTIFICATE));
        let (_, der) = block.ok_or_else(|| wrong("holds no certificate in PEM"))?;
        let (_, parsed) =
            X509Certificate::from_der(der.as_bytes()).map_err(|_| wrong("holds a damaged certificate"))?;
        if !parsed.is_ca() {
            return Err(wrong("holds a certificate that may sign no others, expected an authority's"));
        }
        if !can_be_repeated(parsed.subject()) {
            return Err(wrong(
                "has a subject that join-agent cannot repeat as issuer, expected in each part one attribute of a known type, and \
                 no question mark in a PrintableString",
            ));
        }
        let key = read_key(key)?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.pair().der_bytes() {
            return Err(wrong("has another public key than the private key that was uploaded with it"));
        }
        let extensions = parsed.extensions().iter();
        let mut extensions = extensions.map(x509_parser::extensions::X509Extension::parsed_extension);
        Ok(Self {
            has_key_identifier: extensions
                .any(|one| matches!(one, x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(_))),
            not_before: parsed.validity().not_before.to_datetime(),
            certificate: der.as_bytes().to_vec(),
            key,
            path,
        })
    }

    /// Its certificate, without those above it.
    pub(crate) fn der(&self) -> &[u8] {
        &self.certificate
    }

    /// Signs a certificate: with a random serial number, and for everything but signing others. Returns its DER.
    pub(crate) fn sign(&self, mut params: CertificateParams, key: &Key) -> Result<Vec<u8>, CertificateError> {
        let failed = |reason: String| CertificateError::Sign { path: self.path.clone(), reason };
        params.serial_number = Some(serial_number().ok_or_else(|| failed("no random numbers".to_owned()))?);
        // rcgen's own extension brings a key identifier with it, which kubeadm's certificates do not have.
        params.is_ca = IsCa::NoCa;
        let (oid, value) = BASIC_CONSTRAINTS;
        let mut constraints = CustomExtension::from_oid_content(oid, value.to_vec());
        constraints.set_criticality(true);
        params.custom_extensions.push(constraints);
        params.use_authority_key_identifier_extension = self.has_key_identifier;
        let issuer = Issuer::from_ca_cert_der(&self.certificate.as_slice().into(), self.key.pair());
        let issuer = issuer.map_err(|error| failed(format!("its subject cannot be repeated: {error}")))?;
        let signed = params.signed_by(key.pair(), &issuer).map_err(|error| failed(error.to_string()))?;
        self.check(signed.der()).map_err(|reason| failed(reason.to_owned()))?;
        Ok(signed.der().to_vec())
    }

    /// Makes sure that the authority vouches for a certificate. A name that has an attribute more than once, such as two
    /// of `DC`, loses one when rcgen repeats it, and nobody would find the issuer.
    fn check(&self, der: &[u8]) -> Result<(), &'static str> {
        const DAMAGED: &str = "the signed certificate cannot be read";
        let (_, authority) = X509Certificate::from_der(&self.certificate).map_err(|_| DAMAGED)?;
        let (_, signed) = X509Certificate::from_der(der).map_err(|_| DAMAGED)?;
        if signed.issuer().as_raw() != authority.subject().as_raw() {
            return Err("its subject has an attribute more than once, which join-agent cannot repeat as issuer");
        }
        signed.verify_signature(Some(authority.public_key())).map_err(|_| "the signature that was made does not verify")
    }
}

/// Whether rcgen can write this name again: it ends the program at a part without attributes, at a type that it cannot write,
/// and at a question mark in a PrintableString, where X.680 allows one.
fn can_be_repeated(name: &X509Name<'_>) -> bool {
    name.iter().all(|part| {
        let mut attributes = part.iter();
        attributes.next().is_some_and(is_writable) && attributes.next().is_none()
    })
}

/// X.660: the first number of a type is 0, 1 or 2, and the second is below 40 unless the first is 2.
fn is_writable(attribute: &AttributeTypeAndValue<'_>) -> bool {
    let value = attribute.attr_value();
    if value.header.tag() == Tag::PrintableString && value.data.contains(&b'?') {
        return false;
    }
    let mut numbers = attribute.attr_type().iter().into_iter().flatten();
    match (numbers.next(), numbers.next()) {
        (Some(0 | 1), Some(second)) => second < 40,
        (Some(2), Some(_)) => true,
        _ => false,
    }
}

/// A number from 1 to 2^63 - 1, as kubeadm's.
fn serial_number() -> Option<SerialNumber> {
    let mut bytes = [0_u8; 8];
    SystemRandom::new().fill(&mut bytes).ok()?;
    let number = u64::from_be_bytes(bytes) >> 1;
    Some(SerialNumber::from(number.max(1)))
}

/// A private key in any of the three forms that Go reads, as PKCS#8.
fn read_key(file: &File) -> Result<Key, CertificateError> {
    let wrong = || CertificateError::Key { path: file.path.clone() };
    let block = file.content.text().and_then(|text| pem::first_block(text, pem::PRIVATE_KEYS));
    let (tag, document) = block.ok_or_else(wrong)?;
    let document = match tag {
        pem::PKCS1 => pkcs8(RSA, AnyRef::NULL, document.as_bytes()),
        pem::SEC1 => EcPrivateKey::from_der(document.as_bytes()).ok().and_then(|key| match key.parameters {
            Some(EcParameters::NamedCurve(curve)) => pkcs8(EC, AnyRef::from(&curve), document.as_bytes()),
            _ => None,
        }),
        _ => Some(document),
    };
    let document = document.ok_or_else(wrong)?;
    KeyPair::try_from(document.as_bytes()).map(Key).map_err(|_| wrong())
}

fn pkcs8(algorithm: ObjectIdentifier, parameters: AnyRef<'_>, key: &[u8]) -> Option<SecretDocument> {
    let algorithm = AlgorithmIdentifierRef { oid: algorithm, parameters: Some(parameters) };
    let key = OctetStringRef::new(key).ok()?;
    SecretDocument::encode_msg(&PrivateKeyInfoRef::new(algorithm, key)).ok()
}
