//! What the service makes of an enrollment token that is not accepted.

use std::cell::Cell;
use std::time::{Duration, Instant};

use join_crds::vocabulary::Reason;
use k8s_openapi::jiff::Timestamp;

use crate::config::Discovery;

/// How long a token that is not accepted is shown again before that is told: an API server that has just started knows no
/// tokens yet, and answers as if they were wrong.
const DOUBT: Duration = Duration::from_secs(5);
/// The pause between two tries meanwhile.
pub const DOUBT_PAUSE: Duration = Duration::from_secs(1);

/// What the API server has said of the enrollment token since this program started.
#[derive(Debug, Default)]
pub struct TokenHistory {
    was_accepted: Cell<bool>,
    /// Since when it has not been accepted.
    refused_since: Cell<Option<Instant>>,
}

impl TokenHistory {
    /// It was accepted.
    pub fn accepted(&self) {
        self.was_accepted.set(true);
        self.refused_since.set(None);
    }

    /// Says more of a refused enrollment token than the API server does, which answers the same to all of them; nothing
    /// where it was another credential.
    pub fn why_refused(&self, discovery: &Discovery) -> Option<Reason> {
        let expires = match discovery {
            Discovery::Token { expires, .. } => *expires,
            Discovery::File { token: Some(_), .. } | Discovery::Url { token: Some(_), .. } => None,
            // What the file's user shows need not be a bootstrap token.
            Discovery::File { token: None, .. } | Discovery::Url { token: None, .. } => return None,
        };
        Some(why_refused(expires, self.was_accepted.get(), Timestamp::now()))
    }

    /// Whether a refusal of the enrollment token may be the API server's fault still.
    pub fn is_in_doubt(&self, reason: Reason) -> bool {
        if !matches!(reason, Reason::TokenUnknown | Reason::TokenRevoked) {
            return false;
        }
        let since = self.refused_since.get().unwrap_or_else(Instant::now);
        self.refused_since.set(Some(since));
        since.elapsed() < DOUBT
    }
}

/// Why the API server does not accept a bootstrap token. It does not say so itself: what is known is when the token
/// ends, if the configuration has that, and whether it was accepted earlier.
fn why_refused(expires: Option<Timestamp>, was_accepted: bool, now: Timestamp) -> Reason {
    match expires {
        Some(expires) if expires <= now => Reason::TokenExpired,
        _ if was_accepted => Reason::TokenRevoked,
        _ => Reason::TokenUnknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_token_is_told_apart_by_what_is_known_of_it() {
        let [before, now, later] = [10, 20, 30].map(|second| Timestamp::from_second(second).unwrap());
        for (expires, was_accepted, expected) in [
            (Some(before), false, Reason::TokenExpired),
            (Some(now), true, Reason::TokenExpired),
            (Some(later), true, Reason::TokenRevoked),
            (None, true, Reason::TokenRevoked),
            (Some(later), false, Reason::TokenUnknown),
            (None, false, Reason::TokenUnknown),
        ] {
            assert_eq!(why_refused(expires, was_accepted, now), expected, "{expires:?} {was_accepted}");
        }
    }
}
