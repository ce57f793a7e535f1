//! Desired states and the waypoints that lead to them.

use crate::id::{Revision, Sha256Hex};
use crate::time::Span;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// All of the traffic, in basis points.
pub const FULL: u32 = 10_000;

/// Which revisions should exist in a scope, how far each extends, and its share of the traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// Owns what cannot be doubled: the route. Without parts but with a base, requests are held; without a base there
    /// is no service.
    pub base: Option<Revision>,
    /// The revisions.
    pub parts: BTreeMap<Revision, Part>,
}

/// How far a revision extends and what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// How far.
    pub extent: Extent,
    /// How much of the traffic.
    pub share: Share,
}

/// How far a revision extends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// So many instances.
    Count(u32),
    /// As the target itself decides, by what the release says to it: it is judged as a whole.
    Auto,
    /// The same, but no farther than this share of the traffic takes, in basis points.
    Enough(u32),
}

impl Extent {
    /// The number of instances that we see to; none where the target does.
    pub fn count(self) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Auto | Self::Enough(_) => 0,
        }
    }

    /// Whether the target decides how many instances there are, so that the revision is judged as a whole.
    pub fn is_whole(self) -> bool {
        matches!(self, Self::Auto | Self::Enough(_))
    }

    /// Whether nothing is wanted.
    pub fn is_nothing(self) -> bool {
        self == Self::Count(0)
    }
}

/// What a revision is given of the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// So many basis points; all weights together make [`FULL`].
    Weight(u32),
    /// As much as any other healthy instance.
    ByInstance,
    /// It takes no traffic from us.
    Unmanaged,
}

/// A desired state on the way, and what must hold there before going on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waypoint {
    /// What should be true.
    pub desired: Desired,
    /// Never fewer healthy instances than this on the way there (as far as there were so many).
    pub floor: u32,
    /// What must hold, in this order.
    pub gates: Vec<Gate>,
}

/// Something that must hold before going on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// All instances of a revision are healthy.
    Ready(Revision),
    /// No instance of a revision is left, by positive evidence.
    Gone(Revision),
    /// A job ended well.
    Job(JobGate),
    /// The HTTP smoke test of this number passes on an instance of a revision.
    Smoke {
        /// Whose instance.
        revision: Revision,
        /// Which of the release's smoke tests.
        index: usize,
    },
    /// This much time has passed, all instances healthy.
    Hold(Span),
    /// The canary's answers are no worse than the old release's.
    Analysis {
        /// The canary.
        new: Revision,
        /// What it is compared with.
        old: Revision,
        /// Fewer requests than this are inconclusive.
        requests_min: u64,
    },
}

/// A job that a waypoint waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobGate {
    /// What for.
    pub what: JobKind,
    /// Whose command it is.
    pub release: Sha256Hex,
}

/// What a job is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// The hook of this number before anything changes.
    Before(usize),
    /// The migration.
    Migrate,
    /// The migration's way back.
    Undo,
    /// The smoke test of this number, a command.
    Smoke(usize),
    /// The hook of this number after the new release has all traffic.
    After(usize),
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before(i) => write!(f, "hook before #{}", i + 1),
            Self::Migrate => write!(f, "migration"),
            Self::Undo => write!(f, "undo of the migration"),
            Self::Smoke(i) => write!(f, "smoke test #{}", i + 1),
            Self::After(i) => write!(f, "hook after #{}", i + 1),
        }
    }
}

impl Desired {
    /// Nothing runs and nothing is routed.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// One revision with all of the traffic.
    pub fn only(revision: &Revision, count: u32, routed: bool) -> Self {
        let share = if routed { Share::Weight(FULL) } else { Share::Unmanaged };
        let parts = BTreeMap::from([(revision.clone(), Part { extent: Extent::Count(count), share })]);
        Self { base: Some(revision.clone()), parts }
    }

    /// How far a revision extends.
    pub fn extent(&self, revision: &Revision) -> Extent {
        self.parts.get(revision).map_or(Extent::Count(0), |part| part.extent)
    }

    /// The number of instances of a revision.
    pub fn count(&self, revision: &Revision) -> u32 {
        self.parts.get(revision).map_or(0, |part| part.extent.count())
    }

    /// The number of all instances.
    pub fn total(&self) -> u32 {
        self.parts.values().map(|part| part.extent.count()).sum()
    }

    /// The basis points of a revision, where instances that share by count are taken as so many weights.
    pub fn weight(&self, revision: &Revision) -> u32 {
        let Some(part) = self.parts.get(revision) else { return 0 };
        match part.share {
            Share::Weight(weight) => weight,
            Share::Unmanaged => 0,
            Share::ByInstance => {
                let all: u32 =
                    self.parts.values().filter(|p| p.share == Share::ByInstance).map(|p| p.extent.count()).sum();
                (FULL * part.extent.count()).checked_div(all).unwrap_or(0)
            }
        }
    }
}
