//! Sealing a secret to one machine, so that it can lie in an object that many may read.
//!
//! HPKE in base mode (RFC 9180) with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and AES-256-GCM. The request's UID, name
//! and generation go into HPKE's `info`, so that an envelope that is moved to another request, or kept over a change
//! of its spec, does not open. Base mode does not say who sealed: the agent believes the envelope because only the
//! controller may write the status that holds it, and its content is verified again (JWS and pins).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use pkcs8::der::asn1::OctetStringRef;
use pkcs8::der::pem::LineEnding;
use pkcs8::der::{Decode, Encode, SecretDocument};
use pkcs8::spki::AlgorithmIdentifier;
use pkcs8::{ObjectIdentifier, PrivateKeyInfoRef};
use zeroize::Zeroizing;

use crate::limits::{MAX_CIPHERTEXT_BASE64_BYTES, MAX_CIPHERTEXT_BYTES, MAX_CREDENTIALS_BYTES, MAX_KEY_FILE_BYTES};
use crate::machine_key::PKCS8_TAG;

type Key = <X25519HkdfSha256 as Kem>::PrivateKey;
type PublicKey = <X25519HkdfSha256 as Kem>::PublicKey;
type EncappedKey = <X25519HkdfSha256 as Kem>::EncappedKey;

/// What `info` begins with; another version of the format would have another.
const LABEL: &[u8] = b"nodejoin.dev/sealed-credentials/v1";
/// X25519 (RFC 8410).
const X25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.110");
/// Bytes of X25519 keys and of an encapsulated key.
const KEY_BYTES: usize = 32;

/// Something could not be sealed or opened. No variant holds a key or a plaintext.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealingError {
    /// A public or encapsulated key is of another length.
    #[error("X25519 key has {length} bytes, expected {KEY_BYTES}")]
    KeyLength {
        /// Its length in bytes.
        length: usize,
    },
    /// The public key is one of the few points with which every shared secret is zero.
    #[error("X25519 key is a point of low order: everybody could compute what is sealed to it")]
    LowOrder,
    /// The key file is too large.
    #[error("sealing key file has {length} bytes, expected at most {MAX_KEY_FILE_BYTES}")]
    FileSize {
        /// Its length in bytes.
        length: usize,
    },
    /// The key file is not PEM of an X25519 key in PKCS#8.
    #[error("sealing key file is not PEM with one PRIVATE KEY block that holds an X25519 key (PKCS#8)")]
    File,
    /// The key could not be written.
    #[error("cannot encode the sealing key")]
    Encode,
    /// The operating system gave no random bytes.
    #[error("the operating system's random source failed: {0}")]
    Random(getrandom::Error),
    /// The plaintext is too large.
    #[error("plaintext to seal has {length} bytes, expected at most {MAX_CREDENTIALS_BYTES}")]
    PlaintextSize {
        /// Its length in bytes.
        length: usize,
    },
    /// The ciphertext is too large.
    #[error("sealed envelope's ciphertext has {length} bytes, expected at most {maximum}")]
    CiphertextSize {
        /// Its length in bytes.
        length: usize,
        /// The most that is read.
        maximum: usize,
    },
    /// A field of the envelope is not base64.
    #[error("sealed envelope's {field} is not base64")]
    Base64 {
        /// The field.
        field: &'static str,
    },
    /// Sealing failed.
    #[error("sealing failed")]
    Seal,
    /// The envelope does not open.
    #[error(
        "sealed envelope does not open with this machine's key: it was sealed to another key, for another request or \
         generation of it, or was changed"
    )]
    Open,
}

/// What an envelope is bound to: exactly one generation of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding<'a> {
    /// `metadata.uid` of the request.
    pub uid: &'a str,
    /// `metadata.name` of the request.
    pub name: &'a str,
    /// `metadata.generation` of the request when it was sealed.
    pub generation: i64,
}

impl Binding<'_> {
    /// HPKE's `info`: label, uid and name, each after its length as eight bytes big-endian, then the generation as
    /// eight bytes big-endian. No two bindings have the same encoding.
    pub fn info(&self) -> Vec<u8> {
        let mut info = Vec::with_capacity(LABEL.len() + self.uid.len() + self.name.len() + 32);
        for part in [LABEL, self.uid.as_bytes(), self.name.as_bytes()] {
            info.extend_from_slice(&(part.len() as u64).to_be_bytes());
            info.extend_from_slice(part);
        }
        info.extend_from_slice(&self.generation.to_be_bytes());
        info
    }
}

/// An X25519 public key to which something can be sealed; never a point of low order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SealingPublicKey([u8; KEY_BYTES]);

impl SealingPublicKey {
    /// Checks the 32 bytes of a public key (RFC 7748).
    ///
    /// A point of low order is found by trying: its product with any clamped scalar is zero (RFC 7748 section 6.1).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealingError> {
        let key = <[u8; KEY_BYTES]>::try_from(bytes).map_err(|_| SealingError::KeyLength { length: bytes.len() })?;
        let any_scalar = [0x42; KEY_BYTES];
        if x25519_dalek::x25519(any_scalar, key) == [0; KEY_BYTES] {
            Err(SealingError::LowOrder)
        } else {
            Ok(Self(key))
        }
    }

    /// Reads what [`Self::to_base64`] wrote.
    pub fn from_base64(text: &str) -> Result<Self, SealingError> {
        Self::from_bytes(&decode_base64("public key", text, 44)?)
    }

    /// The key as standard base64, 44 characters.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

/// The X25519 private key of a machine; wiped when dropped, and compared with nothing:
///
/// ```compile_fail,E0369
/// use join_trust::sealing::SealingKey;
/// fn same(one: &SealingKey, other: &SealingKey) -> bool { one == other }
/// ```
pub struct SealingKey(Key);

impl SealingKey {
    /// Makes a key from the operating system's random source.
    pub fn generate() -> Result<Self, SealingError> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(bytes.as_mut_slice()).map_err(SealingError::Random)?;
        Self::from_scalar(bytes.as_slice())
    }

    fn from_scalar(bytes: &[u8]) -> Result<Self, SealingError> {
        Key::from_bytes(bytes).map(Self).map_err(|_| SealingError::KeyLength { length: bytes.len() })
    }

    /// Reads what [`Self::to_pem`] wrote.
    pub fn from_pem(text: &str) -> Result<Self, SealingError> {
        if text.len() > MAX_KEY_FILE_BYTES {
            return Err(SealingError::FileSize { length: text.len() });
        }
        let (tag, document) = SecretDocument::from_pem(text).map_err(|_| SealingError::File)?;
        let info = PrivateKeyInfoRef::from_der(document.as_bytes()).map_err(|_| SealingError::File)?;
        let known = tag == PKCS8_TAG && info.algorithm.oid == X25519 && info.algorithm.parameters.is_none();
        // RFC 8410 wraps the scalar in an OCTET STRING of its own.
        match <&OctetStringRef>::from_der(info.private_key.as_bytes()) {
            Ok(scalar) if known => Self::from_scalar(scalar.as_bytes()).map_err(|_| SealingError::File),
            _ => Err(SealingError::File),
        }
    }

    /// The key as PEM of PKCS#8 (RFC 8410), for a file of mode 0600; `openssl pkey` reads it.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, SealingError> {
        let scalar = Zeroizing::new(<[u8; KEY_BYTES]>::from(self.0.to_bytes()));
        let wrapped = OctetStringRef::new(scalar.as_slice()).and_then(|scalar| scalar.to_der());
        let wrapped = Zeroizing::new(wrapped.map_err(|_| SealingError::Encode)?);
        let inner = OctetStringRef::new(&wrapped).map_err(|_| SealingError::Encode)?;
        let algorithm = AlgorithmIdentifier { oid: X25519, parameters: None };
        SecretDocument::encode_msg(&PrivateKeyInfoRef::new(algorithm, inner))
            .and_then(|document| document.to_pem(PKCS8_TAG, LineEnding::LF))
            .map_err(|_| SealingError::Encode)
    }

    /// The public key, which the machine announces.
    pub fn public(&self) -> SealingPublicKey {
        SealingPublicKey(X25519HkdfSha256::sk_to_pk(&self.0).to_bytes().into())
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey(public {})", self.public().to_base64())
    }
}

/// A sealed plaintext as it lies in a request's status; useless to anybody but the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedEnvelope {
    encapsulated_key: [u8; KEY_BYTES],
    ciphertext: Vec<u8>,
}

impl SealedEnvelope {
    /// Reads the two base64 fields of `status.sealedCredentials`.
    pub fn from_base64(encapsulated_key: &str, ciphertext: &str) -> Result<Self, SealingError> {
        let key = decode_base64("encapsulatedKey", encapsulated_key, 44)?;
        let ciphertext = decode_base64("ciphertext", ciphertext, MAX_CIPHERTEXT_BASE64_BYTES)?;
        Self::new(&key, ciphertext)
    }

    /// Puts an envelope together from its raw parts.
    pub fn new(encapsulated_key: &[u8], ciphertext: Vec<u8>) -> Result<Self, SealingError> {
        if ciphertext.len() > MAX_CIPHERTEXT_BYTES {
            return Err(SealingError::CiphertextSize { length: ciphertext.len(), maximum: MAX_CIPHERTEXT_BYTES });
        }
        let length = encapsulated_key.len();
        let encapsulated_key = encapsulated_key.try_into().map_err(|_| SealingError::KeyLength { length })?;
        Ok(Self { encapsulated_key, ciphertext })
    }

    /// The encapsulated key as standard base64, 44 characters.
    pub fn encapsulated_key_base64(&self) -> String {
        STANDARD.encode(self.encapsulated_key)
    }

    /// The ciphertext with its tag as standard base64.
    pub fn ciphertext_base64(&self) -> String {
        STANDARD.encode(&self.ciphertext)
    }
}

/// Seals a plaintext to a machine, bound to one generation of one request.
pub fn seal(to: &SealingPublicKey, binding: &Binding<'_>, plaintext: &[u8]) -> Result<SealedEnvelope, SealingError> {
    if plaintext.len() > MAX_CREDENTIALS_BYTES {
        return Err(SealingError::PlaintextSize { length: plaintext.len() });
    }
    // hpke draws its ephemeral key itself and would panic without random bytes: ask first.
    getrandom::fill(&mut [0; KEY_BYTES]).map_err(SealingError::Random)?;
    let key = PublicKey::from_bytes(to.as_bytes()).map_err(|_| SealingError::Seal)?;
    let (encapsulated, ciphertext) = hpke::single_shot_seal::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
        &OpModeS::Base,
        &key,
        &binding.info(),
        plaintext,
        &[],
    )
    .map_err(|_| SealingError::Seal)?;
    Ok(SealedEnvelope { encapsulated_key: encapsulated.to_bytes().into(), ciphertext })
}

/// Opens an envelope with the machine's key; the plaintext is wiped when dropped.
///
/// All reasons for failure look the same, as they must.
pub fn open(
    key: &SealingKey,
    binding: &Binding<'_>,
    sealed: &SealedEnvelope,
) -> Result<Zeroizing<Vec<u8>>, SealingError> {
    open_raw(key, &binding.info(), &[], sealed)
}

fn open_raw(
    key: &SealingKey,
    info: &[u8],
    associated_data: &[u8],
    sealed: &SealedEnvelope,
) -> Result<Zeroizing<Vec<u8>>, SealingError> {
    let encapsulated = EncappedKey::from_bytes(&sealed.encapsulated_key).map_err(|_| SealingError::Open)?;
    hpke::single_shot_open::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &key.0,
        &encapsulated,
        info,
        &sealed.ciphertext,
        associated_data,
    )
    .map(Zeroizing::new)
    .map_err(|_| SealingError::Open)
}

fn decode_base64(field: &'static str, text: &str, maximum: usize) -> Result<Vec<u8>, SealingError> {
    if text.len() > maximum {
        return Err(SealingError::CiphertextSize { length: text.len(), maximum });
    }
    STANDARD.decode(text).map_err(|_| SealingError::Base64 { field })
}

#[cfg(test)]
#[path = "sealing_tests.rs"]
mod tests;
