//! From what is wanted and what is there to a plan, or a refusal. Pure.

use crate::config::{AppConfig, Strategy};
use crate::deployment::turn_back::add_undo;
use crate::desired::{Desired, Gate, JobGate, JobKind, Waypoint};
use crate::id::{DeploymentId, Revision, Scope, Sha256Hex};
use crate::journal::Seq;
use crate::plan::{Action, Basis, Leg, Migration, PLAN_FORMAT, Pin, Plan, Side};
use crate::release::Release;
use crate::scope::State;
use crate::strategy::{Goal, path, path_down};
use crate::time::{Millis, Span};

/// A scope as the planner sees it.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// Which.
    pub scope: &'a Scope,
    /// Its state.
    pub state: &'a State,
    /// Where its stream stands.
    pub seq: Seq,
    /// The configuration of what is current.
    pub current: Option<&'a AppConfig>,
    /// Whether all that is current is healthy.
    pub healthy: bool,
}

/// What there is to do in a place.
#[derive(Clone, Debug)]
pub enum Wish<'a> {
    /// Make this release current.
    Deploy {
        /// Which.
        release: &'a Release,
        /// Whether its migration ran in this environment already.
        migrated: bool,
        /// The blob with the specification that it was resolved from.
        spec: Option<Sha256Hex>,
    },
    /// Go back to what was current before.
    Rollback {
        /// The target.
        pin: &'a Pin,
        /// Its configuration.
        config: &'a AppConfig,
        /// How many stay below it on the stack.
        keep: usize,
        /// Migrations to undo on the way, newest first.
        undo: Vec<Sha256Hex>,
    },
    /// New instances of what is current.
    Restart,
    /// Nothing.
    Down {
        /// Nor what holds data: there is something to do also where nothing runs any more.
        delete_data: bool,
    },
}

/// Plans one leg; none if there is nothing to do.
pub fn leg(place: &Place<'_>, wish: &Wish<'_>, deployment: &DeploymentId, now: Millis) -> Option<Leg> {
    let state = place.state;
    let from = state.current.as_ref().zip(place.current).map(|(pin, config)| Side::new(pin.clone(), config));
    let pin = |revision: Revision, pin: &Pin| Pin { revision, deployment: deployment.clone(), at: now, ..pin.clone() };
    let (to, keep) = match wish {
        Wish::Deploy { release, spec, .. } => {
            let id = release.id();
            let same = state.current.as_ref().filter(|c| c.revision.release == id);
            if same.is_some() && state.is_whole() && place.healthy {
                return None;
            }
            let nonce = fresh_nonce(state, &id);
            let pin = Pin {
                revision: Revision { release: id.clone(), nonce },
                version: release.version.clone(),
                artifact: release.artifact.as_ref().map(|a| a.sha256.clone()),
                deployment: deployment.clone(),
                at: now,
                spec: spec.clone(),
            };
            (Some(Side::new(pin, &release.config)), replaced(state, &id))
        }
        Wish::Rollback { pin: target, config, keep, .. } => {
            let revision = Revision { release: target.revision.release.clone(), nonce: warm_nonce(state, target) };
            (Some(Side::new(pin(revision, target), config)), *keep)
        }
        Wish::Restart => {
            let side = from.as_ref()?;
            let release = side.pin.revision.release.clone();
            let (keep, nonce) = (replaced(state, &release), fresh_nonce(state, &release));
            let revision = Revision { release, nonce };
            (Some(Side { pin: pin(revision, &side.pin), config: side.config.clone() }), keep)
        }
        Wish::Down { delete_data } => {
            if !delete_data && state.resting.parts.is_empty() && state.resting.base.is_none() {
                return None;
            }
            (None, state.stack.len())
        }
    };
    Some(assemble(place, wish, from, to, keep))
}

/// The nonce of instances of `release` that are not there yet: one that an attempt before left behind may be broken.
fn fresh_nonce(state: &State, release: &Sha256Hex) -> u32 {
    let current = state.current.iter().map(|pin| &pin.revision);
    let there = state.resting.parts.keys().chain(current).filter(|r| r.release == *release);
    there.map(|r| r.nonce + 1).max().unwrap_or(0)
}

/// How many stay on the stack below `release`: the same release on top is replaced, not put there twice.
fn replaced(state: &State, release: &Sha256Hex) -> usize {
    let on_top = state.stack.last().is_some_and(|top| top.revision.release == *release);
    state.stack.len() - usize::from(on_top)
}

/// Instances of the target that still run are used as they are.
fn warm_nonce(state: &State, target: &Pin) -> u32 {
    let warm = state.resting.parts.keys().find(|r| r.release == target.revision.release);
    warm.map_or(target.revision.nonce, |r| r.nonce)
}

fn assemble(place: &Place<'_>, wish: &Wish<'_>, from: Option<Side>, to: Option<Side>, keep: usize) -> Leg {
    let start = place.state.resting.clone();
    let tested = matches!(wish, Wish::Deploy { .. });
    let mut path = match &to {
        Some(side) => {
            let alone = from.as_ref().is_some_and(Side::is_exclusive);
            path(&start, &Goal { to: &side.pin.revision, config: &side.config, tested, alone })
        }
        None => path_down(&start),
    };
    let migration = match (wish, &to) {
        (Wish::Deploy { migrated: false, .. }, Some(side)) => side.config.migrate.as_ref().map(|m| Migration {
            release: side.pin.revision.release.clone(),
            undo: m.undo.is_some(),
            irreversible: m.irreversible,
        }),
        _ => None,
    };
    if let (Wish::Deploy { .. }, Some(side)) = (wish, &to) {
        let gates = first_gates(side, migration.is_some());
        if !gates.is_empty() {
            let floor = place.state.resting.total();
            path.insert(0, Waypoint { desired: start.clone(), floor, gates });
        }
    }
    if let Wish::Rollback { undo, .. } = wish {
        for release in undo {
            add_undo(&mut path, JobGate { what: JobKind::Undo, release: release.clone() });
        }
    }
    if matches!(wish, Wish::Down { delete_data: true }) {
        // When nothing else is left: there is no way back from it.
        path.push(Waypoint { desired: Desired::nothing(), floor: 0, gates: Vec::new() });
    }
    let (scope, costs, changes) = (place.scope.clone(), Vec::new(), Vec::new());
    let delete_data = matches!(wish, Wish::Down { delete_data: true });
    Leg { scope, from, to, start, path, migration, keep, costs, changes, corrects: false, delete_data, foreseen: None }
}

/// Hooks and the migration run before anything changes.
fn first_gates(to: &Side, migrates: bool) -> Vec<Gate> {
    let release = &to.pin.revision.release;
    let gate = |what| Gate::Job(JobGate { what, release: release.clone() });
    let before = (0..to.config.hooks.before.len()).map(|i| gate(JobKind::Before(i)));
    before.chain(migrates.then(|| gate(JobKind::Migrate))).collect()
}

/// So long may it take until data is gone where nothing runs any more.
const DATA_MAX: std::time::Duration = std::time::Duration::from_secs(600);

/// Puts legs together; none if there is nothing to do.
pub fn plan(id: DeploymentId, action: Action, legs: Vec<Leg>, places: &[Place<'_>]) -> Option<Plan> {
    if legs.is_empty() {
        return None;
    }
    let basis = places.iter().map(|place| Basis { stream: place.scope.stream(), seq: place.seq }).collect();
    // What was taken down before says nothing of how long its data may take.
    let deadline = |leg: &Leg| leg.config().map_or(DATA_MAX, |config| config.deadline.0);
    let deadline = legs.iter().map(deadline).sum();
    Some(Plan { format: PLAN_FORMAT, id, action, legs, basis, deadline: Span(deadline) })
}

/// Why a release cannot be walked to here, whatever the state; checked before anything is touched.
pub fn refusal(config: &AppConfig, capabilities: crate::driver::Capabilities) -> Option<String> {
    match &config.strategy {
        Strategy::Rolling { .. } if capabilities.by_itself => None,
        Strategy::Recreate if capabilities.by_itself => {
            Some("this target decides itself what runs; `strategy: recreate` is not built for it".into())
        }
        _ if capabilities.by_itself && !capabilities.side_by_side => Some(
            "this target brings one release to the next by itself; only `strategy: rolling` is built for it".into(),
        ),
        Strategy::Canary(_) if capabilities.by_itself && capabilities.split => None,
        Strategy::Canary(_) if config.route.is_none() => {
            Some("a canary needs a `route`: without one there is no traffic to split".into())
        }
        Strategy::Canary(_) if !capabilities.split => {
            Some("this target cannot split traffic; choose another strategy".into())
        }
        Strategy::Recreate => None,
        _ if !capabilities.side_by_side => {
            Some("this target runs one release at a time; use `strategy: recreate`".into())
        }
        _ => None,
    }
}

/// The state in which a walk leaves its scope if everything went well.
pub fn end_of(leg: &Leg) -> Desired {
    leg.path.last().map_or_else(|| leg.start.clone(), |waypoint| waypoint.desired.clone())
}
