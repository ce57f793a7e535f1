//! A plan: what a deployment will do, as data. What is not in it does not happen.

use crate::config::AppConfig;
use crate::desired::{Desired, Waypoint};
use crate::id::{DeploymentId, Revision, Scope, Sha256Hex, Version};
use crate::journal::{Seq, StreamId};
use crate::preview::Foreseen;
use crate::time::{Millis, Span};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a deployment is meant to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Make a release current.
    Deploy,
    /// Make an earlier release current again.
    Rollback,
    /// Replace the instances of the current release by new ones.
    Restart,
    /// Stop everything; data stays.
    Down,
    /// Give up what is there without stopping it.
    HandBack,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deploy => "deploy",
            Self::Rollback => "rollback",
            Self::Restart => "restart",
            Self::Down => "down",
            Self::HandBack => "hand back",
        })
    }
}

/// A release as it is, was or will be current in a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The revision; its release is kept among the blobs.
    pub revision: Revision,
    /// The release's version.
    pub version: Version,
    /// The digest of its artifact.
    pub artifact: Option<Sha256Hex>,
    /// The deployment that made it current.
    pub deployment: DeploymentId,
    /// When it became current; when it was planned, in a plan.
    pub at: Millis,
    /// The blob with the specification that it was resolved from, for `promote`.
    pub spec: Option<Sha256Hex>,
}

/// Several legs, walked in order, turned back in reverse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The form of this value; see [`PLAN_FORMAT`].
    pub format: u32,
    /// The deployment that walks it.
    pub id: DeploymentId,
    /// What for.
    pub action: Action,
    /// One per scope.
    pub legs: Vec<Leg>,
    /// What it was made from: if any of it moved, the plan is stale.
    pub basis: Vec<Basis>,
    /// How long it may take; the way back gets the same again.
    pub deadline: Span,
}

/// The form of plans that this build writes and reads.
pub const PLAN_FORMAT: u32 = 1;

/// Where a stream stood when a plan was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// The stream.
    pub stream: StreamId,
    /// Its last entry then.
    pub seq: Seq,
}

/// The walk of one scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// Whose.
    pub scope: Scope,
    /// What is current before, with its configuration, to go back to.
    pub from: Option<Side>,
    /// What is current afterwards; nothing after `down`.
    pub to: Option<Side>,
    /// What is there when the walk begins.
    pub start: Desired,
    /// The way forward.
    pub path: Vec<Waypoint>,
    /// The migration on the way, if there is one to run.
    pub migration: Option<Migration>,
    /// For a rollback, how many releases stay on the scope's stack before `to` is put on top.
    pub keep: usize,
    /// What it costs once, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub costs: Vec<String>,
    /// Whether what others changed by hand is taken back on the way, where the target lets others change what a release says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub corrects: bool,
    /// What it changes in the target, for people, where that is known beforehand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// Whether what holds data goes as well, for good.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub delete_data: bool,
    /// `changes` for [`preview::differs`](crate::preview::differs), where the target says exactly what it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreseen: Option<Vec<Foreseen>>,
}

/// A release at one end of a leg.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// The release.
    pub pin: Pin,
    /// Its configuration, without what stands in the release alone.
    pub config: AppConfig,
}

/// Whether a migration leaves a way back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// Whose migration.
    pub release: Sha256Hex,
    /// There is a command that takes it back.
    pub undo: bool,
    /// There is no way back.
    pub irreversible: bool,
}

impl Leg {
    /// The version that this leg is about.
    pub fn version(&self) -> Option<&Version> {
        self.to.as_ref().or(self.from.as_ref()).map(|side| &side.pin.version)
    }

    /// The configuration that decides how this leg is walked.
    pub fn config(&self) -> Option<&AppConfig> {
        self.to.as_ref().or(self.from.as_ref()).map(|side| &side.config)
    }

    /// The word for the strategy, as history shows it.
    pub fn strategy(&self) -> &'static str {
        use crate::config::Strategy;
        if self.from.as_ref().is_some_and(Side::is_exclusive) {
            return "recreate";
        }
        match self.config().map(|config| &config.strategy) {
            Some(Strategy::Recreate) | None => "recreate",
            Some(Strategy::Rolling { .. }) => "rolling",
            Some(Strategy::BlueGreen) => "blue-green",
            Some(Strategy::Canary(_)) => "canary",
        }
    }
}

impl Side {
    /// A release with what of its configuration decides how it is walked to.
    pub fn new(pin: Pin, config: &AppConfig) -> Self {
        let target = config.target.clone().without_bulk();
        Self { pin, config: AppConfig { target, ..config.clone() } }
    }

    /// Whether no other release may run beside it. Then it leaves before another one comes, and comes after another one
    /// left, whatever the strategy of the other one.
    pub fn is_exclusive(&self) -> bool {
        self.config.strategy == crate::config::Strategy::Recreate
    }
}

impl Scope {
    /// The stream of this scope.
    pub fn stream(&self) -> StreamId {
        StreamId(format!("scope/{self}"))
    }
}

impl DeploymentId {
    /// The stream of this deployment.
    pub fn stream(&self) -> StreamId {
        StreamId(format!("deployment/{self}"))
    }
}
