//! The one PEM form that is read from strangers: exactly one block, exactly as a writer would write it.
//!
//! PEM readers differ in what they forgive (text around blocks, headers, line lengths, stray characters in the
//! base64). What one reader skips another may read, so a request that we judged could be another one to the signer.
//! Here a text is accepted only if encoding its content again gives the same bytes.

use pem::{EncodeConfig, LineEnding, Pem};

/// Writes a PEM block as Go's `encoding/pem` does: lines of 64 characters, line feeds, one at the end.
pub(crate) fn encode(tag: &str, der: &[u8]) -> String {
    pem::encode_config(&Pem::new(tag, der), EncodeConfig::new().set_line_ending(LineEnding::LF))
}

/// Reads one block of the tag and nothing else; none if there is anything else.
///
/// The final line feed may be missing.
pub(crate) fn decode_one(tag: &str, text: &[u8]) -> Option<Vec<u8>> {
    let block = pem::parse(text).ok().filter(|block| block.tag() == tag)?;
    let canonical = encode(tag, block.contents());
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    (canonical.trim_end_matches('\n').as_bytes() == text).then(|| block.into_contents())
}
