//! How long a failed watch waits.

use std::time::Duration;

use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;

/// The pauses after failures: from 0.8 s to 30 s, and short again only after two minutes without a failure.
///
/// The library's own begin anew with everything that a watch brings, and the announcement of a listing, before anything is
/// asked, is the first thing that it brings. Each agent would ask the API server more than once a second for ever.
#[derive(Default)]
pub struct Pauses(DefaultBackoff);

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next()
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        // By the time since the last failure alone, which is part of `next`.
    }
}
