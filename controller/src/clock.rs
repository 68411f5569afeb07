//! The time as the API server has it.
//!
//! What this controller compares and writes down is dated by the API server, or judged by it: when a certificate request
//! was made, when a token ends. With a clock of its own that is off it would deny what is right, and make tokens that are
//! over at once or live for too long. So it counts by the API server's clock, which each answer has (`Date`, RFC 9110
//! section 6.6.1). A difference that the way of an answer can explain is none.

use std::sync::atomic::{AtomicI64, Ordering};

use join_checks::clock::Skew;
use join_trust::UnixSeconds;
use k8s_openapi::jiff::Timestamp;

use crate::metrics::Metrics;

/// By how many seconds this host's clock is ahead: one for the process, as the host's clock is.
static AHEAD: AtomicI64 = AtomicI64::new(0);

/// The present time in whole seconds, by the API server's clock.
pub fn now() -> UnixSeconds {
    Timestamp::now().as_second().saturating_sub(AHEAD.load(Ordering::Relaxed))
}

/// Takes the time out of the API server's answers.
#[derive(Clone)]
pub struct Clock {
    metrics: Metrics,
    /// For tests, which move the time on: whether this host's clock is believed.
    own: bool,
}

impl Clock {
    /// Counts by the API server's clock, unless `own` says that this host's is to be believed.
    pub fn new(metrics: Metrics, own: bool) -> Self {
        Self { metrics, own }
    }

    /// Notes the `Date` of an answer to what was sent at that time, and has just come.
    pub fn answered(&self, date: &str, sent: Timestamp) {
        let Some(skew) = Skew::measured(date, sent, Timestamp::now()).filter(|_| !self.own) else { return };
        self.metrics.set_clock_ahead(skew.seconds_ahead());
        let before = Skew::ahead(AHEAD.swap(skew.seconds_ahead(), Ordering::Relaxed));
        if skew.is_noticeable() && !before.is_noticeable() {
            tracing::warn!("{skew}; times are counted by the API server's. Set this host's clock right");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use k8s_openapi::jiff::fmt::rfc2822::DateTimePrinter;

    use super::*;

    /// One test for all, since the difference is the process's.
    #[test]
    fn time_is_counted_by_the_api_servers_clock_unless_told_otherwise() {
        let own = || Timestamp::now().as_second();
        let date = |ahead: u64| {
            DateTimePrinter::new()
                .timestamp_to_rfc9110_string(&(Timestamp::now() - Duration::from_secs(ahead)))
                .unwrap()
        };
        let clock = |own| Clock::new(Metrics::new(), own);
        clock(true).answered(&date(3600), Timestamp::now());
        assert!((own() - now()).abs() <= 1);
        clock(false).answered(&date(3600), Timestamp::now());
        assert!((3598..=3601).contains(&(own() - now())), "{}", own() - now());
        clock(false).answered("no date", Timestamp::now());
        assert!((3598..=3601).contains(&(own() - now())));
        // An answer that was on its way for an hour says nothing of the clocks.
        clock(false).answered(&date(1800), Timestamp::now() - Duration::from_hours(1));
        assert!((own() - now()).abs() <= 1);
    }
}
