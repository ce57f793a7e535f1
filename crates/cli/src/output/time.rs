//! Times and durations, as text.

use deployctl_core::time::Millis;
use std::time::Duration;

/// RFC 3339 in UTC.
pub(crate) fn rfc3339(at: Millis) -> String {
    let stamp = i64::try_from(at.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    stamp.map_or_else(|| at.0.to_string(), |stamp| format!("{stamp:.3}"))
}

/// Now.
pub(crate) fn now() -> Millis {
    Millis(u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0))
}

/// Such as `4 s`, `3 min`, `5 h`, `12 d`.
pub(crate) fn short(span: Duration) -> String {
    match span.as_secs() {
        0 => format!("{} ms", span.as_millis()),
        s @ 1..=119 => format!("{s} s"),
        s @ 120..=7_199 => format!("{} min", s / 60),
        s @ 7_200..=172_799 => format!("{} h", s / 3_600),
        s => format!("{} d", s / 86_400),
    }
}

/// How long ago.
pub(crate) fn ago(at: Millis) -> String {
    format!("{} ago", short(now().since(at)))
}
