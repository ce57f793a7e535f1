//! The port.

use super::target::Effect;
use super::{Break, Fake, lock, turn};
use async_trait::async_trait;
use deployctl_core::config::AppConfig;
use deployctl_core::desired::{Desired, JobGate, Waypoint};
use deployctl_core::driver::{Capabilities, Checkup, Driver, Observed, Step, Way};
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::{Fence, JobId, Revision, Scope};
use deployctl_core::instance::{Binding, LogLine, LogQuery, SecretValues};
use deployctl_core::job::JobState;
use deployctl_core::preview::{Line, Preview};
use deployctl_core::release::Release;
use deployctl_core::route::SideStats;
use futures_util::stream::BoxStream;
use std::collections::{BTreeMap, BTreeSet};

/// How long it takes until a killed job is known to be gone.
const KILLED: std::time::Duration = std::time::Duration::from_millis(20);

#[async_trait]
impl Driver for Fake {
    fn capabilities(&self, _config: &AppConfig) -> Capabilities {
        Capabilities { side_by_side: true, split: true, by_itself: self.target().drift.is_some(), jobs: true }
    }

    async fn admit(&self, scope: &Scope, fence: Fence) -> Result<(), Fault> {
        let mut target = self.target();
        target.asked.entry(scope.clone()).or_default().push("admit");
        target.trouble()?;
        target.admit(scope, fence)
    }

    async fn observe(&self, scope: &Scope) -> Result<Observed, Fault> {
        let mut target = self.target();
        target.asked.entry(scope.clone()).or_default().push("observe");
        match target.trouble() {
            Err(_) if target.is_cut_off && target.breaks(Break::SeesNothing) => return Ok(Observed::default()),
            Err(_) if target.is_cut_off && target.breaks(Break::CondemnsUnseen) => {}
            other => other?,
        }
        let shares = target.places.get(scope).map(|place| place.shares.clone()).unwrap_or_default();
        let (instances, drift) = (target.instances(scope, self.number), target.drift.clone().unwrap_or_default());
        Ok(Observed { instances, shares, drift, ..Observed::default() })
    }

    async fn check(&self, scope: &Scope) -> Result<Checkup, Fault> {
        if self.target().breaks(Break::CheckRestarts) {
            self.change(scope, |target| target.restart(scope));
        }
        Ok(Checkup { observed: self.observe(scope).await?, unasked: BTreeSet::new() })
    }

    async fn changed(&self, scope: &Scope) {
        let told = lock(&self.told).get(scope).copied().unwrap_or(0);
        let mut changes = self.changes(scope).subscribe();
        if let Ok(now) = changes.wait_for(|now| *now != told).await {
            lock(&self.told).insert(scope.clone(), *now);
        }
    }

    async fn converge(&self, scope: &Scope, to: &Waypoint, way: &Way) -> Result<Step, Fault> {
        {
            let mut target = self.target();
            target.asked.entry(scope.clone()).or_default().push("converge");
            target.trouble()?;
            let is_bad = to.desired.parts.keys().any(|revision| target.bad.contains(&revision.release));
            if is_bad && target.breaks(Break::FaultsForBadReleases) {
                return Err(Fault::refused(FaultKind::Spec, "it does not start: exit 1"));
            }
            let is_known = target.places.get(scope).is_some_and(|place| place.desired == to.desired);
            if is_known && target.breaks(Break::TrustsMemory) {
                return Ok(Step::Done);
            }
            if way.corrects || way.back {
                target.drift.iter_mut().for_each(Vec::clear);
            }
            if target.breaks(Break::RestartsEachTime) {
                target.restart(scope);
            }
        }
        loop {
            let done = self.target().advance(scope, &to.desired, way.fence, self.number)?;
            match done {
                None => return Ok(Step::Done),
                Some(Effect::Started(pid)) => {
                    turn().await;
                    self.change(scope, |target| target.note(scope, pid));
                }
                Some(Effect::Other) => self.change(scope, |_| {}),
            }
            turn().await;
        }
    }

    async fn preview(&self, _: &Scope, _: &Release, _: &SecretValues, _: bool) -> Result<Preview, Fault> {
        let previews = self.target().previews.clone();
        let Some(previews) = previews.transpose().map_err(|why| Fault::refused(FaultKind::Conflict, why))? else {
            return Ok(Preview::default());
        };
        let lines = previews.iter().map(|(of, how)| Line::change(of.clone(), format!("change {of}: {how}")));
        Ok(Preview { lines: lines.collect(), is_exact: true })
    }

    async fn bind(&self, _: &Scope, _: &Desired) -> Result<Binding, Fault> {
        self.target().trouble().map(|()| Binding::default())
    }

    async fn job(&self, scope: &Scope, id: &JobId, gate: &JobGate, way: &Way) -> Result<JobState, Fault> {
        let mut target = self.target();
        target.reach()?;
        target.admit(scope, way.fence)?;
        let was = target.jobs.get(id).map(|job| job.state.clone());
        let is = target.run_job(id, gate, self.number);
        drop(target);
        if was.as_ref() != Some(&is) {
            self.change(scope, |_| {});
        }
        Ok(is)
    }

    async fn kill_job(&self, scope: &Scope, id: &JobId, way: &Way) -> Result<(), Fault> {
        {
            let mut target = self.target();
            target.reach()?;
            target.admit(scope, way.fence)?;
        }
        self.change(scope, |target| target.kill_job(id, self.number));
        // That it is gone is seen a while after others have seen it end.
        tokio::time::sleep(KILLED).await;
        Ok(())
    }

    async fn job_changed(&self, scope: &Scope, _: &JobId) {
        self.changed(scope).await;
    }

    async fn smoke(&self, _: &Scope, _: &Revision, _: usize) -> Result<Result<(), String>, Fault> {
        Ok(Ok(()))
    }

    async fn stats(&self, _: &Scope) -> Result<BTreeMap<Revision, SideStats>, Fault> {
        self.target().reach().map(|()| BTreeMap::new())
    }

    async fn urls(&self, _: &Scope) -> Result<Vec<String>, Fault> {
        Ok(Vec::new())
    }

    fn logs(&self, _: &Scope, _: LogQuery) -> BoxStream<'static, Result<LogLine, Fault>> {
        Box::pin(futures_util::stream::empty())
    }
}
