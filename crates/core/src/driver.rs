//! The driver port: make one desired state true, and say what is true now.

use crate::config::AppConfig;
use crate::desired::{Desired, Extent, JobGate, Waypoint};
use crate::fault::Fault;
use crate::id::{Fence, InstanceId, JobId, Revision, Scope, Sha256Hex};
use crate::instance::{Binding, InstanceSeen, InstanceState, LogLine, LogQuery, SecretValues};
use crate::job::JobState;
use crate::preview::Preview;
use crate::release::Release;
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
    /// Whether the target itself decides how many instances there are, and can bring one release to the next by itself.
    pub by_itself: bool,
    /// Whether it runs jobs: hooks, migrations.
    pub jobs: bool,
}

/// What is true in a scope now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// Every instance that exists or whose end is not proven yet.
    pub instances: Vec<InstanceSeen>,
    /// How each revision is as a whole that extends as the target decides: only the target knows what it takes.
    #[serde(default)]
    pub wholes: BTreeMap<Revision, InstanceState>,
    /// What somebody changed by hand of what is judged as a whole, and who, a line each: it goes on like that.
    #[serde(default)]
    pub drift: Vec<String>,
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
            Extent::Auto | Extent::Enough(_) => self.wholes.get(revision) == Some(&InstanceState::Ready),
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

/// Something that holds data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// What becomes of it and why, for people, by name.
    pub line: String,
    /// Whether it goes.
    pub goes: bool,
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
    /// What deploying a release would change; empty where the path says it all. Asked after [`Driver::claim`] and before anything is
    /// changed, and again before a saved plan is done; changes nothing, and refuses what cannot be. What others change all the time
    /// and the release does not set is no part of it. `values` are those of the release's secrets, which are kept nowhere yet. `corrects`: it will
    /// go before what others changed by hand, so that is told instead of refused.
    async fn preview(
        &self,
        _scope: &Scope,
        _to: &Release,
        _values: &SecretValues,
        _corrects: bool,
    ) -> Result<Preview, Fault> {
        Ok(Preview::default())
    }
    /// What walking a path to a release does in the target, a line each, for people; refuses what cannot be walked there, such as a
    /// share of the traffic that it cannot give. Asked before anything is changed; changes nothing.
    async fn survey(&self, _scope: &Scope, _to: &Release, _path: &[Waypoint]) -> Result<Vec<String>, Fault> {
        Ok(Vec::new())
    }
    /// Whether what only the target keeps of an earlier release is there, or can be made again: a way back to it must not
    /// stop half-way. Says what has to be made again, for people. Changes nothing.
    async fn kept(&self, _scope: &Scope, _release: &Release) -> Result<Vec<String>, Fault> {
        Ok(Vec::new())
    }
    /// What outlives the end of a scope because it holds data, and whether it goes, if it is told to; none where nothing can be told
    /// to. Refuses where it could not be done. Changes nothing.
    async fn data(&self, _scope: &Scope, _deletes: bool) -> Result<Option<Vec<Data>>, Fault> {
        Ok(None)
    }
    /// Lets go of what only other releases than these needed in a scope where no deployment runs. What anything still uses stays,
    /// and is pending.
    async fn retain(&self, _scope: &Scope, _keep: &[Sha256Hex], _fence: Fence) -> Result<Step, Fault> {
        Ok(Step::Done)
    }
    /// Late values for a leg that starts now.
    async fn bind(&self, scope: &Scope, to: &Desired) -> Result<Binding, Fault>;
    /// Starts a job or finds the one that was started under this id, and says how it is.
    async fn job(&self, scope: &Scope, id: &JobId, gate: &JobGate, way: &Way) -> Result<JobState, Fault>;
    /// What a job that ended well printed last, without the values of secrets. For people: what cannot be had is left out.
    async fn job_printed(&self, scope: &Scope, id: &JobId) -> Vec<String> {
        let _ = (scope, id);
        Vec::new()
    }
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
    /// Whether what a release says goes before what others changed meanwhile though it is a way forward.
    pub corrects: bool,
    /// Whether what is there is left as it is and only given up, where nothing is wanted.
    pub hand_back: bool,
    /// Whether what holds data goes as well, for good, where nothing is wanted.
    pub delete_data: bool,
    /// Whether other instances of the same release are wanted, or are turned back from.
    pub restart: bool,
}
