//! The port `Jobs` on local processes.

use crate::bind::Binder;
use crate::instances::{OVERDUE, bug};
use crate::layout::make_private;
use crate::minder::{self, Remains, Shim};
use crate::node::{Inner, Node};
use crate::records::{self, JobResult, RunSpec, StopOrder};
use crate::shim::control::tell_stop;
use crate::shim::family::Family;
use crate::spawn::{ShimFor, shims_of};
use crate::tail::last_lines;
use crate::tracked::LAST_LINES;
use async_trait::async_trait;
use deployctl_core::config::Smoke;
use deployctl_core::fault::Fault;
use deployctl_core::id::{Fence, JobId, Scope, Sha256Hex};
use deployctl_core::job::{JobSpec, JobState, Jobs};
use deployctl_core::time::Span;
use deployctl_runner::trouble::trouble;
use deployctl_sys::{crash, lock};
use std::io;
use std::process::Child;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;

/// What a job left is kept this long after its end.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// A job whose shim is minded.
pub(crate) struct Minded {
    pub(crate) minder: AbortHandle,
    pub(crate) artifact: Option<Sha256Hex>,
}

/// What a job's folder says.
enum Found {
    /// How it is; nothing is to be done.
    State(JobState),
    /// It runs under a shim that nobody minds yet.
    Owned(RunSpec),
    /// A shim must be started: to begin it, to watch what lives of it, or to tidy up after it.
    Needs(Option<RunSpec>),
}

#[async_trait]
impl Jobs for Node {
    async fn run(&self, job: &JobSpec, fence: Fence) -> Result<JobState, Fault> {
        self.inner.fences.admit(self.inner.layout.state(), &job.scope, fence)?;
        let gate = self.inner.gate(job.id.as_str()).lock_owned().await;
        let (inner, wanted) = (Arc::clone(&self.inner), job.clone());
        // Owned by the task, gate and all: a caller that goes away leaves nothing half done, nor done after a kill.
        let looking = tokio::task::spawn_blocking(move || (inner.run_job(&wanted), gate));
        let (looked, _gate) = looking.await.map_err(|e| bug(&e))?;
        match looked? {
            Looked::State(state) => Ok(state),
            Looked::Runs(spec, child) => {
                let shim = child.map(Shim::started).transpose();
                let folder = self.inner.layout.job(&job.id);
                let shim = shim.map_err(|e| trouble("the job's shim cannot be watched in", folder.path(), &e))?;
                self.inner.mind_job(&job.id, spec.artifact, shim);
                Ok(JobState::Running)
            }
        }
    }

    async fn kill(&self, scope: &Scope, id: &JobId, fence: Fence) -> Result<(), Fault> {
        self.inner.fences.admit(self.inner.layout.state(), scope, fence)?;
        let gate = self.inner.gate(id.as_str());
        let _gate = gate.lock().await;
        let folder = self.inner.layout.job(id);
        let cannot = |e: io::Error| trouble("a job cannot be killed in", folder.path(), &e);
        let Some(spec) = records::read::<RunSpec>(&folder.spec()).map_err(cannot)? else {
            return self.inner.bury_job(id).map_err(cannot);
        };
        let family = Family::seen_from_outside(&self.inner.layout, &folder, id.as_str());
        let _ = records::write(&folder.stop(), &StopOrder { grace_ms: Span::ms(0) });
        let mut due = Instant::now() + OVERDUE;
        loop {
            if !tell_stop(&folder.control(), Duration::ZERO).map_err(cannot)?
                && !lock::is_held(&folder.lock()).map_err(cannot)?
            {
                let (of, family) = (folder.clone(), family.clone());
                let remains = tokio::task::spawn_blocking(move || minder::remains(&of, &family));
                if remains.await.map_err(|e| bug(&e))?.map_err(cannot)? == Remains::Nothing {
                    self.inner.bury_job(id).map_err(cannot)?;
                    self.inner.job_changes.bump(id);
                    return Ok(());
                }
                // Its shim was killed: another one ends what is left.
                let child = self.inner.shim(ShimFor::Job, &spec, &folder, Some(Duration::ZERO))?;
                let mut shim = Shim::started(child).map_err(cannot)?;
                shim.attend(None, || {}).await;
            }
            if Instant::now() > due {
                // It was stopped, or hangs, and does not do as it is told.
                let (state, of) = (self.inner.layout.state().to_owned(), id.clone());
                let shims = tokio::task::spawn_blocking(move || shims_of(&state, ShimFor::Job, of.as_str()));
                for shim in shims.await.map_err(|e| bug(&e))? {
                    let _ = shim.signal(rustix::process::Signal::KILL);
                }
                due = Instant::now() + OVERDUE;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn changed(&self, _scope: &Scope, id: &JobId) {
        self.inner.job_changes.changed(id).await;
    }

    async fn smoke(&self, address: &str, smoke: &Smoke) -> Result<Result<(), String>, Fault> {
        deployctl_runner::smoke::smoke(address, smoke).await
    }
}

enum Looked {
    State(JobState),
    Runs(Box<RunSpec>, Option<Child>),
}

impl Inner {
    fn minded(&self) -> MutexGuard<'_, std::collections::BTreeMap<JobId, Minded>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The artifacts of jobs that run.
    pub(crate) fn job_artifacts(&self) -> Vec<Sha256Hex> {
        let minded = self.minded();
        let running = minded.values().filter(|job| !job.minder.is_finished());
        running.filter_map(|job| job.artifact.clone()).collect()
    }

    /// Removes what jobs left that ended long ago: their outcome is in the journal.
    pub(crate) fn forget_old_jobs(&self) {
        for entry in std::fs::read_dir(self.layout.jobs()).into_iter().flatten().flatten() {
            let folder = crate::layout::RunFolder(entry.path());
            let result = records::read::<JobResult>(&folder.result()).unwrap_or_default();
            let is_old = result.is_some_and(|result| crate::clock::now().since(result.at) > KEPT);
            if is_old && !lock::is_held(&folder.lock()).unwrap_or(true) {
                let _ = std::fs::remove_dir_all(folder.path());
            }
        }
    }

    fn run_job(&self, job: &JobSpec) -> Result<Looked, Fault> {
        let folder = self.layout.job(&job.id);
        let cannot = |e: io::Error| trouble("a job cannot be run in", folder.path(), &e);
        self.reserve.with(|| make_private(folder.path())).map_err(cannot)?;
        let spec = match self.find_job(job).map_err(cannot)? {
            Found::State(state) => return Ok(Looked::State(state)),
            Found::Owned(spec) => return Ok(Looked::Runs(Box::new(spec), None)),
            Found::Needs(Some(spec)) => spec,
            Found::Needs(None) => {
                let spec = self.bind_job(job)?;
                self.reserve.with(|| records::write_durable(&folder.spec(), &spec)).map_err(cannot)?;
                deployctl_sys::durable::sync_folder(folder.path()).map_err(cannot)?;
                crash::point("node.job-written");
                spec
            }
        };
        let child = self.shim(ShimFor::Job, &spec, &folder, None)?;
        crash::point("node.job-spawned");
        Ok(Looked::Runs(Box::new(spec), Some(child)))
    }

    fn find_job(&self, job: &JobSpec) -> io::Result<Found> {
        let folder = self.layout.job(&job.id);
        if let Some(result) = records::read::<JobResult>(&folder.result())? {
            let lines = || last_lines(&folder, 0, LAST_LINES);
            return Ok(Found::State(match result.ok {
                true => JobState::Succeeded,
                false => JobState::Failed { reason: result.how, last_lines: lines() },
            }));
        }
        let Some(spec) = records::read::<RunSpec>(&folder.spec())? else { return Ok(Found::Needs(None)) };
        if self.minded().get(&job.id).is_some_and(|job| !job.minder.is_finished()) {
            return Ok(Found::State(JobState::Running));
        }
        if lock::is_held(&folder.lock())? {
            return Ok(Found::Owned(spec));
        }
        let family = Family::seen_from_outside(&self.layout, &folder, job.id.as_str());
        let begun = folder.begun().exists();
        let gone = minder::remains(&folder, &family)? == Remains::Nothing;
        // It may have ended, and its shim written the result, since the first look.
        if folder.result().exists() {
            return self.find_job(job);
        }
        if begun && gone && !job.command.repeatable {
            return Ok(Found::State(JobState::Unknown));
        }
        Ok(Found::Needs(Some(spec)))
    }

    /// Leaves the mark that a job of which nothing lives was killed, unless it has an end already: it never begins (again).
    fn bury_job(&self, id: &JobId) -> io::Result<()> {
        let folder = self.layout.job(id);
        if folder.result().exists() {
            return Ok(());
        }
        let killed = JobResult { ok: false, how: "stopped before its end".into(), at: crate::clock::now() };
        self.reserve.with(|| {
            make_private(folder.path())?;
            records::write_durable(&folder.result(), &killed)
        })
    }

    fn bind_job(&self, job: &JobSpec) -> Result<RunSpec, Fault> {
        crate::limits::check(crate::bind::process(&job.release))?;
        let folder = self.layout.job(&job.id);
        let binder = Binder {
            layout: &self.layout,
            base: &self.options.base,
            scope: &job.scope,
            release: &job.release,
            binding: &job.binding,
            tree: self.tree(&job.release)?,
            folder: folder.clone(),
            port: None,
            slot: 0,
        };
        let bound = binder.job(job)?;
        self.make_folders(&bound.spec, &folder, bound.uses_data)?;
        Ok(bound.spec)
    }

    fn mind_job(self: &Arc<Self>, id: &JobId, artifact: Option<Sha256Hex>, shim: Option<Shim>) {
        let (node, of) = (Arc::clone(self), id.clone());
        let minder = tokio::spawn(async move {
            let folder = node.layout.job(&of);
            let watch = minder::watch(node.folders.as_ref(), &folder);
            let mut shim = shim;
            while let Some(mut owner) = match shim.take() {
                Some(shim) => Some(shim),
                None => Shim::find(&folder).await.unwrap_or_default(),
            } {
                owner.attend(watch.as_ref(), || node.job_changes.bump(&of)).await;
            }
        });
        self.minded().insert(id.clone(), Minded { minder: minder.abort_handle(), artifact });
        let (node, of) = (Arc::clone(self), id.clone());
        tokio::spawn(async move {
            // Bumped once more when it is certain that the minder has finished: then `run` looks anew.
            let _ = minder.await;
            node.job_changes.bump(&of);
        });
    }
}
