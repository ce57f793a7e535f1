//! The driver of every target whose instances deployctl runs itself: it turns the small ports `Instances`, `Router` and
//! `Jobs` into a `Driver`, with the order inside a waypoint decided by `core::ops`.
//!
//! Knows no process, container or socket: only the ports.

mod bind;
mod converge;
mod routing;
#[cfg(test)]
mod tests;
mod watch;

use async_trait::async_trait;
use deployctl_core::config::{AppConfig, Strategy};
use deployctl_core::desired::{Desired, FULL, JobGate, Waypoint};
use deployctl_core::driver::{Capabilities, Checkup, Driver, Observed, Step, Way};
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::{Fence, InstanceId, JobId, Revision, Scope};
use deployctl_core::instance::{Binding, InstanceSeen, InstanceState, Instances, LogLine, LogQuery};
use deployctl_core::job::{JobSpec, JobState, Jobs};
use deployctl_core::release::{Release, Releases};
use deployctl_core::route::{Router, Service, SideStats};
use futures_core::stream::BoxStream;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::Mutex;
use watch::Watch;

/// Runs instances by three ports.
pub struct Managed {
    instances: Arc<dyn Instances>,
    jobs: Arc<dyn Jobs>,
    router: Arc<dyn Router>,
    releases: Arc<dyn Releases>,
    /// One reader and writer of the route table at a time.
    publishing: Arc<Mutex<()>>,
    watch: Watch,
}

impl Managed {
    /// A driver over these ports.
    pub fn new(
        instances: Arc<dyn Instances>,
        jobs: Arc<dyn Jobs>,
        router: Arc<dyn Router>,
        releases: Arc<dyn Releases>,
    ) -> Self {
        Self { instances, jobs, router, releases, publishing: Arc::default(), watch: Watch::default() }
    }

    async fn service(&self, scope: &Scope) -> Result<Option<Service>, Fault> {
        let table = self.router.table().await?;
        Ok(table.services.into_iter().find(|service| service.scope == *scope))
    }

    /// What the data plane does with these instances of a scope.
    async fn with_traffic(&self, scope: &Scope, instances: Vec<InstanceSeen>) -> Result<Observed, Fault> {
        let service = self.service(scope).await?;
        let mut observed = Observed { shares: shares(service.as_ref()), instances, ..Observed::default() };
        if service.is_some() || !observed.instances.is_empty() {
            let traffic = self.router.traffic().await?;
            let sides = service.iter().flat_map(|service| service.sides.values());
            let routed: BTreeSet<&InstanceId> = sides.flat_map(|side| side.instances.keys()).collect();
            let leaving = observed.instances.iter().filter(|i| !routed.contains(&i.id));
            observed.draining = leaving.filter_map(|i| traffic.in_flight.get(&i.id)).sum();
            observed.held = traffic.held.get(&scope.to_string()).copied().unwrap_or(0);
        }
        Ok(observed)
    }

    async fn base(&self, desired: &Desired) -> Result<Option<Arc<Release>>, Fault> {
        match desired.base.as_ref().or_else(|| desired.parts.keys().next()) {
            Some(revision) => Ok(Some(self.releases.release(&revision.release).await?)),
            None => Ok(None),
        }
    }
}

/// Whether two releases of it must never run at once.
fn is_exclusive(release: Option<&Release>) -> bool {
    release.is_some_and(|r| r.config.strategy == Strategy::Recreate)
}

fn shares(service: Option<&Service>) -> BTreeMap<Revision, u32> {
    let Some(service) = service else { return BTreeMap::new() };
    let all: u64 = service.sides.values().map(|side| u64::from(side.weight)).sum();
    let share = |weight: u32| (u64::from(weight) * u64::from(FULL)).checked_div(all).unwrap_or(0);
    service.sides.iter().map(|(r, side)| (r.clone(), u32::try_from(share(side.weight)).unwrap_or(0))).collect()
}

#[async_trait]
impl Driver for Managed {
    fn capabilities(&self, _config: &AppConfig) -> Capabilities {
        Capabilities { side_by_side: true, split: true, by_itself: false, jobs: true }
    }

    async fn admit(&self, scope: &Scope, fence: Fence) -> Result<(), Fault> {
        self.instances.admit(scope, fence).await
    }

    async fn observe(&self, scope: &Scope) -> Result<Observed, Fault> {
        let instances = self.instances.list(scope).await?;
        self.with_traffic(scope, instances).await
    }

    async fn check(&self, scope: &Scope) -> Result<Checkup, Fault> {
        let checked = self.instances.check(scope).await?;
        let unasked = checked.iter().filter(|checked| !checked.asked).map(|checked| checked.seen.id.clone()).collect();
        let observed = self.with_traffic(scope, checked.into_iter().map(|checked| checked.seen).collect()).await?;
        Ok(Checkup { observed, unasked })
    }

    async fn changed(&self, scope: &Scope) {
        tokio::select! {
            () = self.instances.changed(scope) => {}
            () = self.watch.changed(&self.router, scope) => {}
        }
    }

    async fn converge(&self, scope: &Scope, to: &Waypoint, way: &Way) -> Result<Step, Fault> {
        self.step(scope, to, way).await
    }

    async fn claim(&self, scope: &Scope, config: &AppConfig) -> Result<Vec<String>, Fault> {
        self.instances.can_run(config).await?;
        self.claim_listeners(scope, config).await
    }

    async fn bind(&self, scope: &Scope, to: &Desired) -> Result<Binding, Fault> {
        self.bind_late(scope, to).await
    }

    async fn job(&self, scope: &Scope, id: &JobId, gate: &JobGate, way: &Way) -> Result<JobState, Fault> {
        let release = self.releases.release(&gate.release).await?;
        let Some(command) = release.config.command(gate.what).cloned() else {
            let message = format!("the release {} has no {}", gate.release.short(), gate.what);
            return Err(Fault::refused(FaultKind::Bug, message));
        };
        let spec = JobSpec { id: id.clone(), scope: scope.clone(), release, binding: way.binding.clone(), command };
        self.jobs.run(&spec, way.fence).await
    }

    async fn kill_job(&self, scope: &Scope, id: &JobId, way: &Way) -> Result<(), Fault> {
        self.jobs.kill(scope, id, way.fence).await
    }

    async fn job_changed(&self, scope: &Scope, id: &JobId) {
        self.jobs.changed(scope, id).await;
    }

    async fn smoke(&self, scope: &Scope, revision: &Revision, index: usize) -> Result<Result<(), String>, Fault> {
        let release = self.releases.release(&revision.release).await?;
        let Some(test) = release.config.smoke.get(index) else {
            return Err(Fault::refused(FaultKind::Bug, format!("there is no smoke test #{}", index + 1)));
        };
        let instances = self.instances.list(scope).await?;
        let ready = instances.iter().find(|i| i.revision == *revision && i.state == InstanceState::Ready);
        match ready.and_then(|i| i.address.as_deref()) {
            Some(address) => self.jobs.smoke(address, test).await,
            None => Ok(Err("no healthy instance has an address to send the request to".into())),
        }
    }

    async fn stats(&self, scope: &Scope) -> Result<BTreeMap<Revision, SideStats>, Fault> {
        Ok(self.router.traffic().await?.stats.remove(&scope.to_string()).unwrap_or_default())
    }

    async fn urls(&self, scope: &Scope) -> Result<Vec<String>, Fault> {
        let table = self.router.table().await?;
        if !table.services.iter().any(|service| service.scope == *scope) {
            return Ok(Vec::new());
        }
        let mine = table.listeners.iter().filter(|listener| listener.only.as_ref() == Some(scope));
        Ok(mine.map(|listener| format!("http://{}", listener.address)).collect())
    }

    fn logs(&self, scope: &Scope, query: LogQuery) -> BoxStream<'static, Result<LogLine, Fault>> {
        self.instances.logs(scope, query)
    }
}
