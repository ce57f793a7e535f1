//! Which version answered when.

use serde::Serialize;
use std::collections::BTreeMap;

/// One request that a version answered; times are microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it was sent.
    pub sent_us: u64,
    /// When its answer was complete.
    pub done_us: u64,
    /// The version: a number into [`Samples::versions`].
    pub version: u32,
}

/// The requests that a version answered, in the order of their answers.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// The versions seen, in order of appearance.
    pub versions: Vec<String>,
    /// The requests.
    pub samples: Vec<Sample>,
    by_name: BTreeMap<String, u32>,
}

/// A version and when it was seen; times are milliseconds since the load began.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VersionSeen {
    /// The version.
    pub version: String,
    /// How many requests it answered.
    pub answers: u64,
    /// When it answered first.
    pub first_ms: f64,
    /// When it answered last.
    pub last_ms: f64,
}

/// What clients saw of a switch from one version to another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Switch {
    /// From the switch to the first answer of the new version; none if it never answered.
    pub first_new_ms: Option<f64>,
    /// Requests sent later than the grace after the switch that another version answered.
    pub old_after_grace: u64,
}

impl Samples {
    pub(crate) fn record(&mut self, version: &str, sent_us: u64, done_us: u64) {
        let version = match self.by_name.get(version) {
            Some(number) => *number,
            None => {
                let number = u32::try_from(self.versions.len()).unwrap_or(u32::MAX);
                self.versions.push(version.to_owned());
                self.by_name.insert(version.to_owned(), number);
                number
            }
        };
        self.samples.push(Sample { sent_us, done_us, version });
    }

    /// What clients saw of the switch to `new` at `at_us`, until `until_us` (the next switch, or the end).
    pub fn switch(&self, new: &str, at_us: u64, grace_us: u64, until_us: u64) -> Switch {
        let new = self.by_name.get(new);
        let after = self.samples.iter().filter(|s| s.sent_us >= at_us && s.sent_us < until_us);
        let first =
            self.samples.iter().filter(|s| Some(&s.version) == new && s.done_us >= at_us && s.done_us < until_us);
        Switch {
            first_new_ms: first.map(|s| s.done_us).min().map(|us| (us - at_us) as f64 / 1e3),
            old_after_grace: after.filter(|s| s.sent_us > at_us + grace_us && Some(&s.version) != new).count() as u64,
        }
    }

    pub(crate) fn seen(&self, started_us: u64) -> Vec<VersionSeen> {
        let ms = |us: u64| us.saturating_sub(started_us) as f64 / 1e3;
        let of = |number: usize| self.samples.iter().filter(move |s| s.version as usize == number).map(|s| s.done_us);
        self.versions
            .iter()
            .enumerate()
            .map(|(number, version)| VersionSeen {
                version: version.clone(),
                answers: of(number).count() as u64,
                first_ms: ms(of(number).min().unwrap_or_default()),
                last_ms: ms(of(number).max().unwrap_or_default()),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_as_clients_see_it() {
        let mut samples = Samples::default();
        for (version, sent, done) in [
            ("v1", 0, 900),
            ("v1", 990, 1_400),
            ("v2", 1_200, 1_500),
            ("v1", 1_300, 1_450),
            ("v1", 12_000, 12_100),
            ("v2", 13_000, 13_100),
        ] {
            samples.record(version, sent, done);
        }
        let seen = Switch { first_new_ms: Some(0.5), old_after_grace: 1 };
        assert_eq!(samples.switch("v2", 1_000, 10_000, u64::MAX), seen);
        assert_eq!(samples.switch("v2", 1_000, 10_000, 12_000), Switch { old_after_grace: 0, ..seen });
        assert_eq!(samples.switch("v3", 1_000, 11_000, u64::MAX), Switch { first_new_ms: None, old_after_grace: 1 });
        assert_eq!(samples.seen(0)[1], VersionSeen { version: "v2".into(), answers: 2, first_ms: 1.5, last_ms: 13.1 });
    }
}
