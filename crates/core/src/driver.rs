//! The driver port: make one desired state true, and say what is true now.

use crate::config::AppConfig;
use crate::desired::{Desired, Extent, JobGate, Waypoint};
use crate::fault::Fault;
use crate::id::{Fence, InstanceId, JobId, Revision, Scope};
use crate::instance::{Binding, InstanceSeen, InstanceState, LogLine, LogQuery};
use crate::job::JobState;
use crate::route::SideStats;
use async_trait::async_trait;
use futures_core::stream::BoxStream;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What a target can do; planning refuses aloud what it cannot, before anything is touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Whether two revisions can run side by side.
    pub side_by_side: bool,
    /// Whether traffic can be split by weight.
    pub split: bool,
    /// Whether the target itself brings one release to the next, in one waypoint, and decides how many instances there are.
    pub by_itself: bool,
}

/// What is true in a scope now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// Every instance that exists or whose end is not proven yet.
    pub instances: Vec<InstanceSeen>,
    /// How each revision of [`Extent::Auto`] is as a whole: only the target knows what it takes.
    #[serde(default)]
    pub wholes: BTreeMap<Revision, InstanceState>,
    /// The share of the traffic per revision that the data plane works by, in basis points.
    pub shares: BTreeMap<Revision, u32>,
    /// Requests and upgraded connections in flight on instances that take no new ones.
    pub draining: u64,
    /// Requests held until an instance is there.
    pub held: u64,
}

impl Observed {
    /// How many instances of a revision are healthy.
    pub fn ready(&self, revision: &Revision) -> u32 {
        count(self.instances.iter().filter(|i| i.revision == *revision && i.state == InstanceState::Ready))
    }

    /// Whether a revision is healthy as far as it should extend.
    pub fn is_ready(&self, revision: &Revision, extent: Extent) -> bool {
        match extent {
            Extent::Count(wanted) => self.ready(revision) >= wanted,
            Extent::Auto => self.wholes.get(revision) == Some(&InstanceState::Ready),
        }
    }

    /// Whether nothing is left of a revision.
    pub fn is_gone(&self, revision: &Revision) -> bool {
        self.existing(revision) == 0 && self.wholes.get(revision).is_none_or(|whole| *whole == InstanceState::Gone)
    }

    /// How many instances of a revision are there at all.
    pub fn existing(&self, revision: &Revision) -> u32 {
        count(self.instances.iter().filter(|i| i.revision == *revision && i.state != InstanceState::Gone))
    }

    /// The first instance of a revision that somebody changed by hand, and how.
    pub fn drifted(&self, revision: &Revision) -> Option<(&InstanceId, &str)> {
        let of = self.instances.iter().filter(|i| i.revision == *revision && i.state != InstanceState::Gone);
        of.filter_map(|i| Some((&i.id, i.drift.as_deref()?))).next()
    }

    /// The first instance of a revision that cannot become healthy, with the reason and its last lines.
    pub fn failed(&self, revision: &Revision) -> Option<(&InstanceSeen, &str, &[String])> {
        self.instances.iter().filter(|i| i.revision == *revision).find_map(|i| match &i.state {
            InstanceState::Failed { reason, last_lines } => Some((i, reason.as_str(), last_lines.as_slice())),
            _ => None,
        })
    }
}

fn count<'a>(instances: impl Iterator<Item = &'a InstanceSeen>) -> u32 {
    u32::try_from(instances.count()).unwrap_or(u32::MAX)
}

/// What is true in a scope by health checks that were run just now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkup {
    /// What is true.
    pub observed: Observed,
    /// Instances of which there is nothing to ask: that they run is all that can be said.
    pub unasked: BTreeSet<InstanceId>,
}

/// How far one step of convergence came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The desired state is true, readiness aside.
    Done,
    /// It is under way; what it waits for, for people.
    Pending(String),
}

/// A kind of engine that runs instances.
#[async_trait]
pub trait Driver: Send + Sync {
    /// What it can do with a release.
    fn capabilities(&self, config: &AppConfig) -> Capabilities;
    /// Shows the fence of a lease: from now on the scope refuses whoever comes with an older one. A new owner does it before
    /// it looks, else one that was replaced could still change what was seen. A target that cannot refuse does nothing.
    async fn admit(&self, _scope: &Scope, _fence: Fence) -> Result<(), Fault> {
        Ok(())
    }
    /// What is true now.
    async fn observe(&self, scope: &Scope) -> Result<Observed, Fault>;
    /// What is true by health checks that are run now, each within its own timeout. Changes nothing. A target that cannot
    /// run checks itself says the newest that it knows.
    async fn check(&self, scope: &Scope) -> Result<Checkup, Fault> {
        Ok(Checkup { observed: self.observe(scope).await?, unasked: BTreeSet::new() })
    }
    /// Returns when something may have changed since the last call. Cancel-safe.
    async fn changed(&self, scope: &Scope);
    /// One bounded step towards a waypoint. Safe to repeat, from any state.
    async fn converge(&self, scope: &Scope, to: &Waypoint, way: &Way) -> Result<Step, Fault>;
    /// Whether the machine can give what a release wants for itself alone, such as addresses to listen on; a conflict
    /// that names the owner if somebody else has it. Says what taking it costs, for people, where it costs anything. Asked
    /// before anything is changed; changes nothing.
    async fn claim(&self, _scope: &Scope, _config: &AppConfig) -> Result<Vec<String>, Fault> {
        Ok(Vec::new())
    }
    /// What deploying a release would change, a line per change, for people; empty where the path says it all. Asked
    /// after [`Driver::claim`] and before anything is changed; changes nothing, and refuses what cannot be.
    async fn preview(&self, _scope: &Scope, _config: &AppConfig) -> Result<Vec<String>, Fault> {
        Ok(Vec::new())
    }
    /// Late values for a leg that starts now.
    async fn bind(&self, scope: &Scope, to: &Desired) -> Result<Binding, Fault>;
    /// Starts a job or finds the one that was started under this id, and says how it is.
    async fn job(&self, scope: &Scope, id: &JobId, gate: &JobGate, way: &Way) -> Result<JobState, Fault>;
    /// Kills a job with all it started; returns when it is gone.
    async fn kill_job(&self, scope: &Scope, id: &JobId, way: &Way) -> Result<(), Fault>;
    /// Returns when something about the job may have changed. Cancel-safe.
    async fn job_changed(&self, scope: &Scope, id: &JobId);
    /// Runs an HTTP smoke test of a revision; what is wrong, if anything.
    async fn smoke(&self, scope: &Scope, revision: &Revision, index: usize) -> Result<Result<(), String>, Fault>;
    /// Counters of each revision, where the target measures.
    async fn stats(&self, scope: &Scope) -> Result<BTreeMap<Revision, SideStats>, Fault>;
    /// The URLs under which the scope answers on this machine.
    async fn urls(&self, scope: &Scope) -> Result<Vec<String>, Fault>;
    /// The output of the scope's instances.
    fn logs(&self, scope: &Scope, query: LogQuery) -> BoxStream<'static, Result<LogLine, Fault>>;
}

/// By what right and with which late values a step is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// The fencing token of the lease.
    pub fence: Fence,
    /// What was bound when the leg started.
    pub binding: Binding,
    /// Whether requests are answered by the maintenance page.
    pub maintenance: bool,
    /// Whether it is a way back: what a release says goes before what others changed meanwhile.
    pub back: bool,
    /// Whether what is there is left as it is and only given up, where nothing is wanted.
    pub hand_back: bool,
}
