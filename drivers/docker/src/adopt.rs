//! Containers that Compose made before: taken over as they run where nothing of them changed, else stopped when what takes
//! their place is there. They are never removed: Compose can go on with them.

use crate::client::{USUAL, WORK};
use crate::compose;
use crate::docker::Inner;
use crate::labels::{self, Record, ServiceName};
use crate::layout;
use crate::request::{self, Wanted};
use crate::same::{Made, differs};
use bollard::models::{
    ContainerSummary, ContainerSummaryStateEnum as Status, ContainerUpdateBody, RestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder, StopContainerOptionsBuilder};
use deployctl_core::config::{AppConfig, TargetConfig};
use deployctl_core::fault::Fault;
use deployctl_core::id::{Fence, InstanceId, Sha256Hex};
use deployctl_core::instance::InstanceSpec;
use deployctl_sys::crash;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::time::Duration;

/// How long a container may take to end if Compose did not say.
const GRACE: Duration = Duration::from_secs(10);

/// A container that was taken over. It cannot be labelled any more, so what its labels would say is kept here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Adopted {
    pub(crate) id: InstanceId,
    pub(crate) container: String,
    pub(crate) fence: Fence,
    pub(crate) record: Record,
}

impl Inner {
    /// Everything that was taken over, as the labels would say it.
    pub(crate) fn adopted(&self) -> Vec<Adopted> {
        let entries = std::fs::read_dir(self.layout.adopted_root()).into_iter().flatten().flatten();
        entries.filter_map(|entry| layout::read(&entry.path()).unwrap_or_default()).collect()
    }

    /// What the engine knows of these, under the labels that they would have.
    pub(crate) async fn adopted_containers(
        &self,
        with: &[(&str, &str)],
    ) -> Result<Vec<ContainerSummary>, crate::client::Trouble> {
        let engine = self.engine().map_err(crate::client::Trouble::Away)?;
        let labels_of = |adopted: &Adopted| {
            let digest = Sha256Hex::of(adopted.container.as_bytes());
            let state = &engine.identity.state;
            labels::write(state, labels::INSTANCE, adopted.id.as_str(), adopted.fence, &adopted.record, &digest)
        };
        let is_asked = |all: &HashMap<String, String>| {
            with.iter().all(|(name, value)| all.get(*name).is_some_and(|there| there == value))
        };
        let mut wanted: HashMap<String, HashMap<String, String>> =
            self.adopted().iter().map(|one| (one.container.clone(), labels_of(one))).collect();
        wanted.retain(|_, labels| is_asked(labels));
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let filters: HashMap<&str, Vec<String>> = [("id", wanted.keys().cloned().collect())].into();
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let there = engine.client.call(USUAL, |api| async move { api.list_containers(Some(options)).await }).await?;
        let labelled = |container: ContainerSummary| {
            let labels = wanted.get(container.id.as_ref()?)?.clone();
            Some(ContainerSummary { labels: Some(labels), ..container })
        };
        Ok(there.into_iter().filter_map(labelled).collect())
    }

    /// Takes over the container that Compose made for this instance, if it runs and nothing of it changed.
    pub(crate) async fn take_over(
        &self,
        spec: &InstanceSpec,
        wanted: &Wanted<'_>,
        fence: Fence,
    ) -> Result<Option<Adopted>, Fault> {
        let Some(name) = &wanted.record.service else { return Ok(None) };
        let number = (spec.slot + 1).to_string();
        let is_it = |container: &&ContainerSummary| {
            let labels = container.labels.as_ref();
            let same = labels.and_then(|labels| labels.get(compose::NUMBER)).is_some_and(|of| *of == number);
            same && container.state == Some(Status::RUNNING)
        };
        let all = self.made_by_compose(name).await?;
        let Some(container) = all.iter().find(is_it).and_then(|container| container.id.clone()) else {
            return Ok(None);
        };
        let image = request::image(wanted.config, spec.release.artifact.as_ref())?;
        self.ensure_image(&image).await.map_err(|not| not.fault)?;
        let cannot = |trouble: crate::client::Trouble| trouble.fault("what Compose made cannot be looked at");
        let Some(image) = self.inspect_image(&image).await.map_err(cannot)? else { return Ok(None) };
        let client = &self.engine()?.client;
        let of = container.clone();
        let inspect =
            client.call(USUAL, |api| async move { api.inspect_container(&of, None::<InspectContainerOptions>).await });
        let there = inspect.await.map_err(cannot)?;
        let mut body = wanted.body(String::new(), None);
        body.env.get_or_insert_default().extend(self.secret_env(&wanted.record.revision.release, wanted.config)?);
        let connected = body.networking_config.get_or_insert_default().endpoints_config.get_or_insert_default();
        connected.extend(wanted.config.networks.iter().map(|name| (name.clone(), Default::default())));
        body.labels =
            wanted.config.compose.as_ref().map(|service| service.options.labels.clone().into_iter().collect());
        let secrets = wanted.record.secrets;
        if differs(&Made { container: &there, image: &image }, &body, secrets).is_some() {
            return Ok(None);
        }
        // From now on the engine starts it again by itself, whatever Compose said.
        self.restart_policy(&container, RestartPolicyNameEnum::UNLESS_STOPPED).await?;
        let called = there.name.as_deref().map(|name| name.trim_start_matches('/').to_owned());
        let record = Record { called, ..wanted.record.clone() };
        let adopted = Adopted { id: spec.id.clone(), container, fence, record };
        layout::write(&self.layout.adopted(&spec.id), &adopted)?;
        crash::point("docker.adopted");
        Ok(Some(adopted))
    }

    /// The containers that Compose made for a service, and that nobody took over.
    async fn made_by_compose(&self, name: &ServiceName) -> Result<Vec<ContainerSummary>, Fault> {
        let mut filters: HashMap<&str, Vec<String>> = HashMap::new();
        filters.insert("label", compose::found_by(&name.project, &name.service));
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let client = &self.engine()?.client;
        let all = client.call(USUAL, |api| async move { api.list_containers(Some(options)).await }).await;
        let mut all = all.map_err(|trouble| trouble.fault("what Compose made cannot be listed"))?;
        let adopted = self.adopted();
        let is_ours = |container: &ContainerSummary| {
            container.labels.as_ref().is_some_and(|labels| labels.contains_key(labels::STATE))
                || adopted.iter().any(|one| Some(&one.container) == container.id.as_ref())
        };
        all.retain(|container| !is_ours(container));
        Ok(all)
    }

    /// Stops what Compose made for a service and what still runs of it. Returns when it is over.
    pub(crate) async fn retire(&self, name: &ServiceName) -> Result<(), Fault> {
        self.retire_those(name, |_| true).await
    }

    /// Stops what an instance takes the place of: those whose number, going round, is its own.
    pub(crate) async fn retire_for(&self, record: &Record) -> Result<(), Fault> {
        let Some(name) = &record.service else { return Ok(()) };
        let mine = |number: u32| number.saturating_sub(1) % record.of.max(1) == record.slot;
        self.retire_those(name, mine).await
    }

    async fn retire_those(&self, name: &ServiceName, which: impl Fn(u32) -> bool) -> Result<(), Fault> {
        for container in self.made_by_compose(name).await? {
            let number = container.labels.as_ref().and_then(|labels| labels.get(compose::NUMBER)?.parse().ok());
            if !which(number.unwrap_or(1)) {
                continue;
            }
            let Some(id) = container.id.filter(|_| container.state == Some(Status::RUNNING)) else { continue };
            // One that is always started again would come back with the engine, on the same data.
            self.restart_policy(&id, RestartPolicyNameEnum::UNLESS_STOPPED).await?;
            // As long as its own label, or the engine, lets it take.
            let options = StopContainerOptionsBuilder::new().build();
            let client = &self.engine()?.client;
            let stop = client.call(WORK + GRACE, |api| async move { api.stop_container(&id, Some(options)).await });
            match stop.await {
                Err(crate::client::Trouble::Said { status: 304, .. }) => {}
                Err(trouble) if trouble.is_missing() => {}
                done => done.map_err(|trouble| trouble.fault("what Compose made cannot be stopped"))?,
            }
        }
        Ok(())
    }

    async fn restart_policy(&self, container: &str, policy: RestartPolicyNameEnum) -> Result<(), Fault> {
        let body = ContainerUpdateBody {
            restart_policy: Some(RestartPolicy { name: Some(policy), maximum_retry_count: None }),
            ..ContainerUpdateBody::default()
        };
        let client = &self.engine()?.client;
        let update = client.call(USUAL, |api| async move { api.update_container(container, body).await });
        update.await.map_err(|trouble| trouble.fault("what Compose made cannot be changed"))
    }

    /// What Compose made that holds a port which a release is to take, by its name.
    pub(crate) async fn holder(&self, config: &AppConfig, address: &str) -> Result<Option<String>, Fault> {
        let (Some(name), Some((_, port))) = (service(config), address.rsplit_once(':')) else { return Ok(None) };
        let holds = |container: &ContainerSummary| {
            let ports = container.ports.iter().flatten();
            ports.filter_map(|known| known.public_port).any(|known| known.to_string() == port)
        };
        let all = self.made_by_compose(&name).await?;
        let holder = all.into_iter().find(holds);
        Ok(holder.map(|container| {
            let names = container.names.unwrap_or_default();
            names.first().map_or("a container", |name| name.trim_start_matches('/')).to_owned()
        }))
    }
}

/// The service of a Compose project that a configuration is.
pub(crate) fn service(config: &AppConfig) -> Option<ServiceName> {
    match &config.target {
        TargetConfig::Docker(docker) => docker.compose.as_deref().map(ServiceName::of),
        TargetConfig::Process(_) => None,
    }
}
