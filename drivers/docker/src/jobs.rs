//! The port `Jobs` on containers: one per job, by its name, and what became of it in a file.

use crate::client::{USUAL, WORK};
use crate::docker::{Docker, Inner, bug, now, soon};
use crate::logs::last_lines;
use crate::view::{Look, moment};
use crate::{compose, labels, layout, minder, request};
use async_trait::async_trait;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{InspectContainerOptions, StartContainerOptions};
use deployctl_core::config::Smoke;
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::{Fence, JobId, Scope};
use deployctl_core::job::{JobSpec, JobState, Jobs, Kept};
use deployctl_runner::say;
use deployctl_sys::crash;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// The engine tells when a job ends; this often it is asked all the same.
const LOOK: Duration = Duration::from_secs(1);

#[async_trait]
impl Jobs for Docker {
    async fn run(&self, job: &JobSpec, fence: Fence) -> Result<JobState, Fault> {
        self.inner.fences.admit(self.inner.layout.state(), &job.scope, fence)?;
        let gate = self.inner.gate(job.id.as_str()).lock_owned().await;
        let (inner, job, job_id) = (Arc::clone(&self.inner), job.clone(), job.id.clone());
        // Owned by the task, gate and all: a caller that goes away leaves nothing half done, nor done after a kill.
        let run = async move {
            let _gate = gate;
            inner.run_job(&job, fence).await
        };
        soon(tokio::spawn(run), &format!("the job {}", job_id)).await
    }

    async fn kill(&self, scope: &Scope, id: &JobId, fence: Fence) -> Result<(), Fault> {
        self.inner.fences.admit(self.inner.layout.state(), scope, fence)?;
        let gate = self.inner.gate(id.as_str()).lock_owned().await;
        let (inner, id, is_known) = (Arc::clone(&self.inner), id.clone(), self.knows(scope));
        let kill = async move {
            let _gate = gate;
            let how = "stopped before its end".to_owned();
            if is_known {
                return inner.end_job(&id, false, how, Vec::new()).await;
            }
            // Nothing of the scope ever was a container: there is nothing to end, and no engine is asked.
            inner.keep_end(&id, Kept::Ended { ok: false, how, last_lines: Vec::new() })
        };
        tokio::spawn(kill).await.map_err(|e| bug(&e))?
    }

    async fn changed(&self, _scope: &Scope, id: &JobId) {
        self.inner.job_changes.changed(id).await;
    }

    async fn smoke(&self, address: &str, smoke: &Smoke) -> Result<Result<(), String>, Fault> {
        deployctl_runner::smoke::smoke(address, smoke).await
    }
}

impl Inner {
    async fn run_job(self: &Arc<Self>, job: &JobSpec, fence: Fence) -> Result<JobState, Fault> {
        let path = self.layout.job(&job.id);
        let kept: Option<Kept> = layout::read(&path)?;
        let begun = kept.is_some();
        if let Some(state) = kept.and_then(Kept::state) {
            // Who wrote that down may have been killed before the container was away.
            self.clear_job(&job.id).await?;
            return Ok(state);
        }
        self.mark(&job.scope)?;
        self.listen();
        let name = self.name(job.id.as_str())?;
        let there = self.inspect_job(&name).await?;
        match there {
            None if begun && !job.command.repeatable => {
                // Somebody removed its container: nobody knows what it did.
                layout::write(&path, &Kept::Lost)?;
                Ok(JobState::Unknown)
            }
            None => {
                let wanted = request::job(job)?;
                self.make(&name, labels::JOB, job.id.as_str(), &wanted, &job.release, fence).await?;
                crash::point("docker.job-created");
                self.begin_job(job, &name).await
            }
            Some(there) => {
                let look = Look::of(&there, "");
                if look.is_new() {
                    return self.begin_job(job, &name).await;
                }
                if look.is_over() {
                    return self.judge_job(&job.id, &there, job.command.repeatable).await;
                }
                self.mind_job(&job.id, job.command.timeout.0, job.command.repeatable);
                Ok(JobState::Running)
            }
        }
    }

    async fn inspect_job(&self, name: &str) -> Result<Option<ContainerInspectResponse>, Fault> {
        let engine = self.engine()?;
        let of = name.to_owned();
        let inspect = engine
            .client
            .call(USUAL, |api| async move { api.inspect_container(&of, None::<InspectContainerOptions>).await });
        let there = match inspect.await {
            Ok(there) => there,
            Err(trouble) if trouble.is_missing() => return Ok(None),
            Err(trouble) => return Err(trouble.fault("a job's container cannot be looked at")),
        };
        let labels = there.config.as_ref().and_then(|config| config.labels.clone()).unwrap_or_default();
        if labels::read(&labels, &engine.identity.state).is_none() {
            let message = format!("there is a container {name} that deployctl did not make");
            return Err(Fault::refused(FaultKind::Conflict, message).hint("remove or rename it"));
        }
        Ok(Some(there))
    }

    async fn begin_job(self: &Arc<Self>, job: &JobSpec, name: &str) -> Result<JobState, Fault> {
        layout::write(&self.layout.job(&job.id), &Kept::Begun)?;
        crash::point("docker.job-written");
        let engine = self.engine()?;
        let config = request::docker(&job.release)?;
        let aliases = config.compose.as_ref().map(|service| compose::aliases(service)).unwrap_or_default();
        let connected = minder::connect(self, name, &config.networks, &aliases).await;
        connected.map_err(|trouble| trouble.fault("a job cannot be connected to its networks"))?;
        let of = name.to_owned();
        let start = engine
            .client
            .call(WORK, |api| async move { api.start_container(&of, None::<StartContainerOptions>).await });
        if let Err(trouble) = start.await {
            let fault = trouble.fault("a job cannot be started");
            let look = self.inspect_job(name).await?.map(|there| Look::of(&there, ""));
            // The program cannot be run: not found, or no permission. That is how the job ends.
            if look.as_ref().is_some_and(|look| matches!(look.exit, 126 | 127)) || fault.kind == FaultKind::Spec {
                self.end_job(&job.id, false, fault.message.clone(), Vec::new()).await?;
                return Ok(JobState::Failed { reason: fault.message, last_lines: Vec::new() });
            }
            return Err(fault);
        }
        crash::point("docker.job-started");
        self.mind_job(&job.id, job.command.timeout.0, job.command.repeatable);
        Ok(JobState::Running)
    }

    /// How a job ended whose container is over.
    async fn judge_job(
        self: &Arc<Self>,
        id: &JobId,
        there: &ContainerInspectResponse,
        repeatable: bool,
    ) -> Result<JobState, Fault> {
        let look = Look::of(there, "");
        let watched = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).contains_key(id);
        // The engine ends what it finds running when it starts after a crash: that is not how the command ended.
        let torn = matches!(look.exit, 137 | 255) && !look.out_of_memory;
        let lost = self.losses.load(Ordering::Relaxed) > 0 || !watched;
        if torn && lost {
            let name = self.name(id.as_str())?;
            self.remove(&name, true).await?;
            self.job_changes.bump(id);
            // Begun by the next call, as if it never was, if that is as good.
            if !repeatable {
                layout::write(&self.layout.job(id), &Kept::Lost)?;
                return Ok(JobState::Unknown);
            }
            return Ok(JobState::Running);
        }
        let lines = last_lines(self, there.id.as_deref().unwrap_or_default()).await;
        let (ok, how) = (look.exit == 0, look.how());
        self.end_job(id, ok, how.clone(), lines.clone()).await?;
        Ok(if ok { JobState::Succeeded } else { JobState::Failed { reason: how, last_lines: lines } })
    }

    /// Keeps how a job ended, unless it has an end already, and removes its container, running or not: it never begins
    /// (again).
    async fn end_job(&self, id: &JobId, ok: bool, how: String, lines: Vec<String>) -> Result<(), Fault> {
        self.keep_end(id, Kept::Ended { ok, how, last_lines: lines })?;
        crash::point("docker.job-ended");
        self.clear_job(id).await?;
        self.job_changes.bump(id);
        Ok(())
    }

    /// Removes the container of a job that has an end, if it is there.
    async fn clear_job(&self, id: &JobId) -> Result<(), Fault> {
        let name = self.name(id.as_str())?;
        if self.inspect_job(&name).await?.is_some() {
            self.remove(&name, true).await?;
            self.sweep_secrets().await;
        }
        Ok(())
    }

    /// Writes down how a job ended, unless it has an end already.
    fn keep_end(&self, id: &JobId, end: Kept) -> Result<(), Fault> {
        let path = self.layout.job(id);
        let kept: Option<Kept> = layout::read(&path)?;
        match kept.and_then(|kept| kept.state()) {
            Some(_) => Ok(()),
            None => layout::write(&path, &end),
        }
    }

    /// Watches a job until its container is over, and ends it when its time is up.
    fn mind_job(self: &Arc<Self>, id: &JobId, limit: Duration, repeatable: bool) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.retain(|_, minder| !minder.is_finished());
        if jobs.contains_key(id) {
            return;
        }
        let (inner, of) = (Arc::clone(self), id.clone());
        let minder = tokio::spawn(async move { watch(&inner, &of, limit, repeatable).await });
        jobs.insert(id.clone(), minder.abort_handle());
    }
}

async fn watch(inner: &Arc<Inner>, id: &JobId, limit: Duration, repeatable: bool) {
    let Ok(name) = inner.name(id.as_str()) else { return };
    loop {
        let looked = inner.inspect_job(&name).await;
        if let Ok(Some(there)) = &looked {
            let look = Look::of(there, "");
            if look.is_over() {
                let gate = inner.gate(id.as_str());
                let _gate = gate.lock().await;
                if inner.judge_job(id, there, repeatable).await.is_ok() {
                    return;
                }
            }
            let begun = there.state.as_ref().and_then(|state| moment(state.started_at.as_deref()?));
            if begun.is_some_and(|begun| now().since(begun) >= limit) && look.is_running() {
                let gate = inner.gate(id.as_str());
                let _gate = gate.lock().await;
                let lines = last_lines(inner, there.id.as_deref().unwrap_or_default()).await;
                if inner.end_job(id, false, format!("killed after {}", say(limit)), lines).await.is_ok() {
                    return;
                }
            }
        }
        if matches!(looked, Ok(None)) {
            inner.job_changes.bump(id);
            return;
        }
        if looked.is_err() {
            sleep(Duration::from_millis(250)).await;
        }
        let pause = LOOK.min(limit / 4).max(Duration::from_millis(50));
        let _ = timeout(pause, inner.job_news.notified()).await;
    }
}
