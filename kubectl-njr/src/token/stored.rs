//! A bootstrap token as its Secret has it.
//!
//! Anybody who may write Secrets in kube-system can have written it, so it is read with kubeadm's rules, and what does
//! not follow them is told and left out.

use join_trust::token::{BootstrapToken, TokenError, TokenId, TokenSecret};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;

/// A Secret is not one of a bootstrap token. No variant holds a secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A field is missing.
    #[error("Secret kube-system/{name} has no {key}, which a bootstrap token needs")]
    Missing {
        /// The Secret.
        name: String,
        /// The field.
        key: &'static str,
    },
    /// A field is not what it should be.
    #[error("Secret kube-system/{name}: {reason}")]
    Token {
        /// The Secret.
        name: String,
        /// What was expected.
        reason: TokenError,
    },
    /// The name is another than the id asks for.
    #[error("Secret kube-system/{name} has the token id {id}, so that its name had to be bootstrap-token-{id}")]
    Name {
        /// The Secret.
        name: String,
        /// The id.
        id: TokenId,
    },
    /// The expiration cannot be read.
    #[error("Secret kube-system/{name} has an expiration that is no time of the form 2026-07-01T12:00:00Z")]
    Expiration {
        /// The Secret.
        name: String,
    },
}

/// A bootstrap token of the cluster.
#[derive(Debug)]
pub struct StoredToken {
    /// The token.
    pub token: BootstrapToken,
    /// What somebody wrote about it.
    pub description: String,
    /// When it ends; none if it never does.
    pub expires: Option<Timestamp>,
    /// What it may be used for, sorted.
    pub usages: Vec<String>,
    /// The groups that its bearer is given.
    pub groups: Vec<String>,
}

const USAGE_PREFIX: &str = "usage-bootstrap-";

impl StoredToken {
    /// Reads a Secret.
    pub fn read(secret: &Secret) -> Result<Self, Error> {
        let name = secret.metadata.name.clone().unwrap_or_default();
        let data = secret.data.clone().unwrap_or_default();
        let text = |key: &str| {
            let value = data.get(key).map(|value| String::from_utf8_lossy(&value.0).into_owned());
            value.filter(|value| !value.is_empty())
        };
        let needed = |key: &'static str| text(key).ok_or_else(|| Error::Missing { name: name.clone(), key });
        let wrong = |reason| Error::Token { name: name.clone(), reason };
        let id = TokenId::parse(&needed("token-id")?).map_err(wrong)?;
        if name != id.secret_name() {
            return Err(Error::Name { name, id });
        }
        let secret = TokenSecret::parse(&needed("token-secret")?).map_err(wrong)?;
        let expires = match text("expiration") {
            Some(time) => Some(time.parse().map_err(|_| Error::Expiration { name: name.clone() })?),
            None => None,
        };
        let is_true = |value: &[u8]| value == b"true";
        let usages = data.iter().filter(|(_, value)| is_true(&value.0));
        Ok(Self {
            token: BootstrapToken::new(id, secret),
            description: text("description").unwrap_or_default(),
            expires,
            // A map is sorted by its keys, and so are the usages.
            usages: usages.filter_map(|(key, _)| key.strip_prefix(USAGE_PREFIX).map(str::to_owned)).collect(),
            groups: text("auth-extra-groups")
                .map(|groups| groups.split(',').map(str::to_owned).collect())
                .unwrap_or_default(),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::ByteString;
    use kube::api::ObjectMeta;
    use rstest::rstest;

    use super::*;

    pub fn secret(name: &str, data: &[(&str, &str)]) -> Secret {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        Secret {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            data: Some(data.collect::<BTreeMap<_, _>>()),
            ..Secret::default()
        }
    }

    const ID: (&str, &str) = ("token-id", "abcdef");
    const SECRET: (&str, &str) = ("token-secret", "0123456789abcdef");

    #[test]
    fn a_token_is_read_with_what_it_may_do() {
        let fields = [
            ID,
            SECRET,
            ("description", "for w"),
            ("expiration", "2026-07-01T14:00:00+02:00"),
            ("usage-bootstrap-signing", "true"),
            ("usage-bootstrap-authentication", "true"),
            ("usage-bootstrap-other", "false"),
            ("auth-extra-groups", "system:bootstrappers:a,system:bootstrappers:b"),
        ];
        let token = StoredToken::read(&secret("bootstrap-token-abcdef", &fields)).unwrap();
        assert_eq!(*token.token.expose(), "abcdef.0123456789abcdef");
        assert_eq!(token.expires.unwrap().to_string(), "2026-07-01T12:00:00Z");
        assert_eq!(token.usages, ["authentication", "signing"]);
        assert_eq!(token.groups, ["system:bootstrappers:a", "system:bootstrappers:b"]);
        let token = StoredToken::read(&secret("bootstrap-token-abcdef", &[ID, SECRET])).unwrap();
        assert_eq!((token.expires, token.usages.len(), token.groups.len()), (None, 0, 0));
    }

    #[rstest]
    #[case("bootstrap-token-abcdef", &[SECRET], "has no token-id")]
    #[case("bootstrap-token-abcdef", &[ID], "has no token-secret")]
    #[case("bootstrap-token-abcdeg", &[ID, SECRET], "had to be bootstrap-token-abcdef")]
    #[case("bootstrap-token-abcdef", &[("token-id", "ABCDEF"), SECRET], "token id")]
    #[case("bootstrap-token-abcdef", &[ID, ("token-secret", "hunter2")], "token secret")]
    #[case("bootstrap-token-abcdef", &[ID, SECRET, ("expiration", "tomorrow")], "no time")]
    fn what_is_no_token_is_told_without_its_secret(
        #[case] name: &str,
        #[case] fields: &[(&str, &str)],
        #[case] expected: &str,
    ) {
        let error = StoredToken::read(&secret(name, fields)).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("hunter2") && !error.contains("0123456789"), "{error}");
    }
}
