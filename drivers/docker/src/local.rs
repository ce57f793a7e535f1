//! An engine's images, looked at and tried by hand: for who asks what an image is, not for deployments.

use crate::client::{Client, Trouble, USUAL};
use crate::endpoint::Endpoint;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder, StartContainerOptions,
};
use deployctl_core::fault::{Fault, FaultKind};
use futures_util::StreamExt;
use std::collections::HashMap;
use std::io::Write;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Containers that are only tried are marked with this.
const TRIAL: &str = "io.deployctl.trial";
/// What runs for so long has started.
const STEADY: Duration = Duration::from_secs(1);
/// What a container may use that is only tried.
const MEMORY_BYTES: i64 = 512 << 20;
const PROCESSES: i64 = 256;
const LOOK: Duration = Duration::from_millis(25);

/// The images of an engine.
pub struct LocalImages {
    client: Client,
}

/// An image that an engine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalImage {
    /// Its id.
    pub id: String,
    /// Whether the engine knows a registry that has it.
    pub in_registry: bool,
    /// The signal that stops it.
    pub stop_signal: Option<String>,
}

/// What came of starting an image and asking it to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It could not be started, in the engine's words.
    NotStarted(String),
    /// It ended by itself with this code.
    Exited(i64),
    /// It ended after the signal, so much later.
    Ended(Duration),
    /// It went on, and was killed.
    WentOn,
}

impl LocalImages {
    /// The images of the engine that is meant. Contacts nobody yet.
    pub fn new(endpoint: &Endpoint) -> Result<Self, Fault> {
        Ok(Self { client: Client::new(endpoint.address()?, None) })
    }

    /// The image that `name` means in the engine, if it has one.
    pub async fn find(&self, name: &str) -> Result<Option<LocalImage>, Fault> {
        match self.client.call(USUAL, |api| async move { api.inspect_image(name).await }).await {
            Ok(found) => Ok(Some(LocalImage {
                id: found.id.unwrap_or_default(),
                in_registry: found.repo_digests.is_some_and(|all| !all.is_empty()),
                stop_signal: found.config.and_then(|config| config.stop_signal),
            })),
            Err(trouble) if trouble.is_missing() => Ok(None),
            Err(trouble) => Err(trouble.fault(&format!("the image {name} cannot be looked at"))),
        }
    }

    /// Writes the image to `to`, as `docker save` does; at most `bytes_max`.
    pub async fn save(&self, id: &str, mut to: impl Write, bytes_max: u64) -> Result<(), Fault> {
        let api = self.client.api().await.map_err(|trouble| trouble.fault(""))?;
        let mut pieces = Box::pin(api.export_image(id));
        let mut left = bytes_max;
        loop {
            let Ok(piece) = tokio::time::timeout(USUAL, pieces.next()).await else {
                return Err(Fault::platform("the Docker Engine does not go on with writing the image"));
            };
            let Some(piece) = piece else { return Ok(()) };
            let piece = piece.map_err(|e| self.client.trouble(e).fault("the image cannot be had"))?;
            let count = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            left = left.checked_sub(count).ok_or_else(|| {
                Fault::refused(FaultKind::Spec, format!("the image has more than {} MiB", bytes_max >> 20))
            })?;
            to.write_all(&piece).map_err(|e| Fault::platform(format!("the image cannot be kept: {e}")))?;
        }
    }

    /// Starts the image as it is, without a network, and asks it to end: whether it does so within `within`. Its
    /// container is gone afterwards; one that an interrupted trial left is removed by the next.
    pub async fn attempt(&self, image: &LocalImage, within: Duration) -> Result<Attempt, Fault> {
        self.tidy(within).await?;
        let host = HostConfig {
            network_mode: Some("none".into()),
            memory: Some(MEMORY_BYTES),
            pids_limit: Some(PROCESSES),
            ..HostConfig::default()
        };
        let body = ContainerCreateBody {
            image: Some(image.id.clone()),
            labels: Some([(TRIAL.to_owned(), String::new())].into()),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        };
        let nanos = since_epoch().as_nanos();
        let name = format!("deployctl-trial-{}-{nanos}", std::process::id());
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let made = self.client.call(USUAL, |api| async move { api.create_container(Some(options), body).await }).await;
        match made {
            Ok(_) => {}
            Err(Trouble::Said { status: 400, message }) => return Ok(Attempt::NotStarted(message)),
            Err(trouble) => return Err(trouble.fault("a container cannot be made")),
        }
        let attempt = self.run(&name, image.stop_signal.as_deref().unwrap_or("SIGTERM"), within).await;
        self.remove(&name).await?;
        attempt
    }

    async fn run(&self, name: &str, signal: &str, within: Duration) -> Result<Attempt, Fault> {
        let start = self
            .client
            .call(USUAL, |api| async move { api.start_container(name, None::<StartContainerOptions>).await });
        match start.await {
            Ok(()) => {}
            Err(Trouble::Said { message, .. }) => return Ok(Attempt::NotStarted(message)),
            Err(trouble) => return Err(trouble.fault("the container cannot be started")),
        }
        if let Some(code) = self.ended(name, STEADY).await? {
            return Ok(Attempt::Exited(code));
        }
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        let begun = Instant::now();
        let kill = self.client.call(USUAL, |api| async move { api.kill_container(name, Some(options)).await }).await;
        if let Err(trouble) = kill {
            return match self.ended(name, LOOK).await? {
                Some(code) => Ok(Attempt::Exited(code)),
                None => Err(trouble.fault("the container cannot be sent a signal")),
            };
        }
        Ok(match self.ended(name, within).await? {
            Some(_) => Attempt::Ended(begun.elapsed()),
            None => Attempt::WentOn,
        })
    }

    /// The exit code of a container, if it ends within `limit`.
    async fn ended(&self, name: &str, limit: Duration) -> Result<Option<i64>, Fault> {
        let end = Instant::now() + limit;
        loop {
            let look = self.client.call(USUAL, |api| async move { api.inspect_container(name, None).await });
            let state = look.await.map_err(|trouble| trouble.fault("the container cannot be looked at"))?.state;
            let state = state.unwrap_or_default();
            if state.running == Some(false) {
                return Ok(Some(state.exit_code.unwrap_or_default()));
            }
            if Instant::now() >= end {
                return Ok(None);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn remove(&self, name: &str) -> Result<(), Fault> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let remove =
            self.client.call(USUAL, |api| async move { api.remove_container(name, Some(options)).await }).await;
        match remove {
            Err(trouble) if !trouble.is_missing() && !trouble.is_conflict() => {
                Err(trouble.fault(&format!("the container {name} cannot be removed")))
            }
            _ => Ok(()),
        }
    }

    /// Removes what interrupted trials left behind.
    async fn tidy(&self, within: Duration) -> Result<(), Fault> {
        let filters: HashMap<&str, Vec<&str>> = [("label", vec![TRIAL])].into();
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let all = self.client.call(USUAL, |api| async move { api.list_containers(Some(options)).await }).await;
        let all = all.map_err(|trouble| trouble.fault("the containers cannot be listed"))?;
        let oldest = since_epoch().saturating_sub(within + 4 * USUAL).as_secs();
        for container in all {
            let is_old = container.created.and_then(|at| u64::try_from(at).ok()).is_some_and(|at| at < oldest);
            if let (true, Some(id)) = (is_old, container.id) {
                self.remove(&id).await?;
            }
        }
        Ok(())
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
