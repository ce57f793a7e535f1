//! The driver of Kubernetes: the objects of a release in a namespace of a cluster, brought from one release to the next by
//! the cluster itself.
//!
//! A release is applied by server-side apply, in order; a record in the namespace says which objects belong to it, and
//! carries the fence. What is true is asked of the cluster each time.

mod adopt;
mod apply;
mod carrier;
mod claims;
mod cluster;
mod data;
mod fenced;
mod giving;
mod hooks;
mod jobs;
mod kinds;
mod logs;
mod namespace;
mod objects;
mod observe;
mod permissions;
mod places;
mod plugin;
mod preview;
mod prune;
mod record;
mod secrets;
mod sides;
mod site;
mod smoke;
mod there;
mod trouble;
mod watch;

pub use carrier::Carrier;
pub use objects::{Kept, NamespaceObjects};

use async_trait::async_trait;
use cluster::Cluster;
use deployctl_core::config::{AppConfig, KubernetesConfig, TargetConfig};
use deployctl_core::desired::{Desired, JobGate, Waypoint};
use deployctl_core::driver::{Capabilities, Data, Driver, Observed, Step, Way};
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::{Fence, JobId, Revision, Scope, Sha256Hex};
use deployctl_core::instance::{Binding, LogLine, LogQuery, SecretValues};
use deployctl_core::job::{JobSpec, JobState};
use deployctl_core::objects::Objects;
use deployctl_core::preview::Preview;
use deployctl_core::release::{Release, Releases};
use deployctl_core::route::SideStats;
use deployctl_runner::SecretSource;
use futures_core::stream::BoxStream;
use futures_util::stream::{self, StreamExt};
use jobs::{Errand, Jobs};
use places::{Place, Places};
use sides::Walk;
use site::Site;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use watch::Watched;

/// Drives what is in clusters.
#[derive(Clone)]
pub struct Kubernetes(Arc<Inner>);

struct Inner {
    places: Arc<Places>,
    releases: Arc<dyn Releases>,
    secrets: SecretSource,
    kubeconfig: Option<PathBuf>,
    clusters: Mutex<HashMap<Option<String>, Arc<Cluster>>>,
    watched: Mutex<HashMap<Scope, Arc<Watched>>>,
    jobs: Jobs,
    /// The owner after whom nothing was left over.
    tidy: Mutex<HashMap<Scope, Fence>>,
}

impl Kubernetes {
    /// A driver that keeps below `state` where each scope is.
    /// `secrets` has the values of the secrets of releases.
    pub fn new(state: &Path, releases: Arc<dyn Releases>, secrets: SecretSource) -> Self {
        Self::with(Arc::new(Places::in_folder(state)), releases, secrets, None)
    }

    /// A driver of a state in objects, which keeps there where each scope is.
    pub fn in_objects(objects: Arc<dyn Objects>, releases: Arc<dyn Releases>, secrets: SecretSource) -> Self {
        Self::with(Arc::new(Places::in_objects(objects)), releases, secrets, None)
    }

    fn with(
        places: Arc<Places>,
        releases: Arc<dyn Releases>,
        secrets: SecretSource,
        kubeconfig: Option<PathBuf>,
    ) -> Self {
        let (clusters, watched, jobs, tidy) = Default::default();
        Self(Arc::new(Inner { places, releases, secrets, kubeconfig, clusters, watched, jobs, tidy }))
    }

    /// The same with another kubeconfig than that of the environment.
    #[must_use]
    pub fn with_kubeconfig(self, kubeconfig: PathBuf) -> Self {
        let (places, releases) = (Arc::clone(&self.0.places), Arc::clone(&self.0.releases));
        Self::with(places, releases, self.0.secrets.clone(), Some(kubeconfig))
    }

    /// Whether a scope ever had anything in a cluster. What cannot be read may be.
    pub fn knows(&self, scope: &Scope) -> bool {
        self.0.places.may_have(scope)
    }
}

impl Inner {
    fn watched(&self, scope: &Scope) -> Arc<Watched> {
        let mut all = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(scope.clone()).or_default().clone()
    }

    async fn site(&self, scope: &Scope, place: Place) -> Result<Site, Fault> {
        let (state, watched) = (self.places.state().await?, self.watched(scope));
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Cluster::new(place.context.clone(), self.kubeconfig.clone()));
        let cluster = clusters.entry(place.context.clone()).or_insert_with(new).clone();
        let secrets = self.secrets.clone();
        let right = fenced::Right::default();
        Ok(Site { cluster, namespace: place.namespace, scope: scope.clone(), state, right, watched, secrets })
    }

    /// Where a scope is; none if it never had anything in a cluster.
    async fn found(&self, scope: &Scope) -> Result<Option<Site>, Fault> {
        match self.places.of(scope).await? {
            Some(place) => self.site(scope, place).await.map(Some),
            None => Ok(None),
        }
    }

    /// The place that a release names. One that lives elsewhere does not move.
    async fn named(&self, scope: &Scope, config: &KubernetesConfig) -> Result<Place, Fault> {
        let place = Place { context: config.context.clone(), namespace: config.namespace.clone() };
        match self.places.of(scope).await? {
            Some(known) if known != place => {
                let words = |place: &Place| {
                    let cluster = place.context.as_ref().map_or("its own cluster".into(), |name| format!("`{name}`"));
                    format!("the namespace `{}` of {cluster}", place.namespace)
                };
                let message = format!("{} is in {}, and would be in {}", scope.app, words(&known), words(&place));
                Err(Fault::refused(FaultKind::Spec, message)
                    .hint("moving an app is not built: deploy it there under another name, and take this one `down`"))
            }
            _ => Ok(place),
        }
    }

    async fn converge(&self, scope: &Scope, to: &Waypoint, way: &Way) -> Result<Step, Fault> {
        let Some(revision) = to.desired.parts.keys().next() else {
            let Some(site) = self.found(scope).await? else { return Ok(Step::Done) };
            if way.hand_back {
                return match self.walk(&site, to, way).alone().await? {
                    Step::Done if site.record().await?.is_none_or(|record| record.side.is_none()) => {
                        self.hand_back(&site, way).await
                    }
                    Step::Done => Ok(Step::Pending("what is beside it is to go".into())),
                    pending => Ok(pending),
                };
            }
            site.fold_side(way).await?;
            let leaves = site.record().await?.and_then(|record| record.revision.or(record.leaves));
            let leaves = match leaves.filter(|_| !way.back) {
                Some(revision) => Some(self.releases.release(&revision.release).await?),
                None => None,
            };
            return site.bring(None, leaves.as_deref(), &[], way).await;
        };
        let release = self.releases.release(&revision.release).await?;
        let config = kubernetes(&release.config)?;
        let place = self.named(scope, config).await?;
        self.places.keep(scope, &place).await?;
        let site = self.site(scope, place).await?;
        site.make_room(config).await?;
        self.walk(&site, to, way).step().await
    }

    fn walk<'a>(&'a self, site: &'a Site, to: &'a Waypoint, way: &'a Way) -> Walk<'a> {
        Walk { site, releases: &*self.releases, to, way }
    }

    /// Gives the objects of the release that is there back to the tool that they came from.
    async fn hand_back(&self, site: &Site, way: &Way) -> Result<Step, Fault> {
        let revision = site.record().await?.and_then(|record| record.revision);
        let release = match &revision {
            Some(revision) => Some(self.releases.release(&revision.release).await?),
            None => None,
        };
        let wanted = match &release {
            Some(release) => apply::wanted(release)?,
            None => Vec::new(),
        };
        site.hand_back(&wanted, way).await
    }

    /// Lets go of what no release needs that is retained.
    async fn retain(&self, scope: &Scope, keep: &[Sha256Hex], fence: Fence) -> Result<Step, Fault> {
        let is_tidy = |tidy: &HashMap<Scope, Fence>| tidy.get(scope) == Some(&fence);
        let Some(site) = self.found(scope).await? else { return Ok(Step::Done) };
        if is_tidy(&self.tidy.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(Step::Done);
        }
        let mut releases = Vec::new();
        for id in keep {
            let release = self.releases.release(id).await?;
            // The app may have run elsewhere.
            releases.extend(kubernetes(&release.config).is_ok().then_some(release));
        }
        self.places.forget_old_jobs().await;
        let step = site.retain(&releases, fence).await?;
        if step == Step::Done {
            self.tidy.lock().unwrap_or_else(PoisonError::into_inner).insert(scope.clone(), fence);
        }
        Ok(step)
    }

    async fn job(&self, scope: &Scope, id: &JobId, gate: &JobGate, way: &Way) -> Result<JobState, Fault> {
        let release = self.releases.release(&gate.release).await?;
        let config = kubernetes(&release.config)?;
        let (Some(command), Some(like)) = (release.config.command(gate.what).cloned(), &config.jobs) else {
            let message = format!("the release {} has no {}", gate.release.short(), gate.what);
            return Err(Fault::refused(FaultKind::Bug, message));
        };
        let place = self.named(scope, config).await?;
        self.places.keep(scope, &place).await?;
        let site = self.site(scope, place).await?;
        site.make_room(config).await?;
        let (binding, release) = (way.binding.clone(), release.clone());
        let spec = JobSpec { id: id.clone(), scope: scope.clone(), release, binding, command };
        let (places, jobs, patience, fence) = (&self.places, &self.jobs, config.patience, way.fence);
        let gate = self.jobs.gate(id);
        let _gate = gate.lock().await;
        site.job(&Errand { spec: &spec, like, patience, places, jobs, fence }).await
    }

    async fn kill_job(&self, scope: &Scope, id: &JobId, fence: Fence) -> Result<(), Fault> {
        let gate = self.jobs.gate(id);
        let _gate = gate.lock().await;
        let Some(site) = self.found(scope).await? else { return jobs::never(&self.places, id).await };
        site.kill_job(&self.places, id, fence).await
    }

    async fn admit(&self, scope: &Scope, fence: Fence) -> Result<(), Fault> {
        let Some(site) = self.found(scope).await? else { return Ok(()) };
        let admitted = site.admitted(fence).await;
        if admitted.as_ref().is_err_and(|fault| fault.kind == FaultKind::Platform) {
            // Asked before every look: while it fails nobody looks, and that is no silence of the release.
            site.watched.answered(false);
        }
        let Some(mut record) = admitted? else { return Ok(()) };
        if fence > record.fence {
            record.fence = fence;
            site.write(&record).await?;
        }
        Ok(())
    }
}

fn kubernetes(config: &AppConfig) -> Result<&KubernetesConfig, Fault> {
    match &config.target {
        TargetConfig::Kubernetes(kubernetes) => Ok(kubernetes),
        TargetConfig::Process(_) | TargetConfig::Docker(_) => {
            Err(Fault::refused(FaultKind::Bug, "this release has no objects of a cluster"))
        }
    }
}

/// Runs in a task of its own: who waits may go away, the effect does not stop half-way.
async fn whole<T: Send + 'static>(work: impl Future<Output = Result<T, Fault>> + Send + 'static) -> Result<T, Fault> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|e| Err(Fault::refused(FaultKind::Bug, format!("the driver of Kubernetes failed: {e}"))))
}

#[async_trait]
impl Driver for Kubernetes {
    fn capabilities(&self, _config: &AppConfig) -> Capabilities {
        Capabilities { side_by_side: true, split: true, by_itself: true, jobs: true }
    }

    async fn admit(&self, scope: &Scope, fence: Fence) -> Result<(), Fault> {
        self.0.admit(scope, fence).await
    }

    async fn observe(&self, scope: &Scope) -> Result<Observed, Fault> {
        match self.0.found(scope).await? {
            Some(site) => site.observe(&*self.0.releases).await,
            None => Ok(Observed::default()),
        }
    }

    async fn changed(&self, scope: &Scope) {
        let cluster = self.0.found(scope).await.ok().flatten().map(|site| site.cluster);
        self.0.watched(scope).changed(cluster).await;
    }

    async fn converge(&self, scope: &Scope, to: &Waypoint, way: &Way) -> Result<Step, Fault> {
        let (inner, scope, to, way) = (self.0.clone(), scope.clone(), to.clone(), way.clone());
        whole(async move { inner.converge(&scope, &to, &way).await }).await
    }

    async fn preview(
        &self,
        scope: &Scope,
        to: &Release,
        values: &SecretValues,
        corrects: bool,
    ) -> Result<Preview, Fault> {
        let place = self.0.named(scope, kubernetes(&to.config)?).await?;
        self.0.site(scope, place).await?.preview(to, values, corrects).await
    }

    async fn survey(&self, scope: &Scope, to: &Release, path: &[Waypoint]) -> Result<Vec<String>, Fault> {
        let place = self.0.named(scope, kubernetes(&to.config)?).await?;
        self.0.site(scope, place).await?.survey(&*self.0.releases, to, path).await
    }

    async fn kept(&self, scope: &Scope, release: &Release) -> Result<Vec<String>, Fault> {
        let place = self.0.named(scope, kubernetes(&release.config)?).await?;
        self.0.site(scope, place).await?.kept(release).await
    }

    async fn data(&self, scope: &Scope, deletes: bool) -> Result<Option<Vec<Data>>, Fault> {
        let Some(site) = self.0.found(scope).await? else { return Ok(None) };
        site.data(deletes).await.map(Some)
    }

    async fn retain(&self, scope: &Scope, keep: &[Sha256Hex], fence: Fence) -> Result<Step, Fault> {
        self.0.retain(scope, keep, fence).await
    }

    async fn bind(&self, scope: &Scope, to: &Desired) -> Result<Binding, Fault> {
        for revision in to.parts.keys() {
            let release = self.0.releases.release(&revision.release).await?;
            let place = self.0.named(scope, kubernetes(&release.config)?).await?;
            self.0.places.keep(scope, &place).await?;
        }
        Ok(Binding::default())
    }

    async fn job(&self, scope: &Scope, id: &JobId, gate: &JobGate, way: &Way) -> Result<JobState, Fault> {
        let (inner, scope, id) = (self.0.clone(), scope.clone(), id.clone());
        let (gate, way) = (gate.clone(), way.clone());
        whole(async move { inner.job(&scope, &id, &gate, &way).await }).await
    }

    async fn job_printed(&self, _scope: &Scope, id: &JobId) -> Vec<String> {
        jobs::printed(&self.0.places, id).await
    }

    async fn kill_job(&self, scope: &Scope, id: &JobId, way: &Way) -> Result<(), Fault> {
        let (inner, scope, id, fence) = (self.0.clone(), scope.clone(), id.clone(), way.fence);
        whole(async move { inner.kill_job(&scope, &id, fence).await }).await
    }

    async fn job_changed(&self, _scope: &Scope, _id: &JobId) {
        std::future::pending().await
    }

    async fn smoke(&self, scope: &Scope, revision: &Revision, index: usize) -> Result<Result<(), String>, Fault> {
        let release = self.0.releases.release(&revision.release).await?;
        match self.0.found(scope).await? {
            Some(site) => site.smoke(revision, &release, index).await,
            None => Ok(Err("nothing runs that could be asked".into())),
        }
    }

    async fn stats(&self, _scope: &Scope) -> Result<BTreeMap<Revision, SideStats>, Fault> {
        Ok(BTreeMap::new())
    }

    async fn urls(&self, _scope: &Scope) -> Result<Vec<String>, Fault> {
        Ok(Vec::new())
    }

    fn logs(&self, scope: &Scope, query: LogQuery) -> BoxStream<'static, Result<LogLine, Fault>> {
        let (inner, scope) = (self.0.clone(), scope.clone());
        let all = async move {
            match inner.found(&scope).await {
                Ok(Some(site)) => site.logs(&query).await.unwrap_or_else(|fault| failed(fault)),
                Ok(None) => stream::empty().boxed(),
                Err(fault) => failed(fault),
            }
        };
        stream::once(all).flatten().boxed()
    }
}

fn failed(fault: Fault) -> BoxStream<'static, Result<LogLine, Fault>> {
    stream::once(async { Err(fault) }).boxed()
}
