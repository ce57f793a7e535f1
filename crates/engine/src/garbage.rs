//! Forgetting what no scope can go back to: artifacts, releases, sealed secrets.

use crate::Engine;
use deployctl_core::driver::Step;
use deployctl_core::fault::Fault;
use deployctl_core::id::Sha256Hex;
use deployctl_core::plan::Pin;
use deployctl_core::scope::State;
use futures_util::FutureExt;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Deployments that end together are cleaned up after together.
const PAUSE: Duration = Duration::from_secs(1);
/// What could not be let go of is looked at again then.
const AGAIN: Duration = Duration::from_secs(15);
/// What targets keep is left for the next time if they do not answer by then: nothing is prepared meanwhile.
const TARGETS: Duration = Duration::from_secs(10);

impl Engine {
    /// Collects garbage from now on, some time after each deployment's end.
    pub(crate) fn spawn_collector(self: &Arc<Self>) {
        let engine = self.clone();
        tokio::spawn(async move {
            let mut again = Duration::MAX;
            loop {
                let _ = tokio::time::timeout(again, engine.garbage.notified()).await;
                tokio::time::sleep(PAUSE).await;
                // Where others change the state now, they collect.
                let Ok(_sitting) = engine.sit().await else { continue };
                // To take the seat is a reason to collect, and so was all that happened before: all of it is met now.
                // Kept, it would bring this engine back to the seat every second, for good.
                let _ = engine.garbage.notified().now_or_never();
                again = if engine.collect_garbage().await { Duration::MAX } else { AGAIN };
            }
        });
    }

    /// Drops what is neither current nor retained anywhere; whether nothing of it is still
    /// used. Trouble is left for the next time.
    async fn collect_garbage(&self) -> bool {
        // Whoever prepares a deployment has an artifact in hand that no scope names yet.
        let _collecting = self.collecting.write().await;
        if self.ledger.refresh().await.is_err() {
            return true;
        }
        let scopes = self.ledger.known_scopes();
        let mut pins: Vec<&Pin> = Vec::new();
        let (mut releases, mut artifacts, mut specs) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (_, fold) in &scopes {
            pins.extend(fold.state.stack.iter().chain(&fold.state.recent).chain(&fold.state.current));
            releases.extend(fold.state.resting.parts.keys().map(|r| r.release.clone()));
            releases.extend(fold.state.migrations.iter().map(|(release, _)| release.clone()));
            let Some(open) = &fold.state.open else { continue };
            let Ok(deployment) = self.ledger.deployment(&open.opened.deployment).await else { return true };
            for leg in deployment.state.iter().flat_map(|d| &d.plan.legs) {
                for side in leg.from.iter().chain(&leg.to) {
                    releases.insert(side.pin.revision.release.clone());
                    artifacts.extend(side.pin.artifact.clone());
                    specs.extend(side.pin.spec.clone());
                }
            }
        }
        for pin in pins {
            releases.insert(pin.revision.release.clone());
            artifacts.extend(pin.artifact.clone());
            specs.extend(pin.spec.clone());
        }
        let resting = scopes.iter().filter(|(_, fold)| fold.state.open.is_none());
        let targets = resting.map(|(scope, fold)| async move {
            self.ports.driver.retain(scope, &retained(&fold.state), fold.state.fence).await
        });
        let targets = tokio::time::timeout(TARGETS, futures_util::future::join_all(targets)).await;
        // What does not answer is asked again after the next deployment: meanwhile nothing waits for it.
        let pending = |step: &Result<Step, Fault>| matches!(step, Ok(Step::Pending(_)));
        let whole = !targets.is_ok_and(|all| all.iter().any(pending));
        artifacts.extend((self.ports.in_use)().await);
        let releases: Vec<Sha256Hex> = releases.into_iter().collect();
        let _ = self.ports.vault.retain(&releases).await;
        let _ = self.ports.artifacts.retain(&artifacts.into_iter().collect::<Vec<_>>()).await;
        let blobs: Vec<Sha256Hex> = releases.into_iter().chain(specs).collect();
        let _ = self.ports.blobs.retain(&blobs).await;
        whole
    }
}

/// The releases that a scope may come back to.
fn retained(state: &State) -> Vec<Sha256Hex> {
    let pins = state.stack.iter().chain(&state.recent).chain(&state.current).map(|pin| &pin.revision);
    let releases = pins.chain(state.resting.parts.keys()).map(|revision| &revision.release);
    let all: BTreeSet<&Sha256Hex> = releases.chain(state.migrations.iter().map(|(release, _)| release)).collect();
    all.into_iter().cloned().collect()
}
