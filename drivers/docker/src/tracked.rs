//! One container of an instance as the engine's process knows it.

use crate::labels::Record;
use crate::view::{Health, View};
use deployctl_core::id::InstanceId;
use deployctl_core::instance::InstanceSeen;
use deployctl_core::time::Millis;
use deployctl_runner::hub::Scopes;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// Which process of which container was healthy last; on the disk, for the next engine of deployctl.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Mark {
    container: String,
    /// When the process was started, as the engine writes it.
    started: String,
}

pub(crate) struct Tracked {
    pub(crate) id: InstanceId,
    /// The name of its container.
    pub(crate) name: String,
    /// The engine's id of it.
    pub(crate) container: String,
    pub(crate) record: Record,
    /// When it was made.
    pub(crate) created: Millis,
    /// Where it stands that it was healthy.
    healthy: PathBuf,
    view: Mutex<View>,
    /// Who asks it, and which of its processes.
    prober: Mutex<Option<(String, AbortHandle)>>,
    minder: Mutex<Option<AbortHandle>>,
    scopes: Arc<Scopes>,
    /// Something happened to it.
    pub(crate) news: Notify,
}

impl Tracked {
    pub(crate) fn new(
        id: InstanceId,
        name: String,
        container: String,
        record: Record,
        created: Millis,
        healthy: PathBuf,
        scopes: Arc<Scopes>,
    ) -> Arc<Self> {
        let mark: Option<Mark> = crate::layout::read(&healthy).unwrap_or_default();
        let marked = mark.filter(|mark| mark.container == container).map(|mark| mark.started);
        let view = View { ever_healthy: marked.is_some(), marked, ..View::default() };
        let (prober, minder) = (Mutex::default(), Mutex::default());
        let (view, news) = (Mutex::new(view), Notify::new());
        Arc::new(Self { id, name, container, record, created, healthy, view, prober, minder, scopes, news })
    }

    /// What is known of it now.
    pub(crate) fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known of it; who waits is told if that changed what is seen.
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut View) -> R) -> R {
        let mut view = self.view();
        let seen = |view: &View| (view.state(), view.look.at.clone(), view.look.drift.clone());
        let before = seen(&view);
        let result = change(&mut view);
        let changed = before != seen(&view);
        drop(view);
        if changed {
            self.scopes.bump(&self.record.scope);
        }
        result
    }

    /// What a check of the process that was started at `started` answered; no news of a process that is not the present one.
    pub(crate) fn checked(&self, started: &str, health: Health) {
        let first = self.update(|view| {
            if view.look.started != started || !view.look.is_running() {
                return false;
            }
            view.answered(health, crate::docker::now())
        });
        if first {
            // For the next engine; without it that one only asks again.
            let mark = Mark { container: self.container.clone(), started: started.to_owned() };
            let _ = crate::layout::write(&self.healthy, &mark);
        }
    }

    /// It cannot become healthy any more.
    pub(crate) fn condemn(&self, reason: String, last_lines: Vec<String>) {
        self.update(|view| {
            if !view.stopping && view.failure.is_none() {
                view.failure = Some((reason, last_lines));
            }
        });
    }

    /// What `list` says of it.
    pub(crate) fn seen(&self) -> InstanceSeen {
        let view = self.view();
        let running = view.look.is_running();
        InstanceSeen {
            id: self.id.clone(),
            scope: self.record.scope.clone(),
            revision: self.record.revision.clone(),
            slot: self.record.slot,
            state: view.state(),
            address: view.look.at.clone().filter(|_| running),
            pid: view.look.pid.filter(|_| running),
            started_at: view.look.since().unwrap_or(self.created),
            restarts: view.look.restarts,
            container: Some(self.name.clone()),
            drift: view.look.drift.clone().filter(|_| running),
        }
    }

    /// Has `start` ask the process that runs now, unless that is done already; ends what asked another one.
    pub(crate) fn with_prober(self: &Arc<Self>, start: impl FnOnce(Arc<Self>, String) -> AbortHandle) {
        let running = {
            let view = self.view();
            // One that was condemned too: the engine goes on starting it, and it may come right.
            (view.look.is_running() && !view.stopping).then(|| view.look.started.clone())
        };
        let mut prober = self.prober.lock().unwrap_or_else(PoisonError::into_inner);
        if prober.as_ref().map(|(asked, _)| asked) == running.as_ref() {
            return;
        }
        if let Some((_, old)) = prober.take() {
            old.abort();
        }
        if let Some(started) = running {
            let task = start(Arc::clone(self), started.clone());
            *prober = Some((started, task));
        }
    }

    /// Who looks after it.
    pub(crate) fn minded_by(&self, minder: AbortHandle) {
        *self.minder.lock().unwrap_or_else(PoisonError::into_inner) = Some(minder);
    }

    /// Nobody asks it or looks after it any more.
    pub(crate) fn let_go(&self) {
        if let Some(minder) = self.minder.lock().unwrap_or_else(PoisonError::into_inner).take() {
            minder.abort();
        }
        self.end_prober();
    }

    /// Nobody asks it any more.
    pub(crate) fn end_prober(&self) {
        if let Some((_, old)) = self.prober.lock().unwrap_or_else(PoisonError::into_inner).take() {
            old.abort();
        }
    }
}
