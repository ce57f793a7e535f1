//! Keepers: what rests in a scope is kept true while no deployment runs there. One path for reboot, crash and drift.

use crate::weigh::Backoff;
use crate::{Engine, lock};
use deployctl_core::desired::Waypoint;
use deployctl_core::driver::{Step, Way};
use deployctl_core::id::Scope;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// What nobody announced is noticed after this long.
const LOOK_EVERY: Duration = Duration::from_secs(2);

impl Engine {
    /// Wakes the keeper of a scope, which is started if there is none yet.
    pub(crate) fn ensure_keeper(self: &Arc<Self>, scope: &Scope) {
        if let Some(wake) = lock(&self.keepers).get(scope) {
            return wake.notify_one();
        }
        let wake = Arc::new(Notify::new());
        lock(&self.keepers).insert(scope.clone(), wake.clone());
        let (engine, scope) = (self.clone(), scope.clone());
        tokio::spawn(async move { engine.keep(&scope, &wake).await });
    }

    /// Wakes the keeper of a scope.
    pub(crate) fn wake_keeper(&self, scope: &Scope) {
        if let Some(wake) = lock(&self.keepers).get(scope) {
            wake.notify_one();
        }
    }

    async fn keep(&self, scope: &Scope, wake: &Notify) {
        let mut backoff = Backoff::default();
        loop {
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
                () = wake.notified() => {}
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
        if !self.is_seated() {
            return Ok(false);
        }
        let fold = self.ledger.scope(scope).await.map_err(drop)?;
        let state = &fold.state;
        if state.open.is_some() {
            return Ok(false);
        }
        let (binding, maintenance) = (state.binding.clone(), state.maintenance);
        let way = Way { fence: state.fence, binding, maintenance, ..Way::default() };
        let to = Waypoint { desired: state.resting.clone(), floor: 0, gates: Vec::new() };
        match self.ports.driver.converge(scope, &to, &way).await {
            Ok(Step::Done) => Ok(!state.resting.parts.is_empty()),
            Ok(Step::Pending(_)) => Ok(true),
            Err(_) => Err(()),
        }
    }
}
