//! The node: what runs on this machine below one state folder.

use crate::artifacts::Store;
use crate::layout::{Layout, RunFolder, make_private};
use crate::minder::{self, Remains, Shim};
use crate::notify::Folders;
use crate::options::NodeOptions;
use crate::ports::Ports;
use crate::probe;
use crate::records::{self, RunSpec};
use crate::reserve::Reserve;
use crate::shim::family::Family;
use crate::spawn::{ShimFor, Spawner};
use crate::tracked::Tracked;
use deployctl_core::fault::Fault;
use deployctl_core::id::{InstanceId, JobId, Scope, Sha256Hex};
use deployctl_core::instance::SecretValues;
use deployctl_runner::fence::Fences;
use deployctl_runner::hub::Hub;
use deployctl_runner::trouble::trouble;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::AbortHandle;

/// A folder whose removal began.
pub(crate) const REMOVED: &str = ".removed-";
/// How long until a shim that could not be started is tried again.
const RESHIM: Duration = Duration::from_secs(1);

/// The node runtime. Dropping it ends nothing that runs: instances and jobs belong to their shims.
pub struct Node {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) options: NodeOptions,
    pub(crate) layout: Layout,
    pub(crate) store: Store,
    pub(crate) fences: Fences,
    pub(crate) ports: Ports,
    pub(crate) reserve: Reserve,
    pub(crate) scopes: Arc<Hub<Scope>>,
    pub(crate) job_changes: Hub<JobId>,
    pub(crate) jobs: Mutex<BTreeMap<JobId, crate::jobs::Minded>>,
    pub(crate) folders: Option<Folders>,
    instances: Mutex<BTreeMap<InstanceId, Entry>>,
    gates: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

struct Entry {
    tracked: Arc<Tracked>,
    minder: Option<AbortHandle>,
}

impl Node {
    /// Finds what runs below the state folder and minds it from now on. Must be called inside a tokio runtime.
    /// When it returns, `list` is right: what was killed while nobody looked, or by a reboot, is gone.
    pub fn new(options: NodeOptions) -> Result<Self, Fault> {
        let layout = Layout::new(&options.state);
        for folder in [layout.runs(), layout.jobs()] {
            make_private(&folder).map_err(|e| trouble("the runtime's folder cannot be made at", &folder, &e))?;
        }
        let inner = Inner {
            store: Store::new(&options.state),
            fences: Fences::default(),
            ports: Ports::open(&layout, options.ports.clone())?,
            reserve: Reserve::open(&layout),
            scopes: Arc::default(),
            job_changes: Hub::default(),
            jobs: Mutex::default(),
            folders: Folders::open().ok(),
            instances: Mutex::default(),
            gates: Mutex::default(),
            layout,
            options,
        };
        let node = Self { inner: Arc::new(inner) };
        node.inner.find_runs()?;
        node.inner.forget_old_jobs();
        Ok(node)
    }

    /// The store of artifacts that instances run from.
    pub fn artifacts(&self) -> &Store {
        &self.inner.store
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for entry in self.inner.instances().values() {
            entry.tracked.end_prober();
            if let Some(minder) = &entry.minder {
                minder.abort();
            }
        }
        for job in self.inner.jobs.lock().unwrap_or_else(PoisonError::into_inner).values() {
            job.minder.abort();
        }
    }
}

impl Inner {
    /// The lock under which one run is started, stopped or removed.
    pub(crate) fn gate(&self, id: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.retain(|_, gate| Arc::strong_count(gate) > 1);
        Arc::clone(gates.entry(id.into()).or_default())
    }

    fn instances(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Entry>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All instances that are known.
    pub(crate) fn all(&self) -> Vec<Arc<Tracked>> {
        self.instances().values().map(|entry| Arc::clone(&entry.tracked)).collect()
    }

    /// The instance, if it is known.
    pub(crate) fn get(&self, id: &InstanceId) -> Option<Arc<Tracked>> {
        self.instances().get(id).map(|entry| Arc::clone(&entry.tracked))
    }

    /// Forgets the instance.
    pub(crate) fn drop_entry(&self, id: &InstanceId) {
        if let Some(entry) = self.instances().remove(id) {
            entry.tracked.end_prober();
            if let Some(minder) = entry.minder {
                minder.abort();
            }
            self.ports.free(id.as_str());
            self.scopes.bump(entry.tracked.scope());
        }
    }

    fn find_runs(self: &Arc<Self>) -> Result<(), Fault> {
        let runs = self.layout.runs();
        let cannot = |e| trouble("what runs cannot be read from", &runs, &e);
        for entry in fs::read_dir(&runs).map_err(cannot)? {
            let name = entry.map_err(cannot)?.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.starts_with(REMOVED) {
                let _ = fs::remove_dir_all(runs.join(name));
            } else if let Ok(id) = InstanceId::new(name) {
                self.find_run(id)?;
            }
        }
        Ok(())
    }

    fn find_run(self: &Arc<Self>, id: InstanceId) -> Result<(), Fault> {
        let folder = self.layout.run(&id);
        let unreadable = |e| trouble("a run's record cannot be read from", &folder.spec(), &e);
        let spec = match records::read::<RunSpec>(&folder.spec()) {
            Ok(Some(spec)) => spec,
            Err(error) if deployctl_sys::lock::is_held(&folder.live_lock()).unwrap_or(true) => {
                return Err(unreadable(error));
            }
            // The engine was killed before it had written it, or the machine before it was on the disk: nothing runs.
            Ok(None) | Err(_) => {
                let _ = fs::remove_dir_all(folder.path());
                return Ok(());
            }
        };
        if let Some(port) = spec.port.filter(|_| !spec.port_is_stable) {
            self.ports.note(port, id.as_str());
        }
        let tracked = self.make(id, spec, folder);
        let shimless = !deployctl_sys::lock::is_held(&tracked.folder.lock()).unwrap_or(true);
        if shimless && matches!(minder::remains(&tracked.folder, &tracked.family), Ok(Remains::Nothing)) {
            tracked.update(|view| view.gone = true);
            self.instances().insert(tracked.id.clone(), Entry { tracked, minder: None });
        } else {
            self.mind(Arc::clone(&tracked), None);
            let ordered = tracked.view().stopping;
            if let Some(grace) = ordered {
                let state = self.layout.state().to_owned();
                tokio::spawn(crate::instances::order_again(state, tracked, grace));
            }
        }
        Ok(())
    }

    /// What is known of a run, from its record.
    pub(crate) fn make(&self, id: InstanceId, spec: RunSpec, folder: RunFolder) -> Arc<Tracked> {
        let family = Family::seen_from_outside(&self.layout, &folder, id.as_str());
        Tracked::new(id, spec, folder, family, Arc::clone(&self.scopes))
    }

    /// Minds an instance from now on, whose shim may just have been started.
    pub(crate) fn mind(self: &Arc<Self>, tracked: Arc<Tracked>, shim: Option<Shim>) {
        let task = tokio::spawn(mind(Arc::clone(self), Arc::clone(&tracked), shim));
        let entry = Entry { tracked: Arc::clone(&tracked), minder: Some(task.abort_handle()) };
        if let Some(before) = self.instances().insert(tracked.id.clone(), entry) {
            before.tracked.end_prober();
            if let Some(minder) = before.minder {
                minder.abort();
            }
        }
        self.scopes.bump(tracked.scope());
    }

    /// The values of the secrets that a record refers to, if it refers to any.
    pub(crate) fn secrets(&self, spec: &RunSpec) -> Result<Option<SecretValues>, Fault> {
        if !spec.has_secrets() {
            return Ok(None);
        }
        let release: &Sha256Hex = &spec.revision.release;
        (self.options.secrets)(release).map(Some)
    }

    /// Starts a shim for a run.
    pub(crate) fn shim(
        &self,
        what: ShimFor,
        spec: &RunSpec,
        folder: &RunFolder,
        stop: Option<Duration>,
    ) -> Result<Child, Fault> {
        // What is to stop needs no secrets.
        let secrets = if stop.is_some() { None } else { self.secrets(spec)? };
        let child = self.spawner().shim(what, &spec.id, folder, secrets.as_ref(), stop);
        child.map_err(|e| trouble("no shim can be started from", &self.options.binary, &e))
    }

    /// How shims are started here.
    pub(crate) fn spawner(&self) -> Spawner<'_> {
        Spawner { binary: &self.options.binary, state: &self.options.state, env: &self.options.shim_env }
    }
}

async fn mind(node: Arc<Inner>, tracked: Arc<Tracked>, mut shim: Option<Shim>) {
    let watch = minder::watch(node.folders.as_ref(), &tracked.folder);
    let look = || {
        tracked.refresh();
        tracked.with_prober(|tracked, process| probe::start(Arc::clone(&node), tracked, process));
    };
    loop {
        let found = match shim.take() {
            Some(shim) => Some(shim),
            None => Shim::find(&tracked.folder).await.unwrap_or_default(),
        };
        if let Some(mut shim) = found {
            shim.attend(watch.as_ref(), look).await;
            continue;
        }
        let of = Arc::clone(&tracked);
        let remains = tokio::task::spawn_blocking(move || minder::remains(&of.folder, &of.family)).await;
        if matches!(remains, Ok(Ok(Remains::Nothing))) {
            tracked.end_prober();
            tracked.update(|view| view.gone = true);
            return;
        }
        let stop = tracked.view().stopping;
        let child = node.shim(ShimFor::Run, &tracked.spec, &tracked.folder, stop);
        shim = child.ok().and_then(|child| Shim::started(child).ok());
        if shim.is_none() {
            tokio::time::sleep(RESHIM).await;
        }
    }
}
