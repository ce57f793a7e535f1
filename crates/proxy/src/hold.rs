//! Requests that wait because no instance is there or the service is paused: bounded in number and time.

use crate::own;
use crate::table::Service;
use crate::upstream::body::AnswerBody;
use crate::worker::Worker;
use http::Response;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// The waiting of one request.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    held: Option<Held>,
    since: Option<Instant>,
    spent: Duration,
}

#[derive(Debug)]
struct Held(Arc<AtomicU64>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Hold {
    /// How long it waited.
    pub(crate) fn spent(&self) -> Duration {
        self.spent + self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// It waits no more.
    pub(crate) fn over(&mut self) {
        self.spent = self.spent();
        self.since = None;
        self.held = None;
    }

    /// Waits for a table newer than that of `epoch`, by which there is nobody to ask; an answer if there is no use in it.
    pub(crate) async fn wait(
        &mut self,
        worker: &Worker,
        service: &Service,
        epoch: u64,
        forced: bool,
    ) -> Option<Response<AnswerBody>> {
        let longest = service.config.route.hold.0;
        let refuse = |why: &str| {
            let mut answer = own::answer(503, why, Some(service));
            own::retry(&mut answer, Duration::from_secs(1));
            Some(answer)
        };
        if forced {
            return refuse("the revision that was asked for has no instance");
        }
        if self.held.is_none() {
            if service.held.fetch_add(1, SeqCst) >= worker.shared.held_max {
                drop(Held(service.held.clone()));
                return refuse("too many requests wait for an instance already");
            }
            self.held = Some(Held(service.held.clone()));
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        let mut tables = worker.shared.tables.subscribe();
        if *tables.borrow_and_update() != epoch {
            return None;
        }
        let left = longest.saturating_sub(since.elapsed());
        match tokio::time::timeout(left, tables.changed()).await {
            Ok(_) => None,
            Err(_) => refuse("no instance is there to take the request"),
        }
    }
}
