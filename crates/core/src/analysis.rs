//! Comparison of a canary with the old release: two samples, counted by the data plane.

use crate::route::{LATENCY_BUCKETS_MS, SideStats};
use std::fmt;

/// What a comparison says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// No worse.
    Pass(Counts),
    /// Too few requests to say; never a pass.
    Inconclusive(Counts),
    /// Worse, and by what.
    Worse(String, Counts),
}

/// What was counted, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    new: (u64, u64),
    old: (u64, u64),
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((new_bad, new), (old_bad, old)) = (self.new, self.old);
        write!(f, "{new_bad} of {new} requests failed on the canary, {old_bad} of {old} on the old release")
    }
}

/// One-sided critical value of the standard normal distribution at 0.1 %: a false alarm in a thousand comparisons.
const CRITICAL: f64 = 3.090;

/// A slower share this much larger than the old release's is worse, however significant a smaller one may be.
const SLOWER_SHARE_MIN: f64 = 0.05;

/// The counters that were added since `before`; all of `now` if the data plane began anew.
pub fn since(now: &SideStats, before: &SideStats) -> SideStats {
    if now.requests < before.requests {
        return now.clone();
    }
    let latency = now
        .latency
        .iter()
        .enumerate()
        .map(|(i, n)| n.saturating_sub(before.latency.get(i).copied().unwrap_or(0)))
        .collect();
    SideStats { requests: now.requests - before.requests, errors: now.errors.saturating_sub(before.errors), latency }
}

/// Compares the share of 5xx (two-proportion z-test, pooled variance) and the share of answers slower than the old
/// release's 95th percentile bucket.
pub fn judge(new: &SideStats, old: &SideStats, requests_min: u64) -> Judgement {
    let counts = Counts { new: (new.errors, new.requests), old: (old.errors, old.requests) };
    let all_bad = new.requests >= 5 && new.errors == new.requests && old.errors < old.requests;
    if all_bad {
        return Judgement::Worse("every request on the canary failed".into(), counts);
    }
    if z(new.errors, new.requests, old.errors, old.requests) > CRITICAL {
        return Judgement::Worse("the canary fails more often than the old release".into(), counts);
    }
    if new.requests < requests_min || old.requests < requests_min {
        return Judgement::Inconclusive(counts);
    }
    match slower(new, old) {
        Some(why) => Judgement::Worse(why, counts),
        None => Judgement::Pass(counts),
    }
}

/// The statistic of the two-proportion test with pooled variance; see any text on comparing two binomial samples.
#[allow(clippy::cast_precision_loss)]
fn z(new_hits: u64, new_all: u64, old_hits: u64, old_all: u64) -> f64 {
    if new_all == 0 || old_all == 0 {
        return 0.0;
    }
    let (n, m) = (new_all as f64, old_all as f64);
    let pooled = (new_hits + old_hits) as f64 / (n + m);
    let variance = pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m);
    if variance <= 0.0 { 0.0 } else { (new_hits as f64 / n - old_hits as f64 / m) / variance.sqrt() }
}

#[allow(clippy::cast_precision_loss)]
fn slower(new: &SideStats, old: &SideStats) -> Option<String> {
    let total: u64 = old.latency.iter().sum();
    let fresh: u64 = new.latency.iter().sum();
    if total == 0 || fresh == 0 {
        return None;
    }
    let mut below = 0;
    let bucket = old.latency.iter().position(|n| {
        below += n;
        below * 100 >= total * 95
    })?;
    let above = |stats: &SideStats| stats.latency.iter().skip(bucket + 1).sum::<u64>();
    let (slow_new, slow_old) = (above(new), above(old));
    let more = slow_new as f64 / fresh as f64 - slow_old as f64 / total as f64;
    let bound = LATENCY_BUCKETS_MS.get(bucket)?;
    (more > SLOWER_SHARE_MIN && z(slow_new, fresh, slow_old, total) > CRITICAL).then(|| {
        format!(
            "the canary is slower: {slow_new} of {fresh} answers took longer than {bound} ms, {slow_old} of {total} on the old release"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(requests: u64, errors: u64, latency: &[u64]) -> SideStats {
        SideStats { requests, errors, latency: latency.to_vec() }
    }

    #[test]
    fn table() {
        let fast = [1000, 50, 0, 0];
        let slow = [10, 10, 80, 0];
        let cases = [
            (stats(3, 0, &[]), stats(500, 0, &[]), "Inconclusive"),
            (stats(100, 0, &fast), stats(1000, 1, &fast), "Pass"),
            (stats(100, 1, &fast), stats(1000, 5, &fast), "Pass"),
            (stats(100, 20, &fast), stats(1000, 5, &fast), "Worse"),
            (stats(6, 6, &[]), stats(1000, 0, &fast), "Worse"),
            (stats(4, 4, &[]), stats(10, 0, &fast), "Worse"),
            (stats(100, 100, &fast), stats(1000, 1000, &fast), "Pass"),
            (stats(100, 0, &slow), stats(1050, 0, &fast), "Worse"),
            (stats(0, 0, &[]), stats(0, 0, &[]), "Inconclusive"),
        ];
        for (new, old, wanted) in cases {
            let said = format!("{:?}", judge(&new, &old, 50));
            assert!(said.starts_with(wanted), "{new:?} against {old:?}: {said}, wanted {wanted}");
        }
    }

    #[test]
    fn counters_that_began_anew_count_from_zero() {
        let before = stats(10, 1, &[10]);
        assert_eq!(since(&stats(12, 3, &[12]), &before), stats(2, 2, &[2]));
        assert_eq!(since(&stats(4, 0, &[4]), &before), stats(4, 0, &[4]));
    }
}
