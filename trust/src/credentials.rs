//! What is sealed to a machine: with which token, at which API server, under which authorities it is to join, and as a
//! control plane with which key to the certificates that control planes share.

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::ca_bundle::{CaBundle, CaBundleError};
use crate::certificate_key::{CertificateKey, CertificateKeyError};
use crate::endpoint::{Endpoint, EndpointError};
use crate::limits::MAX_CREDENTIALS_BYTES;
use crate::token::{BootstrapToken, TokenError};

/// Credentials could not be written or read. No variant holds any part of a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// The text is too large.
    #[error("credentials have {length} bytes, expected at most {MAX_CREDENTIALS_BYTES}")]
    Size {
        /// Its length in bytes.
        length: usize,
    },
    /// The text is not JSON of the expected shape. The parser's message is left out, since it may quote its input.
    #[error(
        "credentials are not a JSON object of token, apiServerEndpoint, caBundle and certificateKey (column {column})"
    )]
    Json {
        /// The column at which parsing stopped.
        column: usize,
    },
    /// The token is none.
    #[error("credentials: {0}")]
    Token(#[from] TokenError),
    /// The endpoint is none.
    #[error("credentials: {0}")]
    Endpoint(#[from] EndpointError),
    /// The CA bundle is none.
    #[error("credentials: {0}")]
    Ca(#[from] CaBundleError),
    /// The certificate key is none.
    #[error("credentials: {0}")]
    CertificateKey(#[from] CertificateKeyError),
}

/// The plaintext of sealed credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinCredentials {
    /// The token of this request.
    pub token: BootstrapToken,
    /// Where the API server is.
    pub api_server_endpoint: Endpoint,
    /// The cluster's certificate authorities.
    pub ca_bundle: CaBundle,
    /// The key to the certificates that control planes share; for control planes only.
    pub certificate_key: Option<CertificateKey>,
}

/// The JSON form; wiped when dropped.
#[derive(Serialize, Deserialize, Zeroize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[zeroize(drop)]
struct Wire {
    token: String,
    api_server_endpoint: String,
    ca_bundle: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate_key: Option<String>,
}

impl JoinCredentials {
    /// The credentials as JSON, to be sealed; wiped when dropped.
    pub fn to_json(&self) -> Result<Zeroizing<Vec<u8>>, CredentialsError> {
        let wire = Wire {
            token: self.token.expose().to_string(),
            api_server_endpoint: self.api_server_endpoint.to_string(),
            ca_bundle: self.ca_bundle.to_pem(),
            certificate_key: self.certificate_key.as_ref().map(|key| key.expose().to_string()),
        };
        // Enough room from the start, so that no copy of the token stays behind in a buffer that was outgrown.
        let mut json = Zeroizing::new(Vec::with_capacity(MAX_CREDENTIALS_BYTES));
        serde_json::to_writer(&mut *json, &wire).map_err(|error| CredentialsError::Json { column: error.column() })?;
        if json.len() > MAX_CREDENTIALS_BYTES { Err(CredentialsError::Size { length: json.len() }) } else { Ok(json) }
    }

    /// Reads what [`Self::to_json`] wrote, and checks every part again.
    pub fn parse(json: &[u8]) -> Result<Self, CredentialsError> {
        if json.len() > MAX_CREDENTIALS_BYTES {
            return Err(CredentialsError::Size { length: json.len() });
        }
        let wire: Wire =
            serde_json::from_slice(json).map_err(|error| CredentialsError::Json { column: error.column() })?;
        Ok(Self {
            token: BootstrapToken::parse(&wire.token)?,
            api_server_endpoint: Endpoint::parse(&wire.api_server_endpoint)?,
            ca_bundle: CaBundle::parse_pem(wire.ca_bundle.as_bytes())?,
            certificate_key: wire.certificate_key.as_deref().map(CertificateKey::parse).transpose()?,
        })
    }
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
