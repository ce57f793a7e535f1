//! The driver of Kubernetes: the objects of a release in a namespace of a cluster, brought from one release to the next by
//! the cluster itself.
//!
//! A release is applied by server-side apply, in order; a record in the namespace says which objects belong to it, and
//! carries the fence. What is true is asked of the cluster each time.

mod adopt;
mod apply;
mod cluster;
mod giving;
mod hooks;
mod logs;
mod observe;
mod places;
mod preview;
mod record;
mod site;
mod trouble;

use async_trait::async_trait;
use cluster::Cluster;
use deployctl_core::config::{AppConfig, KubernetesConfig, TargetConfig};
use deployctl_core::desired::{Desired, JobGate, Waypoint};
use deployctl_core::driver::{Capabilities, Driver, Observed, Step, Way};
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::{Fence, JobId, Revision, Scope};
use deployctl_core::instance::{Binding, LogLine, LogQuery};
use deployctl_core::job::JobState;
use deployctl_core::release::{Release, Releases};
use deployctl_core::route::SideStats;
use futures_core::stream::BoxStream;
use futures_util::stream::{self, StreamExt};
use places::{Place, Places};
use site::Site;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Drives what is in clusters.
#[derive(Clone)]
pub struct Kubernetes(Arc<Inner>);

struct Inner {
    places: Places,
    releases: Arc<dyn Releases>,
    clusters: Mutex<HashMap<Option<String>, Arc<Cluster>>>,
}

impl Kubernetes {
    /// A driver that keeps below `state` where each scope is.
    pub fn new(state: &Path, releases: Arc<dyn Releases>) -> Self {
        Self(Arc::new(Inner { places: Places::new(state), releases, clusters: Mutex::default() }))
    }

    /// Whether a scope ever had anything in a cluster. What cannot be read may be.
    pub fn knows(&self, scope: &Scope) -> bool {
        !matches!(self.0.places.of(scope), Ok(None))
    }
}

impl Inner {
    fn site(&self, scope: &Scope, place: Place) -> Result<Site, Fault> {
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Cluster::new(place.context.clone()));
        let cluster = clusters.entry(place.context.clone()).or_insert_with(new).clone();
        Ok(Site { cluster, namespace: place.namespace, scope: scope.clone(), state: self.places.state()? })
    }

    /// Where a scope is; none if it never had anything in a cluster.
    fn found(&self, scope: &Scope) -> Result<Option<Site>, Fault> {
        self.places.of(scope)?.map(|place| self.site(scope, place)).transpose()
    }

    /// The place that a release names. One that lives elsewhere does not move.
    fn named(&self, scope: &Scope, config: &KubernetesConfig) -> Result<Place, Fault> {
        let place = Place { context: config.context.clone(), namespace: config.namespace.clone() };
        match self.places.of(scope)? {
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

    /// The release to be brought to, if any.
    async fn wanted(&self, to: &Desired) -> Result<Option<(Revision, Arc<Release>)>, Fault> {
        let mut parts = to.parts.keys();
        let Some(revision) = parts.next() else { return Ok(None) };
        if parts.next().is_some() {
            return Err(Fault::refused(FaultKind::Bug, "a cluster brings one release to the next by itself"));
        }
        Ok(Some((revision.clone(), self.releases.release(&revision.release).await?)))
    }

    async fn converge(&self, scope: &Scope, to: &Waypoint, way: &Way) -> Result<Step, Fault> {
        let Some((revision, release)) = self.wanted(&to.desired).await? else {
            return match self.found(scope)? {
                Some(site) if way.hand_back => self.hand_back(&site, way).await,
                Some(site) => site.bring(None, way).await,
                None => Ok(Step::Done),
            };
        };
        let config = kubernetes(&release.config)?;
        let place = self.named(scope, config)?;
        self.places.keep(scope, &place)?;
        self.site(scope, place)?.bring(Some((&revision, config)), way).await
    }

    /// Gives the objects of the release that is there back to the tool that they came from.
    async fn hand_back(&self, site: &Site, way: &Way) -> Result<Step, Fault> {
        let revision = site.record().await?.and_then(|record| record.revision);
        let release = match &revision {
            Some(revision) => Some(self.releases.release(&revision.release).await?),
            None => None,
        };
        let wanted = match &release {
            Some(release) => apply::wanted(kubernetes(&release.config)?)?,
            None => Vec::new(),
        };
        site.hand_back(&wanted, way).await
    }

    async fn admit(&self, scope: &Scope, fence: Fence) -> Result<(), Fault> {
        let Some(site) = self.found(scope)? else { return Ok(()) };
        let Some(mut record) = site.admitted(fence).await? else { return Ok(()) };
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

fn not_built(what: &str) -> Fault {
    Fault::refused(FaultKind::Bug, format!("{what} is not built for objects of a cluster"))
}

/// Runs in a task of its own: who waits may go away, the effect does not stop half-way.
async fn whole<T: Send + 'static>(work: impl Future<Output = Result<T, Fault>> + Send + 'static) -> Result<T, Fault> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|e| Err(Fault::refused(FaultKind::Bug, format!("the driver of Kubernetes failed: {e}"))))
}

#[async_trait]
impl Driver for Kubernetes {
    fn capabilities(&self, _config: &AppConfig) -> Capabilities {
        Capabilities { side_by_side: false, split: false, by_itself: true }
    }

    async fn admit(&self, scope: &Scope, fence: Fence) -> Result<(), Fault> {
        self.0.admit(scope, fence).await
    }

    async fn observe(&self, scope: &Scope) -> Result<Observed, Fault> {
        match self.0.found(scope)? {
            Some(site) => site.observe().await,
            None => Ok(Observed::default()),
        }
    }

    async fn changed(&self, _scope: &Scope) {
        // Nothing is announced yet: who waits looks again by itself.
        std::future::pending().await
    }

    async fn converge(&self, scope: &Scope, to: &Waypoint, way: &Way) -> Result<Step, Fault> {
        let (inner, scope, to, way) = (self.0.clone(), scope.clone(), to.clone(), way.clone());
        whole(async move { inner.converge(&scope, &to, &way).await }).await
    }

    async fn preview(&self, scope: &Scope, config: &AppConfig) -> Result<Vec<String>, Fault> {
        let config = kubernetes(config)?;
        let place = self.0.named(scope, config)?;
        self.0.site(scope, place)?.preview(config).await
    }

    async fn bind(&self, scope: &Scope, to: &Desired) -> Result<Binding, Fault> {
        for revision in to.parts.keys() {
            let release = self.0.releases.release(&revision.release).await?;
            let place = self.0.named(scope, kubernetes(&release.config)?)?;
            self.0.places.keep(scope, &place)?;
        }
        Ok(Binding::default())
    }

    async fn job(&self, _scope: &Scope, _id: &JobId, gate: &JobGate, _way: &Way) -> Result<JobState, Fault> {
        Err(not_built(&format!("a {}", gate.what)))
    }

    async fn kill_job(&self, _scope: &Scope, _id: &JobId, _way: &Way) -> Result<(), Fault> {
        Ok(())
    }

    async fn job_changed(&self, _scope: &Scope, _id: &JobId) {
        std::future::pending().await
    }

    async fn smoke(&self, _scope: &Scope, _revision: &Revision, _index: usize) -> Result<Result<(), String>, Fault> {
        Err(not_built("a smoke test"))
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
            match inner.found(&scope) {
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
