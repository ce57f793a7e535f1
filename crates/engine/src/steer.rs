//! Cancel, pause, resume.

use crate::Engine;
use crate::ledger::Entries;
use deployctl_core::ask::{By, Refused, RefusedKind};
use deployctl_core::deployment::command::{Command, Refusal, command};
use deployctl_core::deployment::{Deployment, Event};
use deployctl_core::id::DeploymentId;
use deployctl_core::journal::AppendError;
use std::sync::Arc;

/// A walk may write in between; it never does so this often.
const TRIES: usize = 20;

impl Engine {
    /// Steers a running deployment. Durable when it returns; the walk notices at once.
    pub async fn steer(self: &Arc<Self>, id: &DeploymentId, what: Command, by: &By) -> Result<(), Refused> {
        let _sitting = self.sit().await?;
        // Where nothing walks, nobody else writes.
        let steered = crate::lock(&self.steered).get(id).cloned().unwrap_or_default();
        let _writing = steered.writing.lock().await;
        for _ in 0..TRIES {
            let fold = self.ledger.deployment(id).await?;
            let Some(state) = &fold.state else {
                let message = format!("no deployment `{id}` is known here");
                return Err(Refused::new(RefusedKind::Usage, "unknown-deployment", message)
                    .hint("`deployctl history` lists them"));
            };
            let event = command(state, what, &by.actor, self.ports.clock.now()).map_err(refused)?;
            if let Event::Closed(closed) = &event {
                self.end_jobs(state).await?;
                match self.close(&fold, closed).await {
                    Err(AppendError::Conflict { .. }) => continue,
                    done => return Ok(done?),
                }
            }
            if matches!(event, Event::TurnedBack { .. }) {
                self.end_jobs(state).await?;
            }
            let entries = Entries {
                deployment: Some((id.clone(), fold.seq, vec![event])),
                fences: self.fences(state).await?,
                ..Entries::default()
            };
            match self.ledger.append(entries, self.ports.clock.now(), &by.actor).await {
                Err(AppendError::Conflict { .. }) => {}
                done => {
                    steered.nudge.notify_one();
                    return Ok(done?);
                }
            }
        }
        Err(Refused::new(RefusedKind::Conflict, "journal-conflict", "the deployment moves too fast; try again"))
    }

    async fn fences(
        &self,
        state: &Deployment,
    ) -> Result<Vec<(deployctl_core::id::Scope, deployctl_core::id::Fence)>, Refused> {
        let mut fences = Vec::new();
        for leg in &state.plan.legs {
            let fold = self.ledger.scope(&leg.scope).await?;
            fences.push((leg.scope.clone(), self.fence_of(&fold.state)));
        }
        Ok(fences)
    }
}

fn refused(refusal: Refusal) -> Refused {
    let (kind, code) = match refusal {
        Refusal::Ended(_) => (RefusedKind::Denied, "ended"),
        Refusal::GoesBack => (RefusedKind::Denied, "goes-back"),
        Refusal::Paused | Refusal::NotPaused => (RefusedKind::Denied, "not-so"),
    };
    Refused::new(kind, code, refusal.to_string())
}
