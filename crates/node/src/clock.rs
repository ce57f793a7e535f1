//! The one place that asks what time it is.

use deployctl_core::time::Millis;
use std::time::{SystemTime, UNIX_EPOCH};

/// Now, for people: nothing is decided by it.
pub(crate) fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
