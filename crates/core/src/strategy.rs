//! Strategies: pure functions from what is there and what is wanted to a path of waypoints.
//!
//! One waypoint changes capacity or traffic, never both. The same functions give the way forward and the way back.

mod whole;

use crate::config::{Amount, AppConfig, Canary, Smoke, Strategy};
use crate::desired::{Desired, Extent, FULL, Gate, JobGate, JobKind, Part, Share, Waypoint};
use crate::id::Revision;
use crate::time::Span;
use std::collections::BTreeMap;

/// What a path leads to.
#[derive(Clone, Debug)]
pub struct Goal<'a> {
    /// The revision that should run alone at the end.
    pub to: &'a Revision,
    /// Its configuration.
    pub config: &'a AppConfig,
    /// Whether smoke tests, hooks, holds and bake are passed: yes on the way forward, no on the way back.
    pub tested: bool,
    /// Whether all else must be gone before it starts, whatever its own strategy: a release of `recreate` leaves, which
    /// must not run beside another one.
    pub alone: bool,
}

impl Goal<'_> {
    fn share(&self) -> Share {
        if self.config.route.is_some() { Share::ByInstance } else { Share::Unmanaged }
    }

    fn count(&self) -> u32 {
        self.config.instances
    }

    fn extent(&self) -> Extent {
        self.config.target.extent(self.config.instances)
    }

    fn smoke_gates(&self) -> impl Iterator<Item = Gate> + '_ {
        let tests = if self.tested { self.config.smoke.as_slice() } else { &[] };
        tests.iter().enumerate().map(|(index, smoke)| match smoke {
            Smoke::Http { .. } => Gate::Smoke { revision: self.to.clone(), index },
            Smoke::Command(_) => Gate::Job(self.job(JobKind::Smoke(index))),
        })
    }

    fn final_gates(&self) -> Vec<Gate> {
        if !self.tested {
            return Vec::new();
        }
        let after = (0..self.config.hooks.after.len()).map(|i| Gate::Job(self.job(JobKind::After(i))));
        let bake = (self.config.bake > Span::default()).then_some(Gate::Hold(self.config.bake));
        after.chain(bake).collect()
    }

    fn job(&self, what: JobKind) -> JobGate {
        JobGate { what, release: self.to.release.clone() }
    }
}

/// The path from what is there to `goal`, by the goal's own strategy.
///
/// Its last waypoint is the goal alone. Without holds in between, each waypoint either changes how many instances of which
/// revision there are, or how the traffic is split between them; where instances share by number, both go together.
pub fn path(from: &Desired, goal: &Goal<'_>) -> Vec<Waypoint> {
    match &goal.config.strategy {
        _ if goal.extent().is_whole() => whole::path(from, goal),
        _ if goal.alone => recreate(from, goal),
        Strategy::Recreate => recreate(from, goal),
        Strategy::Rolling { surge, unavailable } if !is_weighted(from) => rolling(from, goal, *surge, *unavailable),
        Strategy::Canary(canary) if goal.tested && has_traffic(from, goal.to) => weighted(from, goal, Some(canary)),
        Strategy::Rolling { .. } | Strategy::BlueGreen | Strategy::Canary(_) => weighted(from, goal, None),
    }
}

/// The configuration of a release that comes in the place of what is there, whatever its strategy: what a target always can that brings
/// one release to the next by itself.
pub fn in_place(config: &AppConfig) -> AppConfig {
    let strategy = Strategy::Rolling { surge: Amount::Count(1), unavailable: Amount::Count(0) };
    AppConfig { strategy, ..config.clone() }
}

/// Whether two releases are beside each other anywhere on a path.
pub fn has_beside(path: &[Waypoint]) -> bool {
    path.iter().any(|waypoint| waypoint.desired.parts.len() > 1)
}

/// The path to nothing: traffic ends, everything stops.
pub fn path_down(from: &Desired) -> Vec<Waypoint> {
    let gates = from.parts.keys().cloned().map(Gate::Gone).collect();
    vec![Waypoint { desired: Desired::nothing(), floor: 0, gates }]
}

fn is_weighted(from: &Desired) -> bool {
    from.parts.values().filter(|part| matches!(part.share, Share::Weight(_))).count() > 1
}

/// Whether anything but `to` takes traffic: with what else could a canary share it?
fn has_traffic(from: &Desired, to: &Revision) -> bool {
    from.parts.keys().any(|revision| revision != to && from.weight(revision) > 0)
}

fn others(from: &Desired, to: &Revision) -> Vec<Revision> {
    from.parts.keys().filter(|revision| *revision != to).cloned().collect()
}

fn recreate(from: &Desired, goal: &Goal<'_>) -> Vec<Waypoint> {
    let old = others(from, goal.to);
    let mut path = Vec::new();
    if !old.is_empty() {
        let base = from.base.clone().or_else(|| old.first().cloned());
        let gates = old.into_iter().map(Gate::Gone).collect();
        path.push(Waypoint { desired: Desired { base, parts: BTreeMap::new() }, floor: 0, gates });
    }
    let mut gates = vec![Gate::Ready(goal.to.clone())];
    gates.extend(goal.smoke_gates());
    gates.extend(goal.final_gates());
    // Kept even if it has no instances, as an app that is nothing but a job: it is current all the same.
    let part = Part { extent: Extent::Count(goal.count()), share: goal.share() };
    let desired = Desired { base: Some(goal.to.clone()), parts: [(goal.to.clone(), part)].into() };
    path.push(Waypoint { desired, floor: 0, gates });
    path
}

fn with_base<'a>(base: &Revision, parts: impl IntoIterator<Item = (&'a Revision, u32, Share)>) -> Desired {
    let parts = parts
        .into_iter()
        .filter(|(_, count, _)| *count > 0)
        .map(|(revision, count, share)| (revision.clone(), Part { extent: Extent::Count(count), share }))
        .collect();
    Desired { base: Some(base.clone()), parts }
}

/// The count that an amount of `whole` stands for; percentages round up for surge and down for unavailable.
fn amount(amount: Amount, whole: u32, up: bool) -> u32 {
    match amount {
        Amount::Count(count) => count,
        Amount::Percent(percent) => {
            let product = u64::from(whole) * u64::from(percent);
            let rounded = if up { product.div_ceil(100) } else { product / 100 };
            u32::try_from(rounded).unwrap_or(u32::MAX)
        }
    }
}

fn rolling(from: &Desired, goal: &Goal<'_>, surge: Amount, unavailable: Amount) -> Vec<Waypoint> {
    let (wanted, share) = (goal.count(), goal.share());
    let mut old: Vec<(Revision, u32)> =
        others(from, goal.to).into_iter().map(|r| (r.clone(), from.count(&r))).collect();
    let mut new = from.count(goal.to).min(wanted);
    let mut surge = amount(surge, wanted, true);
    let unavailable = amount(unavailable, wanted, false).min(wanted);
    if surge == 0 && unavailable == 0 {
        surge = 1;
    }
    let most = from.total().max(wanted).saturating_add(surge);
    let floor = wanted - unavailable;
    let mut path = Vec::new();
    let mut push = |old: &[(Revision, u32)], new: u32, first: bool| {
        let parts = old.iter().map(|(r, n)| (r, *n, share)).chain([(goal.to, new, share)]);
        let mut gates = Vec::new();
        if new > 0 {
            gates.push(Gate::Ready(goal.to.clone()));
        }
        if first {
            gates.extend(goal.smoke_gates());
        }
        path.push(Waypoint { desired: with_base(goal.to, parts), floor, gates });
    };
    let mut tested = false;
    if new == wanted && goal.smoke_gates().next().is_some() {
        // An attempt before this one left them: they are tested before more of the old ones go.
        push(&old, new, true);
        tested = true;
    }
    loop {
        let left: u32 = old.iter().map(|(_, n)| n).sum();
        let add = (wanted - new).min(most.saturating_sub(left + new));
        if add > 0 {
            new += add;
            push(&old, new, !tested);
            tested = true;
        }
        let left: u32 = old.iter().map(|(_, n)| n).sum();
        if left == 0 && new == wanted {
            break;
        }
        let mut remove = left.min((left + new).saturating_sub(floor));
        for (_, n) in &mut old {
            let here = remove.min(*n);
            *n -= here;
            remove -= here;
        }
        push(&old, new, false);
        old.retain(|(_, n)| *n > 0);
    }
    finish(path, from, goal, share, floor)
}

/// Makes the last waypoint wait for the end of every old revision and for the final gates.
fn finish(mut path: Vec<Waypoint>, from: &Desired, goal: &Goal<'_>, share: Share, floor: u32) -> Vec<Waypoint> {
    let end = with_base(goal.to, [(goal.to, goal.count(), share)]);
    if path.last().is_none_or(|last| last.desired != end) {
        path.push(Waypoint { desired: end, floor, gates: vec![Gate::Ready(goal.to.clone())] });
    }
    if let Some(last) = path.last_mut() {
        last.gates.extend(others(from, goal.to).into_iter().map(Gate::Gone));
        last.gates.extend(goal.final_gates());
    }
    path
}

/// Blue-green, and canary as blue-green with steps between: capacity first, then traffic, then the old one goes.
fn weighted(from: &Desired, goal: &Goal<'_>, canary: Option<&Canary>) -> Vec<Waypoint> {
    let routed = goal.config.route.is_some();
    let old = others(from, goal.to);
    let floor = goal.count().min(from.total());
    let base = from.base.clone().unwrap_or_else(|| goal.to.clone());
    let at = |base: &Revision, count: u32, weight: u32| {
        let given = from_weights(from, goal.to, &old, weight, routed);
        let mine = if routed { Share::Weight(weight) } else { Share::Unmanaged };
        let parts = old.iter().zip(given).map(|(r, share)| (r, from.count(r), share)).chain([(goal.to, count, mine)]);
        with_base(base, parts)
    };
    let ready = || vec![Gate::Ready(goal.to.clone())];
    let mut path: Vec<Waypoint> = Vec::new();
    let (mut count, mut weight) = (from.count(goal.to).min(goal.count()), from.weight(goal.to));
    let mut tested = goal.smoke_gates().next().is_none();
    for step in canary.map_or(&[][..], |c| c.steps.as_slice()) {
        let needed = u32::try_from((u64::from(goal.count()) * u64::from(*step)).div_ceil(u64::from(FULL)))
            .unwrap_or(u32::MAX)
            .max(1);
        if needed > count || !tested {
            count = count.max(needed);
            let mut gates = ready();
            if !tested {
                gates.extend(goal.smoke_gates());
                tested = true;
            }
            path.push(Waypoint { desired: at(&base, count, weight), floor, gates });
        }
        weight = *step;
        path.push(Waypoint { desired: at(&base, count, weight), floor, gates: canary_gates(goal, canary, &old) });
    }
    if count < goal.count() || path.is_empty() || !tested {
        let mut gates = ready();
        if !tested {
            gates.extend(goal.smoke_gates());
        }
        path.push(Waypoint { desired: at(&base, goal.count(), weight), floor, gates });
    }
    if !old.is_empty() {
        let mut gates = ready();
        gates.extend(goal.final_gates());
        path.push(Waypoint { desired: at(goal.to, goal.count(), FULL), floor, gates });
    }
    let end = Desired::only(goal.to, goal.count(), routed);
    let mut gates = ready();
    gates.extend(old.iter().cloned().map(Gate::Gone));
    if old.is_empty() {
        gates.extend(goal.final_gates());
    }
    path.push(Waypoint { desired: end, floor: goal.count().min(floor.max(1)), gates });
    path
}

fn canary_gates(goal: &Goal<'_>, canary: Option<&Canary>, old: &[Revision]) -> Vec<Gate> {
    let Some(canary) = canary else { return Vec::new() };
    let mut gates = vec![Gate::Ready(goal.to.clone()), Gate::Hold(canary.hold)];
    if let (Some(analysis), Some(old)) = (canary.analysis, old.first()) {
        gates.push(Gate::Analysis { new: goal.to.clone(), old: old.clone(), requests_min: analysis.requests_min });
    }
    gates
}

/// What the old revisions keep when the new one has `weight`: the rest, in the proportions that they had.
fn from_weights(from: &Desired, to: &Revision, old: &[Revision], weight: u32, routed: bool) -> Vec<Share> {
    if !routed {
        // A release without a route follows: what is routed stays so until it goes.
        return old.iter().filter_map(|r| from.parts.get(r)).map(|part| part.share).collect();
    }
    if !has_traffic(from, to) {
        // What was left without traffic, by a first deployment that failed for one, gets none now.
        return vec![Share::Weight(0); old.len()];
    }
    let rest = FULL.saturating_sub(weight);
    let before = FULL.saturating_sub(from.weight(to)).max(1);
    let mut given: Vec<u32> = old
        .iter()
        .map(|r| u32::try_from(u64::from(from.weight(r)) * u64::from(rest) / u64::from(before)).unwrap_or(rest))
        .collect();
    let sum: u32 = given.iter().sum();
    if let Some(first) = given.first_mut() {
        *first += rest.saturating_sub(sum);
    }
    given.into_iter().map(Share::Weight).collect()
}
