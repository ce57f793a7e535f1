//! Jobs: commands that run to their end, at most once per id unless declared repeatable.

use crate::config::{Command, Smoke};
use crate::fault::Fault;
use crate::id::{Fence, JobId, Scope};
use crate::instance::Binding;
use crate::release::Release;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A command to run once.
#[derive(Clone, Debug)]
pub struct JobSpec {
    /// Its id, also the idempotency key that the command sees as `DEPLOYCTL_JOB_ID`.
    pub id: JobId,
    /// Where it belongs.
    pub scope: Scope,
    /// What it runs as part of: its artifact's folder, environment and secrets.
    pub release: Arc<Release>,
    /// What was bound.
    pub binding: Binding,
    /// What runs.
    pub command: Command,
}

/// How a job is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum JobState {
    /// It runs.
    Running,
    /// It exited 0.
    Succeeded,
    /// It ended otherwise, or took too long and was killed with its whole group.
    Failed {
        /// Such as `exit 3` or `killed after 10 s`.
        reason: String,
        /// The last lines that it printed.
        last_lines: Vec<String>,
    },
    /// It began, it does not run any more, and nobody saw how it ended.
    Unknown,
}

/// What is kept of a job, durably.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Kept {
    /// Its command may have begun.
    Begun,
    /// How it ended.
    Ended {
        /// Whether it exited 0.
        ok: bool,
        /// Such as `exit 3`.
        how: String,
        /// The last lines that it printed.
        last_lines: Vec<String>,
    },
    /// It ended, and nobody saw how.
    Lost,
}

impl Kept {
    /// How the job is by what is kept of it; none while it may run.
    pub fn state(self) -> Option<JobState> {
        match self {
            Self::Begun => None,
            Self::Ended { ok: true, .. } => Some(JobState::Succeeded),
            Self::Ended { how, last_lines, .. } => Some(JobState::Failed { reason: how, last_lines }),
            Self::Lost => Some(JobState::Unknown),
        }
    }
}

/// Runs jobs.
#[async_trait]
pub trait Jobs: Send + Sync {
    /// Starts the job, or finds the one that was started under this id, and says how it is. Returns at once.
    async fn run(&self, job: &JobSpec, fence: Fence) -> Result<JobState, Fault>;
    /// Kills a job with its whole group, for good; returns when it is gone. One that has not begun never will, whatever
    /// call arrives late: `run` then says that it was killed.
    async fn kill(&self, scope: &Scope, id: &JobId, fence: Fence) -> Result<(), Fault>;
    /// Returns when something about the job may have changed since the last call. Cancel-safe.
    async fn changed(&self, scope: &Scope, id: &JobId);
    /// Makes the request of a smoke test to `address` and says what is wrong with the answer, if anything.
    async fn smoke(&self, address: &str, smoke: &Smoke) -> Result<Result<(), String>, Fault>;
}
