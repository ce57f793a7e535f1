//! One instance as the engine's process knows it.

use crate::clock::now;
use crate::layout::RunFolder;
use crate::records::{self, Proc, RunSpec, RunState, StopOrder};
use crate::shim::family::Family;
use crate::tail::last_lines;
use crate::view::{Failure, Health, View};
use deployctl_core::id::{InstanceId, Scope};
use deployctl_core::instance::{InstanceSeen, InstanceState};
use deployctl_core::time::Millis;
use deployctl_runner::hub::Scopes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::AbortHandle;

/// So many of its last lines are shown with a failure.
pub(crate) const LAST_LINES: usize = 20;

/// One instance.
pub(crate) struct Tracked {
    pub(crate) id: InstanceId,
    pub(crate) spec: RunSpec,
    pub(crate) folder: RunFolder,
    pub(crate) family: Family,
    view: Mutex<View>,
    prober: Mutex<Option<(Proc, AbortHandle)>>,
    scopes: Arc<Scopes>,
}

impl Tracked {
    /// From its record, and what the files in its folder say.
    pub(crate) fn new(
        id: InstanceId,
        spec: RunSpec,
        folder: RunFolder,
        family: Family,
        scopes: Arc<Scopes>,
    ) -> Arc<Self> {
        let run: Option<RunState> = records::read(&folder.state()).unwrap_or_default();
        let healthy: Option<Proc> = records::read(&folder.healthy()).unwrap_or_default();
        let same = healthy.is_some() && healthy == run.as_ref().and_then(|run| run.process.clone());
        let view = View {
            health: if same { Health::Healthy } else { Health::Unasked },
            ever_healthy: healthy.is_some(),
            stopping: records::read::<StopOrder>(&folder.stop()).unwrap_or_default().map(|order| order.grace_ms.0),
            ..View::default()
        };
        let (view, prober) = (Mutex::new(view), Mutex::new(None));
        let tracked = Arc::new(Self { id, spec, folder, family, view, prober, scopes });
        if let Some(run) = run {
            tracked.saw(run);
        }
        tracked
    }

    /// Where it belongs.
    pub(crate) fn scope(&self) -> &Scope {
        &self.spec.scope
    }

    /// What is known of it now.
    pub(crate) fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known of it; who waits is told if that changed what is seen.
    pub(crate) fn update(&self, change: impl FnOnce(&mut View)) {
        let mut view = self.view();
        let before = (view.state(), view.process().cloned());
        change(&mut view);
        let changed = before != (view.state(), view.process().cloned());
        drop(view);
        if changed {
            self.scopes.bump(self.scope());
        }
    }

    /// Reads what its shim wrote last.
    pub(crate) fn refresh(&self) {
        if let Ok(Some(run)) = records::read::<RunState>(&self.folder.state()) {
            self.saw(run);
        }
    }

    fn saw(&self, run: RunState) {
        let is_new_exit = {
            let view = self.view();
            let known = view.run.as_ref().and_then(|run| run.exits.last()).map(|exit| exit.at);
            run.exits.last().map(|exit| exit.at) != known
        };
        // Read outside the lock; `list` must not wait for a disk.
        let lines = match run.exits.last().filter(|_| is_new_exit) {
            Some(exit) => last_lines(&self.folder, exit.log_from, LAST_LINES),
            None => Vec::new(),
        };
        self.update(|view| {
            let other = view.process() != run.process.as_ref();
            if other && view.run.is_some() {
                view.health = Health::Unasked;
            }
            view.run = Some(run);
            if is_new_exit
                && view.stopping.is_none()
                && let Some((_, reason)) = view.fatal_exit()
            {
                view.failure = Some(Failure { reason, last_lines: lines });
            }
        });
    }

    /// What a check of `process` answered; no news of a process that is not the present one.
    pub(crate) fn checked(&self, process: &Proc, health: Health) {
        let mut first = false;
        self.update(|view| {
            if view.process() != Some(process) {
                return;
            }
            first = view.answered(health, now());
        });
        if first {
            // For the next engine; without it that one only asks again.
            let _ = records::write(&self.folder.healthy(), process);
        }
    }

    /// It cannot become healthy any more.
    pub(crate) fn condemn(&self, process: &Proc, reason: String) {
        let from = self.view().run.as_ref().map_or(0, |run| run.log_from);
        let last_lines = last_lines(&self.folder, from, LAST_LINES);
        self.update(|view| {
            if view.process() == Some(process) && view.stopping.is_none() {
                view.failure = Some(Failure { reason, last_lines });
            }
        });
    }

    /// What `list` says of it.
    pub(crate) fn seen(&self) -> InstanceSeen {
        let view = self.view();
        let state = view.state();
        let alive = !matches!(state, InstanceState::Gone);
        InstanceSeen {
            id: self.id.clone(),
            scope: self.spec.scope.clone(),
            revision: self.spec.revision.clone(),
            slot: self.spec.slot,
            state,
            address: self.spec.address(),
            pid: view.process().filter(|_| alive).map(|process| process.pid),
            started_at: view.run.as_ref().map_or(Millis(0), |run| run.since),
            restarts: view.run.as_ref().map_or(0, |run| run.restarts),
            container: None,
            drift: None,
        }
    }

    /// Has `prober` ask the process that runs now, unless that is done already; ends what asked another one.
    pub(crate) fn with_prober(self: &Arc<Self>, start: impl FnOnce(Arc<Self>, Proc) -> AbortHandle) {
        let process = self.view().process().cloned();
        let mut prober = self.prober.lock().unwrap_or_else(PoisonError::into_inner);
        if prober.as_ref().map(|(asked, _)| asked) == process.as_ref() {
            return;
        }
        if let Some((_, old)) = prober.take() {
            old.abort();
        }
        if let Some(process) = process {
            let task = start(Arc::clone(self), process.clone());
            *prober = Some((process, task));
        }
    }

    /// Nobody asks it any more.
    pub(crate) fn end_prober(&self) {
        if let Some((_, old)) = self.prober.lock().unwrap_or_else(PoisonError::into_inner).take() {
            old.abort();
        }
    }
}
