//! Bundles of certificate authorities, and which of them may be trusted.
//!
//! kubeadm asks that *some* certificate of the bundle be pinned and then trusts the whole bundle. Whoever can
//! sign a cluster-info (any token holder) can therefore append a CA of his own to the real, public one and take the
//! place of the API server. Here a bundle is cut down to its pinned certificates before anything trusts it.

use std::fmt;

use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::limits::{MAX_CA_BUNDLE_BYTES, MAX_CA_CERTIFICATES};
use crate::pem_text;
use crate::pin::{PinSet, PublicKeyPin};

const TAG: &str = "CERTIFICATE";

/// A text is no bundle of certificate authorities, or none of them may be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaBundleError {
    /// The text is too large.
    #[error("CA bundle has {length} bytes, expected at most {MAX_CA_BUNDLE_BYTES}")]
    Size {
        /// Its length in bytes.
        length: usize,
    },
    /// The text is not PEM.
    #[error("CA bundle is not PEM: expected -----BEGIN CERTIFICATE----- blocks")]
    Pem,
    /// There is a PEM block that is no certificate.
    #[error("CA bundle has a PEM block that is not a CERTIFICATE (block {index})")]
    Block {
        /// Its position, counted from 1.
        index: usize,
    },
    /// There is no certificate in the text.
    #[error("CA bundle has no certificate")]
    Empty,
    /// There are more certificates than any cluster has.
    #[error("CA bundle has {count} certificates, expected at most {MAX_CA_CERTIFICATES}")]
    Count {
        /// How many there are.
        count: usize,
    },
    /// A certificate cannot be parsed.
    #[error("CA bundle's certificate {index} is not DER encoded X.509")]
    Certificate {
        /// Its position, counted from 1.
        index: usize,
    },
    /// A certificate is not one of a certificate authority.
    #[error("CA bundle's certificate {index} is not of a certificate authority (basic constraints without CA)")]
    NotCa {
        /// Its position, counted from 1.
        index: usize,
    },
    /// None of the certificates is pinned.
    #[error("none of the CA certificates is pinned: found {found}, expected one of {expected}")]
    NotPinned {
        /// The pins of the certificates that were found.
        found: PinSet,
        /// The pins that were expected.
        expected: PinSet,
    },
}

/// Which certificates of a bundle become roots of trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaTrust {
    /// Only those with a pinned key; an empty set trusts nothing.
    Pinned(PinSet),
    /// All of them, on the strength of the token's signature alone.
    ///
    /// Everybody who holds the token can then pretend to be the API server (kubeadm's
    /// `--discovery-token-unsafe-skip-ca-verification`), so callers take this only from a flag that says so.
    UnsafeAny,
}

/// One certificate of a certificate authority.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CaCertificate {
    der: Vec<u8>,
    pin: PublicKeyPin,
}

/// One to thirty-two certificates of certificate authorities, in the order in which they were read.
#[derive(Clone, PartialEq, Eq)]
pub struct CaBundle(Vec<CaCertificate>);

impl CaBundle {
    /// Reads PEM text, in which only certificates of certificate authorities may stand.
    ///
    /// Text between blocks is allowed, since real bundles have comments; the bundle is written again by
    /// [`Self::to_pem`], so nothing of that text reaches another reader. No signature or date is verified: a root is
    /// trusted because of its pin, and expired ones fail when the connection is made.
    pub fn parse_pem(text: &[u8]) -> Result<Self, CaBundleError> {
        if text.len() > MAX_CA_BUNDLE_BYTES {
            return Err(CaBundleError::Size { length: text.len() });
        }
        let blocks = pem::parse_many(text).map_err(|_| CaBundleError::Pem)?;
        if blocks.len() > MAX_CA_CERTIFICATES {
            return Err(CaBundleError::Count { count: blocks.len() });
        }
        if blocks.is_empty() {
            return Err(CaBundleError::Empty);
        }
        let read = |(position, block): (usize, pem::Pem)| {
            let index = position + 1;
            if block.tag() == TAG { read_ca(block.into_contents(), index) } else { Err(CaBundleError::Block { index }) }
        };
        let bundle = blocks.into_iter().enumerate().map(read).collect::<Result<_, _>>().map(Self)?;
        // Text without line ends grows when it is written again, and must still be readable then.
        let length = bundle.to_pem().len();
        if length > MAX_CA_BUNDLE_BYTES { Err(CaBundleError::Size { length }) } else { Ok(bundle) }
    }

    /// Keeps what may be trusted; an error if that is nothing.
    pub fn restrict(self, trust: &CaTrust) -> Result<Self, CaBundleError> {
        let CaTrust::Pinned(pins) = trust else { return Ok(self) };
        let found = self.pins();
        let kept: Vec<_> = self.0.into_iter().filter(|certificate| pins.matches(&certificate.pin)).collect();
        if kept.is_empty() { Err(CaBundleError::NotPinned { found, expected: pins.clone() }) } else { Ok(Self(kept)) }
    }

    /// The certificates as PEM text: one block after the other, as Go's `encoding/pem` writes them.
    pub fn to_pem(&self) -> String {
        self.0.iter().map(|certificate| pem_text::encode(TAG, &certificate.der)).collect()
    }

    /// The certificates as DER, for a TLS library's root store.
    pub fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|certificate| certificate.der.as_slice())
    }

    /// The pins of the certificates' keys.
    pub fn pins(&self) -> PinSet {
        self.0.iter().map(|certificate| certificate.pin).collect()
    }
}

impl fmt::Debug for CaBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CaBundle({})", self.pins())
    }
}

fn read_ca(der: Vec<u8>, index: usize) -> Result<CaCertificate, CaBundleError> {
    let bad = CaBundleError::Certificate { index };
    let (rest, certificate) = X509Certificate::from_der(&der).map_err(|_| bad.clone())?;
    if !rest.is_empty() {
        return Err(bad);
    }
    if !certificate.is_ca() {
        return Err(CaBundleError::NotCa { index });
    }
    let pin = PublicKeyPin::of_spki(certificate.public_key().raw);
    Ok(CaCertificate { der, pin })
}

#[cfg(test)]
#[path = "ca_bundle_tests.rs"]
mod tests;
