//! When a changed result of the checks is written: what lasts is written once, what flickers is not, and never more often
//! than the API server should be bothered.

use std::time::{Duration, Instant};

use join_crds::Check;

/// How long a change has to last before it counts: the start of a kubelet is no failure.
const SETTLES: Duration = Duration::from_secs(5);
/// The least pause between two writes, whatever happens. A node that flaps costs two writes a minute.
const LEAST_PAUSE: Duration = Duration::from_secs(30);

/// Decides about writes.
#[derive(Debug, Default)]
pub struct Pace {
    /// What differs from what is written, and since when.
    candidate: Option<(Vec<Check>, Instant)>,
    last_write: Option<Instant>,
}

impl Pace {
    /// Whether `checks` are to be written now, when `written` is what is there. A write is counted whether it succeeds or
    /// not.
    pub fn is_due(&mut self, checks: &[Check], written: &[Check], now: Instant) -> bool {
        if checks == written {
            self.candidate = None;
            return false;
        }
        let since = match &self.candidate {
            Some((candidate, since)) if candidate == checks => *since,
            _ => {
                self.candidate = Some((checks.to_vec(), now));
                now
            }
        };
        let has_settled = now.duration_since(since) >= SETTLES;
        let has_paused = self.last_write.is_none_or(|last| now.duration_since(last) >= LEAST_PAUSE);
        if has_settled && has_paused {
            self.last_write = Some(now);
        }
        has_settled && has_paused
    }
}

#[cfg(test)]
mod tests {
    use join_crds::CheckResult;
    use proptest::prelude::*;

    use super::*;

    fn checks(number: u8) -> Vec<Check> {
        vec![Check { name: "a".to_owned(), result: CheckResult::Failed, message: Some(number.to_string()) }]
    }

    #[test]
    fn what_lasts_is_written_once_and_what_flickers_is_not() {
        let began = Instant::now();
        let mut pace = Pace::default();
        let mut written = checks(0);
        let mut look = |seconds: u64, seen: u8| {
            let due = pace.is_due(&checks(seen), &written, began + Duration::from_secs(seconds));
            if due {
                written = checks(seen);
            }
            due
        };
        for (seconds, seen, expected) in [
            (0, 0, false),
            // A change that is gone at the next look.
            (5, 1, false),
            (10, 0, false),
            // One that stays.
            (15, 1, false),
            (20, 1, true),
            (25, 1, false),
            // The next one waits for the pause to end.
            (30, 2, false),
            (35, 2, false),
            (45, 2, false),
            (50, 2, true),
            (55, 2, false),
        ] {
            assert_eq!(look(seconds, seen), expected, "after {seconds} s");
        }
    }

    proptest! {
        #[test]
        fn writes_are_bounded_and_what_stays_is_written(looks in prop::collection::vec((0_u8..3, 1_u64..8), 1..200)) {
            let mut now = Instant::now();
            let mut pace = Pace::default();
            let mut written = checks(0);
            let mut writes: Vec<Instant> = Vec::new();
            let mut look = |seen: u8, now: Instant| {
                if pace.is_due(&checks(seen), &written, now) {
                    written = checks(seen);
                    writes.push(now);
                }
            };
            let mut last = 0;
            for (seen, pause) in looks {
                now += Duration::from_secs(pause);
                look(seen, now);
                last = seen;
            }
            for _ in 0..8 {
                now += Duration::from_secs(5);
                look(last, now);
            }
            prop_assert_eq!(written, checks(last));
            prop_assert!(writes.windows(2).all(|pair| pair[1] - pair[0] >= LEAST_PAUSE));
        }
    }
}
