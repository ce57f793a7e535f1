//! The way back, from wherever the walk stands.

use super::{Back, Closed, Deployment, Event, LegState, Verdict};
use crate::desired::{Desired, Gate, JobGate, JobKind, Share, Waypoint};
use crate::plan::{Leg, Side};
use crate::strategy::{Goal, has_beside, in_place, path, path_down};
use crate::time::Millis;

/// The event that turns a deployment back, or closes it where there is no way back.
pub fn turn_back(state: &Deployment, reason: &str, cancelled: bool, now: Millis) -> Event {
    let begun = state.legs.iter().enumerate().rev().filter(|(_, leg)| leg.binding.is_some());
    let begun: Vec<usize> = begun.map(|(index, _)| index).collect();
    let verdict = if cancelled { Verdict::Cancelled } else { Verdict::Failed };
    if let Some(&index) = begun.iter().find(|&&index| state.deletes_data(index)) {
        let app = &state.plan.legs[index].scope.app;
        let reason = format!(
            "{reason}; not turned back: the data of {app} is being deleted. `deployctl down --delete-data` goes on with it, `deployctl \
             deploy` begins anew with what is left"
        );
        return Event::Closed(Closed { verdict, restored: false, reason });
    }
    if let Some(app) = begun.iter().find_map(|&index| no_way_back(state, index)) {
        let reason = format!(
            "{reason}; not turned back: the migration of {app} cannot be undone. Deploy a release that works with the migrated \
             data, or go back all the same with `deployctl rollback --across-migration`"
        );
        return Event::Closed(Closed { verdict, restored: false, reason });
    }
    let paths = begun.into_iter().map(|index| (index, way_back(state, index))).collect();
    Event::TurnedBack { reason: reason.into(), cancelled, paths, deadline: now.after(state.plan.deadline.0) }
}

/// How a deployment ends whose way back is blocked.
pub fn not_restored(back: &Back, why: &str) -> Closed {
    let verdict = if back.cancelled { Verdict::Cancelled } else { Verdict::Failed };
    Closed { verdict, restored: false, reason: format!("{}; {why}", back.reason) }
}

impl Deployment {
    /// Whether what holds data goes now, or is gone: it does when nothing else of the leg is left, at its last waypoint.
    pub fn deletes_data(&self, leg: usize) -> bool {
        let (plan, here) = (&self.plan.legs[leg], &self.legs[leg]);
        plan.delete_data && self.back.is_none() && here.reached + 1 >= plan.path.len()
    }
}

fn migration_ran(state: &Deployment, index: usize) -> bool {
    state.legs[index].jobs.iter().any(|run| run.gate.what == JobKind::Migrate)
}

fn no_way_back(state: &Deployment, index: usize) -> Option<String> {
    let leg = state.plan.legs.get(index)?;
    let migration = leg.migration.as_ref().filter(|m| m.irreversible)?;
    let _ = migration;
    migration_ran(state, index).then(|| leg.scope.app.to_string())
}

fn way_back(state: &Deployment, index: usize) -> Vec<Waypoint> {
    let (leg, here) = (&state.plan.legs[index], &state.legs[index]);
    let stands = stands(leg, here);
    let mut way = match &leg.from {
        Some(old) => {
            let alone = leg.to.as_ref().is_some_and(Side::is_exclusive);
            // What came in its place goes so as well: whether the two can be beside each other, nobody has asked.
            let in_place = (old.config.target.extent(old.config.instances).is_whole() && !has_beside(&leg.path))
                .then(|| in_place(&old.config));
            let config = in_place.as_ref().unwrap_or(&old.config);
            path(&stands, &Goal { to: &old.pin.revision, config, tested: false, alone })
        }
        None => path_down(&stands),
    };
    if let Some(new) = leaves(leg) {
        add_gone(&mut way, new);
    }
    let undo = leg.migration.as_ref().filter(|m| m.undo && migration_ran(state, index));
    if let Some(migration) = undo {
        add_undo(&mut way, JobGate { what: JobKind::Undo, release: migration.release.clone() });
    }
    way
}

/// Where a walk stands: on the way to its current waypoint. All of that one's instances may be there, but its traffic need
/// not have moved yet, and on the way back it does not move further.
fn stands(leg: &Leg, here: &LegState) -> Desired {
    let Some(towards) = here.waypoint() else {
        return here.path.last().map_or_else(|| leg.start.clone(), |w| w.desired.clone());
    };
    let reached = here.reached.checked_sub(1).and_then(|at| here.path.get(at)).map_or(&leg.start, |w| &w.desired);
    let mut stands = towards.desired.clone();
    let weighted = stands.parts.values().any(|part| matches!(part.share, Share::Weight(weight) if weight > 0));
    let serving = stands.parts.keys().any(|revision| reached.weight(revision) > 0);
    if weighted && serving {
        for (revision, part) in &mut stands.parts {
            part.share = Share::Weight(reached.weight(revision));
        }
    }
    stands
}

/// The revision that must be gone after the way back.
fn leaves(leg: &Leg) -> Option<&crate::id::Revision> {
    let new = &leg.to.as_ref()?.pin.revision;
    (leg.from.as_ref().map(|old| &old.pin.revision) != Some(new)).then_some(new)
}

fn add_gone(way: &mut [Waypoint], new: &crate::id::Revision) {
    if let Some(last) = way.last_mut() {
        let gate = Gate::Gone(new.clone());
        if !last.gates.contains(&gate) {
            last.gates.push(gate);
        }
    }
}

/// Undoing comes when the new release is gone and, where the strategy allows, before the old one is back.
pub fn add_undo(way: &mut [Waypoint], job: JobGate) {
    let between = way.len() > 1 && way.first().is_some_and(|first| first.desired.parts.is_empty());
    let at = if between { way.first_mut() } else { way.last_mut() };
    if let Some(waypoint) = at {
        waypoint.gates.push(Gate::Job(job));
    }
}
