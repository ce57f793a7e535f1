//! What everything here shares.

use crate::address::Address;
use crate::client::{Client, Trouble, USUAL};
use crate::endpoint::Endpoint;
use crate::layout::{self, Identity, Layout};
use crate::login::LoginSource;
use crate::reach::Reach;
use crate::tracked::Tracked;
use crate::{events, labels};
use bollard::models::ContainerSummary;
use bollard::query_parameters::ListContainersOptionsBuilder;
use deployctl_core::fault::{Applied, Fault, FaultKind};
use deployctl_core::id::{InstanceId, JobId, Scope};
use deployctl_core::time::Millis;
use deployctl_runner::fence::Fences;
use deployctl_runner::hub::{Hub, Scopes};
use deployctl_runner::{SecretSource, say};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinHandle};

/// What the driver is told when it is made.
#[derive(Clone)]
pub struct DockerOptions {
    /// The state folder, absolute.
    pub state: PathBuf,
    /// Where values of secrets come from.
    pub secrets: SecretSource,
    /// Who we are to registries.
    pub logins: LoginSource,
    /// Which engine is meant. Looked at once: a state belongs to the engine that it was first used with.
    pub endpoint: Endpoint,
}

/// Containers of one state folder. Contacts no engine before it is asked for something that was ever there. When it is
/// dropped, the containers go on, and nobody looks after them until the next one does.
pub struct Docker {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) options: DockerOptions,
    pub(crate) layout: Layout,
    pub(crate) fences: Fences,
    pub(crate) scopes: Arc<Scopes>,
    pub(crate) job_changes: Hub<JobId>,
    /// Something happened to a job.
    pub(crate) job_news: Notify,
    /// How often the engine was lost sight of.
    pub(crate) losses: AtomicU64,
    engine: OnceLock<Engine>,
    tracked: Mutex<BTreeMap<InstanceId, Arc<Tracked>>>,
    gates: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    pub(crate) jobs: Mutex<HashMap<JobId, AbortHandle>>,
    pub(crate) secrets: tokio::sync::Mutex<()>,
    /// One at a time makes what a Compose project shares.
    pub(crate) projects: tokio::sync::Mutex<()>,
    events: Mutex<Option<AbortHandle>>,
}

/// The engine that this state belongs to.
pub(crate) struct Engine {
    pub(crate) client: Client,
    pub(crate) identity: Identity,
    pub(crate) reach: Reach,
}

impl Docker {
    /// The driver. Nothing is opened or contacted yet.
    pub fn new(options: DockerOptions) -> Self {
        let layout = Layout::new(options.state.clone());
        Self {
            inner: Arc::new(Inner {
                options,
                layout,
                fences: Fences::default(),
                scopes: Arc::default(),
                job_changes: Hub::default(),
                job_news: Notify::new(),
                losses: AtomicU64::new(0),
                engine: OnceLock::new(),
                tracked: Mutex::default(),
                gates: Mutex::default(),
                jobs: Mutex::default(),
                secrets: tokio::sync::Mutex::default(),
                projects: tokio::sync::Mutex::default(),
                events: Mutex::default(),
            }),
        }
    }

    /// Whether a scope ever had a container here. Contacts nobody.
    pub fn knows(&self, scope: &Scope) -> bool {
        self.inner.layout.mark(scope).exists()
    }

    /// Whether there ever was a container or an image here. Contacts nobody.
    pub fn is_used(&self) -> bool {
        self.inner.layout.known().is_ok_and(|known| known.is_some())
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        self.inner.tracked().values().for_each(|tracked| tracked.let_go());
        let jobs = self.inner.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.values().for_each(AbortHandle::abort);
        if let Some(events) = self.inner.events.lock().unwrap_or_else(PoisonError::into_inner).take() {
            events.abort();
        }
    }
}

impl Inner {
    /// The engine of this state, which may be away.
    pub(crate) fn engine(&self) -> Result<&Engine, Fault> {
        if let Some(engine) = self.engine.get() {
            return Ok(engine);
        }
        let address = self.address()?;
        let identity = self.layout.identity(address.clone())?;
        let reach = Reach::of(&address, &self.layout);
        let client = Client::new(address, Some(self.layout.engine()));
        Ok(self.engine.get_or_init(|| Engine { client, identity, reach }))
    }

    /// Where the engine of this state is, or would be. Contacts nobody.
    pub(crate) fn address(&self) -> Result<Address, Fault> {
        let Some(known) = self.layout.known()? else { return self.options.endpoint.address() };
        // The files of TLS may have moved; the engine has not.
        match (&known.engine, self.options.endpoint.address()) {
            (Address::Tcp { tcp }, Ok(Address::Tcp { tcp: now })) if (&tcp.host, tcp.port) == (&now.host, now.port) => {
                Ok(Address::Tcp { tcp: now })
            }
            _ => Ok(known.engine),
        }
    }

    /// Remembers, durably, that a scope has containers.
    pub(crate) fn mark(&self, scope: &Scope) -> Result<(), Fault> {
        let path = self.layout.mark(scope);
        if path.exists() { Ok(()) } else { layout::write(&path, &scope.to_string()) }
    }

    /// The name of the container of an instance or a job.
    pub(crate) fn name(&self, id: &str) -> Result<String, Fault> {
        Ok(format!("{id}.{}", self.engine()?.identity.state))
    }

    /// Containers of this state with these labels besides.
    pub(crate) async fn containers(&self, with: &[(&str, &str)]) -> Result<Vec<ContainerSummary>, Trouble> {
        let engine = self.engine().map_err(Trouble::Away)?;
        let mut wanted = vec![format!("{}={}", labels::STATE, engine.identity.state)];
        wanted.extend(with.iter().map(|(name, value)| format!("{name}={value}")));
        let filters: HashMap<&str, Vec<String>> = [("label", wanted)].into();
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let ours = engine.client.call(USUAL, |api| async move { api.list_containers(Some(options)).await }).await;
        let mut all = ours?;
        all.extend(self.adopted_containers(with).await?);
        Ok(all)
    }

    /// One at a time for an instance or a job.
    pub(crate) fn gate(&self, id: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.retain(|_, gate| Arc::strong_count(gate) > 1);
        Arc::clone(gates.entry(id.to_owned()).or_default())
    }

    pub(crate) fn tracked(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Arc<Tracked>>> {
        self.tracked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, id: &InstanceId) -> Option<Arc<Tracked>> {
        self.tracked().get(id).cloned()
    }

    /// Listens to what the engine tells, from the first container on.
    pub(crate) fn listen(self: &Arc<Self>) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if events.as_ref().is_none_or(AbortHandle::is_finished) {
            *events = Some(tokio::spawn(events::listen(Arc::downgrade(self))).abort_handle());
        }
    }
}

/// Now, for people, and to tell one crash from a loop of them.
pub(crate) fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The end of a task that makes something, or a word that it takes long: it goes on, and is found by the next call.
pub(crate) async fn soon<T>(task: JoinHandle<Result<T, Fault>>, what: &str) -> Result<T, Fault> {
    match tokio::time::timeout(USUAL, task).await {
        Ok(done) => done.map_err(|e| bug(&e))?,
        Err(_) => {
            let message = format!("{what} is still being made: the Docker Engine takes more than {}", say(USUAL));
            Err(Fault { applied: Applied::Maybe, ..Fault::platform(message) }.hint("look at the engine's own log"))
        }
    }
}

pub(crate) fn bug(error: &tokio::task::JoinError) -> Fault {
    Fault::refused(FaultKind::Bug, format!("a task of the Docker driver died: {error}"))
}
