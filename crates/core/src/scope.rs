//! A scope's own stream: what is current, what rests there, who holds the lease, what can be gone back to.

use crate::deployment::Verdict;
use crate::desired::Desired;
use crate::id::{DeploymentId, Fence, OwnerId, Sha256Hex, Version};
use crate::instance::Binding;
use crate::plan::{Action, Pin};
use crate::time::{Millis, Span};
use serde::{Deserialize, Serialize};

/// How many releases that succeeded are kept besides the current one.
pub const KEPT: usize = 5;

/// What happened to a scope; the entries of its stream. Fields are only ever added, with defaults.
#[allow(clippy::large_enum_variant)] // One at a time is folded; a list of them is short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Event {
    /// A deployment took the lease.
    Opened(Opened),
    /// Another engine took over the open deployment.
    Taken {
        /// Which engine.
        owner: OwnerId,
        /// By which right.
        fence: Fence,
    },
    /// A migration was done.
    Migrated {
        /// Whose.
        release: Sha256Hex,
        /// Whether there is no way back.
        irreversible: bool,
    },
    /// A migration was undone.
    Unmigrated {
        /// Whose.
        release: Sha256Hex,
    },
    /// The deployment ended and gave the lease back.
    Closed(Closed),
    /// The maintenance page was turned on or off.
    Maintenance {
        /// Which.
        on: bool,
    },
}

/// A deployment took the lease of a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Which deployment.
    pub deployment: DeploymentId,
    /// What for.
    pub action: Action,
    /// The version that it is about.
    pub version: Option<Version>,
    /// The version before.
    pub previous: Option<Version>,
    /// The strategy's word.
    pub strategy: String,
    /// Why, in the words of who asked.
    pub reason: Option<String>,
    /// Which engine.
    pub owner: OwnerId,
    /// By which right.
    pub fence: Fence,
    /// How long it may take.
    pub deadline: Span,
}

/// A deployment gave the lease of a scope back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// Which deployment.
    pub deployment: DeploymentId,
    /// The verdict.
    pub verdict: Verdict,
    /// Whether what ran before runs again.
    pub restored: bool,
    /// Why.
    pub reason: String,
    /// What should be true from now on.
    pub resting: Desired,
    /// The late values that go with it.
    pub binding: Binding,
    /// What is current now.
    pub current: Option<Pin>,
    /// How the stack of releases to go back to changed.
    pub stack: StackChange,
    /// The hash of the deployment's last entry before this batch, so that a lost stream does not go unseen.
    pub last: Sha256Hex,
}

/// A change of the stack of releases that succeeded and are still in effect or below.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StackChange {
    /// None.
    Same,
    /// This one came on top, after the stack was cut to so many.
    Put {
        /// So many stay.
        keep: usize,
        /// The new top.
        pin: Pin,
    },
}

/// The state of a scope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// What is current; nothing before the first deployment and after `down`.
    pub current: Option<Pin>,
    /// What should be true while no deployment runs.
    pub resting: Desired,
    /// The late values that go with it.
    pub binding: Binding,
    /// The deployment that holds the lease.
    pub open: Option<Open>,
    /// The highest fence.
    pub fence: Fence,
    /// Releases that succeeded, oldest first; the current one on top. Going back goes down.
    pub stack: Vec<Pin>,
    /// The last releases that succeeded, newest first, whatever became of them.
    pub recent: Vec<Pin>,
    /// Migrations in effect, oldest first, and whether they cannot be undone.
    pub migrations: Vec<(Sha256Hex, bool)>,
    /// For each release that can be gone back to, the migrations that were in effect when it last succeeded here.
    #[serde(default)]
    pub lived_with: Vec<(Sha256Hex, Vec<Sha256Hex>)>,
    /// Whether the maintenance page is on.
    pub maintenance: bool,
    /// The last deployment that ended here.
    pub last: Option<Last>,
}

/// The lease of a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// What holds it.
    pub opened: Opened,
    /// Since when.
    pub at: Millis,
    /// Who asked.
    pub actor: String,
}

/// The last deployment that ended in a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// What it was.
    pub opened: Opened,
    /// Who asked.
    pub actor: String,
    /// When it began.
    pub started_at: Millis,
    /// When it ended.
    pub ended_at: Millis,
    /// How.
    pub verdict: Verdict,
    /// Whether what ran before runs again.
    pub restored: bool,
    /// Why.
    pub reason: String,
}

/// The state after one more event. Total.
pub fn evolve(mut state: State, event: &Event, at: Millis, actor: &str) -> State {
    match event {
        Event::Opened(opened) => {
            state.fence = state.fence.max(opened.fence);
            state.open = Some(Open { opened: opened.clone(), at, actor: actor.into() });
        }
        Event::Taken { owner, fence } => {
            state.fence = state.fence.max(*fence);
            if let Some(open) = &mut state.open {
                open.opened.owner = owner.clone();
                open.opened.fence = *fence;
            }
        }
        Event::Migrated { release, irreversible } => state.migrations.push((release.clone(), *irreversible)),
        Event::Unmigrated { release } => state.migrations.retain(|(r, _)| r != release),
        Event::Closed(closed) => close(&mut state, closed, at),
        Event::Maintenance { on } => state.maintenance = *on,
    }
    state
}

fn close(state: &mut State, closed: &Closed, at: Millis) {
    if let Some(open) = state.open.take() {
        state.last = Some(Last {
            opened: open.opened,
            actor: open.actor,
            started_at: open.at,
            ended_at: at,
            verdict: closed.verdict,
            restored: closed.restored,
            reason: closed.reason.clone(),
        });
    }
    state.resting.clone_from(&closed.resting);
    state.binding.clone_from(&closed.binding);
    state.current.clone_from(&closed.current);
    if let StackChange::Put { keep, pin } = &closed.stack {
        state.stack.truncate(*keep);
        state.stack.push(pin.clone());
        let surplus = state.stack.len().saturating_sub(KEPT + 1);
        state.stack.drain(..surplus);
        state.recent.retain(|p| p.revision.release != pin.revision.release);
        state.recent.insert(0, pin.clone());
        state.recent.truncate(KEPT + 1);
        remember_migrations(state, &pin.revision.release);
    }
}

fn remember_migrations(state: &mut State, release: &Sha256Hex) {
    let in_effect = state.migrations.iter().map(|(migration, _)| migration.clone()).collect();
    state.lived_with.retain(|(of, _)| of != release);
    state.lived_with.push((release.clone(), in_effect));
    let kept = |of: &Sha256Hex| state.stack.iter().chain(&state.recent).any(|pin| pin.revision.release == *of);
    state.lived_with.retain(|(of, _)| kept(of));
}

impl State {
    /// Whether the last deployment left what it changed in effect; if not, there is nothing to undo.
    pub fn last_was_turned_back(&self) -> bool {
        self.last.as_ref().is_some_and(|last| last.restored && last.verdict != Verdict::Succeeded)
    }

    /// Whether what is current rests here alone, as a finished deployment leaves it.
    pub fn is_whole(&self) -> bool {
        match &self.current {
            None => self.resting.parts.is_empty(),
            Some(pin) => self.resting.parts.len() == 1 && self.resting.parts.contains_key(&pin.revision),
        }
    }

    /// The release that a rollback without a version goes to, and how many stay below it on the stack.
    pub fn undo_target(&self) -> Option<(usize, &Pin)> {
        let top = self.stack.last()?;
        let in_effect =
            self.is_whole() && self.current.as_ref().is_some_and(|c| c.revision.release == top.revision.release);
        let keep = if in_effect { self.stack.len().checked_sub(2)? } else { self.stack.len() - 1 };
        self.stack.get(keep).map(|pin| (keep, pin))
    }

    /// A retained release of this version: the newest below the current one, else any that is kept.
    pub fn retained(&self, version: &Version) -> Option<(usize, &Pin)> {
        let below = self.stack.iter().enumerate().rev().find(|(_, pin)| pin.version == *version);
        below.or_else(|| self.recent.iter().find(|pin| pin.version == *version).map(|pin| (self.stack.len(), pin)))
    }

    /// Migrations in effect, newest first, that the release at position `keep` of the stack does not know: going back to
    /// it leaves them behind.
    pub fn migrations_above(&self, keep: usize) -> Vec<&(Sha256Hex, bool)> {
        if let Some(pin) = self.stack.get(keep) {
            return self.migrations_since(pin);
        }
        let on_stack = |release: &Sha256Hex| self.stack.iter().any(|pin| pin.revision.release == *release);
        self.migrations.iter().rev().filter(|(release, _)| !on_stack(release)).collect()
    }

    /// Migrations in effect, newest first, that were not when `pin` last succeeded here.
    pub fn migrations_since(&self, pin: &Pin) -> Vec<&(Sha256Hex, bool)> {
        let known = self.lived_with.iter().find(|(of, _)| *of == pin.revision.release);
        let known = known.map_or(&[][..], |(_, migrations)| migrations.as_slice());
        self.migrations.iter().rev().filter(|(release, _)| !known.contains(release)).collect()
    }
}
