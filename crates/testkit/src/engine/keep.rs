//! What rests in a scope is kept true while no deployment runs there, as in `crates/engine/src/keep.rs`.

use super::Engine;
use deployctl_core::desired::Waypoint;
use deployctl_core::driver::Step;
use deployctl_core::id::Scope;

impl Engine {
    pub(super) async fn keep(&self, scope: &Scope) {
        if self.world.borrow().broken.no_keepers {
            return;
        }
        loop {
            let version = self.version(scope);
            self.enter(scope).await;
            let kept = self.keep_once(scope).await;
            self.leave(scope);
            match kept {
                Ok(()) => self.changed(scope, version, 3_000).await,
                Err(()) => self.sleep(200).await,
            }
        }
    }

    async fn keep_once(&self, scope: &Scope) -> Result<(), ()> {
        let fold = self.scope(scope);
        let state = &fold.state;
        if state.open.is_some() {
            return Ok(());
        }
        let to = Waypoint { desired: state.resting.clone(), floor: 0, gates: Vec::new() };
        match self.converge(scope, &to, state.fence).await {
            Ok(Step::Done | Step::Pending(_)) => Ok(()),
            Err(_) => Err(()),
        }
    }
}
