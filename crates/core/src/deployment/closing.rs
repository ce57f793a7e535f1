//! What a deployment's end means for each of its scopes.

use super::{Closed, Deployment, Verdict};
use crate::desired::Desired;
use crate::id::Sha256Hex;
use crate::instance::Binding;
use crate::plan::{Action, Leg, Pin};
use crate::scope::{self, StackChange};
use crate::time::Millis;

/// The event for the scope of each leg, in the order of the plan.
pub fn closing(
    state: &Deployment,
    closed: &Closed,
    before: &[scope::State],
    last: &Sha256Hex,
    now: Millis,
) -> Vec<scope::Closed> {
    let legs = state.plan.legs.iter().zip(&state.legs).zip(before);
    legs.map(|((leg, here), scope)| {
        let resting = match (&here.binding, here.waypoint().or(here.path.last())) {
            (Some(_), Some(waypoint)) => waypoint.desired.clone(),
            _ => leg.start.clone(),
        };
        let (current, stack) = match closed.verdict {
            Verdict::Succeeded => succeeded(state, leg, now),
            _ if here.binding.is_none() => (scope.current.clone(), StackChange::Same),
            _ => (still_current(leg, &resting), StackChange::Same),
        };
        scope::Closed {
            deployment: state.plan.id.clone(),
            verdict: closed.verdict,
            restored: closed.restored,
            reason: closed.reason.clone(),
            resting,
            binding: bindings(&scope.binding, here.binding.as_ref()),
            current,
            stack,
            last: last.clone(),
        }
    })
    .collect()
}

fn succeeded(state: &Deployment, leg: &Leg, now: Millis) -> (Option<Pin>, StackChange) {
    let pin = leg.to.as_ref().map(|side| Pin { at: now, ..side.pin.clone() });
    let stack = match (&pin, state.plan.action) {
        (Some(pin), _) => StackChange::Put { keep: leg.keep, pin: pin.clone() },
        (None, Action::Down | Action::HandBack | Action::Deploy | Action::Rollback | Action::Restart) => {
            StackChange::Same
        }
    };
    (pin, stack)
}

/// Whichever has most of what rests there; the old release where that is undecided.
fn still_current(leg: &Leg, resting: &Desired) -> Option<Pin> {
    let weight = |pin: &Pin| (resting.weight(&pin.revision), resting.count(&pin.revision));
    // A job has no instances to begin with: where nothing of anything is wanted, what is named there is what rests.
    let has_instances = resting.parts.values().any(|part| !part.extent.is_nothing());
    let rests = |pin: &&Pin| match has_instances {
        true => !resting.extent(&pin.revision).is_nothing(),
        false => resting.parts.contains_key(&pin.revision),
    };
    let old = leg.from.as_ref().map(|side| &side.pin).filter(rests);
    let new = leg.to.as_ref().map(|side| &side.pin).filter(rests);
    match (old, new) {
        (Some(old), Some(new)) => Some(if weight(new) > weight(old) { new } else { old }.clone()),
        (old, new) => old.or(new).cloned(),
    }
}

fn bindings(before: &Binding, now: Option<&Binding>) -> Binding {
    let mut all = before.clone();
    all.addresses.extend(now.into_iter().flat_map(|b| b.addresses.clone()));
    all
}
