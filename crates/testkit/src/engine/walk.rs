//! The walk of a deployment, as in `crates/engine/src/walk.rs` and `close.rs`.

use super::ledger::{Entries, Fold};
use super::look::Round;
use super::{Engine, POLL};
use crate::world::{Request, Time};
use deployctl_core::deployment::closing::closing;
use deployctl_core::deployment::next::{Due, next};
use deployctl_core::deployment::turn_back::{not_restored, turn_back};
use deployctl_core::deployment::{Closed, Deployment, Event, Verdict};
use deployctl_core::desired::JobKind;
use deployctl_core::fault::{Fault, Retry};
use deployctl_core::id::{DeploymentId, Sha256Hex};
use deployctl_core::instance::Binding;
use deployctl_core::journal::AppendError;
use deployctl_core::scope;

impl Engine {
    pub(super) fn spawn_walk(&self, id: DeploymentId) {
        let engine = self.clone();
        self.spawn(async move { engine.walk(&id).await });
    }

    async fn walk(&self, id: &DeploymentId) {
        let first = self.deployment(id);
        let Some(plan) = first.state.as_ref().map(|state| state.plan.clone()) else { return };
        for leg in &plan.legs {
            self.enter(&leg.scope).await;
        }
        let mut round = Round::default();
        loop {
            let fold = self.deployment(id);
            let Some(state) = &fold.state else { break };
            match self.turn(&fold, state, &mut round).await {
                Ok(true) => {}
                Ok(false) | Err(AppendError::Fenced { .. }) => break,
                Err(_) => self.sleep(20).await,
            }
        }
        for leg in &plan.legs {
            self.leave(&leg.scope);
        }
    }

    /// One thing that is due; false once it ended.
    async fn turn(
        &self,
        fold: &Fold<Option<Deployment>>,
        state: &Deployment,
        round: &mut Round,
    ) -> Result<bool, AppendError> {
        let due = if self.world.borrow().broken.no_deadline {
            next(&Deployment { deadline: self.now().after(std::time::Duration::MAX), ..state.clone() }, self.now())
        } else {
            next(state, self.now())
        };
        match due {
            Due::Nothing => return Ok(false),
            Due::Stand => {
                let scope = &state.plan.legs[0].scope;
                self.changed(scope, self.version(scope), POLL).await;
            }
            Due::Begin(leg) => match self.target(Request::Bind(state.plan.legs[leg].scope.clone())).await {
                Ok(_) => {
                    let binding = Binding::default();
                    self.happened(fold, state, vec![Event::LegStarted { leg, binding }]).await?;
                }
                Err(fault) => self.fault(fold, state, &fault, round).await?,
            },
            Due::Walk(leg) => match self.look(state, leg, round).await {
                Ok(events) if events.is_empty() => {}
                Ok(events) => {
                    if events.iter().any(|e| matches!(e, Event::Reached { .. } | Event::TurnedBack { .. })) {
                        *round = Round::default();
                    }
                    self.happened(fold, state, events).await?;
                }
                Err(fault) => self.fault(fold, state, &fault, round).await?,
            },
            Due::Close(closed) => {
                self.close(fold, &closed).await?;
                return Ok(false);
            }
            Due::TimeUp(event) => {
                *round = Round::default();
                self.happened(fold, state, vec![event]).await?;
            }
        }
        Ok(true)
    }

    /// Writes down what happened to a deployment, and to its scopes because of it.
    async fn happened(
        &self,
        fold: &Fold<Option<Deployment>>,
        state: &Deployment,
        events: Vec<Event>,
    ) -> Result<(), AppendError> {
        if events.iter().any(|e| matches!(e, Event::TurnedBack { .. } | Event::Closed(_))) {
            self.end_jobs(state).await?;
        }
        if let Some(closed) = events.iter().find_map(|e| if let Event::Closed(c) = e { Some(c) } else { None }) {
            return self.close(fold, closed).await;
        }
        let mut entries = Entries { fences: self.fences(state), ..Entries::default() };
        for event in &events {
            if let Some((leg, event)) = migrated(state, event) {
                let scope = state.plan.legs[leg].scope.clone();
                let seq = self.scope(&scope).seq;
                entries.scopes.push((scope, seq, vec![event]));
            }
        }
        entries.deployment = Some((state.plan.id.clone(), fold.seq, events));
        self.append(entries, "deployctl").await
    }

    pub(super) fn fences(&self, state: &Deployment) -> Vec<(deployctl_core::id::Scope, deployctl_core::id::Fence)> {
        let fence = |scope| (deployctl_core::id::Scope::clone(scope), self.fence_of(&self.scope(scope).state));
        state.plan.legs.iter().map(|leg| fence(&leg.scope)).collect()
    }

    pub(super) async fn close(&self, fold: &Fold<Option<Deployment>>, closed: &Closed) -> Result<(), AppendError> {
        let Some(state) = &fold.state else { return Ok(()) };
        let scopes: Vec<_> = state.plan.legs.iter().map(|leg| self.scope(&leg.scope)).collect();
        let before: Vec<scope::State> = scopes.iter().map(|fold| fold.state.clone()).collect();
        let last = fold.hash.clone().unwrap_or_else(|| Sha256Hex::of(b""));
        let ends = closing(state, closed, &before, &last, self.now());
        let mut entries = Entries {
            deployment: Some((state.plan.id.clone(), fold.seq, vec![Event::Closed(closed.clone())])),
            fences: self.fences(state),
            ..Entries::default()
        };
        for ((leg, fold), end) in state.plan.legs.iter().zip(&scopes).zip(ends) {
            entries.scopes.push((leg.scope.clone(), fold.seq, vec![scope::Event::Closed(end)]));
        }
        self.append(entries, "deployctl").await
    }

    /// Trouble of the world: wait and try again; or, where trying again cannot help, go back.
    async fn fault(
        &self,
        fold: &Fold<Option<Deployment>>,
        state: &Deployment,
        fault: &Fault,
        round: &mut Round,
    ) -> Result<(), AppendError> {
        if self.world.borrow().broken.closes_on_faults && state.back.is_none() {
            let closed = Closed { verdict: Verdict::RolledBack, restored: true, reason: fault.to_string() };
            return self.close(fold, &closed).await;
        }
        if fault.retry != Retry::Never {
            round.tries += 1;
            let pause: Time = (50 << round.tries.min(7)).min(5_000);
            self.sleep(pause).await;
            return Ok(());
        }
        let event = match &state.back {
            None => turn_back(state, &fault.to_string(), false, self.now()),
            Some(back) => Event::Closed(not_restored(back, &format!("and the way back failed: {fault}"))),
        };
        *round = Round::default();
        self.happened(fold, state, vec![event]).await
    }

    /// Jobs that run are ended before anything is turned back: a migration must not go on beside its undoing. As long as
    /// one cannot be ended, nothing is turned back.
    pub(super) async fn end_jobs(&self, state: &Deployment) -> Result<(), AppendError> {
        for (leg, here) in state.plan.legs.iter().zip(&state.legs) {
            for run in here.jobs.iter().filter(|run| run.ended.is_none()) {
                let fence = self.fence_of(&self.scope(&leg.scope).state);
                let killed = self.target(Request::Kill(leg.scope.clone(), run.job.clone(), fence)).await;
                if let (Err(fault), false) = (killed, self.world.borrow().broken.ignores_kill_faults) {
                    return Err(AppendError::Failed(fault.to_string()));
                }
            }
        }
        Ok(())
    }
}

/// What a job's end means for its scope.
fn migrated(state: &Deployment, event: &Event) -> Option<(usize, scope::Event)> {
    let Event::JobEnded { leg, gate, failure: None, .. } = event else { return None };
    let release = gate.release.clone();
    match gate.what {
        JobKind::Migrate => {
            let irreversible = state.plan.legs[*leg].migration.as_ref().is_some_and(|m| m.irreversible);
            Some((*leg, scope::Event::Migrated { release, irreversible }))
        }
        JobKind::Undo => Some((*leg, scope::Event::Unmigrated { release })),
        _ => None,
    }
}
