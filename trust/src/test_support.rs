//! Certificates and requests for the tests, made field by field, so that a test can make any one of them wrong.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SigningKey,
};
use x509_cert::attr::{Attribute, AttributeTypeAndValue};
use x509_cert::der::asn1::{Any, BitString, OctetString, SetOfVec, Utf8StringRef};
use x509_cert::der::{Decode, Encode, Tag};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};
use x509_cert::request::{CertReqInfo, Version};
use x509_cert::spki::{AlgorithmIdentifierOwned, ObjectIdentifier};

use crate::pem_text;
use crate::pin::PublicKeyPin;

pub(crate) const COMMON_NAME: &str = "2.5.4.3";
pub(crate) const ORGANIZATION: &str = "2.5.4.10";
pub(crate) const ORGANIZATIONAL_UNIT: &str = "2.5.4.11";
pub(crate) const EXTENSION_REQUEST: &str = "1.2.840.113549.1.9.14";
pub(crate) const SUBJECT_ALT_NAME: &str = "2.5.29.17";
const ECDSA_WITH_SHA256: &str = "1.2.840.10045.4.3.2";

/// A self-signed certificate of a certificate authority, as PEM, with its pin.
pub(crate) fn ca(name: &str) -> (String, PublicKeyPin) {
    certificate(name, IsCa::Ca(BasicConstraints::Unconstrained))
}

/// A self-signed certificate that is no authority's.
pub(crate) fn leaf(name: &str) -> String {
    certificate(name, IsCa::ExplicitNoCa).0
}

fn certificate(name: &str, is_ca: IsCa) -> (String, PublicKeyPin) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = is_ca;
    let certificate = params.self_signed(&key).unwrap();
    let pin = PublicKeyPin::of_spki(&key.subject_public_key_info());
    (pem_text::encode("CERTIFICATE", certificate.der()), pin)
}

/// An object identifier from its dotted form.
pub(crate) fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new(text).unwrap()
}

/// The certificate signing request of a kubelet, of which every part can be changed before it is signed.
pub(crate) struct Forge {
    /// Whose public key stands in the request.
    pub(crate) key: KeyPair,
    /// Who signs it; the same key unless a test says otherwise.
    pub(crate) signer: Option<KeyPair>,
    /// The subject: a list of sets of (type, value).
    pub(crate) subject: Vec<Vec<(ObjectIdentifier, Any)>>,
    /// The alternative names; no extension if empty.
    pub(crate) names: Vec<GeneralName>,
    /// Further extensions, after the names.
    pub(crate) extensions: Vec<Extension>,
    /// Further attributes.
    pub(crate) attributes: Vec<Attribute>,
}

impl Forge {
    /// A kubelet's request for a node.
    pub(crate) fn kubelet(node: &str) -> Self {
        let subject = vec![
            vec![(oid(ORGANIZATION), printable("system:nodes"))],
            vec![(oid(COMMON_NAME), printable(&format!("system:node:{node}")))],
        ];
        Self {
            key: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(),
            signer: None,
            subject,
            names: Vec::new(),
            extensions: Vec::new(),
            attributes: Vec::new(),
        }
    }

    pub(crate) fn pin(&self) -> PublicKeyPin {
        PublicKeyPin::of_spki(&self.key.subject_public_key_info())
    }

    /// The DER of the part that is signed.
    pub(crate) fn info(&self) -> Vec<u8> {
        let rdns = self.subject.iter().map(|set| {
            let attributes = set.iter().map(|(oid, value)| AttributeTypeAndValue { oid: *oid, value: value.clone() });
            let mut rdn = RelativeDistinguishedName::default();
            attributes.for_each(|attribute| rdn.insert(attribute).unwrap());
            rdn
        });
        let mut sequence = RdnSequence::default();
        rdns.for_each(|rdn| sequence.push(rdn));
        let mut attributes = self.attributes.clone();
        let mut extensions = self.extensions.clone();
        if !self.names.is_empty() {
            extensions.insert(0, alternative_names(&self.names));
        }
        if !extensions.is_empty() {
            attributes.insert(0, extension_request(&extensions));
        }
        let info = CertReqInfo {
            version: Version::V1,
            subject: Name::from_der(&sequence.to_der().unwrap()).unwrap(),
            public_key: Decode::from_der(&self.key.subject_public_key_info()).unwrap(),
            attributes: attributes.try_into().unwrap(),
        };
        info.to_der().unwrap()
    }

    /// The signed request as PEM.
    pub(crate) fn pem(&self) -> Vec<u8> {
        self.sign(&self.info())
    }

    /// Signs any bytes as if they were the request's information.
    pub(crate) fn sign(&self, info: &[u8]) -> Vec<u8> {
        pem_text::encode("CERTIFICATE REQUEST", &self.sign_der(info)).into_bytes()
    }

    pub(crate) fn sign_der(&self, info: &[u8]) -> Vec<u8> {
        let signature = self.signer.as_ref().unwrap_or(&self.key).sign(info).unwrap();
        let algorithm = AlgorithmIdentifierOwned { oid: oid(ECDSA_WITH_SHA256), parameters: None };
        let mut content = info.to_vec();
        content.extend(algorithm.to_der().unwrap());
        content.extend(BitString::from_bytes(&signature).unwrap().to_der().unwrap());
        sequence(&content)
    }
}

/// Content as a DER SEQUENCE.
pub(crate) fn sequence(content: &[u8]) -> Vec<u8> {
    Any::new(Tag::Sequence, content).unwrap().to_der().unwrap()
}

pub(crate) fn printable(text: &str) -> Any {
    Any::new(Tag::PrintableString, text.as_bytes()).unwrap()
}

pub(crate) fn utf8(text: &str) -> Any {
    Any::encode_from(&Utf8StringRef::new(text).unwrap()).unwrap()
}

pub(crate) fn dns(name: &str) -> GeneralName {
    GeneralName::DnsName(x509_cert::der::asn1::Ia5String::new(name).unwrap())
}

pub(crate) fn ip(address: &str) -> GeneralName {
    GeneralName::from(address.parse::<std::net::IpAddr>().unwrap())
}

pub(crate) fn alternative_names(names: &[GeneralName]) -> Extension {
    extension(SUBJECT_ALT_NAME, false, SubjectAltName(names.to_vec()).to_der().unwrap())
}

pub(crate) fn extension(id: &str, critical: bool, value: Vec<u8>) -> Extension {
    Extension { extn_id: oid(id), critical, extn_value: OctetString::new(value).unwrap() }
}

pub(crate) fn extension_request(extensions: &[Extension]) -> Attribute {
    attribute(EXTENSION_REQUEST, Any::encode_from(&extensions.to_vec()).unwrap())
}

pub(crate) fn attribute(id: &str, value: Any) -> Attribute {
    let mut values = SetOfVec::default();
    values.insert(value).unwrap();
    Attribute { oid: oid(id), values }
}
