//! The detached HS256 signatures of cluster-info, byte for byte as Kubernetes makes them.
//!
//! The value of `jws-kubeconfig-<id>` is `b64url(header) .. b64url(mac)` (RFC 7515 appendix F): the payload, which is
//! the exact text of the ConfigMap's `kubeconfig`, is left out. The key is the token's secret as ASCII. Verification
//! recomputes the whole string and compares it, so that another header with a right signature is refused too.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use subtle::ConstantTimeEq;

use crate::limits::{MAX_JWS_BYTES, MAX_KUBECONFIG_BYTES};
use crate::token::{BootstrapToken, TokenId};

/// What the data key of a signature begins with; the token id follows.
pub const KEY_PREFIX: &str = "jws-kubeconfig-";

/// A signature could not be made or is not the token's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// The payload is too large to be a cluster-info.
    #[error("cluster-info kubeconfig has {length} bytes, expected at most {MAX_KUBECONFIG_BYTES}")]
    PayloadSize {
        /// Its length in bytes.
        length: usize,
    },
    /// There is no signature of this token.
    #[error(
        "cluster-info has no signature of token {id}: it has expired, is not known to this cluster, or is not signed yet"
    )]
    Missing {
        /// The public id of the token.
        id: TokenId,
    },
    /// The signature was made with another secret or over another text.
    #[error(
        "cluster-info's signature of token {id} does not verify: its text was changed, or the token's secret is another"
    )]
    Mismatch {
        /// The public id of the token.
        id: TokenId,
    },
}

/// The key under which cluster-info holds a token's signature.
pub fn data_key(id: &TokenId) -> String {
    format!("{KEY_PREFIX}{id}")
}

/// The token id that a data key of cluster-info speaks of, or none if it is another kind of key.
pub fn token_id_of_key(key: &str) -> Option<TokenId> {
    key.strip_prefix(KEY_PREFIX).and_then(|id| TokenId::parse(id).ok())
}

/// Signs a payload with a token.
///
/// The result is deterministic: kube-controller-manager's bootstrapsigner writes the same bytes for the same token.
pub fn sign(token: &BootstrapToken, payload: &str) -> Result<String, JwsError> {
    if payload.len() > MAX_KUBECONFIG_BYTES {
        return Err(JwsError::PayloadSize { length: payload.len() });
    }
    Ok(sign_raw(token.id().as_str(), token.secret().expose().as_bytes(), payload))
}

/// Verifies a token's signature over a payload, in constant time.
pub fn verify(token: &BootstrapToken, payload: &str, signature: &str) -> Result<(), JwsError> {
    let expected = sign(token, payload)?;
    let same = signature.len() <= MAX_JWS_BYTES && bool::from(expected.as_bytes().ct_eq(signature.as_bytes()));
    if same { Ok(()) } else { Err(JwsError::Mismatch { id: token.id().clone() }) }
}

/// Finds and verifies a token's signature in the data of cluster-info.
pub fn verify_in(token: &BootstrapToken, payload: &str, data: &BTreeMap<String, String>) -> Result<(), JwsError> {
    match data.get(&data_key(token.id())).filter(|signature| !signature.is_empty()) {
        Some(signature) => verify(token, payload, signature),
        None => Err(JwsError::Missing { id: token.id().clone() }),
    }
}

fn sign_raw(id: &str, secret: &[u8], payload: &str) -> String {
    // The header is serialised from a sorted map, which is what go-jose does: no spaces, "alg" before "kid".
    let header = serde_json::json!({ "alg": "HS256", "kid": id }).to_string();
    let header = URL_SAFE_NO_PAD.encode(header);
    let input = format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload));
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input.as_bytes());
    format!("{header}..{}", URL_SAFE_NO_PAD.encode(mac.as_ref()))
}

#[cfg(test)]
#[path = "jws_tests.rs"]
mod tests;
