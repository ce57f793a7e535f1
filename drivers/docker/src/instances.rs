//! The port `Instances` on containers.

use crate::client::{Trouble, USUAL, WORK};
use crate::docker::{Docker, Inner, bug, soon};
use crate::reach::Reach;
use crate::request::{self, Wanted};
use crate::tracked::Tracked;
use crate::{labels, layout, logs, minder, probe};
use async_trait::async_trait;
use bollard::models::{ContainerSummary, ContainerSummaryStateEnum as Status, VolumeCreateRequest};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, RemoveContainerOptionsBuilder, StopContainerOptionsBuilder,
};
use deployctl_core::config::{AppConfig, Strategy};
use deployctl_core::fault::{Fault, FaultKind, Retry};
use deployctl_core::id::{Fence, InstanceId, Scope, Sha256Hex};
use deployctl_core::instance::{Checked, InstanceSeen, InstanceSpec, InstanceState, Instances, LogLine, LogQuery};
use deployctl_core::release::Release;
use deployctl_core::time::{Millis, Span};
use deployctl_sys::crash;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// So many instances are asked at once by somebody who wants to know how they are now.
const CHECKS_AT_ONCE: usize = 64;

#[async_trait]
impl Instances for Docker {
    async fn admit(&self, scope: &Scope, fence: Fence) -> Result<(), Fault> {
        self.inner.fences.admit(self.inner.layout.state(), scope, fence)
    }

    async fn list(&self, scope: &Scope) -> Result<Vec<InstanceSeen>, Fault> {
        let mut seen: Vec<InstanceSeen> = self.inner.all_of(scope).await?.iter().map(|t| t.seen()).collect();
        seen.sort_by(|a, b| (&a.revision, a.slot).cmp(&(&b.revision, b.slot)));
        Ok(seen)
    }

    async fn check(&self, scope: &Scope) -> Result<Vec<Checked>, Fault> {
        let checks = self.inner.all_of(scope).await?.into_iter().map(|tracked| {
            let inner = Arc::clone(&self.inner);
            async move { probe::check(&inner, &tracked).await }
        });
        let mut checked: Vec<Checked> =
            futures_util::stream::iter(checks).buffer_unordered(CHECKS_AT_ONCE).collect().await;
        checked.sort_by(|a, b| (&a.seen.revision, a.seen.slot).cmp(&(&b.seen.revision, b.seen.slot)));
        Ok(checked)
    }

    async fn start(&self, spec: &InstanceSpec, fence: Fence) -> Result<(), Fault> {
        let (inner, spec) = (Arc::clone(&self.inner), spec.clone());
        // Owned by the task: a caller that goes away leaves nothing half done.
        let what = format!("the container of {}", spec.id);
        soon(tokio::spawn(async move { inner.start(&spec, fence).await }), &what).await
    }

    async fn stop(&self, scope: &Scope, id: &InstanceId, grace: Span, fence: Fence) -> Result<(), Fault> {
        self.inner.fences.admit(self.inner.layout.state(), scope, fence)?;
        let all = self.inner.all_of(scope).await?;
        let Some(tracked) = all.into_iter().find(|tracked| tracked.id == *id) else { return Ok(()) };
        if tracked.view().state() == InstanceState::Gone
            || tracked.update(|view| std::mem::replace(&mut view.stopping, true))
        {
            return Ok(());
        }
        tracked.end_prober();
        tokio::spawn(stop(Arc::clone(&self.inner), tracked, grace.0));
        Ok(())
    }

    async fn forget(&self, scope: &Scope, id: &InstanceId, fence: Fence) -> Result<(), Fault> {
        self.inner.fences.admit(self.inner.layout.state(), scope, fence)?;
        let gate = self.inner.gate(id.as_str()).lock_owned().await;
        let Some(tracked) = self.inner.get(id) else { return Ok(()) };
        if tracked.view().state() != InstanceState::Gone {
            let message = format!("{id} is not gone yet, so what it left cannot be removed");
            return Err(Fault::refused(FaultKind::Conflict, message));
        }
        let inner = Arc::clone(&self.inner);
        let forget = async move {
            let _gate = gate;
            inner.remove(&tracked.container, false).await?;
            if let Reach::Through(tunnel) = &inner.engine()?.reach {
                tunnel.close(&tracked.id).await?;
            }
            let _ = layout::remove(&inner.layout.adopted(&tracked.id));
            tracked.let_go();
            inner.tracked().remove(&tracked.id);
            let _ = layout::remove(&inner.layout.healthy(&tracked.id));
            if tracked.record.secrets {
                inner.sweep_secrets().await;
            }
            Ok(())
        };
        tokio::spawn(forget).await.map_err(|e| bug(&e))?
    }

    async fn changed(&self, scope: &Scope) {
        self.inner.scopes.changed(scope).await;
    }

    async fn stable_address(&self, scope: &Scope) -> Result<String, Fault> {
        let message = format!("{scope} has no address that stays: every new container has another one");
        Err(Fault::refused(FaultKind::Spec, message).hint("give it a `route`"))
    }

    async fn can_run(&self, config: &AppConfig) -> Result<(), Fault> {
        self.inner.can_run(&config.target)
    }

    async fn in_the_way(&self, config: &AppConfig, address: &str) -> Result<Option<String>, Fault> {
        self.inner.holder(config, address).await
    }

    async fn make_way(&self, config: &AppConfig) -> Result<(), Fault> {
        match crate::adopt::service(config) {
            Some(service) => self.inner.retire(&service).await,
            None => Ok(()),
        }
    }

    fn logs(&self, scope: &Scope, query: LogQuery) -> BoxStream<'static, Result<LogLine, Fault>> {
        logs::stream(&self.inner, scope.clone(), query)
    }

    async fn artifacts_in_use(&self) -> Result<Vec<Sha256Hex>, Fault> {
        if !self.is_used() {
            return Ok(Vec::new());
        }
        let state = self.inner.engine()?.identity.state.clone();
        let all =
            self.inner.containers(&[]).await.map_err(|trouble| trouble.fault("the containers cannot be listed"))?;
        let used: BTreeSet<Sha256Hex> =
            all.iter().filter_map(|c| labels::read(c.labels.as_ref()?, &state)?.artifact).collect();
        Ok(used.into_iter().collect())
    }
}

impl Inner {
    /// Every container of a scope that the engine knows, or that it just ceased to know, each looked after.
    async fn all_of(self: &Arc<Self>, scope: &Scope) -> Result<Vec<Arc<Tracked>>, Fault> {
        if !self.layout.mark(scope).exists() {
            return Ok(Vec::new());
        }
        let place = scope.to_string();
        let with = [(labels::SCOPE, place.as_str()), (labels::KIND, labels::INSTANCE)];
        let said = self.containers(&with).await.map_err(|trouble| trouble.fault("the containers cannot be listed"))?;
        self.listen();
        let mut all = Vec::new();
        for container in said {
            if let Some(tracked) = self.take_up(&container)? {
                // What the list says now must not be older news than what was looked at before.
                if is_news(&tracked, container.state) {
                    minder::look(self, &tracked).await;
                }
                all.push(tracked);
            }
        }
        let known: Vec<_> = self.tracked().values().filter(|t| t.record.scope == *scope).cloned().collect();
        for tracked in known {
            if !all.iter().any(|there| there.id == tracked.id) {
                // The engine answered, and it is not there: somebody removed it, or we did.
                tracked.update(|view| view.removed = true);
                all.push(tracked);
            }
        }
        Ok(all)
    }

    /// A container as it is known here; looked after from now on.
    fn take_up(self: &Arc<Self>, container: &ContainerSummary) -> Result<Option<Arc<Tracked>>, Fault> {
        let Some(labels) = &container.labels else { return Ok(None) };
        let id = labels.get(labels::ID).and_then(|id| InstanceId::new(id.as_str()).ok());
        let record = labels::read(labels, &self.engine()?.identity.state);
        let (Some(id), Some(record), Some(of)) = (id, record, &container.id) else { return Ok(None) };
        let created = Millis(container.created.and_then(|at| u64::try_from(at).ok()).unwrap_or(0) * 1000);
        Ok(Some(self.track(id, of.clone(), record, created)))
    }

    fn track(
        self: &Arc<Self>,
        id: InstanceId,
        container: String,
        record: labels::Record,
        created: Millis,
    ) -> Arc<Tracked> {
        let mut all = self.tracked();
        if let Some(known) = all.get(&id).filter(|known| known.container == container) {
            return Arc::clone(known);
        }
        let healthy = self.layout.healthy(&id);
        let name = self.name(id.as_str()).unwrap_or_default();
        let tracked = Tracked::new(id.clone(), name, container, record, created, healthy, Arc::clone(&self.scopes));
        let minder = tokio::spawn(minder::mind(Arc::clone(self), Arc::clone(&tracked)));
        tracked.minded_by(minder.abort_handle());
        if let Some(before) = all.insert(id, Arc::clone(&tracked)) {
            before.let_go();
        }
        tracked
    }

    async fn start(self: &Arc<Self>, spec: &InstanceSpec, fence: Fence) -> Result<(), Fault> {
        self.fences.admit(self.layout.state(), &spec.scope, fence)?;
        let gate = self.gate(spec.id.as_str());
        let _gate = gate.lock().await;
        let name = self.name(spec.id.as_str())?;
        self.mark(&spec.scope)?;
        self.listen();
        if self.adopt(&spec.id, &name).await? {
            return Ok(());
        }
        let wanted = request::instance(spec)?;
        if let Some(service) = &wanted.record.service {
            if let Some(adopted) = self.take_over(spec, &wanted, fence).await? {
                self.track(adopted.id, adopted.container, adopted.record, crate::docker::now());
                return Ok(());
            }
            if spec.release.config.strategy == Strategy::Recreate {
                // What Compose made must not run beside it.
                self.retire(service).await?;
            }
        }
        let container = self.make(&name, labels::INSTANCE, spec.id.as_str(), &wanted, &spec.release, fence).await?;
        crash::point("docker.created");
        self.track(spec.id.clone(), container, wanted.record, crate::docker::now());
        Ok(())
    }

    /// Whether there is a container under this name that is as good as a new one.
    async fn adopt(self: &Arc<Self>, id: &InstanceId, name: &str) -> Result<bool, Fault> {
        let engine = self.engine()?;
        let what = format!("the container {name} cannot be looked at");
        let inspect = engine.client.call(USUAL, |api| {
            let name = name.to_owned();
            async move { api.inspect_container(&name, None::<InspectContainerOptions>).await }
        });
        let there = match inspect.await {
            Ok(there) => there,
            Err(trouble) if trouble.is_missing() => return Ok(false),
            Err(trouble) => return Err(trouble.fault(&what)),
        };
        let labels = there.config.as_ref().and_then(|config| config.labels.clone()).unwrap_or_default();
        let (Some(record), Some(container)) = (labels::read(&labels, &engine.identity.state), there.id.clone()) else {
            let message = format!("there is a container {name} that deployctl did not make");
            return Err(Fault::refused(FaultKind::Conflict, message).hint("remove or rename it"));
        };
        let look = crate::view::Look::of(&there, record.network());
        let stopping = self.get(id).is_some_and(|known| known.container == container && known.view().stopping);
        if look.is_over() {
            self.remove(&container, false).await?;
            return Ok(false);
        }
        if stopping {
            let message = format!("{id} is being stopped; it can be started again when it is gone");
            return Err(Fault { retry: Retry::Soon, ..Fault::refused(FaultKind::Conflict, message) });
        }
        self.track(id.clone(), container, record, crate::docker::now());
        Ok(true)
    }

    /// Makes a container, with all that it needs, and says its id.
    pub(crate) async fn make(
        self: &Arc<Self>,
        name: &str,
        kind: &str,
        id: &str,
        wanted: &Wanted<'_>,
        release: &Release,
        fence: Fence,
    ) -> Result<String, Fault> {
        let image = request::image(wanted.config, release.artifact.as_ref())?;
        self.ensure_image(&image).await.map_err(|not| not.fault)?;
        match wanted.config.compose {
            None => self.ensure_volumes(wanted).await?,
            Some(_) => self.ensure_project(wanted).await?,
        }
        let engine = self.engine()?;
        let one = self.secrets.lock().await;
        let secrets = self.put_secrets(&wanted.record.revision.release, wanted.config)?;
        let mut body = wanted.body(image, secrets.as_deref());
        engine.reach.publish(&mut body, &wanted.record, engine.client.address()).await?;
        let digest = Sha256Hex::of(&serde_json::to_vec(&body).unwrap_or_default());
        let mut all = wanted.compose_labels();
        all.extend(labels::write(&engine.identity.state, kind, id, fence, &wanted.record, &digest));
        body.labels = Some(all);
        // After the digest, which everybody can see and try values against.
        let values = self.secret_env(&wanted.record.revision.release, wanted.config)?;
        body.env.get_or_insert_default().extend(values);
        crash::point("docker.secrets-written");
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let make = engine.client.call(WORK, |api| async move { api.create_container(Some(options), body).await });
        let made = make.await;
        drop(one);
        match made {
            Ok(made) => Ok(made.id),
            Err(trouble) => {
                let conflict = trouble.is_conflict();
                let fault = trouble.fault(&format!("the container {name} cannot be made"));
                Err(Fault { retry: if conflict { Retry::Soon } else { fault.retry }, ..fault })
            }
        }
    }

    /// Makes the app's own volumes where they are missing; one that is somebody else's is not touched.
    async fn ensure_volumes(&self, wanted: &Wanted<'_>) -> Result<(), Fault> {
        let engine = self.engine()?;
        for volume in wanted.config.volumes.iter().filter(|volume| !volume.is_path()) {
            let name = request::volume_name(&wanted.record.scope, &volume.source);
            let what = format!("the volume {name} cannot be had");
            let of = name.clone();
            match engine.client.call(USUAL, |api| async move { api.inspect_volume(&of).await }).await {
                Ok(there) if there.labels.get(labels::STATE) == Some(&engine.identity.state) => continue,
                Ok(_) => {
                    let message = format!("there is a volume {name} that this state of deployctl did not make");
                    return Err(Fault::refused(FaultKind::Conflict, message)
                        .hint("give the volume another name, or remove that one if nothing in it is needed"));
                }
                Err(trouble) if trouble.is_missing() => {}
                Err(trouble) => return Err(trouble.fault(&what)),
            }
            let own =
                [(labels::STATE, engine.identity.state.clone()), (labels::SCOPE, wanted.record.scope.to_string())];
            let labels = own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let request =
                VolumeCreateRequest { name: Some(name), labels: Some(labels), ..VolumeCreateRequest::default() };
            let make = engine.client.call(WORK, |api| async move { api.create_volume(request).await });
            make.await.map_err(|trouble| trouble.fault(&what))?;
        }
        Ok(())
    }

    /// Removes a container; one that is not there is removed already. Volumes that its image had made for it may hold
    /// data of an instance, not of a job.
    pub(crate) async fn remove(&self, container: &str, with_volumes: bool) -> Result<(), Fault> {
        let options = RemoveContainerOptionsBuilder::new().v(with_volumes).force(true).build();
        let of = container.to_owned();
        let remove =
            self.engine()?.client.call(WORK, |api| async move { api.remove_container(&of, Some(options)).await });
        match remove.await {
            Err(trouble) if trouble.is_missing() => Ok(()),
            Err(trouble) if trouble.is_conflict() => Err(Fault {
                retry: Retry::Soon,
                ..Fault::platform(format!("the container {container} is being removed"))
            }),
            done => done.map_err(|trouble| trouble.fault("a container cannot be removed")),
        }
    }
}

/// Whether the list says something else than the last look.
fn is_news(tracked: &Tracked, status: Option<Status>) -> bool {
    let seen = tracked.view().look.status.map(|status| status.to_string());
    seen != status.map(|status| status.to_string())
}

/// Ends a container: it gets `grace` to end by itself, then it is killed. Tried until the engine does it.
async fn stop(inner: Arc<Inner>, tracked: Arc<Tracked>, grace: Duration) {
    let seconds = i32::try_from(grace.as_millis().div_ceil(1000)).unwrap_or(i32::MAX);
    loop {
        let Ok(engine) = inner.engine() else { return };
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        let of = tracked.container.clone();
        let end = engine.client.call(grace + WORK, |api| async move { api.stop_container(&of, Some(options)).await });
        match end.await {
            Ok(()) => break,
            Err(trouble) if trouble.is_missing() => break,
            Err(Trouble::Said { status: 304, .. }) => break,
            Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
        }
        if tracked.view().state() == InstanceState::Gone {
            break;
        }
    }
    crash::point("docker.stopped");
    minder::look(&inner, &tracked).await;
    tracked.news.notify_one();
}
