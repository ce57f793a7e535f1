//! Opening a deployment: the lease of every scope and the plan, in one append. And taking open ones over at start.

use crate::Engine;
use crate::ledger::Entries;
use deployctl_core::ask::{By, Refused, RefusedKind};
use deployctl_core::deployment::Event;
use deployctl_core::id::{DeploymentId, Fence, Scope};
use deployctl_core::journal::{Seq, Write};
use deployctl_core::plan::{Leg, Plan};
use deployctl_core::scope::{self, Opened};
use std::sync::Arc;

impl Engine {
    /// Opens the deployment of a plan and starts its walk. Refused if any scope moved since the plan was made.
    pub(crate) async fn open(
        self: &Arc<Self>,
        plan: Plan,
        by: &By,
        other: Vec<Write>,
    ) -> Result<DeploymentId, Refused> {
        let now = self.ports.clock.now();
        let mut entries = Entries { other, ..Entries::default() };
        for leg in &plan.legs {
            let fold = self.ledger.scope(&leg.scope).await?;
            if let Some(open) = &fold.state.open {
                return Err(held(&leg.scope, open));
            }
            let basis = plan.basis.iter().find(|basis| basis.stream == leg.scope.stream());
            if basis.map(|b| b.seq) != Some(fold.seq) {
                return Err(stale(&leg.scope));
            }
            let fence = Fence(fold.state.fence.0 + 1);
            let opened = self.opened(&plan, leg, by, fence);
            entries.scopes.push((leg.scope.clone(), fold.seq, vec![scope::Event::Opened(opened)]));
            entries.fences.push((leg.scope.clone(), fence));
        }
        let id = plan.id.clone();
        let scopes: Vec<Scope> = plan.legs.iter().map(|leg| leg.scope.clone()).collect();
        let deadline = now.after(plan.deadline.0);
        let opened = Event::Opened { plan, reason: by.reason.clone(), deadline };
        entries.deployment = Some((id.clone(), Seq(0), vec![opened]));
        self.ledger.append(entries, now, &by.actor).await?;
        scopes.iter().for_each(|scope| self.ensure_keeper(scope));
        self.spawn_walk(id.clone());
        Ok(id)
    }

    fn opened(&self, plan: &Plan, leg: &Leg, by: &By, fence: Fence) -> Opened {
        Opened {
            deployment: plan.id.clone(),
            action: plan.action,
            version: leg.version().cloned(),
            previous: leg.from.as_ref().map(|side| side.pin.version.clone()),
            strategy: leg.strategy().into(),
            reason: by.reason.clone(),
            owner: self.ports.owner.clone(),
            fence,
            deadline: plan.deadline,
        }
    }

    /// Takes over what an engine before this one left open, and keeps running what rests. The caller holds the lock of
    /// the state directory, which proves that every earlier engine is dead.
    pub async fn recover(self: &Arc<Self>) -> Result<(), Refused> {
        self.ledger.refresh().await?;
        self.take_up().await?;
        self.spawn_collector();
        self.garbage.notify_one();
        Ok(())
    }

    /// Goes on with everything that is open, and keeps what rests.
    pub(crate) async fn take_up(self: &Arc<Self>) -> Result<(), Refused> {
        for id in self.ledger.open() {
            self.take_over(&id).await?;
            self.spawn_walk(id);
        }
        self.ledger.known_scopes().iter().for_each(|(scope, _)| self.ensure_keeper(scope));
        Ok(())
    }

    async fn take_over(&self, id: &DeploymentId) -> Result<(), Refused> {
        let mut entries = Entries::default();
        for (scope, fold) in self.ledger.known_scopes() {
            if fold.state.open.as_ref().is_some_and(|open| open.opened.deployment == *id) {
                let fence = Fence(fold.state.fence.0 + 1);
                let taken = scope::Event::Taken { owner: self.ports.owner.clone(), fence };
                entries.scopes.push((scope.clone(), fold.seq, vec![taken]));
                entries.fences.push((scope, fence));
            }
        }
        Ok(self.ledger.append(entries, self.ports.clock.now(), "deployctl").await?)
    }
}

/// Another deployment holds the lease.
pub(crate) fn held(scope: &Scope, open: &scope::Open) -> Refused {
    let id = open.opened.deployment.clone();
    let message = format!(
        "{} in {} is being changed by {} {id} of {}",
        scope.app, scope.environment, open.opened.action, open.actor
    );
    let hint = format!(
        "wait for it with --wait 10m, watch it with `deployctl attach {id}`, or stop it with `deployctl cancel {id}`"
    );
    Refused { blocked_by: Some(id), ..Refused::new(RefusedKind::Conflict, "lease-held", message).hint(hint) }
}

/// The world moved since a plan was made.
pub(crate) fn stale(scope: &Scope) -> Refused {
    moved(format!("{} in {} changed since it was made", scope.app, scope.environment))
}

/// A plan is stale, and why.
pub(crate) fn moved(why: String) -> Refused {
    Refused::new(RefusedKind::Conflict, "plan-stale", format!("the plan is stale: {why}"))
        .hint("nothing was changed; make a new plan with `deployctl plan`")
}
