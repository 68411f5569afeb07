//! The key that encrypts the certificates which control planes share: what `kubeadm init phase upload-certs` prints.
//!
//! 32 bytes as 64 hexadecimal digits, the key of AES-256-GCM (kubeadm `util/crypto`). Who has it and may read the Secret
//! `kube-system/kubeadm-certs` has the keys of the cluster's certificate authorities.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const BYTES: usize = 32;

/// A text is not a certificate key. Nothing of it is repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the certificate key has {length} bytes or other characters, expected 64 hexadecimal digits, as `kubeadm init phase \
     upload-certs --upload-certs` prints them"
)]
pub struct CertificateKeyError {
    /// Its length in bytes.
    pub length: usize,
}

/// A certificate key. It is wiped when dropped, prints as `[redacted]` and compares in constant time; it neither sorts nor
/// hashes:
///
/// ```compile_fail,E0369
/// use join_trust::certificate_key::CertificateKey;
/// fn before(one: &CertificateKey, other: &CertificateKey) -> bool { one < other }
/// ```
#[derive(Clone)]
pub struct CertificateKey(Zeroizing<[u8; BYTES]>);

impl CertificateKey {
    /// Reads 64 hexadecimal digits, with white space around them.
    pub fn parse(text: &str) -> Result<Self, CertificateKeyError> {
        let text = text.trim();
        let mut key = Zeroizing::new([0; BYTES]);
        hex::decode_to_slice(text, key.as_mut()).map_err(|_| CertificateKeyError { length: text.len() })?;
        Ok(Self(key))
    }

    /// The key as kubeadm writes it.
    pub fn expose(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.0.as_ref()))
    }

    /// The bytes of the key.
    pub fn expose_bytes(&self) -> &[u8; BYTES] {
        &self.0
    }
}

impl PartialEq for CertificateKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(other.0.as_ref()).into()
    }
}

impl Eq for CertificateKey {}

impl fmt::Debug for CertificateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CertificateKey([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const KEY: &str = "e6a2eb8581237ab72a4f494f30285ec12a9694d750b9785706a83bfcbbbd2204";

    #[test]
    fn a_key_reads_back_as_it_was_written_and_does_not_print() {
        let key = CertificateKey::parse(&format!(" {KEY}\n")).unwrap();
        assert_eq!(*key.expose(), KEY);
        assert_eq!(key, CertificateKey::parse(&KEY.to_uppercase()).unwrap());
        assert_ne!(key, CertificateKey::parse(&KEY.replace("04", "05")).unwrap());
        assert_eq!(format!("{key:?}"), "CertificateKey([redacted])");
    }

    #[rstest]
    #[case::empty("")]
    #[case::short(&KEY[1..])]
    #[case::long(&format!("{KEY}00"))]
    #[case::no_hex(&KEY.replace('e', "g"))]
    #[case::token("abcdef.0123456789abcdef")]
    fn what_is_no_key_is_refused_and_not_repeated(#[case] text: &str) {
        let error = CertificateKey::parse(text).unwrap_err();
        assert_eq!(error, CertificateKeyError { length: text.len() });
        assert!(text.is_empty() || !format!("{error} {error:?}").contains(text));
    }
}
