//! Commands of a deployment, each a Job in the namespace by the name of the run: whoever comes later finds it there.

use crate::apply::wanted;
use crate::cluster::{How, MANAGER};
use crate::places::Places;
use crate::record::{Entry, Record};
use crate::site::Site;
use crate::there::There;
use deployctl_core::config::{JobsAs, LatePart};
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::{Fence, JobId};
use deployctl_core::job::{JobSpec, JobState, Kept};
use deployctl_core::time::Span;
use deployctl_kubernetes::jobs::{self, Made, Make, OF, Run};
use deployctl_kubernetes::secrets;
use deployctl_runner::say;
use deployctl_sys::crash;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A Job that is told to go is waited for so long; then it is tried again.
const GONE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(200);

/// What is remembered of jobs while the engine runs.
#[derive(Default)]
pub(crate) struct Jobs {
    /// One at a time does something about a job.
    gates: Mutex<HashMap<JobId, Arc<tokio::sync::Mutex<()>>>>,
    /// Since when a job cannot begin.
    troubled: Mutex<HashMap<JobId, Instant>>,
}

impl Jobs {
    pub(crate) fn gate(&self, id: &JobId) -> Arc<tokio::sync::Mutex<()>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner).entry(id.clone()).or_default().clone()
    }

    fn troubled_for(&self, id: &JobId) -> Duration {
        let mut all = self.troubled.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(id.clone()).or_insert_with(Instant::now).elapsed()
    }

    fn untroubled(&self, id: &JobId) {
        self.troubled.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    fn forget(&self, id: &JobId) {
        self.untroubled(id);
        self.gates.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

/// A job, where it is kept and by whose right it is run.
pub(crate) struct Errand<'a> {
    pub(crate) spec: &'a JobSpec,
    pub(crate) like: &'a JobsAs,
    pub(crate) patience: Span,
    pub(crate) places: &'a Places,
    pub(crate) jobs: &'a Jobs,
    pub(crate) fence: Fence,
}

/// From now on a job does not begin, if it did not end already.
pub(crate) async fn never(places: &Places, id: &JobId) -> Result<(), Fault> {
    let end = Kept::Ended { ok: false, how: "stopped before its end".into(), last_lines: Vec::new() };
    keep(places, id, &end).await.map(drop)
}

/// What a job printed last that has ended.
pub(crate) async fn printed(places: &Places, id: &JobId) -> Vec<String> {
    match places.job(id).await {
        Ok(Some(Kept::Ended { last_lines, .. })) => last_lines,
        _ => Vec::new(),
    }
}

/// Keeps what is known of a job; if its end is known already, that is it.
async fn keep(places: &Places, id: &JobId, what: &Kept) -> Result<Option<JobState>, Fault> {
    let known = places.keep_job(id, what, |kept| *kept != Kept::Begun).await?;
    Ok(known.and_then(Kept::state))
}

impl Site {
    /// Begins a job, or finds the one that was begun, and says how it is.
    pub(crate) async fn job(&self, errand: &Errand<'_>) -> Result<JobState, Fault> {
        let id = &errand.spec.id;
        let kept: Option<Kept> = errand.places.job(id).await?;
        let begun = kept.is_some();
        if let Some(state) = kept.and_then(Kept::state) {
            self.remove_job(id, "Background").await?;
            return Ok(state);
        }
        let record = self.admitted(errand.fence).await?;
        let job = match self.found_job(id).await? {
            None if begun && !errand.spec.command.repeatable => {
                // Somebody deleted it: nobody knows what it did.
                return Ok(keep(errand.places, id, &Kept::Lost).await?.unwrap_or(JobState::Unknown));
            }
            None => self.make_job(errand, record).await?,
            Some(job) => job,
        };
        let pods = self.pods_of(id).await?;
        match jobs::run(&job, &pods, &errand.like.container) {
            Run::Suspended => self.begin_job(errand, &job).await,
            Run::Running => {
                errand.jobs.untroubled(id);
                Ok(JobState::Running)
            }
            Run::Troubled(_) if errand.jobs.troubled_for(id) < errand.patience.0 => Ok(JobState::Running),
            Run::Troubled(why) => {
                let how = format!("it could not begin within {}: {why}", say(errand.patience.0));
                self.end_job(errand, Kept::Ended { ok: false, how, last_lines: Vec::new() }).await
            }
            Run::Succeeded => {
                let (how, last_lines) = ("exit 0".to_owned(), self.printed(errand, &pods).await);
                self.end_job(errand, Kept::Ended { ok: true, how, last_lines }).await
            }
            Run::Failed(how) => {
                let how = how.unwrap_or_else(|| format!("killed after {}", say(errand.spec.command.timeout.0)));
                let last_lines = self.printed(errand, &pods).await;
                self.end_job(errand, Kept::Ended { ok: false, how, last_lines }).await
            }
        }
    }

    /// Ends a job for good; returns when it is gone.
    pub(crate) async fn kill_job(&self, places: &Places, id: &JobId, fence: Fence) -> Result<(), Fault> {
        self.admitted(fence).await?;
        never(places, id).await?;
        let end = Instant::now() + GONE;
        while self.remove_job(id, "Foreground").await? {
            if Instant::now() > end {
                return Err(Fault::platform(format!("Job/{id} is told to go, and is still there")));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    fn jobs_path(&self, id: &JobId) -> String {
        format!("/apis/batch/v1/namespaces/{}/jobs/{id}", self.namespace)
    }

    async fn found_job(&self, id: &JobId) -> Result<Option<Value>, Fault> {
        let what = format!("Job/{id}");
        let job = self.cluster.find(&self.jobs_path(id)).await.map_err(|trouble| self.fault(trouble, &what))?;
        if job.as_ref().is_some_and(|job| job["metadata"]["labels"][OF] != id.as_str()) {
            let message = format!("{what} is in `{}` already, and deployctl did not make it", self.namespace);
            return Err(Fault::refused(FaultKind::Conflict, message).hint("delete or rename it"));
        }
        Ok(job)
    }

    /// Makes what the Job needs, and then the Job, which does not begin yet.
    async fn make_job(&self, errand: &Errand<'_>, record: Option<Record>) -> Result<Value, Fault> {
        let made = self.made(errand)?;
        self.make_needs(errand, &made, record).await?;
        crash::point("kubernetes.job-needs-made");
        let what = format!("Job/{}", errand.spec.id);
        let job = self.cluster.create(&format!("/apis/batch/v1/namespaces/{}/jobs", self.namespace), &made.job).await;
        let job = job.map_err(|trouble| self.fault(trouble, &what))?;
        crash::point("kubernetes.job-created");
        Ok(job)
    }

    fn made(&self, errand: &Errand<'_>) -> Result<Made, Fault> {
        let JobSpec { id, release, command, .. } = errand.spec;
        let bug = |why: String| Fault::refused(FaultKind::Bug, why);
        let late = |part: &LatePart| Err::<String, _>(bug(format!("a job in a cluster has no {part:?}")));
        let run: Result<Vec<String>, Fault> = command.run.iter().map(|text| text.bind(late)).collect();
        let objects: Vec<Value> = wanted(release)?.into_iter().map(|wanted| wanted.manifest.object).collect();
        let (set, run) = (self.set(), run?);
        let make = Make {
            name: id.as_str(),
            set: &set,
            workload: &errand.like.workload,
            container: &errand.like.container,
            command: &run,
            seconds: command.timeout.0.as_secs(),
        };
        jobs::made(&objects, &make).ok_or_else(|| bug(format!("the release has no workload `{}`", make.workload)))
    }

    /// What the Job's pod needs and the release brings: its Secrets, and accounts and claims that are not there yet. It is
    /// written down before, so that it goes if the release does not stay.
    async fn make_needs(&self, errand: &Errand<'_>, made: &Made, record: Option<Record>) -> Result<(), Fault> {
        let release = &errand.spec.release;
        let mut all = wanted(release)?;
        let mut there = BTreeSet::new();
        all.retain(|wanted| {
            made.needs.iter().any(|(kind, name)| *kind == wanted.name.kind && *name == wanted.name.name)
        });
        for wanted in &all {
            if self.find(&wanted.entry).await?.is_some() {
                there.insert(wanted.entry.clone());
            }
        }
        all.retain(|wanted| !there.contains(&wanted.entry));
        let record = record.unwrap_or_else(|| Record::new(self.state.clone()));
        let new = all.iter().map(|wanted| wanted.entry.clone()).filter(|entry| !record.has(entry));
        let kept: Vec<Entry> = record.kept.iter().cloned().chain(new).collect();
        let next = Record { kept, fence: record.fence.max(errand.fence), ..record.clone() };
        // Whoever comes late meets the fence of who ran a job.
        if next != record || record.version.is_none() {
            self.write(&next).await?;
        }
        for wanted in &all {
            match secrets::is_versioned(&wanted.manifest.object) {
                true => self.secret(wanted, || (self.secrets)(&release.id())).await?,
                false => self.apply(wanted, &record, &There::default(), false).await?,
            }
        }
        Ok(())
    }

    /// Its own copies of what it reads, and then it may begin.
    async fn begin_job(&self, errand: &Errand<'_>, job: &Value) -> Result<JobState, Fault> {
        let id = &errand.spec.id;
        for mut copy in self.made(errand)?.config {
            let owner = json!({ "apiVersion": "batch/v1", "kind": "Job", "name": id, "uid": job["metadata"]["uid"] });
            copy["metadata"]["ownerReferences"] = json!([owner]);
            let name = copy["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let path = format!("/api/v1/namespaces/{}/configmaps/{name}", self.namespace);
            let how = How { force: true, dry: false };
            let done = self.cluster.apply(&path, &copy, how).await;
            done.map_err(|trouble| self.fault(trouble, &format!("ConfigMap/{name}")))?;
        }
        if let Some(state) = keep(errand.places, id, &Kept::Begun).await? {
            // Somebody else brought it to its end, and this Job was made since.
            self.remove_job(id, "Background").await?;
            return Ok(state);
        }
        crash::point("kubernetes.job-written");
        let go = json!({ "spec": { "suspend": false } });
        let done = self.cluster.merge(&self.jobs_path(id), &go, MANAGER).await;
        done.map_err(|trouble| self.fault(trouble, &format!("Job/{id}")))?;
        crash::point("kubernetes.job-started");
        Ok(JobState::Running)
    }

    /// Keeps how it ended, and takes it away.
    async fn end_job(&self, errand: &Errand<'_>, end: Kept) -> Result<JobState, Fault> {
        let id = &errand.spec.id;
        let known = keep(errand.places, id, &end).await?;
        crash::point("kubernetes.job-ended");
        errand.jobs.forget(id);
        self.remove_job(id, "Background").await?;
        Ok(known.or(end.state()).unwrap_or(JobState::Unknown))
    }

    /// Tells a Job to go, if it is there; whether it was.
    async fn remove_job(&self, id: &JobId, how: &str) -> Result<bool, Fault> {
        let Some(job) = self.found_job(id).await? else { return Ok(false) };
        if job["metadata"]["deletionTimestamp"].is_null() {
            let options = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": how });
            match self.cluster.delete(&self.jobs_path(id), &options).await {
                Err(trouble) if trouble.status() == Some(404) => return Ok(false),
                done => done.map_err(|trouble| self.fault(trouble, &format!("Job/{id}")))?,
            }
            crash::point("kubernetes.job-removed");
        }
        Ok(true)
    }

    async fn pods_of(&self, id: &JobId) -> Result<Vec<Value>, Fault> {
        let pods = format!("/api/v1/namespaces/{}/pods", self.namespace);
        let list = self.cluster.get(&format!("{pods}?labelSelector=batch.kubernetes.io%2Fjob-name%3D{id}")).await;
        let mut list = list.map_err(|trouble| self.fault(trouble, "Pod"))?;
        Ok(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    /// What it printed last, without the values of secrets.
    async fn printed(&self, errand: &Errand<'_>, pods: &[Value]) -> Vec<String> {
        let Some(pod) = pods.iter().find_map(|pod| pod["metadata"]["name"].as_str()) else { return Vec::new() };
        let container = Some(errand.like.container.as_str());
        self.printed_last(pod, container, Some(&errand.spec.release.id())).await
    }
}
