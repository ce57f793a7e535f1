//! Forgetting what no scope can go back to: artifacts, releases, sealed secrets.

use crate::Engine;
use deployctl_core::id::Sha256Hex;
use deployctl_core::plan::Pin;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Deployments that end together are cleaned up after together.
const PAUSE: Duration = Duration::from_secs(1);

impl Engine {
    /// Collects garbage from now on, some time after each deployment's end.
    pub(crate) fn spawn_collector(self: &Arc<Self>) {
        let engine = self.clone();
        tokio::spawn(async move {
            loop {
                engine.garbage.notified().await;
                tokio::time::sleep(PAUSE).await;
                engine.collect_garbage().await;
            }
        });
        self.garbage.notify_one();
    }

    /// Drops what is neither current nor retained anywhere. Trouble is left for the next time.
    async fn collect_garbage(&self) {
        // Whoever prepares a deployment has an artifact in hand that no scope names yet.
        let _collecting = self.collecting.write().await;
        if self.ledger.refresh().await.is_err() {
            return;
        }
        let scopes = self.ledger.known_scopes();
        let mut pins: Vec<&Pin> = Vec::new();
        let (mut releases, mut artifacts, mut specs) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (_, fold) in &scopes {
            pins.extend(fold.state.stack.iter().chain(&fold.state.recent).chain(&fold.state.current));
            releases.extend(fold.state.resting.parts.keys().map(|r| r.release.clone()));
            releases.extend(fold.state.migrations.iter().map(|(release, _)| release.clone()));
            let Some(open) = &fold.state.open else { continue };
            let Ok(deployment) = self.ledger.deployment(&open.opened.deployment).await else { return };
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
        artifacts.extend((self.ports.in_use)().await);
        let releases: Vec<Sha256Hex> = releases.into_iter().collect();
        let _ = self.ports.vault.retain(&releases).await;
        let _ = self.ports.artifacts.retain(&artifacts.into_iter().collect::<Vec<_>>()).await;
        let blobs: Vec<Sha256Hex> = releases.into_iter().chain(specs).collect();
        let _ = self.ports.blobs.retain(&blobs).await;
    }
}
