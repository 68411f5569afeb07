//! Durations as kubectl and kubeadm write them.
//!
//! Source: `HumanDuration` and `ShortHumanDuration` of k8s.io/apimachinery, package util/duration.

use k8s_openapi::jiff::Timestamp;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// The time from a moment until now, as in kubectl's AGE column; `<unknown>` where there is no such moment.
pub fn since(then: Option<Timestamp>, now: Timestamp) -> String {
    then.map_or_else(|| "<unknown>".to_owned(), |then| human(now.duration_since(then).as_secs()))
}

/// A number of seconds with two units where they say something: `5m3s`, `7h4m`, `2d5h`.
pub fn human(seconds: i64) -> String {
    let two = |first: (i64, char), second: (i64, char)| {
        let (large, small) = (seconds / first.0, seconds % first.0 / second.0);
        if small == 0 { format!("{large}{}", first.1) } else { format!("{large}{}{small}{}", first.1, second.1) }
    };
    match seconds {
        // Clocks differ a little; a moment that has not come yet is no error then.
        ..-1 => "<invalid>".to_owned(),
        -1..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        _ if seconds < 10 * MINUTE => two((MINUTE, 'm'), (1, 's')),
        _ if seconds < 3 * HOUR => format!("{}m", seconds / MINUTE),
        _ if seconds < 8 * HOUR => two((HOUR, 'h'), (MINUTE, 'm')),
        _ if seconds < 2 * DAY => format!("{}h", seconds / HOUR),
        _ if seconds < 8 * DAY => two((DAY, 'd'), (HOUR, 'h')),
        _ if seconds < 2 * YEAR => format!("{}d", seconds / DAY),
        _ if seconds < 8 * YEAR => two((YEAR, 'y'), (DAY, 'd')),
        _ => format!("{}y", seconds / YEAR),
    }
}

/// A number of seconds with one unit: `23h`.
pub fn short(seconds: i64) -> String {
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1..0 => "0s".to_owned(),
        _ if seconds < MINUTE => format!("{seconds}s"),
        _ if seconds < HOUR => format!("{}m", seconds / MINUTE),
        _ if seconds < DAY => format!("{}h", seconds / HOUR),
        _ if seconds < YEAR => format!("{}d", seconds / DAY),
        _ => format!("{}y", seconds / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// Values of apimachinery's own tests.
    #[rstest]
    #[case(-2, "<invalid>", "<invalid>")]
    #[case(-1, "0s", "0s")]
    #[case(0, "0s", "0s")]
    #[case(1, "1s", "1s")]
    #[case(70, "70s", "1m")]
    #[case(190, "3m10s", "3m")]
    #[case(180, "3m", "3m")]
    #[case(70 * 60, "70m", "1h")]
    #[case(47 * 3600, "47h", "1d")]
    #[case(49 * 3600, "2d1h", "2d")]
    #[case(8 * 86400 + 2 * 3600, "8d", "8d")]
    #[case(367 * 86400, "367d", "1y")]
    #[case(4 * 31_536_000 + 2 * 86400, "4y2d", "4y")]
    #[case(9 * 31_536_000, "9y", "9y")]
    #[case(7 * 3600 + 10 * 60, "7h10m", "7h")]
    fn durations_are_written_as_kubectl_writes_them(#[case] seconds: i64, #[case] long: &str, #[case] brief: &str) {
        assert_eq!(human(seconds), long);
        assert_eq!(short(seconds), brief);
    }

    #[test]
    fn an_age_is_counted_from_a_moment() {
        let now = Timestamp::from_second(1000).unwrap();
        assert_eq!(since(Some(Timestamp::from_second(697).unwrap()), now), "5m3s");
        assert_eq!(since(None, now), "<unknown>");
    }
}
