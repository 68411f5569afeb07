//! Durations on command lines.

use std::time::Duration;

/// Parses a duration as Go writes it: `30s`, `1h30m`, `0`.
pub fn parse(text: &str) -> Result<Duration, String> {
    let expected = || format!("{text:?} is no duration, expected a number with a unit such as 30s, 15m or 24h");
    // Longer than any duration that makes sense, and what overflows panics in the library's arithmetic.
    if text.is_empty() || text.len() > 16 {
        return Err(expected());
    }
    let parsed: kube::core::Duration = text.parse().map_err(|_| expected())?;
    if parsed.is_negative() {
        return Err(format!("{text:?} is negative, expected a duration such as 30s, 15m or 24h"));
    }
    Ok(parsed.into())
}
