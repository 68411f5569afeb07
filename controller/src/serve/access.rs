//! Who may read the metrics: whoever the API server says, by his bearer token.
//!
//! Two questions, as kube-rbac-proxy and controller-runtime ask them: whose is the token (`TokenReview`), and may he
//! `get` the URL `/metrics` (`SubjectAccessReview`). Nothing of a token outlives its request but the hash of one that may
//! read; it is in no log line, no error and no metric.
//!
//! What a stranger can cost the cluster is bounded: [`MOST_REVIEWS`] tokens are asked about at a time, and one that is
//! refused occupies its place for [`AFTER_REFUSAL`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Client, Resource};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

/// How long a token that may read is not asked about again: the longest time for which a withdrawn right still counts.
const REMEMBERED: Duration = Duration::from_mins(1);
/// The most tokens that are remembered. Few programs read metrics.
const MOST_REMEMBERED: usize = 64;
/// The most tokens that are asked about at the same time.
const MOST_REVIEWS: usize = 4;
/// How long a refused token keeps its place among those.
const AFTER_REFUSAL: Duration = Duration::from_millis(250);
/// How long an answer may take, the wait for a place included.
const PATIENCE: Duration = Duration::from_secs(8);
/// The longest token that is asked about, in bytes. A ServiceAccount's has about 1 KiB.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// The most that is read of an answer of the API server, in bytes.
const MAX_USER_BYTES: usize = 64 * 1024;

/// Why somebody may not read the metrics. The text is the answer that he gets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no token.
    #[error("no bearer token was sent; expected the header \"Authorization: Bearer <token of a ServiceAccount>\"")]
    NoToken,
    /// The token is nobody's.
    #[error("the API server does not know the bearer token that was sent; it may have expired")]
    Unknown,
    /// Its owner lacks the right.
    #[error(
        "{0:?} may not get the URL /metrics; bind it to the ClusterRole nodejoin:metrics-reader, or to any with \
         nonResourceURLs [\"/metrics\"] and verbs [\"get\"]"
    )]
    Forbidden(String),
    /// It cannot be found out.
    #[error("the API server could not be asked whether this token may read the metrics; try again")]
    Unavailable,
}

impl Refusal {
    /// The status code of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NoToken | Self::Unknown => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

type Hash = [u8; 32];

/// Decides who may read the metrics. Cloning shares what is remembered.
#[derive(Clone)]
pub struct Access(Arc<Shared>);

struct Shared {
    client: Client,
    places: Semaphore,
    /// Until when each token may read, by the token's SHA-256.
    allowed: Mutex<BTreeMap<Hash, Instant>>,
}

impl Access {
    /// Asks with this client.
    pub fn new(client: Client) -> Self {
        Self(Arc::new(Shared { client, places: Semaphore::new(MOST_REVIEWS), allowed: Mutex::default() }))
    }

    /// Whether the sender of a request with these headers may read the metrics.
    pub async fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let token = bearer(headers)?;
        let hash: Hash = Sha256::digest(token.as_bytes()).into();
        if self.0.remembers(&hash, Instant::now()) {
            return Ok(());
        }
        timeout(PATIENCE, self.0.ask(token, hash)).await.unwrap_or(Err(Refusal::Unavailable))
    }
}

impl Shared {
    async fn ask(&self, token: &str, hash: Hash) -> Result<(), Refusal> {
        let _place = self.places.acquire().await.map_err(|_| Refusal::Unavailable)?;
        // Whoever waited here may have waited behind his own first request.
        if self.remembers(&hash, Instant::now()) {
            return Ok(());
        }
        let outcome = self.review(token).await;
        match &outcome {
            Ok(()) => self.remember(hash, Instant::now()),
            Err(_) => sleep(AFTER_REFUSAL).await,
        }
        outcome
    }

    async fn review(&self, token: &str) -> Result<(), Refusal> {
        let review = TokenReview {
            spec: TokenReviewSpec { token: Some(token.to_owned()), ..TokenReviewSpec::default() },
            ..TokenReview::default()
        };
        let review: TokenReview = self.create(&review).await?;
        let status = review.status.unwrap_or_default();
        let user = status.user.filter(|_| status.authenticated == Some(true)).ok_or(Refusal::Unknown)?;
        let name = user.username.clone().unwrap_or_default();
        let review: SubjectAccessReview = self.create(&question(user)).await?;
        let allowed = review.status.is_some_and(|status| status.allowed && status.denied != Some(true));
        if allowed { Ok(()) } else { Err(Refusal::Forbidden(name)) }
    }

    /// Sends a review and reads the answer.
    ///
    /// The answer repeats the token, and kube's own reader logs an answer that it cannot parse: so it is read here.
    async fn create<K>(&self, review: &K) -> Result<K, Refusal>
    where
        K: Resource<DynamicType = ()> + serde::Serialize + serde::de::DeserializeOwned,
    {
        let kind = K::kind(&());
        let failed = |error: &dyn std::fmt::Display| {
            tracing::warn!(%kind, %error, "the API server could not be asked who reads the metrics");
            Refusal::Unavailable
        };
        let body = serde_json::to_vec(review).map_err(|error| failed(&error))?;
        let request = kube::core::Request::new(K::url_path(&(), None));
        let request = request.create(&PostParams::default(), body).map_err(|error| failed(&error))?;
        let text = self.client.request_text(request).await.map_err(|error| failed(&error))?;
        if text.len() > MAX_USER_BYTES {
            return Err(failed(&"its answer is too long"));
        }
        serde_json::from_str(&text).map_err(|_| failed(&"its answer cannot be read"))
    }

    fn remembers(&self, hash: &Hash, now: Instant) -> bool {
        let allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        allowed.get(hash).is_some_and(|until| now < *until)
    }

    fn remember(&self, hash: Hash, now: Instant) {
        let mut allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        allowed.retain(|_, until| now < *until);
        if allowed.len() >= MOST_REMEMBERED {
            let oldest = allowed.iter().min_by_key(|(_, until)| **until).map(|(hash, _)| *hash);
            oldest.and_then(|oldest| allowed.remove(&oldest));
        }
        allowed.insert(hash, now + REMEMBERED);
    }
}

/// The bearer token (RFC 6750) of a request.
fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(Refusal::NoToken) };
    let (scheme, token) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or(Refusal::NoToken)?;
    let token = token.trim_matches(' ');
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(Refusal::NoToken);
    }
    if token.len() > MAX_TOKEN_BYTES { Err(Refusal::Unknown) } else { Ok(token) }
}

/// What is asked about the owner of a token: everything that the API server said of him, and the right.
fn question(user: UserInfo) -> SubjectAccessReview {
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: user.username,
            uid: user.uid,
            groups: user.groups,
            extra: user.extra,
            non_resource_attributes: Some(NonResourceAttributes {
                path: Some("/metrics".to_owned()),
                verb: Some("get".to_owned()),
            }),
            resource_attributes: None,
        },
        ..SubjectAccessReview::default()
    }
}

#[cfg(test)]
mod tests;
