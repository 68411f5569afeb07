//! Bootstrap tokens: grammar, generation, and the Secret that makes one valid.
//!
//! A token is `<id>.<secret>`. The id is public and names the Secret and the user; the secret has about 82 bits and
//! is both the bearer credential and the HMAC key of cluster-info's signature. Source: Kubernetes'
//! `cluster-bootstrap/token/api`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use subtle::ConstantTimeEq;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use crate::UnixSeconds;
use crate::limits::MAX_TOKEN_DESCRIPTION_BYTES;
use crate::names::BOOTSTRAP_USER_PREFIX;

/// The `type` of a bootstrap token's Secret.
pub const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";
/// The namespace in which the API server looks for such Secrets.
pub const SECRET_NAMESPACE: &str = "kube-system";

const ID_LENGTH: usize = 6;
const SECRET_LENGTH: usize = 16;
const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// A token could not be read, made or described. No variant holds any part of a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is no dot between the two parts, or more than one.
    #[error("bootstrap token is not of the form <id>.<secret> with 6 and 16 characters of a-z and 0-9")]
    Shape,
    /// The part before the dot is wrong.
    #[error("bootstrap token id has {length} bytes or other characters, expected 6 characters of a-z and 0-9")]
    Id {
        /// Its length in bytes.
        length: usize,
    },
    /// The part after the dot is wrong.
    #[error("bootstrap token secret has {length} bytes or other characters, expected 16 characters of a-z and 0-9")]
    Secret {
        /// Its length in bytes.
        length: usize,
    },
    /// The operating system gave no random bytes.
    #[error("cannot generate a bootstrap token: the operating system's random source failed: {0}")]
    Random(getrandom::Error),
    /// A group that the API server's authenticator would refuse, and with it the whole token.
    #[error(
        "group {group:?} cannot be given to a bootstrap token, expected system:bootstrappers:[a-z0-9:-]{{0,255}}[a-z0-9]"
    )]
    Group {
        /// The group that was asked for.
        group: String,
    },
    /// The expiration is not a time that RFC 3339 can write.
    #[error("bootstrap token expiration of {seconds} seconds after 1970 is out of range")]
    Expiration {
        /// The seconds that were asked for.
        seconds: UnixSeconds,
    },
    /// The description is too long.
    #[error("bootstrap token description has {length} bytes, expected at most {MAX_TOKEN_DESCRIPTION_BYTES}")]
    Description {
        /// Its length in bytes.
        length: usize,
    },
}

/// The public part of a bootstrap token: six characters of `a-z0-9`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(String);

impl TokenId {
    /// Checks an id. The error never repeats the text, because people paste whole tokens.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        if consists_of_alphabet(text, ID_LENGTH) {
            Ok(Self(text.to_owned()))
        } else {
            Err(TokenError::Id { length: text.len() })
        }
    }

    /// The id of the token whose user name this is (`system:bootstrap:<id>`), or none if it is no token's.
    pub fn from_user_name(user: &str) -> Option<Self> {
        user.strip_prefix(BOOTSTRAP_USER_PREFIX).and_then(|id| Self::parse(id).ok())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The user as which the API server authenticates the token.
    pub fn user_name(&self) -> String {
        format!("{BOOTSTRAP_USER_PREFIX}{}", self.0)
    }

    /// The name that the token's Secret must have.
    pub fn secret_name(&self) -> String {
        format!("bootstrap-token-{}", self.0)
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TokenId {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        Self::parse(text)
    }
}

/// The secret part of a bootstrap token: sixteen characters of `a-z0-9`.
///
/// It is wiped when dropped, prints as `[redacted]` and compares in constant time:
///
/// ```
/// use join_trust::token::TokenSecret;
/// fn same(one: &TokenSecret, other: &TokenSecret) -> bool { one == other }
/// ```
///
/// and neither sorts nor hashes, which would not:
///
/// ```compile_fail,E0369
/// use join_trust::token::TokenSecret;
/// fn before(one: &TokenSecret, other: &TokenSecret) -> bool { one < other }
/// ```
#[derive(Clone)]
pub struct TokenSecret(Zeroizing<String>);

impl TokenSecret {
    /// Checks a secret.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        if consists_of_alphabet(text, SECRET_LENGTH) {
            Ok(Self(Zeroizing::new(text.to_owned())))
        } else {
            Err(TokenError::Secret { length: text.len() })
        }
    }

    /// The secret itself; every use of it is one to look at twice.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl PartialEq for TokenSecret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for TokenSecret {}

/// A bootstrap token, `<id>.<secret>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootstrapToken {
    id: TokenId,
    secret: TokenSecret,
}

impl BootstrapToken {
    /// Puts a token together from its two parts.
    pub fn new(id: TokenId, secret: TokenSecret) -> Self {
        Self { id, secret }
    }

    /// Parses `<id>.<secret>`: nothing before, nothing after, no white space.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let (id, secret) = text.split_once('.').ok_or(TokenError::Shape)?;
        if secret.contains('.') {
            return Err(TokenError::Shape);
        }
        Ok(Self { id: TokenId::parse(id)?, secret: TokenSecret::parse(secret)? })
    }

    /// Makes a token from the operating system's random source, each character uniform over the 36.
    pub fn generate() -> Result<Self, TokenError> {
        Ok(Self { id: TokenId(random_text(ID_LENGTH)?.to_string()), secret: TokenSecret(random_text(SECRET_LENGTH)?) })
    }

    /// The public part.
    pub fn id(&self) -> &TokenId {
        &self.id
    }

    /// The secret part.
    pub fn secret(&self) -> &TokenSecret {
        &self.secret
    }

    /// The whole token as it is sent in an `Authorization: Bearer` header; wiped when dropped.
    pub fn expose(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{}.{}", self.id.0, *self.secret.0))
    }
}

/// A text with every token in it taken out, for errors that quote what a person wrote: tokens are pasted into the wrong
/// field.
pub fn redacted(text: &str) -> Cow<'_, str> {
    const LENGTH: usize = ID_LENGTH + 1 + SECRET_LENGTH;
    let is_token =
        |window: &[u8]| std::str::from_utf8(window).is_ok_and(|window| BootstrapToken::parse(window).is_ok());
    // A token has no part of a longer character in it, so that it can be cut out of any text.
    let find = |text: &str| text.as_bytes().windows(LENGTH).position(is_token);
    let (mut kept, mut rest) = (String::new(), text);
    while let Some(at) = find(rest) {
        kept.push_str(&rest[..at]);
        kept.push_str("[redacted]");
        rest = &rest[at + LENGTH..];
    }
    if kept.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(kept + rest) }
}

fn consists_of_alphabet(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// Draws characters uniformly: bytes of 252 and above are thrown away, because 252 is the largest multiple of 36.
fn random_text(length: usize) -> Result<Zeroizing<String>, TokenError> {
    let mut text = Zeroizing::new(String::with_capacity(length));
    let mut bytes = Zeroizing::new([0_u8; 32]);
    while text.len() < length {
        getrandom::fill(bytes.as_mut_slice()).map_err(TokenError::Random)?;
        append_uniform(&mut text, bytes.as_slice(), length);
    }
    Ok(text)
}

fn append_uniform(text: &mut String, bytes: &[u8], length: usize) {
    for byte in bytes.iter().filter(|byte| **byte < 252) {
        if text.len() == length {
            return;
        }
        text.push(char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]));
    }
}

/// What a bootstrap token's Secret is to say besides the token.
///
/// There is no way to leave out the expiration: a token without one is valid for ever.
#[derive(Debug, Clone, Copy)]
pub struct SecretSpec<'a> {
    /// When the token stops working.
    pub expires_at: UnixSeconds,
    /// For people who list tokens; must not contain anything secret.
    pub description: &'a str,
    /// Whether bootstrapsigner shall sign cluster-info with it.
    pub signing: bool,
    /// Whether the API server shall accept it as a bearer token.
    pub authentication: bool,
    /// The groups that its bearer is given beside `system:bootstrappers`; none without `authentication`.
    pub groups: &'a [&'a str],
}

impl SecretSpec<'_> {
    /// The `stringData` of the Secret, byte for byte as Kubernetes' own tools write it.
    ///
    /// One bad group would make the authenticator refuse the whole token, so groups are checked here.
    pub fn string_data(&self, token: &BootstrapToken) -> Result<BTreeMap<&'static str, Zeroizing<String>>, TokenError> {
        if self.description.len() > MAX_TOKEN_DESCRIPTION_BYTES {
            return Err(TokenError::Description { length: self.description.len() });
        }
        if let Some(group) = self.groups.iter().find(|group| !self.authentication || !is_bootstrap_group(group)) {
            return Err(TokenError::Group { group: (*group).to_owned() });
        }
        let mut data = BTreeMap::new();
        let mut put = |key, value: &str| {
            data.insert(key, Zeroizing::new(value.to_owned()));
        };
        put("token-id", token.id.as_str());
        put("token-secret", token.secret.expose());
        put("expiration", &rfc3339(self.expires_at)?);
        put("description", self.description);
        put("usage-bootstrap-signing", if self.signing { "true" } else { "false" });
        put("usage-bootstrap-authentication", if self.authentication { "true" } else { "false" });
        if !self.groups.is_empty() {
            put("auth-extra-groups", &self.groups.join(","));
        }
        Ok(data)
    }
}

/// A time in the form of a token's `expiration`: RFC 3339, UTC, whole seconds.
pub fn rfc3339(seconds: UnixSeconds) -> Result<String, TokenError> {
    let out_of_range = TokenError::Expiration { seconds };
    let time = OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| out_of_range.clone())?;
    time.format(&Rfc3339).map_err(|_| out_of_range)
}

/// `\Asystem:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]\z`
fn is_bootstrap_group(group: &str) -> bool {
    let Some(rest) = group.strip_prefix("system:bootstrappers:") else { return false };
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    rest.len() <= 256
        && rest.bytes().all(|byte| alphanumeric(byte) || byte == b':' || byte == b'-')
        && rest.bytes().last().is_some_and(alphanumeric)
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
