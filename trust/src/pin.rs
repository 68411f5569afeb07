//! Pins of public keys: `sha256:<hex of SHA-256 of the DER SubjectPublicKeyInfo>` (RFC 7469, as kubeadm writes it).
//!
//! The same form answers both questions of trust: `caCertHashes` pin the cluster for the machine, and
//! `spec.machine.publicKeyHash` pins the machine for the cluster.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use x509_parser::prelude::FromDer;

/// A text is not a pin, or a pin could not be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// There is no colon, or more than one.
    #[error("public key hash is not of the form sha256:<64 hexadecimal digits>")]
    Shape,
    /// The part before the colon names something else than SHA-256.
    #[error("public key hash is of a type that is not supported, expected sha256")]
    Type,
    /// The part after the colon is not hexadecimal.
    #[error("public key hash has characters after sha256: that are not hexadecimal digits")]
    Hex,
    /// The part after the colon is of another length.
    #[error("public key hash has {digits} characters after sha256:, expected 64 hexadecimal digits")]
    Length {
        /// How many there are.
        digits: usize,
    },
    /// The input is not one DER certificate.
    #[error("cannot compute a public key hash: not a DER encoded X.509 certificate")]
    Certificate,
}

/// The SHA-256 of a public key's DER `SubjectPublicKeyInfo`.
///
/// It covers the algorithm as well as the key, and survives the renewal of a certificate with the same key. It is
/// public, so it compares in variable time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKeyPin([u8; 32]);

impl PublicKeyPin {
    /// Parses a pin with kubeadm's rules: exactly one colon, type compared without case, hex digits of either case.
    pub fn parse(text: &str) -> Result<Self, PinError> {
        let (kind, digits) = text.split_once(':').ok_or(PinError::Shape)?;
        if digits.contains(':') {
            return Err(PinError::Shape);
        }
        if !kind.eq_ignore_ascii_case("sha256") {
            return Err(PinError::Type);
        }
        if digits.len() != 64 {
            return Err(PinError::Length { digits: digits.chars().count() });
        }
        let mut hash = [0; 32];
        hex::decode_to_slice(digits, &mut hash).map_err(|_| PinError::Hex)?;
        Ok(Self(hash))
    }

    /// The pin of a DER `SubjectPublicKeyInfo`.
    pub fn of_spki(spki: &[u8]) -> Self {
        Self(Sha256::digest(spki).into())
    }

    /// The pin of the key in a DER certificate, which is not verified in any way.
    pub fn of_certificate(der: &[u8]) -> Result<Self, PinError> {
        let (rest, certificate) =
            x509_parser::certificate::X509Certificate::from_der(der).map_err(|_| PinError::Certificate)?;
        if rest.is_empty() { Ok(Self::of_spki(certificate.public_key().raw)) } else { Err(PinError::Certificate) }
    }

    /// The hash as 64 lower-case hexadecimal digits, without the type.
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Display for PublicKeyPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.to_hex())
    }
}

impl fmt::Debug for PublicKeyPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKeyPin({self})")
    }
}

impl FromStr for PublicKeyPin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for PublicKeyPin {
    type Error = PinError;

    fn try_from(text: String) -> Result<Self, PinError> {
        Self::parse(&text)
    }
}

impl From<PublicKeyPin> for String {
    fn from(pin: PublicKeyPin) -> Self {
        pin.to_string()
    }
}

/// A set of pins, of which any one may match.
///
/// More than one is normal: during a rotation of the cluster's CA, the old and the new key are both right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PinSet(BTreeSet<PublicKeyPin>);

impl PinSet {
    /// Parses each text and reports the first that is no pin.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, PinError> {
        texts.into_iter().map(PublicKeyPin::parse).collect()
    }

    /// Whether the pin is one of the set; an empty set matches nothing.
    pub fn matches(&self, pin: &PublicKeyPin) -> bool {
        self.0.contains(pin)
    }

    /// Whether there is no pin in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of different pins.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The pins in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = &PublicKeyPin> {
        self.0.iter()
    }
}

impl FromIterator<PublicKeyPin> for PinSet {
    fn from_iter<I: IntoIterator<Item = PublicKeyPin>>(pins: I) -> Self {
        Self(pins.into_iter().collect())
    }
}

impl fmt::Display for PinSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, pin) in self.0.iter().enumerate() {
            write!(f, "{}{pin}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const PUBLISHED: &str = "sha256:345959acb2c3b2feb87d281961c893f62a314207ef02599f1cc4a5fb255480b3";

    #[test]
    fn the_published_pin_of_kubeadms_test_certificate_is_computed() {
        let block = pem::parse(include_str!("../testdata/kubeadm-pin-cert.pem")).unwrap();
        let pin = PublicKeyPin::of_certificate(block.contents()).unwrap();
        assert_eq!(pin.to_string(), PUBLISHED);
        let mut trailing = block.contents().to_vec();
        trailing.push(0);
        assert_eq!(PublicKeyPin::of_certificate(&trailing), Err(PinError::Certificate));
        assert_eq!(PublicKeyPin::of_certificate(b"no certificate"), Err(PinError::Certificate));
    }

    #[test]
    fn pins_are_written_in_lower_case_and_read_in_either() {
        let pin = PublicKeyPin::parse(&PUBLISHED.to_uppercase()).unwrap();
        assert_eq!(pin.to_string(), PUBLISHED);
        assert_eq!(PublicKeyPin::parse(PUBLISHED), Ok(pin));
        assert_eq!(serde_json::to_string(&pin).unwrap(), format!("\"{PUBLISHED}\""));
        assert_eq!(serde_json::from_str::<PublicKeyPin>(&format!("\"{PUBLISHED}\"")).unwrap(), pin);
    }

    #[rstest]
    #[case("xyz", PinError::Shape)]
    #[case("0011223344", PinError::Shape)]
    #[case(&format!("{PUBLISHED}{PUBLISHED}"), PinError::Shape)]
    #[case("", PinError::Shape)]
    #[case("sha512:00", PinError::Type)]
    #[case(&format!(" {PUBLISHED}"), PinError::Type)]
    #[case("sha256:", PinError::Length { digits: 0 })]
    #[case(&PUBLISHED[..70], PinError::Length { digits: 63 })]
    #[case(&format!("{PUBLISHED}0"), PinError::Length { digits: 65 })]
    #[case(&format!("{PUBLISHED}\n"), PinError::Length { digits: 65 })]
    #[case(&format!("sha256:{}", "g".repeat(64)), PinError::Hex)]
    #[case(&format!("sha256:{}", "é".repeat(32)), PinError::Hex)]
    fn what_is_no_pin_is_refused(#[case] text: &str, #[case] expected: PinError) {
        assert_eq!(PublicKeyPin::parse(text), Err(expected));
    }

    #[test]
    fn any_pin_of_a_set_matches_and_an_empty_set_matches_nothing() {
        let zero = format!("sha256:{}", "0".repeat(64));
        let pins = PinSet::parse([zero.as_str(), PUBLISHED]).unwrap();
        assert_eq!(pins.len(), 2);
        let pin = PublicKeyPin::parse(PUBLISHED).unwrap();
        assert!(pins.matches(&pin), "the second pin counts as well");
        assert!(!pins.matches(&PublicKeyPin::of_spki(b"another key")));
        assert!(!PinSet::default().matches(&pin));
        assert!(PinSet::default().is_empty());
        assert_eq!(pins.to_string(), format!("{zero}, {PUBLISHED}"));
        assert_eq!(PinSet::parse([PUBLISHED, "junk"]), Err(PinError::Shape));
    }
}
