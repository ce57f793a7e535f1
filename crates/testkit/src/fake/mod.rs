//! A target in memory: instances become ready at once, fail, or wait, by the release that they are copies of.
//!
//! Keeps the contract of [`crate::contract`], unless it is told to break a rule of it.

mod driver;
mod job;
mod rule;
mod target;

use deployctl_core::desired::{Desired, JobGate};
use deployctl_core::id::{InstanceId, JobId, Scope, Sha256Hex};
use deployctl_core::job::JobState;
pub use rule::Break;
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use target::Target;
use tokio::sync::watch;

/// A driver over a target in memory. [`Fake::again`] makes another one over the same target.
pub struct Fake {
    shared: Arc<Shared>,
    /// Which driver of the target it is.
    number: u64,
    /// The last change that somebody who waits for a scope was told of.
    told: Mutex<HashMap<Scope, u64>>,
}

#[derive(Default)]
struct Shared {
    target: Mutex<Target>,
    /// A counter per scope that grows with every change.
    changes: Mutex<HashMap<Scope, watch::Sender<u64>>>,
}

impl Default for Fake {
    fn default() -> Self {
        Self::over(Arc::default())
    }
}

impl Fake {
    fn over(shared: Arc<Shared>) -> Self {
        let number = lock(&shared.target).new_driver();
        Self { shared, number, told: Mutex::default() }
    }

    /// A fake that breaks a rule.
    pub fn that(rule: Break) -> Self {
        let fake = Self::default();
        fake.target().broken = Some(rule);
        fake
    }

    /// Another driver over the same target, as after a crash of whoever had this one.
    pub fn again(&self) -> Self {
        Self::over(self.shared.clone())
    }

    fn target(&self) -> MutexGuard<'_, Target> {
        lock(&self.shared.target)
    }

    /// Changes something of a scope and tells those who wait for it.
    fn change<T>(&self, scope: &Scope, change: impl FnOnce(&mut Target) -> T) -> T {
        let result = change(&mut self.target());
        if !self.target().breaks(Break::WakesNobody) {
            self.changes(scope).send_modify(|n| *n += 1);
        }
        result
    }

    /// Changes something that all scopes may see.
    fn change_all<T>(&self, change: impl FnOnce(&mut Target) -> T) -> T {
        let result = change(&mut self.target());
        lock(&self.shared.changes).values().for_each(|changes| changes.send_modify(|n| *n += 1));
        result
    }

    fn changes(&self, scope: &Scope) -> watch::Sender<u64> {
        lock(&self.shared.changes).entry(scope.clone()).or_default().clone()
    }

    /// Instances of this release exit at once.
    pub fn make_bad(&self, release: &Sha256Hex) {
        self.change_all(|target| target.bad.insert(release.clone()));
    }

    /// From now on others may change by hand what a release says, and changed these, until a deployment takes that back.
    pub fn lets_change(&self, what: &[&str]) {
        self.change_all(|target| target.drift = Some(what.iter().map(|line| (*line).to_owned()).collect()));
    }

    /// Instances of this release never become healthy, and nothing says why.
    pub fn make_silent(&self, release: &Sha256Hex) {
        self.change_all(|target| target.silent.insert(release.clone()));
    }

    /// Silent instances become healthy.
    pub fn speak(&self) {
        self.change_all(|target| target.silent.clear());
    }

    /// So many more calls fail, as if the target did not answer.
    pub fn fail_next(&self, calls: usize) {
        self.change_all(|target| target.faults = calls);
    }

    /// Every call is refused from now on.
    pub fn refuse_for_good(&self, why: &str) {
        self.change_all(|target| target.never = Some(why.into()));
    }

    /// What every release would change from now on, and how; or why it cannot.
    pub fn previews(&self, changes: Result<&[(&str, &str)], &str>) {
        let owned = |all: &[(&str, &str)]| all.iter().map(|(of, how)| ((*of).to_owned(), (*how).to_owned())).collect();
        let changes = changes.map(owned).map_err(str::to_owned);
        self.change_all(|target| target.previews = Some(changes));
    }

    /// Whether the target can be reached, from now on.
    pub fn cut_off(&self, is_cut_off: bool) {
        self.change_all(|target| target.is_cut_off = is_cut_off);
    }

    /// What is true of a scope, as if somebody had taken everything away.
    pub fn wipe(&self, scope: &Scope) {
        self.change(scope, |target| {
            target.take_away(scope, None);
            if let Some(place) = target.places.get_mut(scope) {
                (place.desired, place.shares) = Default::default();
            }
        });
    }

    /// Takes one instance away.
    pub fn take_away(&self, scope: &Scope, id: &InstanceId) {
        self.change(scope, |target| target.take_away(scope, Some(id)));
    }

    /// Every instance of a scope that runs, whoever knows of it.
    pub fn alive(&self, scope: &Scope) -> Vec<InstanceId> {
        self.target().alive(scope)
    }

    /// How jobs that are for this end, as soon as they are asked for again.
    pub fn job_ends(&self, gate: &JobGate, how: JobState) {
        self.change_all(|target| target.ends.push((gate.clone(), how)));
    }

    /// Ends all jobs that run.
    pub fn end_jobs(&self, how: &JobState) {
        self.change_all(|target| target.jobs.values_mut().for_each(|job| job.end(how.clone())));
    }

    /// What the jobs were for that were started, in this order.
    pub fn jobs_started(&self) -> Vec<JobGate> {
        self.target().started.clone()
    }

    /// How often a job began, and how many of its processes live.
    pub fn job(&self, id: &JobId) -> (usize, usize) {
        self.target().jobs.get(id).map_or((0, 0), |job| (job.begun, job.alive))
    }

    /// What was made true of a scope last.
    pub fn is(&self, scope: &Scope) -> Desired {
        self.target().places.get(scope).map(|place| place.desired.clone()).unwrap_or_default()
    }

    /// Which of `admit`, `observe` and `converge` were asked for in a scope, in their order.
    pub fn asked(&self, scope: &Scope) -> Vec<&'static str> {
        self.target().asked.get(scope).cloned().unwrap_or_default()
    }

    /// How many calls were refused because of their fence.
    pub fn refused(&self) -> usize {
        self.target().refused
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Others get a turn; here a caller may go away.
async fn turn() {
    let mut had = false;
    poll_fn(|context| {
        if std::mem::replace(&mut had, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
