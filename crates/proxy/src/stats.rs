//! Counters per revision, shared by all workers.

use deployctl_core::route::{LATENCY_BUCKETS_MS, SideStats};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Counters of one revision of one scope.
#[derive(Debug, Default)]
pub(crate) struct SideCounters {
    requests: AtomicU64,
    errors: AtomicU64,
    latency: [AtomicU64; LATENCY_BUCKETS_MS.len() + 1],
}

impl SideCounters {
    /// Counts an answer, or the lack of one (`status` 5xx), whose head took `latency`.
    pub(crate) fn count(&self, status: u16, latency: Duration) {
        self.requests.fetch_add(1, Relaxed);
        if status >= 500 {
            self.errors.fetch_add(1, Relaxed);
        }
        self.latency[bucket(latency)].fetch_add(1, Relaxed);
    }

    pub(crate) fn read(&self) -> SideStats {
        SideStats {
            requests: self.requests.load(Relaxed),
            errors: self.errors.load(Relaxed),
            latency: self.latency.iter().map(|count| count.load(Relaxed)).collect(),
        }
    }
}

fn bucket(latency: Duration) -> usize {
    let micros = latency.as_micros();
    LATENCY_BUCKETS_MS.iter().position(|upper| micros <= u128::from(*upper) * 1000).unwrap_or(LATENCY_BUCKETS_MS.len())
}

/// Adds `more` to `sum`.
pub(crate) fn add(sum: &mut SideStats, more: &SideStats) {
    sum.requests += more.requests;
    sum.errors += more.errors;
    if sum.latency.len() < more.latency.len() {
        sum.latency.resize(more.latency.len(), 0);
    }
    for (sum, more) in sum.latency.iter_mut().zip(&more.latency) {
        *sum += more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_have_their_upper_bound_inside() {
        for (micros, wanted) in [(0, 0), (1_000, 0), (1_001, 1), (10_000_000, 15), (10_000_001, 16)] {
            assert_eq!(bucket(Duration::from_micros(micros)), wanted, "{micros}");
        }
    }

    #[test]
    fn counters_add_up() {
        let counters = SideCounters::default();
        counters.count(200, Duration::from_millis(4));
        counters.count(503, Duration::from_secs(60));
        let mut sum = SideStats::default();
        add(&mut sum, &counters.read());
        add(&mut sum, &counters.read());
        assert_eq!((sum.requests, sum.errors, sum.latency[3], sum.latency[16]), (4, 2, 2, 2));
    }
}
