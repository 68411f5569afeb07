//! PEM as Go reads it: text and blocks of other kinds may stand around the one that is wanted. `openssl` writes the
//! parameters of a curve before its key, for example.

use pkcs8::der::SecretDocument;
use zeroize::Zeroizing;

/// PKCS#1 (RFC 8017), SEC 1 (RFC 5915) and PKCS#8 (RFC 5958).
pub(crate) const PRIVATE_KEYS: &[&str] = &[PKCS1, SEC1, PKCS8];
/// An RSA key.
pub(crate) const PKCS1: &str = "RSA PRIVATE KEY";
/// A key of an elliptic curve.
pub(crate) const SEC1: &str = "EC PRIVATE KEY";
/// A key of any kind.
pub(crate) const PKCS8: &str = "PRIVATE KEY";

/// The first block of one of these kinds: its kind and its content, which is wiped when dropped.
pub(crate) fn first_block(text: &str, tags: &[&'static str]) -> Option<(&'static str, SecretDocument)> {
    let begins = tags.iter().filter_map(|tag| Some((text.find(&format!("-----BEGIN {tag}-----"))?, *tag)));
    let (begin, tag) = begins.min()?;
    let end = format!("-----END {tag}-----");
    let text = text.get(begin..)?;
    let block = text.get(..text.find(&end)? + end.len())?;
    // Files that were edited on another system end their lines otherwise, which Go does not mind.
    let block = Zeroizing::new(block.replace('\r', ""));
    let (_, document) = SecretDocument::from_pem(&block).ok()?;
    Some((tag, document))
}
