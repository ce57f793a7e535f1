//! The engine: opens deployments, walks them, keeps what is current running, answers questions.
//!
//! Decisions are `core`'s; this crate carries them out over the ports and writes the journal. It knows no process,
//! container, database or socket.

mod again;
mod attend;
mod close;
mod garbage;
mod keep;
mod ledger;
mod maintenance;
mod open;
mod prepare;
mod progress;
mod query;
mod rollback;
mod saved;
mod simple;
mod steer;
mod walk;
mod weigh;

pub use query::Found;

use deployctl_core::driver::Driver;
use deployctl_core::id::{DeploymentId, OwnerId, Scope, Sha256Hex};
use deployctl_core::journal::{Blobs, Journal};
use deployctl_core::lease::Seat;
use deployctl_core::ports::{Artifacts, Clock, Vault};
use deployctl_core::view;
use ledger::Ledger;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, RwLock, watch};

/// Everything that an engine works with.
pub struct Ports {
    /// The truth.
    pub journal: Arc<dyn Journal>,
    /// Releases and specifications.
    pub blobs: Arc<dyn Blobs>,
    /// The target.
    pub driver: Arc<dyn Driver>,
    /// Artifacts.
    pub artifacts: Arc<dyn Artifacts>,
    /// Secrets and signatures.
    pub vault: Arc<dyn Vault>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Makes ids of deployments: unique, rising with time.
    pub ids: Arc<dyn Fn() -> DeploymentId + Send + Sync>,
    /// This engine; new at every start.
    pub owner: OwnerId,
    /// The right to change the state; none where no other engine can reach it.
    pub seat: Option<Arc<dyn Seat>>,
    /// The digests of artifacts that instances use now.
    pub in_use: Arc<dyn Fn() -> futures_util::future::BoxFuture<'static, Vec<Sha256Hex>> + Send + Sync>,
}

/// An engine.
pub struct Engine {
    ports: Ports,
    ledger: Ledger,
    /// One driver of a scope at a time: its walk, or the keeper of what rests there.
    driving: Mutex<HashMap<Scope, Arc<tokio::sync::Mutex<()>>>>,
    /// What each walk has to do with those who steer its deployment; its own, from its beginning to its end.
    steered: Mutex<HashMap<DeploymentId, Arc<Steered>>>,
    /// Wakes the keeper of a scope, after a change of what rests there.
    keepers: Mutex<HashMap<Scope, Arc<Notify>>>,
    /// Told when something may have become garbage.
    garbage: Notify,
    /// Live views of open deployments.
    live: Mutex<HashMap<DeploymentId, watch::Sender<view::Deployment>>>,
    /// Whether this engine may change the state now.
    attendance: attend::Attendance,
    /// Held for reading while something is prepared whose artifact no scope refers to yet.
    collecting: RwLock<()>,
}

impl Engine {
    /// An engine over these ports. Call [`Engine::recover`] next.
    pub fn new(ports: Ports) -> Arc<Self> {
        let ledger = Ledger::new(ports.journal.clone());
        Arc::new(Self {
            ports,
            ledger,
            driving: Mutex::default(),
            steered: Mutex::default(),
            keepers: Mutex::default(),
            garbage: Notify::new(),
            live: Mutex::default(),
            attendance: attend::Attendance::default(),
            collecting: RwLock::default(),
        })
    }

    fn driving(&self, scope: &Scope) -> Arc<tokio::sync::Mutex<()>> {
        lock(&self.driving).entry(scope.clone()).or_default().clone()
    }

    fn steered(&self, id: &DeploymentId) -> Arc<Steered> {
        lock(&self.steered).entry(id.clone()).or_default().clone()
    }

    /// What is asked from now on is answered with all that was written before, also by other engines. Each command begins with this.
    pub async fn ask_anew(&self) {
        if !self.is_seated() {
            self.ports.journal.ask_anew();
            // What cannot be asked now is answered with what is known; a change is checked against what stands there.
            let _ = self.ledger.renew().await;
        }
    }

    /// Whether nothing runs, nothing is under way and nothing has to be watched: the engine may leave. What rests in a state
    /// that others reach too is theirs to watch as well.
    pub fn is_idle(&self) -> bool {
        match self.ports.seat {
            None => self.ledger.is_idle(),
            Some(_) => self.ledger.open().is_empty() && !self.is_seated(),
        }
    }
}

/// Between the walk of a deployment and the commands that steer it.
#[derive(Default)]
struct Steered {
    /// Wakes the walk.
    nudge: Notify,
    /// Held by whoever writes what happened. A command that turns back ends the jobs first: the walk, which sees them end,
    /// must not take that for their failure.
    writing: tokio::sync::Mutex<()>,
}

/// A lock that a panic elsewhere does not take away.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
