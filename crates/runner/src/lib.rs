//! What everything that runs instances itself has in common: questions to an instance, fences, who waits for a change.
//!
//! Knows neither processes nor containers.

pub mod ask;
pub mod fence;
pub mod http;
pub mod hub;
pub mod smoke;
pub mod trouble;

use std::sync::Arc;
use std::time::Duration;

/// Finds the values of a release's secrets, by the release's id. Asked only for releases that have some.
pub type SecretSource = Arc<
    dyn Fn(
            &deployctl_core::id::Sha256Hex,
        ) -> Result<deployctl_core::instance::SecretValues, deployctl_core::fault::Fault>
        + Send
        + Sync,
>;

/// A span as people say it.
pub fn say(span: Duration) -> String {
    if span.subsec_millis() == 0 { format!("{} s", span.as_secs()) } else { format!("{} ms", span.as_millis()) }
}
