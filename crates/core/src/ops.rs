//! The order inside one waypoint, for targets whose instances we run: what to do now, from whatever is there.
//!
//! Called again after every observation. Never less healthy capacity than promised (as far as it was there), never
//! traffic to something that is not ready while something ready exists, never a stop of what still has a share.

use crate::desired::{Desired, Gate, Share, Waypoint};
use crate::id::{InstanceId, Revision};
use crate::instance::{InstanceSeen, InstanceState};
use std::collections::{BTreeMap, BTreeSet};

/// What is seen of a scope.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// Its instances.
    pub instances: &'a [InstanceSeen],
    /// The sides that the data plane works by now, acknowledged by all of its processes.
    pub sides: &'a BTreeMap<Revision, Side>,
    /// Requests in flight per instance.
    pub in_flight: &'a BTreeMap<InstanceId, u64>,
    /// Whether two revisions must never run at once.
    pub exclusive: bool,
}

/// A revision's part in the routing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// Its weight.
    pub weight: u32,
    /// Who takes its requests.
    pub members: BTreeSet<InstanceId>,
}

/// What to do now. Starts and routing may go side by side; stops are safe at once.
#[must_use]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ops {
    /// Instances to clear away: proven gone.
    pub forget: Vec<InstanceId>,
    /// Instances to start.
    pub start: Vec<(Revision, u32)>,
    /// What should be routed; what is there may be that already.
    pub sides: BTreeMap<Revision, Side>,
    /// Instances to stop.
    pub stop: Vec<InstanceId>,
    /// What the rest waits for, for people.
    pub waits: Vec<String>,
}

/// Decides what to do now on the way to a waypoint.
pub fn next_ops(seen: &Seen<'_>, to: &Waypoint) -> Ops {
    let mut ops = Ops::default();
    starts(seen, &to.desired, &mut ops);
    let plan = Routing::plan(seen, to);
    ops.waits.extend(plan.held.iter().flatten().cloned());
    ops.sides = plan.sides(seen, &to.desired);
    stops(seen, to, &plan, &mut ops);
    ops
}

fn is_wanted(instance: &InstanceSeen, desired: &Desired) -> bool {
    instance.slot < desired.count(&instance.revision)
}

fn is_dying(instance: &InstanceSeen) -> bool {
    matches!(instance.state, InstanceState::Stopping | InstanceState::Gone)
}

fn starts(seen: &Seen<'_>, desired: &Desired, ops: &mut Ops) {
    for gone in seen.instances.iter().filter(|i| i.state == InstanceState::Gone) {
        ops.forget.push(gone.id.clone());
    }
    let alive = || seen.instances.iter().filter(|i| i.state != InstanceState::Gone);
    for (revision, part) in &desired.parts {
        if seen.exclusive
            && let Some(other) = alive().find(|i| i.revision != *revision)
        {
            ops.waits.push(format!("{} must end before another release may start", other.id));
            continue;
        }
        for slot in 0..part.extent.count() {
            match alive().find(|i| i.revision == *revision && i.slot == slot) {
                None => ops.start.push((revision.clone(), slot)),
                Some(i) if i.state == InstanceState::Stopping => {
                    ops.waits.push(format!("{} is still stopping; it is wanted again", i.id));
                }
                Some(_) => {}
            }
        }
    }
}

/// Who gets traffic next.
struct Routing<'a> {
    /// Wanted instances that take part.
    members: BTreeMap<&'a Revision, Vec<&'a InstanceSeen>>,
    /// Instances that are not wanted any more but still needed.
    kept: Vec<&'a InstanceSeen>,
    /// Set if the weights stay as they are, with what that waits for.
    held: Option<Option<String>>,
}

impl<'a> Routing<'a> {
    fn plan(seen: &Seen<'a>, to: &'a Waypoint) -> Self {
        let members = members(seen, &to.desired);
        let held = held(seen, to, &members);
        let extras = seen.instances.iter().filter(|i| !is_wanted(i, &to.desired));
        let routed = |i: &InstanceSeen| seen.sides.get(&i.revision).is_some_and(|s| s.members.contains(&i.id));
        let kept = if held.is_some() {
            extras.filter(|i| routed(i) && !is_dying(i)).collect()
        } else {
            let serving = to.desired.parts.iter().filter(|(_, part)| part.share != Share::Weight(0));
            let ready: usize = serving.map(|(r, _)| members.get(r).map_or(0, |m| ready_of(m))).sum();
            let missing = (to.floor as usize).saturating_sub(ready);
            // Those that serve now first: that others could is no capacity yet.
            let ready = extras.filter(|i| i.state == InstanceState::Ready);
            let (serving, idle): (Vec<_>, Vec<_>) = ready.partition(|i| routed(i));
            serving.into_iter().chain(idle).take(missing).collect()
        };
        Self { members, kept, held }
    }

    fn sides(&self, seen: &Seen<'_>, desired: &Desired) -> BTreeMap<Revision, Side> {
        let mut sides: BTreeMap<Revision, Side> = BTreeMap::new();
        for (revision, part) in &desired.parts {
            if part.share == Share::Unmanaged {
                continue;
            }
            let members: BTreeSet<_> = self.members[revision].iter().map(|i| i.id.clone()).collect();
            let before = seen.sides.get(revision).map_or(0, |side| side.weight);
            let weight = match part.share {
                Share::Weight(_) if self.held.is_some() => before,
                // Nobody is there to take it.
                Share::Weight(_) if members.is_empty() => 0,
                Share::Weight(weight) => weight,
                _ => u32::try_from(members.len()).unwrap_or(u32::MAX),
            };
            sides.insert(revision.clone(), Side { weight, members });
        }
        let by_instance = desired.parts.values().any(|part| part.share == Share::ByInstance);
        for extra in &self.kept {
            let before = seen.sides.get(&extra.revision);
            if self.held.is_none() && !by_instance || before.is_none() {
                continue;
            }
            let wanted = desired.parts.contains_key(&extra.revision);
            let side = sides.entry(extra.revision.clone()).or_default();
            side.members.insert(extra.id.clone());
            if by_instance {
                side.weight = u32::try_from(side.members.len()).unwrap_or(u32::MAX);
            } else if !wanted {
                side.weight = before.map_or(0, |side| side.weight);
            }
        }
        if by_instance {
            only_ready(seen, &mut sides);
        }
        sides
    }
}

/// Instances that share by number are one pool: what is not ready leaves it as long as anything in it is ready.
fn only_ready(seen: &Seen<'_>, sides: &mut BTreeMap<Revision, Side>) {
    let ready = |id: &InstanceId| seen.instances.iter().any(|i| i.id == *id && i.state == InstanceState::Ready);
    if sides.values().any(|side| side.members.iter().any(ready)) {
        for side in sides.values_mut() {
            side.members.retain(ready);
            side.weight = u32::try_from(side.members.len()).unwrap_or(u32::MAX);
        }
    }
}

fn ready_of(members: &[&InstanceSeen]) -> usize {
    members.iter().filter(|i| i.state == InstanceState::Ready).count()
}

/// The wanted instances that may have traffic: the ready ones; where a side has none, those that had it before.
fn members<'a>(seen: &Seen<'a>, desired: &'a Desired) -> BTreeMap<&'a Revision, Vec<&'a InstanceSeen>> {
    let mut members = BTreeMap::new();
    for revision in desired.parts.keys() {
        let mine = || seen.instances.iter().filter(|i| i.revision == *revision && is_wanted(i, desired));
        let mut ready: Vec<_> = mine().filter(|i| i.state == InstanceState::Ready).collect();
        if ready.is_empty()
            && let Some(side) = seen.sides.get(revision).filter(|side| side.weight > 0)
        {
            ready = mine().filter(|i| side.members.contains(&i.id) && !is_dying(i)).collect();
        }
        members.insert(revision, ready);
    }
    members
}

/// Weights only move when every side that gains has all of its instances ready, unless nothing healthy serves now; else
/// what that is waited for, if anything. What need not be ready, such as a bad release on its way out or at rest, is not
/// waited for, and gets no more traffic than it has.
fn held(seen: &Seen<'_>, to: &Waypoint, members: &BTreeMap<&Revision, Vec<&InstanceSeen>>) -> Option<Option<String>> {
    let demanded = |revision: &Revision| to.gates.iter().any(|g| matches!(g, Gate::Ready(r) if r == revision));
    let mut gaining = to.desired.parts.iter().filter_map(|(revision, part)| {
        let Share::Weight(weight) = part.share else { return None };
        let before = seen.sides.get(revision).map_or(0, |side| side.weight);
        let (ready, wanted) = (ready_of(&members[revision]), part.extent.count() as usize);
        let wait = || demanded(revision).then(|| format!("{ready} of {wanted} new instances are healthy"));
        (weight > before && ready < wanted).then(wait)
    });
    let first = gaining.next()?;
    let wait = first.or_else(|| gaining.flatten().next());
    let is_ready = |id: &InstanceId| seen.instances.iter().any(|i| i.id == *id && i.state == InstanceState::Ready);
    let serves = seen.sides.values().any(|side| side.weight > 0 && side.members.iter().any(is_ready));
    let can_serve = to.desired.parts.iter().any(|(revision, part)| {
        matches!(part.share, Share::Weight(weight) if weight > 0) && ready_of(&members[revision]) > 0
    });
    (serves || !can_serve).then_some(wait)
}

fn stops(seen: &Seen<'_>, to: &Waypoint, plan: &Routing<'_>, ops: &mut Ops) {
    for instance in seen.instances.iter().filter(|i| !is_wanted(i, &to.desired)) {
        if matches!(instance.state, InstanceState::Gone) {
            continue;
        }
        if instance.state == InstanceState::Stopping {
            ops.waits.push(format!("{} is stopping", instance.id));
            continue;
        }
        let routed = seen.sides.values().any(|side| side.members.contains(&instance.id));
        let kept = plan.kept.iter().any(|k| k.id == instance.id);
        let in_flight = seen.in_flight.get(&instance.id).copied().unwrap_or(0);
        if kept {
            ops.waits.push(format!("{} stays until its successor is healthy", instance.id));
        } else if routed {
            ops.waits.push(format!("{} is being taken out of the routing", instance.id));
        } else if in_flight > 0 {
            ops.waits.push(format!("{in_flight} requests on {} finish", instance.id));
        } else {
            ops.stop.push(instance.id.clone());
        }
    }
}
