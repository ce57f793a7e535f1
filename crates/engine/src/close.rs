//! Closing a deployment: the verdict, what rests now, and the leases, in one append.

use crate::Engine;
use crate::ledger::{Entries, Fold};
use deployctl_core::deployment::closing::closing;
use deployctl_core::deployment::{Closed, Deployment, Event};
use deployctl_core::id::Sha256Hex;
use deployctl_core::journal::AppendError;
use deployctl_core::scope;
use std::sync::Arc;

impl Engine {
    pub(crate) async fn close(&self, fold: &Fold<Option<Deployment>>, closed: &Closed) -> Result<(), AppendError> {
        let Some(state) = &fold.state else { return Ok(()) };
        let now = self.ports.clock.now();
        let mut scopes = Vec::new();
        for leg in &state.plan.legs {
            let fold = self.ledger.scope(&leg.scope).await.map_err(|e| AppendError::Failed(e.to_string()))?;
            scopes.push(fold);
        }
        let before: Vec<scope::State> = scopes.iter().map(|fold: &Arc<_>| fold.state.clone()).collect();
        let last = fold.hash.clone().unwrap_or_else(|| Sha256Hex::of(b""));
        let ends = closing(state, closed, &before, &last, now);
        let mut entries = Entries {
            deployment: Some((state.plan.id.clone(), fold.seq, vec![Event::Closed(closed.clone())])),
            ..Entries::default()
        };
        for ((leg, fold), end) in state.plan.legs.iter().zip(&scopes).zip(ends) {
            entries.scopes.push((leg.scope.clone(), fold.seq, vec![scope::Event::Closed(end)]));
            entries.fences.push((leg.scope.clone(), self.fence_of(&fold.state)));
        }
        self.ledger.append(entries, now, "deployctl").await?;
        self.finish_view(state, closed, now).await;
        state.plan.legs.iter().for_each(|leg| self.wake_keeper(&leg.scope));
        Ok(())
    }

    /// The fence of this engine's lease; one that is older than everything if the lease is another's.
    pub(crate) fn fence_of(&self, scope: &scope::State) -> deployctl_core::id::Fence {
        match &scope.open {
            Some(open) if open.opened.owner == self.ports.owner => open.opened.fence,
            _ => deployctl_core::id::Fence(0),
        }
    }
}
