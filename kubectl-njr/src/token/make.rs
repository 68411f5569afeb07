//! Making a bootstrap token in the cluster: its Secret, and its signature in cluster-info.

use std::collections::BTreeMap;
use std::time::Duration;

use join_crds::vocabulary::KUBE_SYSTEM;
use join_trust::UnixSeconds;
use join_trust::token::{BootstrapToken, SECRET_TYPE, SecretSpec, TokenError, TokenId, rfc3339};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, PostParams};

use crate::cluster_info::{self, Published};
use crate::options::DryRun;
use crate::output::stderr;
use crate::session::{CallError, Session};

/// Field manager of the Secrets that this program makes.
const FIELD_MANAGER: &str = "kubectl-njr";

/// A token could not be made. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It would never end.
    #[error("a bootstrap token must end: --ttl is 0, expected a duration such as 24h")]
    Forever,
    /// It cannot be what was asked for.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// There is a token with this id.
    #[error(
        "there is a bootstrap token with the id {0} already; choose another, or remove it with: kubectl njr token delete {0}"
    )]
    Exists(TokenId),
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Its signature could not be put into cluster-info.
    #[error("{0}; the token was removed again")]
    Sign(cluster_info::Error),
}

/// What a token shall be.
#[derive(Debug)]
pub struct Wanted {
    /// The token itself; none for a random one.
    pub token: Option<BootstrapToken>,
    /// How long it lives.
    pub ttl: Duration,
    /// For people who list tokens.
    pub description: String,
    /// The groups that its bearer is given.
    pub groups: Vec<String>,
    /// Whether cluster-info shall be signed with it.
    pub signing: bool,
    /// Whether the API server shall accept it.
    pub authentication: bool,
}

/// A token that was made.
#[derive(Debug)]
pub struct Made {
    /// The token.
    pub token: BootstrapToken,
    /// When it ends, in RFC 3339.
    pub expires: String,
}

/// Makes the token's Secret, then puts its signature into cluster-info.
///
/// Without the right to change cluster-info the signature is left to kube-controller-manager's bootstrapsigner, with a
/// warning. A token that could not be signed for another reason is removed again.
pub async fn make(session: &Session, published: &Published, wanted: Wanted, dry_run: DryRun) -> Result<Made, Error> {
    if wanted.ttl.is_zero() {
        return Err(Error::Forever);
    }
    let token = wanted.token.clone().map_or_else(BootstrapToken::generate, Ok)?;
    let expires_at = expiration(Timestamp::now().as_second(), wanted.ttl);
    let made = Made { expires: rfc3339(expires_at)?, token };
    let secret = secret(&made.token, expires_at, &wanted)?;
    if dry_run == DryRun::Client {
        return Ok(made);
    }
    let api: Api<Secret> = Api::namespaced(session.client(), KUBE_SYSTEM);
    let params = PostParams { dry_run: dry_run.is_server(), field_manager: Some(FIELD_MANAGER.to_owned()) };
    let id = made.token.id();
    match session.call("create a bootstrap token in kube-system", api.create(&params, &secret)).await {
        Err(error) if error.is_conflict() => return Err(Error::Exists(id.clone())),
        other => other?,
    };
    if wanted.signing && dry_run == DryRun::None {
        match published.sign(session, &made.token).await {
            Err(cluster_info::Error::Call(error)) if error.is_forbidden() => stderr::warning(&format!(
                "you may not sign kube-public/cluster-info, so machines wait a few seconds until \
                 kube-controller-manager's bootstrapsigner has done it; see that it has with: kubectl -n kube-public get \
                 configmap cluster-info -o jsonpath='{{.data.jws-kubeconfig-{id}}}'"
            )),
            Err(error) => {
                // Of two failures the first is the one to tell; the token ends by itself.
                let _ = api.delete(&id.secret_name(), &DeleteParams::default()).await;
                return Err(Error::Sign(error));
            }
            Ok(()) => {}
        }
    }
    Ok(made)
}

fn expiration(now: UnixSeconds, ttl: Duration) -> UnixSeconds {
    now.saturating_add(i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX))
}

fn secret(token: &BootstrapToken, expires_at: UnixSeconds, wanted: &Wanted) -> Result<Secret, TokenError> {
    let groups: Vec<&str> = wanted.groups.iter().map(String::as_str).collect();
    let specification = SecretSpec {
        expires_at,
        description: &wanted.description,
        signing: wanted.signing,
        authentication: wanted.authentication,
        groups: &groups,
    };
    let data = specification.string_data(token)?;
    let string_data: BTreeMap<String, String> =
        data.iter().map(|(key, value)| ((*key).to_owned(), value.as_str().to_owned())).collect();
    Ok(Secret {
        metadata: ObjectMeta { name: Some(token.id().secret_name()), ..ObjectMeta::default() },
        type_: Some(SECRET_TYPE.to_owned()),
        string_data: Some(string_data),
        ..Secret::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_one_of_a_bootstrap_token() {
        let token = BootstrapToken::parse("abcdef.0123456789abcdef").unwrap();
        let wanted = Wanted {
            token: None,
            ttl: Duration::from_hours(24),
            description: "machines".to_owned(),
            groups: vec!["system:bootstrappers:nodejoin:enroll".to_owned()],
            signing: true,
            authentication: true,
        };
        let secret = secret(&token, expiration(1_000_000_000, wanted.ttl), &wanted).unwrap();
        assert_eq!(secret.metadata.name.as_deref(), Some("bootstrap-token-abcdef"));
        assert_eq!(secret.type_.as_deref(), Some("bootstrap.kubernetes.io/token"));
        let data = secret.string_data.unwrap();
        assert_eq!(data["expiration"], "2001-09-10T01:46:40Z");
        assert_eq!(data["auth-extra-groups"], "system:bootstrappers:nodejoin:enroll");
        assert_eq!(expiration(i64::MAX - 1, Duration::MAX), i64::MAX);
    }
}
