//! Counting, while the load runs.

use crate::histogram::Histogram;
use crate::outcome::{Kind, Loss, Outcome};
use crate::report::{KindReport, Latency, LossSeen, Report};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

const LOSSES_TOLD: usize = 200;

/// Counts, shared by all clients of one load.
pub(crate) struct Tally {
    started: Instant,
    started_us: u64,
    inner: RefCell<(Report, BTreeMap<Kind, Histogram>)>,
}

impl Tally {
    pub(crate) fn new(kinds: &[Kind]) -> Self {
        let started_us = micros(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
        let kinds = kinds.iter().map(|kind| (*kind, KindReport::default())).collect();
        let report = Report { started_us, kinds, ..Report::default() };
        Self { started: Instant::now(), started_us, inner: RefCell::new((report, BTreeMap::new())) }
    }

    /// Counts the end of a request.
    pub(crate) fn record(&self, outcome: Outcome) {
        let now = Instant::now();
        let at_us = self.epoch_us(now);
        let (report, latencies) = &mut *self.inner.borrow_mut();
        let seen = report.kinds.entry(outcome.kind).or_default();
        seen.sent += 1;
        report.sent += 1;
        match outcome.result {
            Ok(answer) => {
                seen.answered += 1;
                report.answered += 1;
                *seen.status.entry(answer.status).or_default() += 1;
                latencies.entry(outcome.kind).or_default().record(now - outcome.due);
                let simple = matches!(outcome.kind, Kind::Kept | Kind::Fresh | Kind::H2);
                if let Some(version) = version(&answer.body).filter(|_| simple && answer.status == 200) {
                    report.samples.record(version, self.epoch_us(outcome.sent), at_us);
                }
            }
            Err(lost) => {
                *seen.lost.entry(lost.loss).or_default() += 1;
                match lost.loss {
                    Loss::Unconnected => report.unconnected += 1,
                    _ => report.lost += 1,
                }
                if report.losses.len() < LOSSES_TOLD {
                    let at_ms = millis(now - self.started);
                    let (kind, loss, detail) = (outcome.kind, lost.loss, lost.detail);
                    report.losses.push(LossSeen { at_ms, at_us, kind, loss, detail });
                }
            }
        }
    }

    /// Counts something else than a request's end.
    pub(crate) fn note(&self, kind: Kind, note: impl FnOnce(&mut KindReport)) {
        note(self.inner.borrow_mut().0.kinds.entry(kind).or_default());
    }

    pub(crate) fn note_skipped(&self) {
        self.inner.borrow_mut().0.skipped += 1;
    }

    pub(crate) fn note_behind(&self, behind: Duration) {
        let report = &mut self.inner.borrow_mut().0;
        report.behind_ms_max = report.behind_ms_max.max(millis(behind));
    }

    pub(crate) fn note_end(&self) {
        self.inner.borrow_mut().0.duration_ms = millis(self.started.elapsed());
    }

    /// What there is to tell.
    pub(crate) fn report(&self) -> Report {
        let (report, latencies) = &*self.inner.borrow();
        let mut report = report.clone();
        for (kind, latency) in latencies {
            report.kinds.entry(*kind).or_default().latency = Latency {
                p50_ms: latency.quantile_ms(0.5),
                p90_ms: latency.quantile_ms(0.9),
                p99_ms: latency.quantile_ms(0.99),
                p999_ms: latency.quantile_ms(0.999),
                max_ms: latency.max_ms(),
            };
        }
        report.versions = report.samples.seen(report.started_us);
        report
    }

    /// The wall clock is read once; from there the monotonic one counts.
    fn epoch_us(&self, at: Instant) -> u64 {
        self.started_us + micros(at.saturating_duration_since(self.started))
    }
}

fn version(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?.trim();
    (!text.is_empty() && text.len() <= 128).then_some(text)
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}
