//! What the suite needs of a target besides its driver.

use async_trait::async_trait;
use deployctl_core::desired::JobGate;
use deployctl_core::driver::Driver;
use deployctl_core::id::{InstanceId, JobId, Scope};
use deployctl_core::instance::InstanceSeen;
use deployctl_core::release::Release;
use std::sync::Arc;

/// What instances of a release are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Character {
    /// They become healthy. Different numbers are different releases.
    Good(u32),
    /// They print [`LAST_LINE`] and exit at once, with a failure, however often they are started.
    ExitsAtOnce,
    /// They print [`LAST_LINE`], run, and never are healthy; the release gives them a short time for it.
    NeverHealthy,
}

/// What a job is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// It ends well, after a moment.
    Ends,
    /// It prints [`LAST_LINE`] and fails.
    Fails,
    /// It starts something else, and both stay until they are killed.
    Stays,
}

/// The last line that a release or a job prints that has something to say.
pub const LAST_LINE: &str = "no such table";

/// A target to try a driver on: one scope in it, which is empty at first and belongs to one case alone.
///
/// What a bench shows besides the driver is by evidence of its own (a process table, a container engine's list), never by
/// the driver: it is there to find what the driver does not know.
#[async_trait]
pub trait Bench: Send + Sync {
    /// A driver over the target as it is now that knows nothing of those before it: as after a crash of whoever had
    /// them. The case lets go of the one before first.
    fn driver(&self) -> Arc<dyn Driver>;

    /// The place to deploy to.
    fn scope(&self) -> Scope;

    /// The release of a character. All have a route, if the target has such a thing; their deadline is ten minutes.
    fn release(&self, character: Character) -> Arc<Release>;

    /// A job that is not declared repeatable.
    fn job(&self, task: Task) -> JobGate;

    /// Every copy of an instance of the scope that runs, orphans and doubles included; in any order.
    async fn alive(&self) -> Vec<InstanceId>;

    /// How often a job began.
    async fn begun(&self, job: &JobId) -> usize;

    /// How many processes (or what is alike) of a job run, with all that it started.
    async fn working(&self, job: &JobId) -> usize;

    /// Takes an instance away by hand, with whatever would bring it back by itself, and returns when it is gone. False if
    /// this target has no such hand.
    async fn take_away(&self, instance: &InstanceSeen) -> bool;

    /// Makes the target unreachable, or reachable again. False if that cannot be had here.
    async fn set_reachable(&self, reachable: bool) -> bool;
}
