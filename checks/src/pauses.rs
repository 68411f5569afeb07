//! How long a failed watch waits, for every program that watches.

use std::time::Duration;

use backon::ExponentialBuilder;
use kube::runtime::utils::{Backoff, ResetTimerBackoff};
use kube::runtime::watcher::ExponentialBackoff;

/// The pauses after failures of a watch that is to be back soon after the API server is: from 0.8 s to between 8 and 16 s,
/// and short again only after two minutes without a failure. For the few programs of a cluster, not for each machine.
#[must_use]
pub fn short() -> Lasting<ResetTimerBackoff<ExponentialBackoff>> {
    let growing = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(800))
        .with_max_delay(Duration::from_secs(8))
        .with_jitter()
        .without_max_times();
    Lasting(ResetTimerBackoff::new(growing.into(), Duration::from_mins(2)))
}

/// A backoff that begins anew by the time since the last failure alone.
///
/// The library resets a backoff with everything that a watch brings, and the announcement of a listing, before anything is
/// asked, is the first thing that it brings: a failing watch would ask the API server more than once a second for ever. What
/// is inside has to know by itself when its pauses are short again, as kube's `ResetTimerBackoff` does.
#[derive(Debug, Default)]
pub struct Lasting<B>(pub B);

impl<B: Iterator<Item = Duration>> Iterator for Lasting<B> {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next()
    }
}

impl<B: Backoff> Backoff for Lasting<B> {
    fn reset(&mut self) {
        // By the time since the last failure alone, which is part of `next`.
    }
}
