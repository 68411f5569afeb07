//! How far this machine's clock and the API server's are apart.

use std::fmt;

use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};

/// From so many seconds on a difference is told.
const NOTICEABLE: u64 = 10;
/// From so many seconds on it stops a join: certificates are valid from five minutes before they are issued.
const TOO_MUCH: u64 = 300;

/// By how many seconds this machine's clock is ahead of the API server's; negative when it is behind.
///
/// Whoever answers writes the time. To an agent the first answer comes from a server that is not verified yet: there a skew
/// explains a failure or warns of one, and decides nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skew(i64);

impl Skew {
    /// A clock that is so many seconds ahead.
    pub const fn ahead(seconds: i64) -> Self {
        Self(seconds)
    }

    /// By how many whole seconds this clock is ahead of the one that wrote `date` (RFC 9110, whole seconds) between `sent`
    /// and `received`. What can be explained by the rounding and by the way is no difference.
    pub fn measured(date: &str, sent: Timestamp, received: Timestamp) -> Option<Self> {
        let theirs = rfc2822::parse(date).ok()?.timestamp();
        // Their clock was somewhere in [theirs, theirs + 1 s) at some time in [sent, received].
        let ahead = sent.duration_since(theirs.checked_add(SignedDuration::from_secs(1)).ok()?);
        let behind = received.duration_since(theirs);
        Some(Self(if ahead > SignedDuration::ZERO {
            ahead.as_secs() + i64::from(ahead.subsec_nanos() > 0)
        } else if behind < SignedDuration::ZERO {
            behind.as_secs() - i64::from(behind.subsec_nanos() < 0)
        } else {
            0
        }))
    }

    /// By how many seconds this clock is ahead; negative when it is behind.
    pub const fn seconds_ahead(self) -> i64 {
        self.0
    }

    /// Whether it is worth telling.
    pub fn is_noticeable(self) -> bool {
        self.0.unsigned_abs() >= NOTICEABLE
    }

    /// Whether it stops a join.
    pub fn is_too_much(self) -> bool {
        self.0.unsigned_abs() >= TOO_MUCH
    }
}

impl fmt::Display for Skew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.unsigned_abs();
        if !self.is_noticeable() {
            return write!(f, "{seconds} s apart");
        }
        let direction = if self.0 > 0 { "ahead of" } else { "behind" };
        write!(f, "this machine's clock is {seconds} s {direction} the API server's")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_date_that_is_none_tells_nothing() {
        let now = Timestamp::now();
        assert_eq!(Skew::measured("yesterday", now, now), None);
    }

    proptest! {
        #[test]
        fn the_skew_is_what_it_was_made_with(
            milliseconds in 0_i64..4_000_000_000_000, offset in -100_000_i64..100_000, way in 0_i64..400
        ) {
            // Our clock is `offset` seconds ahead of theirs; they write the date in the middle of the way.
            let theirs = Timestamp::from_millisecond(milliseconds).unwrap();
            let date = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&theirs).unwrap();
            let ours = |shift: i64| Timestamp::from_millisecond(milliseconds + offset * 1000 + shift).unwrap();
            let told = Skew::measured(&date, ours(-way), ours(way)).unwrap().0;
            prop_assert!((told - offset).abs() <= 1 || told == 0 && offset.abs() <= 1, "{told} for {offset}");
        }
    }
}
