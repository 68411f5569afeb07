//! How old things are.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;

/// Seconds from then until now; zero if then is later.
pub(super) fn seconds_since(then: Timestamp, now: Timestamp) -> i64 {
    now.as_second().saturating_sub(then.as_second()).max(0)
}

/// A span as people say it: the two largest units of days, hours, minutes and seconds, at most.
pub fn span(seconds: i64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) if seconds % 60 == 0 => format!("{minutes}m"),
        (0, 0, minutes) => format!("{minutes}m{}s", seconds % 60),
        (0, hours, 0) => format!("{hours}h"),
        (0, hours, minutes) => format!("{hours}h{minutes}m"),
        (days, 0, _) => format!("{days}d"),
        (days, hours, _) => format!("{days}d{hours}h"),
    }
}

/// What a lease says of its holder.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// By whom, and how many seconds ago it was renewed.
    Fresh(String, i64),
    /// The same, for longer ago than a holder that lives would allow.
    Stale(String, i64),
    /// By nobody.
    Free,
}

/// Looks at a lease. Clocks differ, so twice its duration, and at least half a minute, is still fresh.
pub(super) fn held(lease: &Lease, now: Timestamp) -> Held {
    const GRACE: Duration = Duration::from_secs(30);
    let Some(spec) = &lease.spec else { return Held::Free };
    let holder = spec.holder_identity.clone().unwrap_or_default();
    let (Some(renewed), false) = (&spec.renew_time, holder.is_empty()) else { return Held::Free };
    let age = seconds_since(renewed.0, now);
    let limit = (2 * i64::from(spec.lease_duration_seconds.unwrap_or_default())).max(GRACE.as_secs().cast_signed());
    if age <= limit { Held::Fresh(holder, age) } else { Held::Stale(holder, age) }
}
