//! How long a failed watch waits, for every program that watches.

use std::time::Duration;

use kube::runtime::utils::Backoff;

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
