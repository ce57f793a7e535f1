//! What a load tells at its end.

use crate::outcome::{Kind, Loss};
use crate::versions::{Samples, VersionSeen};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// What became of all requests of a load.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// When it began, in microseconds since the Unix epoch.
    pub started_us: u64,
    /// How long requests were sent.
    pub duration_ms: f64,
    /// Requests that were begun.
    pub sent: u64,
    /// Requests with a complete answer.
    pub answered: u64,
    /// Requests that were lost; see [`Loss`].
    pub lost: u64,
    /// Requests for which there was no connection.
    pub unconnected: u64,
    /// Requests that were due but not begun, since too many were in flight: not lost, but the load was not what it says.
    pub skipped: u64,
    /// The furthest that the load itself was behind its schedule.
    pub behind_ms_max: f64,
    /// The same, by kind of client.
    pub kinds: BTreeMap<Kind, KindReport>,
    /// The versions that answered.
    pub versions: Vec<VersionSeen>,
    /// The first losses.
    pub losses: Vec<LossSeen>,
    /// Every request that a version answered.
    #[serde(skip)]
    pub samples: Samples,
}

/// What became of the requests of one kind of client.
#[derive(Clone, Debug, Default, Serialize)]
pub struct KindReport {
    /// Requests that were begun.
    pub sent: u64,
    /// Requests with a complete answer.
    pub answered: u64,
    /// How the others were lost.
    pub lost: BTreeMap<Loss, u64>,
    /// Answers by status.
    pub status: BTreeMap<u16, u64>,
    /// From when a request was due to its complete answer.
    pub latency: Latency,
    /// Connections made.
    pub connections: u64,
    /// Kept-alive connections that the other side closed between requests.
    pub closed_between: u64,
    /// Requests that HTTP/2 declared never looked at, and that were sent again.
    pub declined: u64,
    /// Streams that ended in order, but before their last event.
    pub ended_early: u64,
    /// WebSockets that the other side closed, by status.
    pub closed_with: BTreeMap<u16, u64>,
}

/// Latencies in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Latency {
    /// The median.
    pub p50_ms: f64,
    /// 90 of 100 are below.
    pub p90_ms: f64,
    /// 99 of 100 are below.
    pub p99_ms: f64,
    /// 999 of 1000 are below.
    pub p999_ms: f64,
    /// The highest.
    pub max_ms: f64,
}

/// One lost request.
#[derive(Clone, Debug, Serialize)]
pub struct LossSeen {
    /// When it was noticed, since the load began.
    pub at_ms: f64,
    /// When it was noticed, in microseconds since the Unix epoch.
    pub at_us: u64,
    /// The kind of client.
    pub kind: Kind,
    /// How.
    pub loss: Loss,
    /// What was seen.
    pub detail: String,
}

impl Report {
    /// Lost and unconnected requests together: what a client that never tries again would have felt.
    pub fn failed(&self) -> u64 {
        self.lost + self.unconnected
    }

    /// A few lines for a person.
    pub fn summary(&self) -> String {
        let mut text = format!(
            "{} sent in {:.1} s, {} answered, {} lost, {} unconnected",
            self.sent,
            self.duration_ms / 1e3,
            self.answered,
            self.lost,
            self.unconnected
        );
        if self.skipped > 0 {
            let _ = write!(text, ", {} skipped", self.skipped);
        }
        for (kind, seen) in &self.kinds {
            let _ =
                write!(text, "\n{kind:?}: {} sent, {} answered, status {:?}", seen.sent, seen.answered, seen.status);
            let _ = write!(
                text,
                ", p50 {:.1} p99 {:.1} max {:.1} ms",
                seen.latency.p50_ms, seen.latency.p99_ms, seen.latency.max_ms
            );
            if !seen.lost.is_empty() {
                let _ = write!(text, ", lost {:?}", seen.lost);
            }
        }
        for loss in self.losses.iter().take(5) {
            let _ = write!(text, "\nlost at {:.1} ms: {:?} {:?}: {}", loss.at_ms, loss.kind, loss.loss, loss.detail);
        }
        text
    }
}
