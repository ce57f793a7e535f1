//! All targets as one driver: those whose instances we run ourselves, and clusters that run them by themselves.
//!
//! Where there is a release, its target says where it goes; else it is asked wherever the scope ever was. A cluster is
//! asked only about scopes that were in one.

use async_trait::async_trait;
use deployctl_core::config::{AppConfig, TargetConfig};
use deployctl_core::desired::{Desired, JobGate, Waypoint};
use deployctl_core::driver::{Capabilities, Checkup, Data, Driver, Observed, Step, Way};
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::{Fence, JobId, Revision, Scope, Sha256Hex};
use deployctl_core::instance::{Binding, LogLine, LogQuery, SecretValues};
use deployctl_core::job::JobState;
use deployctl_core::preview::Preview;
use deployctl_core::release::{Release, Releases};
use deployctl_core::route::SideStats;
use deployctl_driver_kubernetes::Kubernetes;
use deployctl_driver_managed::Managed;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use futures_util::stream::select;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) struct Everywhere {
    pub(crate) managed: Managed,
    pub(crate) kubernetes: Kubernetes,
    pub(crate) releases: Arc<dyn Releases>,
    /// Whether the state may be gone from this machine at any time, with what would run here.
    pub(crate) only_clusters: bool,
}

fn is_cluster(config: &AppConfig) -> bool {
    matches!(config.target, TargetConfig::Kubernetes(_))
}

impl Everywhere {
    fn of(&self, config: &AppConfig) -> &dyn Driver {
        if is_cluster(config) { &self.kubernetes } else { &self.managed }
    }

    async fn of_release(&self, release: &Sha256Hex) -> Result<&dyn Driver, Fault> {
        Ok(self.of(&self.releases.release(release).await?.config))
    }

    /// What is true here, with what is true in its cluster, if the scope ever was in one.
    async fn with_cluster(&self, scope: &Scope, mut observed: Observed) -> Result<Observed, Fault> {
        if self.kubernetes.knows(scope) {
            let there = self.kubernetes.observe(scope).await?;
            observed.instances.extend(there.instances);
            observed.wholes.extend(there.wholes);
            observed.drift.extend(there.drift);
            observed.shares.extend(there.shares);
        }
        Ok(observed)
    }

    /// What runs on this machine needs a state that stays on it.
    fn fits(&self, scope: &Scope, config: &AppConfig) -> Result<(), Fault> {
        if is_cluster(config) || !self.only_clusters {
            return Ok(());
        }
        let message = format!("{} would run on this machine, and the state is in a cluster", scope.app);
        Err(Fault::refused(FaultKind::Spec, message)
            .hint("nothing was changed; deploy it with a state directory: --state DIR, or no --state at all"))
    }

    /// An app stays with what runs it while anything of it runs.
    async fn stays(&self, scope: &Scope, config: &AppConfig) -> Result<(), Fault> {
        let (there, words): (&dyn Driver, _) = match is_cluster(config) {
            true => (&self.managed, "on this machine"),
            false if self.kubernetes.knows(scope) => (&self.kubernetes, "in a cluster"),
            false => return Ok(()),
        };
        let observed = there.observe(scope).await?;
        if observed.instances.is_empty() && observed.wholes.is_empty() {
            return Ok(());
        }
        let message = format!("{} runs {words}, and would run elsewhere: such a move is not built", scope.app);
        Err(Fault::refused(FaultKind::Spec, message)
            .hint("take it down first with `deployctl down`, or deploy it under another name beside it"))
    }
}

#[async_trait]
impl Driver for Everywhere {
    fn capabilities(&self, config: &AppConfig) -> Capabilities {
        self.of(config).capabilities(config)
    }

    async fn admit(&self, scope: &Scope, fence: Fence) -> Result<(), Fault> {
        self.managed.admit(scope, fence).await?;
        self.kubernetes.admit(scope, fence).await
    }

    async fn observe(&self, scope: &Scope) -> Result<Observed, Fault> {
        let observed = self.managed.observe(scope).await?;
        self.with_cluster(scope, observed).await
    }

    async fn check(&self, scope: &Scope) -> Result<Checkup, Fault> {
        let Checkup { observed, unasked } = self.managed.check(scope).await?;
        Ok(Checkup { observed: self.with_cluster(scope, observed).await?, unasked })
    }

    async fn changed(&self, scope: &Scope) {
        tokio::select! {
            () = self.managed.changed(scope) => {}
            () = self.kubernetes.changed(scope) => {}
        }
    }

    async fn converge(&self, scope: &Scope, to: &Waypoint, way: &Way) -> Result<Step, Fault> {
        let desired = &to.desired;
        if let Some(revision) = desired.parts.keys().next().or(desired.base.as_ref()) {
            return self.of_release(&revision.release).await?.converge(scope, to, way).await;
        }
        match self.managed.converge(scope, to, way).await? {
            Step::Done if self.kubernetes.knows(scope) => self.kubernetes.converge(scope, to, way).await,
            step => Ok(step),
        }
    }

    async fn claim(&self, scope: &Scope, config: &AppConfig) -> Result<Vec<String>, Fault> {
        self.fits(scope, config)?;
        self.stays(scope, config).await?;
        self.of(config).claim(scope, config).await
    }

    async fn preview(
        &self,
        scope: &Scope,
        to: &Release,
        values: &SecretValues,
        corrects: bool,
    ) -> Result<Preview, Fault> {
        self.of(&to.config).preview(scope, to, values, corrects).await
    }

    async fn survey(&self, scope: &Scope, to: &Release, path: &[Waypoint]) -> Result<Vec<String>, Fault> {
        self.of(&to.config).survey(scope, to, path).await
    }

    async fn kept(&self, scope: &Scope, release: &Release) -> Result<Vec<String>, Fault> {
        self.of(&release.config).kept(scope, release).await
    }

    async fn data(&self, scope: &Scope, deletes: bool) -> Result<Option<Vec<Data>>, Fault> {
        if self.kubernetes.knows(scope) { self.kubernetes.data(scope, deletes).await } else { Ok(None) }
    }

    async fn retain(&self, scope: &Scope, keep: &[Sha256Hex], fence: Fence) -> Result<Step, Fault> {
        self.kubernetes.retain(scope, keep, fence).await
    }

    async fn bind(&self, scope: &Scope, to: &Desired) -> Result<Binding, Fault> {
        match to.parts.keys().next() {
            Some(revision) => self.of_release(&revision.release).await?.bind(scope, to).await,
            None => Ok(Binding::default()),
        }
    }

    async fn job(&self, scope: &Scope, id: &JobId, gate: &JobGate, way: &Way) -> Result<JobState, Fault> {
        self.of_release(&gate.release).await?.job(scope, id, gate, way).await
    }

    async fn job_printed(&self, scope: &Scope, id: &JobId) -> Vec<String> {
        // A job of anything else is not known there.
        if self.kubernetes.knows(scope) { self.kubernetes.job_printed(scope, id).await } else { Vec::new() }
    }

    async fn kill_job(&self, scope: &Scope, id: &JobId, way: &Way) -> Result<(), Fault> {
        // Where it runs its id does not say; the mark that it was killed does no harm where it never did.
        self.managed.kill_job(scope, id, way).await?;
        if self.kubernetes.knows(scope) { self.kubernetes.kill_job(scope, id, way).await } else { Ok(()) }
    }

    async fn job_changed(&self, scope: &Scope, id: &JobId) {
        self.managed.job_changed(scope, id).await;
    }

    async fn smoke(&self, scope: &Scope, revision: &Revision, index: usize) -> Result<Result<(), String>, Fault> {
        self.of_release(&revision.release).await?.smoke(scope, revision, index).await
    }

    async fn stats(&self, scope: &Scope) -> Result<BTreeMap<Revision, SideStats>, Fault> {
        self.managed.stats(scope).await
    }

    async fn urls(&self, scope: &Scope) -> Result<Vec<String>, Fault> {
        self.managed.urls(scope).await
    }

    fn logs(&self, scope: &Scope, query: LogQuery) -> BoxStream<'static, Result<LogLine, Fault>> {
        let ours = self.managed.logs(scope, query.clone());
        match self.kubernetes.knows(scope) {
            true => select(ours, self.kubernetes.logs(scope, query)).boxed(),
            false => ours,
        }
    }
}
