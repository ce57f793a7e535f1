//! Keepers: what rests in a scope is kept true while no deployment runs there. One path for reboot, crash and drift.

use crate::Engine;
use crate::weigh::Backoff;
use deployctl_core::desired::Waypoint;
use deployctl_core::driver::{Step, Way};
use deployctl_core::id::Scope;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// What nobody announced is noticed after this long.
const LOOK_EVERY: Duration = Duration::from_secs(2);

impl Engine {
    /// Starts a keeper for each scope, now and whenever a new one appears.
    pub(crate) fn spawn_keepers(self: &Arc<Self>) {
        let engine = self.clone();
        tokio::spawn(async move {
            let mut changed = engine.rest_changed.subscribe();
            let mut kept: HashSet<Scope> = HashSet::new();
            loop {
                for (scope, _) in engine.ledger.known_scopes() {
                    if kept.insert(scope.clone()) {
                        let engine = engine.clone();
                        tokio::spawn(async move { engine.keep(&scope).await });
                    }
                }
                if changed.changed().await.is_err() {
                    return;
                }
            }
        });
    }

    async fn keep(&self, scope: &Scope) {
        let mut changed = self.rest_changed.subscribe();
        let mut backoff = Backoff::default();
        loop {
            changed.borrow_and_update();
            let rests = match self.keep_once(scope).await {
                Ok(rests) => {
                    backoff = Backoff::default();
                    rests
                }
                Err(()) => {
                    tokio::time::sleep(backoff.next()).await;
                    true
                }
            };
            tokio::select! {
                _ = changed.changed() => {}
                () = self.ports.driver.changed(scope), if rests => {}
                () = tokio::time::sleep(LOOK_EVERY), if rests => {}
            }
        }
    }

    /// What rests may have changed: a few steps right now; the keeper goes on from there.
    pub(crate) async fn keep_now(&self, scope: &Scope) {
        let _ = self.keep_once(scope).await;
    }

    /// One step towards what rests; says whether anything does. Faults are the next round's business.
    async fn keep_once(&self, scope: &Scope) -> Result<bool, ()> {
        let driving = self.driving(scope);
        let _driving = driving.lock().await;
        let fold = self.ledger.scope(scope).await.map_err(drop)?;
        let state = &fold.state;
        if state.open.is_some() {
            return Ok(false);
        }
        let way = Way { fence: state.fence, binding: state.binding.clone(), maintenance: state.maintenance };
        let to = Waypoint { desired: state.resting.clone(), floor: 0, gates: Vec::new() };
        match self.ports.driver.converge(scope, &to, &way).await {
            Ok(Step::Done) => Ok(!state.resting.parts.is_empty()),
            Ok(Step::Pending(_)) => Ok(true),
            Err(_) => Err(()),
        }
    }
}
