//! A target in memory: instances become ready at once, fail, or wait, by the version that they are copies of.

use async_trait::async_trait;
use deployctl_core::desired::{Desired, JobGate, Share, Waypoint};
use deployctl_core::driver::{Capabilities, Driver, Observed, Step, Way};
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::{Fence, JobId, Revision, Scope, Sha256Hex, instance_id};
use deployctl_core::instance::{Binding, InstanceSeen, InstanceState, LogLine, LogQuery};
use deployctl_core::job::JobState;
use deployctl_core::route::SideStats;
use deployctl_core::time::Millis;
use futures_util::stream::BoxStream;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;
use tokio::sync::watch;

#[derive(Default)]
pub(crate) struct Fake {
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    scopes: HashMap<Scope, Desired>,
    fences: HashMap<Scope, Fence>,
    /// Releases whose instances cannot come up.
    bad: HashSet<Sha256Hex>,
    /// Releases whose instances never say anything.
    silent: HashSet<Sha256Hex>,
    /// So many more calls fail.
    faults: usize,
    never: Option<String>,
    jobs: HashMap<JobId, JobState>,
    started: Vec<JobGate>,
    refused: usize,
}

impl Fake {
    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let result = change(&mut self.inner.lock().unwrap());
        self.changed.send_modify(|n| *n += 1);
        result
    }

    pub(crate) fn make_bad(&self, release: &Sha256Hex) {
        self.with(|inner| inner.bad.insert(release.clone()));
    }

    pub(crate) fn make_silent(&self, release: &Sha256Hex) {
        self.with(|inner| inner.silent.insert(release.clone()));
    }

    pub(crate) fn speak(&self) {
        self.with(|inner| inner.silent.clear());
    }

    pub(crate) fn fail_next(&self, calls: usize) {
        self.with(|inner| inner.faults = calls);
    }

    pub(crate) fn refuse_for_good(&self, why: &str) {
        self.with(|inner| inner.never = Some(why.into()));
    }

    /// What is true of a scope, as if somebody had taken everything away.
    pub(crate) fn wipe(&self, scope: &Scope) {
        self.with(|inner| inner.scopes.remove(scope));
    }

    pub(crate) fn end_jobs(&self, how: &JobState) {
        self.with(|inner| inner.jobs.values_mut().for_each(|job| *job = how.clone()));
    }

    pub(crate) fn is(&self, scope: &Scope) -> Desired {
        self.with(|inner| inner.scopes.get(scope).cloned().unwrap_or_default())
    }

    pub(crate) fn jobs_started(&self) -> Vec<JobGate> {
        self.with(|inner| inner.started.clone())
    }

    pub(crate) fn refused(&self) -> usize {
        self.with(|inner| inner.refused)
    }

    fn trouble(&self) -> Result<(), Fault> {
        let mut inner = self.inner.lock().unwrap();
        if let Some(why) = &inner.never {
            return Err(Fault::refused(FaultKind::Denied, why.clone()));
        }
        if inner.faults > 0 {
            inner.faults -= 1;
            return Err(Fault::platform("the target does not answer"));
        }
        Ok(())
    }
}

fn seen(scope: &Scope, revision: &Revision, slot: u32, inner: &Inner) -> InstanceSeen {
    let state = if inner.bad.contains(&revision.release) {
        InstanceState::Failed { reason: "exit 1".into(), last_lines: vec!["no such table".into()] }
    } else if inner.silent.contains(&revision.release) {
        InstanceState::Starting { waiting_for: "its first word".into() }
    } else {
        InstanceState::Ready
    };
    InstanceSeen {
        id: instance_id(scope, revision, slot),
        scope: scope.clone(),
        revision: revision.clone(),
        slot,
        state,
        address: Some(format!("127.0.0.1:{}", 20_000 + slot)),
        pid: None,
        started_at: Millis(0),
        restarts: 0,
    }
}

#[async_trait]
impl Driver for Fake {
    fn capabilities(&self) -> Capabilities {
        Capabilities { side_by_side: true, split: true }
    }

    async fn observe(&self, scope: &Scope) -> Result<Observed, Fault> {
        self.trouble()?;
        let inner = self.inner.lock().unwrap();
        let mut observed = Observed::default();
        let Some(desired) = inner.scopes.get(scope) else { return Ok(observed) };
        for (revision, part) in &desired.parts {
            observed.instances.extend((0..part.extent.count()).map(|slot| seen(scope, revision, slot, &inner)));
            if part.share != Share::Unmanaged {
                observed.shares.insert(revision.clone(), desired.weight(revision));
            }
        }
        Ok(observed)
    }

    async fn changed(&self, _: &Scope) {
        let _ = self.changed.subscribe().changed().await;
    }

    async fn converge(&self, scope: &Scope, to: &Waypoint, way: &Way) -> Result<Step, Fault> {
        self.trouble()?;
        let mut inner = self.inner.lock().unwrap();
        let fence = inner.fences.entry(scope.clone()).or_default();
        if way.fence < *fence {
            inner.refused += 1;
            return Err(Fault::refused(FaultKind::Conflict, "a newer owner was here"));
        }
        *fence = way.fence;
        inner.scopes.insert(scope.clone(), to.desired.clone());
        Ok(Step::Done)
    }

    async fn bind(&self, _: &Scope, _: &Desired) -> Result<Binding, Fault> {
        self.trouble().map(|()| Binding::default())
    }

    async fn job(&self, _: &Scope, id: &JobId, gate: &JobGate, _: &Way) -> Result<JobState, Fault> {
        let mut inner = self.inner.lock().unwrap();
        if !inner.jobs.contains_key(id) {
            inner.started.push(gate.clone());
        }
        Ok(inner.jobs.entry(id.clone()).or_insert(JobState::Running).clone())
    }

    async fn kill_job(&self, _: &Scope, id: &JobId, _: &Way) -> Result<(), Fault> {
        self.with(|inner| inner.jobs.remove(id));
        Ok(())
    }

    async fn job_changed(&self, scope: &Scope, _: &JobId) {
        self.changed(scope).await;
    }

    async fn smoke(&self, _: &Scope, _: &Revision, _: usize) -> Result<Result<(), String>, Fault> {
        Ok(Ok(()))
    }

    async fn stats(&self, _: &Scope) -> Result<BTreeMap<Revision, SideStats>, Fault> {
        Ok(BTreeMap::new())
    }

    async fn urls(&self, _: &Scope) -> Result<Vec<String>, Fault> {
        Ok(Vec::new())
    }

    fn logs(&self, _: &Scope, _: LogQuery) -> BoxStream<'static, Result<LogLine, Fault>> {
        Box::pin(futures_util::stream::empty())
    }
}
