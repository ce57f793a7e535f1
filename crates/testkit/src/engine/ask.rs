//! What people ask of an engine, as in `crates/engine/src/prepare.rs`, `rollback.rs` and `simple.rs`.

use super::Engine;
use crate::world::{Reply, Request};
use deployctl_core::config::AppConfig;
use deployctl_core::deployment::command::Command;
use deployctl_core::driver::Observed;
use deployctl_core::id::{DeploymentId, Scope, Sha256Hex};
use deployctl_core::plan::{Action, Leg};
use deployctl_core::planner::{self, Place, Wish};
use deployctl_core::release::Release;
use deployctl_core::scope::State;
use std::sync::Arc;

/// What somebody wants.
#[derive(Clone, Debug)]
pub enum Ask {
    /// These releases, one per scope.
    Deploy(Vec<(Scope, Arc<Release>)>),
    /// Back, in a scope.
    Rollback(Scope),
    /// New instances.
    Restart(Scope),
    /// Nothing.
    Down(Scope),
    /// Steer what runs in a scope.
    Steer(Scope, Command),
}

impl Engine {
    /// A task that does what somebody asks.
    pub fn task(&self, ask: Ask, id: DeploymentId) -> (usize, crate::world::Work) {
        let engine = self.clone();
        (self.life, Box::pin(async move { engine.ask(ask, id).await }))
    }

    /// Does what somebody asks, as the deployment `id` if it comes to one.
    pub async fn ask(&self, ask: Ask, id: DeploymentId) {
        match ask {
            Ask::Deploy(releases) => {
                let wishes: Vec<_> = releases.into_iter().map(|(scope, release)| (scope, Some(release))).collect();
                self.plan_and_open(&wishes, Action::Deploy, id).await;
            }
            Ask::Restart(scope) => self.plan_and_open(&[(scope, None)], Action::Restart, id).await,
            Ask::Down(scope) => self.plan_and_open(&[(scope, None)], Action::Down, id).await,
            Ask::Steer(scope, what) => {
                let running = self.world.borrow().running(&scope);
                if let Some(id) = running {
                    self.steer(&id, what, "alice").await;
                }
            }
            Ask::Rollback(scope) => {
                let open = self.scope(&scope).state.open.as_ref().map(|open| open.opened.deployment.clone());
                match open {
                    Some(running) => self.steer(&running, Command::Cancel, "alice").await,
                    None => self.plan_and_open(&[(scope, None)], Action::Rollback, id).await,
                }
            }
        }
    }

    async fn plan_and_open(&self, wishes: &[(Scope, Option<Arc<Release>>)], action: Action, id: DeploymentId) {
        let mut legs = Vec::new();
        let mut standing = Vec::new();
        for (scope, release) in wishes {
            let fold = self.scope(scope);
            if fold.state.open.is_some() {
                return;
            }
            let current = fold.state.current.as_ref().and_then(|pin| self.stored(&pin.revision.release));
            let Some(healthy) = self.is_healthy(scope, &fold.state, current.as_deref()).await else { return };
            let config = current.map(|release| release.config.clone());
            let place = Place { scope, state: &fold.state, seq: fold.seq, current: config.as_ref(), healthy };
            legs.extend(self.leg(&place, action, release.as_deref(), &id));
            standing.push((scope.clone(), fold, config, healthy));
        }
        if action == Action::Rollback {
            legs.reverse();
        }
        let places: Vec<_> = standing
            .iter()
            .map(|(scope, fold, config, healthy)| Place {
                scope,
                state: &fold.state,
                seq: fold.seq,
                current: config.as_ref(),
                healthy: *healthy,
            })
            .collect();
        if let Some(plan) = planner::plan(id, action, legs, &places) {
            self.open(plan, "alice").await;
        }
    }

    fn leg(&self, place: &Place<'_>, action: Action, release: Option<&Release>, id: &DeploymentId) -> Option<Leg> {
        let now = self.now();
        match (action, release) {
            (Action::Deploy, Some(release)) => {
                let migrated = is_migrated(place.state, release);
                planner::leg(place, &Wish::Deploy { release, migrated, spec: None }, id, now)
            }
            (Action::Restart, _) => planner::leg(place, &Wish::Restart, id, now),
            (Action::Down | Action::HandBack, _) => planner::leg(place, &Wish::Down { delete_data: false }, id, now),
            (Action::Rollback, _) => {
                if place.state.last_was_turned_back() {
                    return None;
                }
                let (keep, pin) = place.state.undo_target()?;
                let (pin, config) = (pin.clone(), self.config(&pin.revision.release)?);
                let left = place.state.migrations_since(&pin);
                if left.iter().any(|(_, irreversible)| *irreversible) {
                    return None;
                }
                // What has no command to take it back stays: an older release is expected to work with it.
                let has_undo = |r: &Sha256Hex| {
                    self.config(r).and_then(|c| c.migrate).is_some_and(|migrate| migrate.undo.is_some())
                };
                let undo = left.into_iter().map(|(r, _)| r.clone()).filter(has_undo).collect();
                planner::leg(place, &Wish::Rollback { pin: &pin, config: &config, keep, undo }, id, now)
            }
            (Action::Deploy, None) => None,
        }
    }

    fn stored(&self, release: &Sha256Hex) -> Option<Arc<Release>> {
        self.world.borrow().releases.get(release).map(|(release, _)| release.clone())
    }

    fn config(&self, release: &Sha256Hex) -> Option<AppConfig> {
        self.stored(release).map(|release| release.config.clone())
    }

    async fn is_healthy(&self, scope: &Scope, state: &State, current: Option<&Release>) -> Option<bool> {
        let (Some(pin), Some(release)) = (&state.current, current) else { return Some(true) };
        match self.call(Request::List(scope.clone())).await {
            Reply::Instances(instances) => {
                let observed = Observed { instances, ..Observed::default() };
                Some(observed.ready(&pin.revision) >= release.config.instances)
            }
            _ => None,
        }
    }
}

fn is_migrated(state: &State, release: &Release) -> bool {
    if release.config.migrate.is_none() {
        return true;
    }
    let pins = state.stack.iter().chain(&state.recent).chain(&state.current);
    let mine: Vec<_> = pins.filter(|p| p.version == release.version).map(|p| &p.revision.release).collect();
    state.migrations.iter().any(|(r, _)| *r == release.id() || mine.contains(&r))
}
