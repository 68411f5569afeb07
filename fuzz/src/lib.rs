//! What several targets have in common.

use std::borrow::Cow;

/// A certificate signing request out of arbitrary bytes: what has a PEM header near its beginning as it is, and everything
/// else as the DER inside of a block. Both forms are mutated, and each input costs one request only.
pub fn certificate_request(data: &[u8]) -> Cow<'_, [u8]> {
    const HEADER: &[u8] = b"-----BEGIN";
    if data[..data.len().min(64)].windows(HEADER.len()).any(|window| window == HEADER) {
        return data.into();
    }
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("CERTIFICATE REQUEST", data), config).into_bytes().into()
}
