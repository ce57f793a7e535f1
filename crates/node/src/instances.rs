//! The port `Instances` on local processes.

use crate::bind::{Binder, process};
use crate::layout::{RunFolder, make_private};
use crate::minder::{self, Remains, Shim};
use crate::node::{Inner, Node, REMOVED};
use crate::probe;
use crate::records::{self, RunSpec, StopOrder};
use crate::shim::control::tell_stop;
use crate::spawn::{ShimFor, shims_of};
use crate::tracked::Tracked;
use crate::user;
use async_trait::async_trait;
use deployctl_core::config::Strategy;
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::{Fence, InstanceId, Scope, Sha256Hex};
use deployctl_core::instance::{Checked, InstanceSeen, InstanceSpec, InstanceState, Instances, LogLine, LogQuery};
use deployctl_core::time::Span;
use deployctl_runner::trouble::trouble;
use deployctl_sys::crash;
use deployctl_sys::lock::Lock;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use rustix::process::Signal;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A shim that has not ended its instance so long after the grace is taken for stuck.
pub(crate) const OVERDUE: Duration = Duration::from_secs(5);
/// So many instances are asked at once by somebody who wants to know how they are now.
const CHECKS_AT_ONCE: usize = 64;

#[async_trait]
impl Instances for Node {
    async fn admit(&self, scope: &Scope, fence: Fence) -> Result<(), Fault> {
        self.inner.fences.admit(self.inner.layout.state(), scope, fence)
    }

    async fn list(&self, scope: &Scope) -> Result<Vec<InstanceSeen>, Fault> {
        let mut seen: Vec<InstanceSeen> =
            self.inner.all().iter().filter(|t| t.scope() == scope).map(|t| t.seen()).collect();
        seen.sort_by(|a, b| (&a.revision, a.slot).cmp(&(&b.revision, b.slot)));
        Ok(seen)
    }

    async fn check(&self, scope: &Scope) -> Result<Vec<Checked>, Fault> {
        let mine = self.inner.all().into_iter().filter(|tracked| tracked.scope() == scope);
        let checks = mine.map(|tracked| {
            let node = Arc::clone(&self.inner);
            async move { probe::check(&node, &tracked).await }
        });
        let mut checked: Vec<Checked> =
            futures_util::stream::iter(checks).buffer_unordered(CHECKS_AT_ONCE).collect().await;
        checked.sort_by(|a, b| (&a.seen.revision, a.seen.slot).cmp(&(&b.seen.revision, b.seen.slot)));
        Ok(checked)
    }

    async fn start(&self, spec: &InstanceSpec, fence: Fence) -> Result<(), Fault> {
        let gate = self.inner.gate(spec.id.as_str()).lock_owned().await;
        if let Some(known) = self.inner.get(&spec.id) {
            match known.view().state() {
                InstanceState::Gone => {}
                InstanceState::Stopping => {
                    let message = format!("{} is being stopped; it can be started again when it is gone", spec.id);
                    return Err(Fault { retry: deployctl_core::fault::Retry::Soon, ..conflict(message) });
                }
                _ => return Ok(()),
            }
        }
        let (inner, wanted) = (Arc::clone(&self.inner), spec.clone());
        // Owned by the task, gate and all: a caller that goes away leaves nothing half done, nor done beside the next call.
        let starting = tokio::spawn(async move {
            let _gate = gate;
            inner.start_and_mind(wanted, fence).await
        });
        starting.await.map_err(|e| bug(&e))?
    }

    async fn stop(&self, scope: &Scope, id: &InstanceId, grace: Span, fence: Fence) -> Result<(), Fault> {
        self.inner.fences.admit(self.inner.layout.state(), scope, fence)?;
        let gate = self.inner.gate(id.as_str());
        let _gate = gate.lock().await;
        let Some(tracked) = self.inner.get(id).filter(|tracked| !tracked.view().gone) else { return Ok(()) };
        // On a full disk it cannot be written; the order itself needs no space.
        let _ = records::write(&tracked.folder.stop(), &StopOrder { grace_ms: grace });
        crash::point("node.stop-written");
        tracked.update(|view| view.stopping = Some(view.stopping.map_or(grace.0, |before| before.min(grace.0))));
        tracked.end_prober();
        let told = tell(&tracked.folder, grace.0).await;
        tokio::spawn(overdue(self.inner.layout.state().to_owned(), Arc::clone(&tracked), grace.0 + OVERDUE));
        told.map_err(|e| trouble("the shim cannot be told by", tracked.folder.path(), &e))
    }

    async fn forget(&self, scope: &Scope, id: &InstanceId, fence: Fence) -> Result<(), Fault> {
        self.inner.fences.admit(self.inner.layout.state(), scope, fence)?;
        let gate = self.inner.gate(id.as_str()).lock_owned().await;
        let Some(tracked) = self.inner.get(id) else { return Ok(()) };
        if !tracked.view().gone {
            return Err(conflict(format!("{id} is not gone yet, so what it left cannot be removed")));
        }
        let inner = Arc::clone(&self.inner);
        // Owned by the task, as at a start.
        let removing = tokio::task::spawn_blocking(move || {
            let _gate = gate;
            let folder = &tracked.folder;
            let cannot = |e| trouble("what is left of an instance cannot be removed from", folder.path(), &e);
            remove(folder).map_err(cannot)?;
            inner.drop_entry(&tracked.id);
            inner.reserve.fill();
            Ok(())
        });
        removing.await.map_err(|e| bug(&e))?
    }

    async fn changed(&self, scope: &Scope) {
        self.inner.scopes.changed(scope).await;
    }

    async fn stable_address(&self, scope: &Scope) -> Result<String, Fault> {
        let seed = self.inner.options.state.display().to_string();
        let port = self.inner.ports.stable(&self.inner.layout, scope, 0, &seed)?;
        Ok(format!("127.0.0.1:{port}"))
    }

    fn logs(&self, scope: &Scope, query: LogQuery) -> BoxStream<'static, Result<LogLine, Fault>> {
        crate::logs::stream(&self.inner, scope.clone(), query)
    }

    async fn artifacts_in_use(&self) -> Result<Vec<Sha256Hex>, Fault> {
        let all = self.inner.all();
        let used = all.iter().filter(|t| !t.view().gone).filter_map(|t| t.spec.artifact.clone());
        let mut used: Vec<Sha256Hex> = used.chain(self.inner.job_artifacts()).collect();
        used.sort();
        used.dedup();
        Ok(used)
    }
}

impl Inner {
    async fn start_and_mind(self: Arc<Self>, wanted: InstanceSpec, fence: Fence) -> Result<(), Fault> {
        let (inner, id) = (Arc::clone(&self), wanted.id.clone());
        let started = tokio::task::spawn_blocking(move || inner.start_run(&wanted, fence));
        let (run, folder, child) = started.await.map_err(|e| bug(&e))??;
        let shim = Shim::started(child).map_err(|e| trouble("the new shim cannot be watched in", folder.path(), &e))?;
        let tracked = self.make(id, run, folder);
        self.mind(tracked, Some(shim));
        Ok(())
    }

    /// Writes the record and starts the shim; the blocking part of a start.
    fn start_run(&self, wanted: &InstanceSpec, fence: Fence) -> Result<(RunSpec, RunFolder, Child), Fault> {
        self.fences.admit(self.layout.state(), &wanted.scope, fence)?;
        crate::limits::check(process(&wanted.release))?;
        let folder = self.layout.run(&wanted.id);
        let cannot = |e: io::Error| trouble("an instance cannot be prepared in", folder.path(), &e);
        let fresh = !folder.path().exists();
        self.reserve.with(|| make_private(folder.path())).map_err(cannot)?;
        let before: Option<RunSpec> = records::read(&folder.spec()).map_err(cannot)?;
        let family = crate::shim::family::Family::seen_from_outside(&self.layout, &folder, wanted.id.as_str());
        let lock = self.reserve.with(|| Lock::try_exclusive(&folder.lock())).map_err(cannot)?;
        let remains = || Ok::<_, io::Error>(!fresh && minder::remains(&folder, &family)? == Remains::Processes);
        let adopt = lock.is_none() || remains().map_err(cannot)?;
        let run = match before.filter(|_| adopt) {
            // It runs already, under a shim or without one: as it was started, that is what it is.
            Some(run) => run,
            None => {
                clean(&folder).map_err(cannot)?;
                let run = self.bind_run(wanted, &folder)?;
                // Not fsynced: it is of use only as long as the kernel runs that runs the instance.
                self.reserve.with(|| records::write(&folder.spec(), &run)).map_err(cannot)?;
                run
            }
        };
        crash::point("node.spec-written");
        drop(lock);
        let child = self.shim(ShimFor::Run, &run, &folder, None)?;
        crash::point("node.shim-spawned");
        Ok((run, folder, child))
    }

    fn bind_run(&self, wanted: &InstanceSpec, folder: &RunFolder) -> Result<RunSpec, Fault> {
        let config = process(&wanted.release);
        let app = &wanted.release.config;
        let stable = config.port && app.strategy == Strategy::Recreate && app.route.is_none();
        let tree = self.tree(&wanted.release)?;
        let port = if config.port { Some(self.port(wanted, stable)?) } else { None };
        let binder = Binder {
            layout: &self.layout,
            base: &self.options.base,
            scope: &wanted.scope,
            release: &wanted.release,
            binding: &wanted.binding,
            tree,
            folder: folder.clone(),
            port,
            slot: wanted.slot,
        };
        let mut bound = binder.instance(wanted)?;
        bound.spec.port_is_stable = stable;
        self.make_folders(&bound.spec, folder, bound.uses_data)?;
        Ok(bound.spec)
    }

    fn port(&self, wanted: &InstanceSpec, stable: bool) -> Result<u16, Fault> {
        let seed = self.options.state.display().to_string();
        if stable {
            return self.ports.stable(&self.layout, &wanted.scope, wanted.slot, &seed);
        }
        self.ports.free(wanted.id.as_str());
        self.ports.reserve(wanted.id.as_str(), &seed)
    }

    /// The artifact's folder, unpacked again if it is missing.
    pub(crate) fn tree(&self, release: &deployctl_core::release::Release) -> Result<Option<std::path::PathBuf>, Fault> {
        let Some(artifact) = &release.artifact else { return Ok(None) };
        self.store.ensure(artifact).map(Some).map_err(|error| {
            Fault::platform(error.to_string()).hint("deploy the version again: its artifact is then fetched anew")
        })
    }

    /// Makes the scratch folder, and the data folder if it is used, for the user who runs there.
    pub(crate) fn make_folders(&self, spec: &RunSpec, folder: &RunFolder, uses_data: bool) -> Result<(), Fault> {
        let owner = spec.user.as_deref().map(user::find).transpose();
        let owner = owner.map_err(|message| Fault::refused(FaultKind::Spec, message))?;
        let mut folders = vec![folder.scratch()];
        if uses_data {
            folders.push(self.layout.data(&spec.scope));
        }
        for path in folders {
            let made = self.reserve.with(|| make_private(&path)).and_then(|()| match &owner {
                Some(user) => give(self.layout.state(), &path, user),
                None => Ok(()),
            });
            made.map_err(|e| trouble("a folder cannot be made at", &path, &e))?;
        }
        Ok(())
    }
}

/// Gives `path` to `user`, and lets others pass through, not look into, the folders between it and the state folder.
fn give(state: &Path, path: &Path, user: &user::User) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid))?;
    for folder in path.ancestors().skip(1).take_while(|folder| folder.starts_with(state)) {
        let mode = fs::metadata(folder)?.permissions().mode();
        if mode & 0o011 != 0o011 {
            fs::set_permissions(folder, fs::Permissions::from_mode((mode & 0o777) | 0o011))?;
        }
    }
    Ok(())
}

/// Removes what an earlier run under this id wrote, but not what it printed.
fn clean(folder: &RunFolder) -> io::Result<()> {
    for path in [folder.stop(), folder.healthy(), folder.state()] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Tells the shim; one that is just starting reads the order from the disk or is told a moment later.
async fn tell(folder: &RunFolder, grace: Duration) -> io::Result<()> {
    let give_up = Instant::now() + Duration::from_secs(2);
    while !tell_stop(&folder.control(), grace)? {
        if !deployctl_sys::lock::is_held(&folder.lock())? || Instant::now() > give_up {
            // Its minder sees that the shim is gone, and starts one that stops what is left.
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// Tells the shim once more to stop: the engine that wrote the order down may have died before it told the shim, or while
/// it waited for it.
pub(crate) async fn order_again(state: PathBuf, tracked: Arc<Tracked>, grace: Duration) {
    let _ = tell(&tracked.folder, grace).await;
    overdue(state, tracked, grace + OVERDUE).await;
}

/// A shim that hangs, or was stopped by a signal, is killed; its minder starts another one, which ends the instance.
async fn overdue(state: PathBuf, tracked: Arc<Tracked>, span: Duration) {
    tokio::time::sleep(span).await;
    if tracked.view().gone {
        return;
    }
    let shims = tokio::task::spawn_blocking(move || shims_of(&state, ShimFor::Run, tracked.id.as_str()));
    for shim in shims.await.unwrap_or_default() {
        let _ = shim.signal(Signal::KILL);
    }
}

/// Renamed first: a removal that is cut short is finished by the next node, and never looks like a run.
fn remove(folder: &RunFolder) -> io::Result<()> {
    let name = folder.path().file_name().unwrap_or_default().to_string_lossy();
    let away = folder.path().with_file_name(format!("{REMOVED}{name}"));
    if away.exists() {
        fs::remove_dir_all(&away)?;
    }
    match fs::rename(folder.path(), &away) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => fs::remove_dir_all(&away),
    }
}

fn conflict(message: String) -> Fault {
    Fault::refused(FaultKind::Conflict, message)
}

pub(crate) fn bug(error: &tokio::task::JoinError) -> Fault {
    Fault::refused(FaultKind::Bug, format!("a task of the node runtime died: {error}"))
}
