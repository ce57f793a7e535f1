//! Requests under way: counted in with their instance, watched for time.

use crate::table::Instance;
use crate::worker::Worker;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Waker};
use std::time::Instant;

/// What the worker keeps of a request under way.
#[derive(Debug)]
pub(crate) struct Watched {
    instance: Arc<Instance>,
    /// By when the head of an answer must be there.
    deadline: Option<Instant>,
    ended: Option<Ended>,
    waker: Option<Waker>,
}

/// Why a request is ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Its deadline passed.
    Late,
    /// Its instance left and the drain time is over.
    Cut,
}

impl Watched {
    /// Looks whether its time is over, and wakes its task if so.
    pub(crate) fn look(&mut self, now: Instant, now_ms: u64) {
        if self.ended.is_some() {
            return;
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.ended = Some(Ended::Late);
        } else if self.instance.cut_at.load(SeqCst) <= now_ms {
            self.ended = Some(Ended::Cut);
        }
        if self.ended.is_some()
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }
}

/// A request or upgraded connection under way at an instance; counted from its making to its drop.
#[derive(Debug)]
pub(crate) struct Flight {
    worker: Rc<Worker>,
    pub(crate) instance: Arc<Instance>,
    key: usize,
}

impl Flight {
    pub(crate) fn begin(worker: &Rc<Worker>, instance: &Arc<Instance>, deadline: Option<Instant>) -> Self {
        instance.in_flight.fetch_add(1, SeqCst);
        let watched = Watched { instance: instance.clone(), deadline, ended: None, waker: None };
        let key = worker.watch(watched);
        Self { worker: worker.clone(), instance: instance.clone(), key }
    }

    /// The head of the answer is there: no deadline any more.
    pub(crate) fn answered(&self) {
        self.worker.watched(self.key, |watched| watched.deadline = None);
    }

    /// Whether it is to end, and why; if not, the task of `cx` is woken when that changes.
    pub(crate) fn ended(&self, cx: &Context<'_>) -> Option<Ended> {
        self.worker.watched(self.key, |watched| {
            if watched.ended.is_none() && !watched.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                watched.waker = Some(cx.waker().clone());
            }
            watched.ended
        })
    }

    /// Whether its instance left and the time for that is over.
    pub(crate) fn is_cut(&self, cx: &Context<'_>) -> bool {
        self.ended(cx) == Some(Ended::Cut)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.worker.unwatch(self.key);
        if self.instance.in_flight.fetch_sub(1, SeqCst) == 1 && self.instance.leaving.load(SeqCst) {
            self.worker.shared.changes.tell();
        }
    }
}
