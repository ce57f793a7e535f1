//! One deployment: its events, the state that they fold to, and the decisions on the way.
//!
//! Nothing here waits or acts. [`evolve`] folds events, [`next`] says what is due, [`step`](step::step) weighs what was
//! seen at a waypoint, [`command`](command::command) answers people.

pub mod closing;
pub mod command;
pub mod evolve;
pub mod next;
pub mod step;
pub mod turn_back;

use crate::desired::{JobGate, Waypoint};
use crate::id::JobId;
use crate::instance::Binding;
use crate::plan::Plan;
use crate::time::Millis;
use serde::{Deserialize, Serialize};

/// What happened to a deployment; the entries of its stream. Fields are only ever added, with defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Event {
    /// It was accepted.
    Opened {
        /// What it will do.
        plan: Plan,
        /// Why, in the words of who asked.
        reason: Option<String>,
        /// When it must have ended.
        deadline: Millis,
    },
    /// A leg began, with these late values.
    LegStarted {
        /// Which.
        leg: usize,
        /// The values.
        binding: Binding,
    },
    /// A job is about to be started: from here on it may have run.
    JobStarted {
        /// In which leg.
        leg: usize,
        /// Which.
        gate: JobGate,
        /// Under which id.
        job: JobId,
    },
    /// A job ended.
    JobEnded {
        /// In which leg.
        leg: usize,
        /// Which.
        gate: JobGate,
        /// What went wrong, if anything.
        failure: Option<String>,
        /// What it printed last, where the target keeps that and nothing went wrong; else the failure tells it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        printed: Vec<String>,
    },
    /// A hold began.
    HoldStarted {
        /// In which leg.
        leg: usize,
        /// When it is over.
        until: Millis,
    },
    /// All gates of a waypoint passed.
    Reached {
        /// In which leg.
        leg: usize,
        /// Its place on the path.
        waypoint: usize,
    },
    /// It goes back from here.
    TurnedBack {
        /// Why.
        reason: String,
        /// Whether a person asked for it.
        cancelled: bool,
        /// The ways back, in the order in which they are walked.
        paths: Vec<(usize, Vec<Waypoint>)>,
        /// When it must have ended now.
        deadline: Millis,
    },
    /// It stands still until it is resumed.
    Paused,
    /// It goes on.
    Resumed,
    /// It ended.
    Closed(Closed),
}

/// How a deployment ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// The verdict.
    pub verdict: Verdict,
    /// Whether what ran before runs again (or still).
    pub restored: bool,
    /// Why, for people.
    pub reason: String,
}

/// The verdict over a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The new release is current.
    Succeeded,
    /// It was not good enough; the old release is current.
    RolledBack,
    /// It was not good enough and the old release is not back.
    Failed,
    /// A person stopped it.
    Cancelled,
}

impl Verdict {
    /// The word that scripts rely on.
    pub fn word(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::RolledBack => "rolled_back",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The state of a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// What it does.
    pub plan: Plan,
    /// Why, in the words of who asked.
    pub reason: Option<String>,
    /// When it must have ended.
    pub deadline: Millis,
    /// The legs in the order in which they are walked now.
    pub order: Vec<usize>,
    /// Where each leg of the plan stands.
    pub legs: Vec<LegState>,
    /// Set once it goes back.
    pub back: Option<Back>,
    /// Whether it stands still.
    pub paused: bool,
    /// How it ended, if it did.
    pub closed: Option<Closed>,
}

/// Why a deployment goes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Back {
    /// Why.
    pub reason: String,
    /// Whether a person asked for it.
    pub cancelled: bool,
}

/// Where a leg stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegState {
    /// The path that is walked now.
    pub path: Vec<Waypoint>,
    /// How many of its waypoints were reached.
    pub reached: usize,
    /// Late values, once it began.
    pub binding: Option<Binding>,
    /// Until when the current waypoint is held.
    pub hold_until: Option<Millis>,
    /// Jobs that were started, with their outcome once they ended.
    pub jobs: Vec<JobRun>,
}

/// A job of a leg.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRun {
    /// Which.
    pub gate: JobGate,
    /// Its id.
    pub job: JobId,
    /// How it ended, once it did: what went wrong, if anything.
    pub ended: Option<Result<(), String>>,
}

impl LegState {
    /// The waypoint that is being walked to; none if the path is done.
    pub fn waypoint(&self) -> Option<&Waypoint> {
        self.path.get(self.reached)
    }

    /// The run of a job, if it was started.
    pub fn job(&self, gate: &JobGate) -> Option<&JobRun> {
        self.jobs.iter().find(|run| run.gate == *gate)
    }
}
