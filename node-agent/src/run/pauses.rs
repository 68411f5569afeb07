//! How long the service pauses after a try that failed.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use join_crds::vocabulary::Reason;

/// The longest pause between two tries.
pub const MOST_PAUSE: Duration = Duration::from_mins(1);

/// The least pause before a certificate is asked for again whose request somebody deleted, who may have meant it.
const DELETED_PAUSE: Duration = Duration::from_secs(10);

/// The least pause after a failure.
pub fn least_pause(reason: Reason) -> Duration {
    if reason == Reason::CertificateRequestDeleted { DELETED_PAUSE } else { Duration::ZERO }
}

/// The pauses between tries that fail one after the other.
pub fn pauses() -> backon::ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(500))
        .with_max_delay(MOST_PAUSE)
        .without_max_times()
        .with_jitter()
        .build()
}
