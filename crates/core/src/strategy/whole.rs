//! Paths of revisions that extend as the target decides: it is told what should be there and what each is given, not how many.

use super::{Goal, canary_gates, others};
use crate::config::{Canary, Strategy};
use crate::desired::{Desired, Extent, FULL, Gate, Part, Share, Waypoint};
use crate::id::Revision;

/// The path from what is there to `goal`. At its end the traffic is the target's own matter again.
pub(super) fn path(from: &Desired, goal: &Goal<'_>) -> Vec<Waypoint> {
    let old = others(from, goal.to);
    match &goal.config.strategy {
        _ if old.is_empty() => by_itself(from, goal),
        Strategy::Canary(canary) if goal.tested && weight(from, goal.to) == 0 => beside(from, goal, Some(canary)),
        Strategy::BlueGreen | Strategy::Canary(_) => beside(from, goal, None),
        // What an attempt before this one left beside each other goes back to one of them first.
        Strategy::Recreate | Strategy::Rolling { .. } => by_itself(from, goal),
    }
}

/// The target brings one release to the next by itself: one waypoint.
fn by_itself(from: &Desired, goal: &Goal<'_>) -> Vec<Waypoint> {
    let mut gates = vec![Gate::Ready(goal.to.clone())];
    gates.extend(others(from, goal.to).into_iter().map(Gate::Gone));
    gates.extend(goal.smoke_gates());
    gates.extend(goal.final_gates());
    vec![Waypoint { desired: alone(goal.to), floor: 0, gates }]
}

fn alone(revision: &Revision) -> Desired {
    let part = Part { extent: Extent::Auto, share: Share::Unmanaged };
    Desired { base: Some(revision.clone()), parts: [(revision.clone(), part)].into() }
}

/// What a revision takes now. One that is alone takes all that the target gives.
fn weight(from: &Desired, revision: &Revision) -> u32 {
    match from.parts.get(revision).map(|part| part.share) {
        Some(Share::Unmanaged) if from.parts.len() == 1 => FULL,
        _ => from.weight(revision),
    }
}

/// Capacity first, then traffic, then the old one goes. A canary does so in steps.
fn beside(from: &Desired, goal: &Goal<'_>, canary: Option<&Canary>) -> Vec<Waypoint> {
    let mut path = Vec::new();
    let old = one_of(from, goal.to, &mut path);
    // What goes first takes all but one with it.
    let here = from.parts.get(goal.to).filter(|_| path.is_empty());
    let given = here.map(|part| part.extent);
    let mut taken = here.map_or(0, |_| weight(from, goal.to));
    let before = from.parts.get(&old).map_or(Extent::Auto, |part| part.extent);
    let at = |base: &Revision, mine: (Extent, u32), its: Extent| {
        let part = |extent, weight| Part { extent, share: Share::Weight(weight) };
        let parts = [(old.clone(), part(its, FULL - mine.1)), (goal.to.clone(), part(mine.0, mine.1))];
        Desired { base: Some(base.clone()), parts: parts.into() }
    };
    let ready = || vec![Gate::Ready(goal.to.clone())];
    let mut smoke: Vec<Gate> = goal.smoke_gates().collect();
    let mut push = |desired: Desired, gates: Vec<Gate>| path.push(Waypoint { desired, floor: 0, gates });
    for step in canary.map_or(&[][..], |canary| canary.steps.as_slice()) {
        let extent = Extent::Enough(*step);
        let gates = ready().into_iter().chain(smoke.drain(..)).collect();
        push(at(&old, (extent, taken), before), gates);
        taken = *step;
        push(at(&old, (extent, taken), before), canary_gates(goal, canary, std::slice::from_ref(&old)));
    }
    if taken < FULL {
        if given != Some(Extent::Auto) || !smoke.is_empty() {
            let gates = ready().into_iter().chain(smoke.drain(..)).collect();
            push(at(&old, (Extent::Auto, taken), before), gates);
        }
        let gates = ready().into_iter().chain(goal.final_gates()).collect();
        push(at(goal.to, (Extent::Auto, FULL), before), gates);
    }
    let gates = ready().into_iter().chain([Gate::Gone(old)]).collect();
    push(alone(goal.to), gates);
    path
}

/// The revision that `to` replaces. No more than two are ever beside each other: what has less of the traffic goes first.
fn one_of(from: &Desired, to: &Revision, path: &mut Vec<Waypoint>) -> Revision {
    let old = others(from, to);
    let most = old.iter().max_by_key(|revision| weight(from, revision)).unwrap_or(to).clone();
    if old.len() > 1 {
        let gates = old.into_iter().filter(|revision| *revision != most).map(Gate::Gone).collect();
        path.push(Waypoint { desired: alone(&most), floor: 0, gates });
    }
    most
}
