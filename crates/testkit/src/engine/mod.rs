//! An engine of the simulation: the steps of `crates/engine` and `drivers/managed`, over messages instead of ports.
//!
//! What differs is said where it does. Reads of the journal are instant, since what is read may be old by the time that
//! anything comes of it anyway; everything else is a message.

pub mod ask;
mod converge;
mod keep;
mod lead;
mod ledger;
mod look;
mod walk;

use crate::world::{Reply, Request, Shared, Time};
use deployctl_core::fault::Fault;
use deployctl_core::id::{Fence, OwnerId, Scope};
use deployctl_core::scope;
use deployctl_core::time::{Millis, Span};
use ledger::Ledger;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// An owner whose counter stands still for so long is dead.
pub const LEASE: Span = Span::secs(6);

/// How often an engine beats, and looks at the counters of others.
const BEAT: Time = 1_500;

/// A change that nobody announced is seen after this long at the latest.
const POLL: Time = 2_000;

/// An engine, as its tasks hold it.
#[derive(Clone)]
pub struct Engine {
    world: Shared,
    life: usize,
    owner: OwnerId,
    ledger: Rc<RefCell<Ledger>>,
    driving: Rc<RefCell<BTreeSet<Scope>>>,
}

impl Engine {
    /// An engine that was just started as this life.
    pub fn new(world: Shared, life: usize) -> Self {
        let owner = world.borrow().lives[life].owner.clone();
        Self { world, life, owner, ledger: Rc::default(), driving: Rc::default() }
    }

    fn now(&self) -> Millis {
        self.world.borrow().wall(self.life)
    }

    /// The monotonic clock, which no jump touches.
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.world.borrow().now)
    }

    fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        self.world.borrow_mut().spawned.push((self.life, Box::pin(work)));
    }

    async fn call(&self, request: Request) -> Reply {
        let call = self.world.borrow_mut().send(self.life, request);
        poll_fn(|_| self.world.borrow_mut().answer(call).map_or(Poll::Pending, Poll::Ready)).await
    }

    /// A call to the target.
    async fn target(&self, request: Request) -> Result<Reply, Fault> {
        match self.call(request).await {
            Reply::Fault(fault) => Err(fault),
            reply => Ok(reply),
        }
    }

    async fn sleep(&self, ms: Time) {
        let token = self.world.borrow_mut().wait(ms, None);
        poll_fn(|_| if self.world.borrow_mut().is_over(token) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    fn version(&self, scope: &Scope) -> u64 {
        self.world.borrow_mut().place(scope).version
    }

    /// Returns when something changed in `scope` since `seen`, or after `ms`.
    async fn changed(&self, scope: &Scope, seen: u64, ms: Time) {
        if self.version(scope) != seen {
            return self.sleep(1).await;
        }
        let token = self.world.borrow_mut().wait(ms, Some(scope));
        poll_fn(|_| if self.world.borrow_mut().is_over(token) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// The fence of this engine's lease; one that is older than everything if the lease is another's.
    fn fence_of(&self, scope: &scope::State) -> Fence {
        match &scope.open {
            Some(open) if open.opened.owner == self.owner => open.opened.fence,
            _ => Fence(0),
        }
    }

    /// Drives a scope alone in this engine, until [`Engine::leave`].
    async fn enter(&self, scope: &Scope) {
        while !self.driving.borrow_mut().insert(scope.clone()) {
            self.sleep(7).await;
        }
    }

    fn leave(&self, scope: &Scope) {
        self.driving.borrow_mut().remove(scope);
    }

    fn scopes(&self) -> Vec<Scope> {
        self.world.borrow().places.keys().cloned().collect()
    }

    /// Everything that an engine does by itself.
    pub fn begin(&self) {
        let engine = self.clone();
        self.spawn(async move { engine.lead().await });
        for scope in self.scopes() {
            let engine = self.clone();
            self.spawn(async move { engine.keep(&scope).await });
        }
    }
}
