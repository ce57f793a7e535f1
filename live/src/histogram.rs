//! Latencies, counted in buckets whose width is at most 1/32 of their value.

use std::time::Duration;

const SUB: u32 = 5; // 32 buckets a power of two

/// Counts of durations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max_us: u64,
}

impl Histogram {
    /// Counts one.
    pub(crate) fn record(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let bucket = bucket_of(us);
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
        self.max_us = self.max_us.max(us);
    }

    /// The value below which the share `quantile` of all lies, in milliseconds; 0 if there are none.
    pub(crate) fn quantile_ms(&self, quantile: f64) -> f64 {
        let wanted = (quantile * self.count as f64).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted && *count > 0 {
                return highest_in(bucket).min(self.max_us) as f64 / 1e3;
            }
        }
        0.0
    }

    /// The highest value, in milliseconds.
    pub(crate) fn max_ms(&self) -> f64 {
        self.max_us as f64 / 1e3
    }
}

fn bucket_of(us: u64) -> usize {
    let power = (64 - us.leading_zeros()).saturating_sub(SUB + 1);
    ((u64::from(power) << SUB) + (us >> power)) as usize
}

fn highest_in(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let power = (bucket >> SUB).saturating_sub(1);
    let low = (bucket - (power << SUB)) << power;
    low + (1 << power) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket() {
        for us in (0..5_000).chain([65_535, 65_536, 1_000_003, u64::from(u32::MAX)]) {
            let high = highest_in(bucket_of(us));
            assert!(high >= us && high - us <= us / 32, "{us} is counted as {high}");
            assert!(us == 0 || highest_in(bucket_of(us) - 1) < us, "{us}");
        }
    }

    #[test]
    fn quantiles() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile_ms(0.5), 0.0);
        (1..=1000).for_each(|ms| histogram.record(Duration::from_millis(ms)));
        for (quantile, ms) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let got = histogram.quantile_ms(quantile);
            assert!((got - ms).abs() <= ms / 32.0, "{quantile}: {got}");
        }
        assert_eq!(histogram.max_ms(), 1000.0);
    }
}
