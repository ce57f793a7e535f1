//! Leases: taking them, keeping them by beating, and taking over from who fell silent. `crates/engine` opens in the same
//! way, but takes over by the lock of its state directory, which proves that its predecessor has ended.

use super::ledger::Entries;
use super::{BEAT, Engine, LEASE};
use crate::world::Request;
use deployctl_core::deployment::Event;
use deployctl_core::deployment::command::{Command, command};
use deployctl_core::id::{DeploymentId, Fence, OwnerId};
use deployctl_core::journal::{AppendError, Seq};
use deployctl_core::lease::{Life, Watch};
use deployctl_core::plan::Plan;
use deployctl_core::scope::{self, Opened};
use std::collections::BTreeMap;

impl Engine {
    /// Beats, watches the beats of others, and takes over what a dead one left open.
    pub(super) async fn lead(&self) {
        let mut watch = Watch::default();
        loop {
            let _ = self.call(Request::Beat(self.owner.clone())).await;
            let mut open: BTreeMap<DeploymentId, OwnerId> = BTreeMap::new();
            for scope in self.scopes() {
                if let Some(held) = &self.scope(&scope).state.open {
                    open.insert(held.opened.deployment.clone(), held.opened.owner.clone());
                }
            }
            watch.retain(|owner| open.values().any(|other| other == owner));
            for (id, owner) in open.iter().filter(|(_, owner)| **owner != self.owner) {
                let beats = self.world.borrow().journal.beats(owner);
                let dead = watch.see(owner, beats, self.monotonic(), LEASE) == Life::Dead;
                if dead && !self.world.borrow().broken.never_takes_over && self.take_over(id).await.is_ok() {
                    self.spawn_walk(id.clone());
                }
            }
            self.sleep(BEAT).await;
        }
    }

    async fn take_over(&self, id: &DeploymentId) -> Result<(), AppendError> {
        let step = u64::from(!self.world.borrow().broken.takeover_keeps_fence);
        let mut entries = Entries::default();
        for scope in self.scopes() {
            let fold = self.scope(&scope);
            if fold.state.open.as_ref().is_some_and(|open| open.opened.deployment == *id) {
                let fence = Fence(fold.state.fence.0 + step);
                let taken = scope::Event::Taken { owner: self.owner.clone(), fence };
                entries.scopes.push((scope.clone(), fold.seq, vec![taken]));
                entries.fences.push((scope, fence));
            }
        }
        match self.append(entries, "deployctl").await {
            Err(AppendError::Unknown(_)) if self.owns(id) => Ok(()),
            done => done,
        }
    }

    fn owns(&self, id: &DeploymentId) -> bool {
        let mine = |open: &scope::Open| open.opened.deployment == *id && open.opened.owner == self.owner;
        self.scopes().iter().any(|scope| self.scope(scope).state.open.as_ref().is_some_and(mine))
    }

    /// Opens the deployment of a plan and starts its walk. Refused if any scope moved since the plan was made.
    pub(super) async fn open(&self, plan: Plan, actor: &str) -> bool {
        let mut entries = Entries::default();
        for leg in &plan.legs {
            let fold = self.scope(&leg.scope);
            let basis = plan.basis.iter().find(|basis| basis.stream == leg.scope.stream());
            if fold.state.open.is_some() || basis.map(|b| b.seq) != Some(fold.seq) {
                return false;
            }
            let fence = Fence(fold.state.fence.0 + 1);
            let opened = Opened {
                deployment: plan.id.clone(),
                action: plan.action,
                version: leg.version().cloned(),
                previous: leg.from.as_ref().map(|side| side.pin.version.clone()),
                strategy: leg.strategy().into(),
                reason: None,
                owner: self.owner.clone(),
                fence,
                deadline: plan.deadline,
            };
            entries.scopes.push((leg.scope.clone(), fold.seq, vec![scope::Event::Opened(opened)]));
            entries.fences.push((leg.scope.clone(), fence));
        }
        let id = plan.id.clone();
        let deadline = self.now().after(plan.deadline.0);
        entries.deployment = Some((id.clone(), Seq(0), vec![Event::Opened { plan, reason: None, deadline }]));
        let done = self.append(entries, actor).await;
        let opened = done.is_ok() || matches!(done, Err(AppendError::Unknown(_))) && self.owns(&id);
        if opened {
            self.spawn_walk(id);
        }
        opened
    }

    /// Steers a running deployment.
    pub(super) async fn steer(&self, id: &DeploymentId, what: Command, by: &str) {
        for _ in 0..5 {
            let fold = self.deployment(id);
            let Some(state) = &fold.state else { return };
            let Ok(event) = command(state, what, by, self.now()) else { return };
            if matches!(event, Event::TurnedBack { .. } | Event::Closed(_)) && self.end_jobs(state).await.is_err() {
                continue;
            }
            let done = match &event {
                Event::Closed(closed) => self.close(&fold, closed).await,
                _ => {
                    let deployment = Some((id.clone(), fold.seq, vec![event]));
                    self.append(Entries { deployment, fences: self.fences(state), ..Entries::default() }, by).await
                }
            };
            match done {
                Err(AppendError::Conflict { .. }) => {}
                _ => return,
            }
        }
    }
}
