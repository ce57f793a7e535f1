//! The walk of a deployment: ask what is due, do it, write down what happened, again.

use crate::Engine;
use crate::ledger::{Entries, Fold};
use crate::weigh::{Backoff, Looked};
use deployctl_core::deployment::next::{Due, next};
use deployctl_core::deployment::step::Evidence;
use deployctl_core::deployment::turn_back::{not_restored, turn_back};
use deployctl_core::deployment::{Deployment, Event};
use deployctl_core::desired::{Desired, JobKind};
use deployctl_core::driver::Way;
use deployctl_core::fault::{Fault, Retry};
use deployctl_core::id::DeploymentId;
use deployctl_core::journal::AppendError;
use deployctl_core::plan::Action;
use deployctl_core::scope;
use std::sync::Arc;
use std::time::Duration;

/// A deployment that stands still looks up this often at the latest, to see its deadline.
const STAND: Duration = Duration::from_millis(500);

/// What a walk carries from round to round; lost in a crash without harm.
#[derive(Default)]
pub(crate) struct Round {
    pub(crate) evidence: Evidence,
    pub(crate) looked: Looked,
    pub(crate) backoff: Backoff,
}

impl Engine {
    pub(crate) fn spawn_walk(self: &Arc<Self>, id: DeploymentId) {
        self.steered(&id);
        let engine = self.clone();
        tokio::spawn(async move { engine.walk(&id).await });
    }

    async fn walk(self: &Arc<Self>, id: &DeploymentId) {
        let mut round = Round::default();
        let (mut driving, mut shown) = (Vec::new(), None);
        loop {
            let fold = match self.ledger.deployment(id).await {
                Ok(fold) => fold,
                Err(error) => {
                    self.note(id, &error.to_string());
                    tokio::time::sleep(round.backoff.next()).await;
                    continue;
                }
            };
            let Some(state) = &fold.state else { return };
            if driving.is_empty() {
                for leg in &state.plan.legs {
                    driving.push(self.driving(&leg.scope).lock_owned().await);
                }
            }
            if shown.replace(fold.seq) != Some(fold.seq) {
                self.show(state, &round.evidence).await;
            }
            match self.turn(&fold, state, &mut round).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(AppendError::Fenced { .. }) => return self.lost(id),
                Err(AppendError::Conflict { .. } | AppendError::Unknown(_)) => {
                    // Somebody else wrote, a command for one; what is due is decided anew from what stands there.
                    if self.ledger.refresh().await.is_err() {
                        tokio::time::sleep(round.backoff.next()).await;
                    }
                }
                Err(error @ AppendError::Failed(_)) => {
                    self.note(id, &error.to_string());
                    tokio::time::sleep(round.backoff.next()).await;
                }
            }
        }
        drop(driving);
        crate::lock(&self.steered).remove(id);
        self.garbage.notify_one();
    }

    /// One thing that is due; false once it ended.
    async fn turn(
        self: &Arc<Self>,
        fold: &Fold<Option<Deployment>>,
        state: &Deployment,
        round: &mut Round,
    ) -> Result<bool, AppendError> {
        match next(state, self.ports.clock.now()) {
            Due::Nothing => return Ok(false),
            Due::Stand => {
                let steered = self.steered(&state.plan.id);
                self.note(&state.plan.id, "paused; `deployctl resume` goes on");
                tokio::select! { () = steered.nudge.notified() => {}, () = tokio::time::sleep(STAND) => {} }
            }
            Due::Begin(leg) => match self.bind(state, leg).await {
                Ok(binding) => self.happened(fold, state, vec![Event::LegStarted { leg, binding }]).await?,
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
                let steered = self.steered(&state.plan.id);
                let _writing = steered.writing.lock().await;
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

    async fn bind(&self, state: &Deployment, leg: usize) -> Result<deployctl_core::instance::Binding, Fault> {
        let plan = &state.plan.legs[leg];
        let mut all = Desired::default();
        for waypoint in &plan.path {
            all.parts.extend(waypoint.desired.parts.clone());
        }
        let mut binding = self.scope_state(&plan.scope).await?.binding;
        binding.addresses.extend(self.ports.driver.bind(&plan.scope, &all).await?.addresses);
        Ok(binding)
    }

    pub(crate) async fn scope_state(&self, scope: &deployctl_core::id::Scope) -> Result<scope::State, Fault> {
        let fold = self.ledger.scope(scope).await.map_err(|e| Fault::platform(e.to_string()))?;
        Ok(fold.state.clone())
    }

    pub(crate) async fn way(&self, state: &Deployment, leg: usize) -> Result<Way, Fault> {
        let scope = self.scope_state(&state.plan.legs[leg].scope).await?;
        let binding = state.legs[leg].binding.clone().unwrap_or_default();
        let back = state.back.is_some() || state.plan.action == Action::Rollback;
        let (hand_back, restart) = (state.plan.action == Action::HandBack, state.plan.action == Action::Restart);
        let (fence, maintenance) = (self.fence_of(&scope), scope.maintenance);
        let delete_data = state.deletes_data(leg);
        let corrects = state.plan.legs[leg].corrects;
        Ok(Way { fence, binding, maintenance, back, corrects, hand_back, delete_data, restart })
    }

    /// Writes down what happened to a deployment, and to its scopes because of it.
    async fn happened(
        &self,
        fold: &Fold<Option<Deployment>>,
        state: &Deployment,
        events: Vec<Event>,
    ) -> Result<(), AppendError> {
        let steered = self.steered(&state.plan.id);
        let _writing = steered.writing.lock().await;
        if events.iter().any(|e| matches!(e, Event::TurnedBack { .. } | Event::Closed(_))) {
            self.end_jobs(state).await.map_err(|fault| AppendError::Failed(fault.to_string()))?;
        }
        if let Some(closed) = events.iter().find_map(|e| if let Event::Closed(c) = e { Some(c) } else { None }) {
            return self.close(fold, closed).await;
        }
        let now = self.ports.clock.now();
        let mut entries = Entries::default();
        for leg in &state.plan.legs {
            let scope = self.ledger.scope(&leg.scope).await.map_err(|e| AppendError::Failed(e.to_string()))?;
            entries.fences.push((leg.scope.clone(), self.fence_of(&scope.state)));
        }
        for event in &events {
            if let Some((leg, event)) = migrated(state, event) {
                let scope = state.plan.legs[leg].scope.clone();
                let fold = self.ledger.scope(&scope).await.map_err(|e| AppendError::Failed(e.to_string()))?;
                entries.scopes.push((scope, fold.seq, vec![event]));
            }
        }
        entries.deployment = Some((state.plan.id.clone(), fold.seq, events));
        self.ledger.append(entries, now, "deployctl").await
    }

    /// Trouble of the world: wait and try again; or, where trying again cannot help, go back. Never a verdict over the
    /// release by itself.
    async fn fault(
        &self,
        fold: &Fold<Option<Deployment>>,
        state: &Deployment,
        fault: &Fault,
        round: &mut Round,
    ) -> Result<(), AppendError> {
        if fault.retry != Retry::Never {
            let pause = match fault.retry {
                Retry::After(span) => span.0.max(round.backoff.next()),
                _ => round.backoff.next(),
            };
            self.note(&state.plan.id, &format!("{fault}; trying again"));
            let steered = self.steered(&state.plan.id);
            tokio::select! { () = steered.nudge.notified() => {}, () = tokio::time::sleep(pause) => {} }
            return Ok(());
        }
        let why = match &fault.hint {
            Some(hint) => format!("{fault}; {hint}"),
            None => fault.to_string(),
        };
        let event = match &state.back {
            None => turn_back(state, &why, false, self.ports.clock.now()),
            Some(back) => Event::Closed(not_restored(back, &format!("and the way back failed: {why}"))),
        };
        *round = Round::default();
        self.happened(fold, state, vec![event]).await
    }

    /// Jobs that run are ended before anything is turned back: a migration must not go on beside its undoing.
    pub(crate) async fn end_jobs(&self, state: &Deployment) -> Result<(), Fault> {
        for (index, (leg, here)) in state.plan.legs.iter().zip(&state.legs).enumerate() {
            for run in here.jobs.iter().filter(|run| run.ended.is_none()) {
                let way = self.way(state, index).await?;
                self.ports.driver.kill_job(&leg.scope, &run.job, &way).await.map_err(|fault| Fault {
                    message: format!("the {} could not be ended: {}", run.gate.what, fault.message),
                    ..fault
                })?;
            }
        }
        Ok(())
    }

    /// Another engine took over: this one lets go without another word.
    fn lost(&self, id: &DeploymentId) {
        crate::lock(&self.live).remove(id);
        crate::lock(&self.steered).remove(id);
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
