//! The key with which kubeadm encrypts the authorities that it uploads.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The key's length in bytes: AES-256.
const LENGTH: usize = 32;

/// A text is no certificate key. The text is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the certificate key has {length} characters or others than 0-9 and a-f, expected the 64 of hexadecimal digits that \
     `kubeadm init phase upload-certs --upload-certs` prints"
)]
pub struct CertificateKeyError {
    /// The text's length in bytes.
    length: usize,
}

/// The key with which kubeadm encrypts the authorities that it uploads.
///
/// It is wiped when dropped, not printed, and never compared:
///
/// ```compile_fail,E0369
/// use join_control_plane::CertificateKey;
/// fn same(one: &CertificateKey, other: &CertificateKey) -> bool { one == other }
/// ```
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct CertificateKey([u8; LENGTH]);

impl CertificateKey {
    /// Reads 64 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, CertificateKeyError> {
        let mut key = Self([0; LENGTH]);
        hex::decode_to_slice(text, &mut key.0).map_err(|_| CertificateKeyError { length: text.len() })?;
        Ok(key)
    }

    /// Decrypts what kubeadm encrypted: a nonce of 12 bytes, the text, a tag of 16 bytes (AES-256-GCM, nothing else
    /// authenticated). None if this is not the key, or the data is damaged.
    pub(crate) fn decrypt(&self, data: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = data.split_first_chunk::<NONCE_LEN>()?;
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.0).ok()?);
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = key.open_in_place(nonce, Aad::empty(), &mut buffer).ok()?.len();
        buffer.truncate(length);
        Some(buffer)
    }
}

impl fmt::Debug for CertificateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
