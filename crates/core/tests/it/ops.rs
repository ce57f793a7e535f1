//! Properties of the order inside a waypoint, from arbitrary observed states, against an adversary that does only a part
//! of what is decided, lets instances fall ill and requests linger, and is fair in the end.

use crate::make::{canary, config, desired, failed, rev, rev_name, rolling, seen, starting, unhealthy};
use deployctl_core::config::Strategy as How;
use deployctl_core::desired::{Desired, FULL, Share, Waypoint};
use deployctl_core::id::{InstanceId, Revision};
use deployctl_core::instance::{InstanceSeen, InstanceState};
use deployctl_core::ops::{Ops, Seen, Side, next_ops};
use deployctl_core::strategy::{Goal, path};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What is there, as an executor sees it.
#[derive(Clone, Debug, Default)]
struct Place {
    instances: Vec<InstanceSeen>,
    sides: BTreeMap<Revision, Side>,
    in_flight: BTreeMap<InstanceId, u64>,
    exclusive: bool,
}

impl Place {
    fn decide(&self, to: &Waypoint) -> Ops {
        let seen = Seen {
            instances: &self.instances,
            sides: &self.sides,
            in_flight: &self.in_flight,
            exclusive: self.exclusive,
        };
        next_ops(&seen, to)
    }

    fn is_ready(&self, id: &InstanceId) -> bool {
        self.instances.iter().any(|i| i.id == *id && i.state == InstanceState::Ready)
    }

    /// Healthy instances that take traffic in `sides`.
    fn serving(&self, sides: &BTreeMap<Revision, Side>) -> usize {
        let members = sides.values().filter(|side| side.weight > 0).flat_map(|side| &side.members);
        members.filter(|id| self.is_ready(id)).count()
    }

    fn ready(&self) -> usize {
        self.instances.iter().filter(|i| i.state == InstanceState::Ready).count()
    }

    /// Does the first `most` of what was decided, in the order in which the executor does it.
    fn act(&mut self, ops: &Ops, most: usize) {
        let mut left = most;
        let mut may = || left.checked_sub(1).map(|n| left = n).is_some();
        for id in &ops.forget {
            if may() {
                self.instances.retain(|i| i.id != *id);
            }
        }
        for (revision, slot) in &ops.start {
            if may() {
                let number = rev_name(revision)[1..].parse().unwrap();
                self.instances.push(seen(number, *slot, starting()));
            }
        }
        if may() {
            self.sides.clone_from(&ops.sides);
        }
        for id in &ops.stop {
            if may() {
                self.instances.iter_mut().filter(|i| i.id == *id).for_each(|i| i.state = InstanceState::Stopping);
            }
        }
    }

    /// The world goes on by itself. `dice` decides; a fair world only gets better.
    fn live(&mut self, dice: &[u8], fair: bool) {
        for (at, instance) in self.instances.iter_mut().enumerate() {
            let die = dice.get(at % dice.len().max(1)).copied().unwrap_or(0);
            let wants = |n: u8| !fair && die % 8 == n;
            instance.state = match &instance.state {
                InstanceState::Stopping if fair || die % 2 == 0 => InstanceState::Gone,
                InstanceState::Stopping => InstanceState::Stopping,
                InstanceState::Gone => InstanceState::Gone,
                InstanceState::Ready if wants(0) => unhealthy(),
                InstanceState::Ready if wants(1) => failed(),
                InstanceState::Ready => InstanceState::Ready,
                other if wants(2) || wants(3) => other.clone(),
                _ => InstanceState::Ready,
            };
        }
        for (at, requests) in self.in_flight.values_mut().enumerate() {
            let die = u64::from(dice.get(at % dice.len().max(1)).copied().unwrap_or(0));
            *requests = if fair { requests.saturating_sub(1) } else { die % 3 };
        }
        // Only what takes traffic gets new requests.
        let routed: Vec<_> = self.sides.values().flat_map(|side| side.members.iter().cloned()).collect();
        if !fair {
            self.in_flight.extend(routed.into_iter().map(|id| (id, 1)));
        }
    }
}

/// Everything that must hold of a decision, whatever the state.
fn check(place: &Place, to: &Waypoint, ops: &Ops) -> Result<(), TestCaseError> {
    let desired = &to.desired;
    let find = |id: &InstanceId| place.instances.iter().find(|i| i.id == *id);
    for id in &ops.forget {
        prop_assert_eq!(&find(id).unwrap().state, &InstanceState::Gone, "forgets what may be there");
    }
    for (at, (revision, slot)) in ops.start.iter().enumerate() {
        prop_assert!(*slot < desired.count(revision), "starts what is not wanted");
        let there = |i: &&InstanceSeen| i.state != InstanceState::Gone;
        let doubled = place.instances.iter().filter(there).any(|i| i.revision == *revision && i.slot == *slot);
        prop_assert!(!doubled && !ops.start[..at].contains(&(revision.clone(), *slot)), "starts a slot twice");
        let beside = place.instances.iter().filter(there).any(|i| i.revision != *revision);
        prop_assert!(!(place.exclusive && beside), "starts beside another release");
    }
    for id in &ops.stop {
        let instance = find(id).unwrap();
        prop_assert!(instance.slot >= desired.count(&instance.revision), "stops what is wanted");
        prop_assert!(!place.sides.values().any(|s| s.members.contains(id)), "stops what is routed");
        prop_assert!(!ops.sides.values().any(|s| s.members.contains(id)), "stops what will be routed");
        prop_assert_eq!(place.in_flight.get(id).copied().unwrap_or(0), 0, "stops what has requests");
        prop_assert!(!matches!(instance.state, InstanceState::Stopping | InstanceState::Gone), "stops twice");
    }
    routing(place, to, ops)?;
    capacity(place, to, ops)
}

fn routing(place: &Place, to: &Waypoint, ops: &Ops) -> Result<(), TestCaseError> {
    let serves = place.serving(&place.sides) > 0;
    for (revision, side) in &ops.sides {
        let before = place.sides.get(revision);
        for id in &side.members {
            let instance = place.instances.iter().find(|i| i.id == *id);
            let state = &instance.unwrap().state;
            prop_assert!(!matches!(state, InstanceState::Stopping | InstanceState::Gone), "routes to what is going");
            let had = before.is_some_and(|b| b.members.contains(id));
            prop_assert!(*state == InstanceState::Ready || had, "gives traffic to {id}, which is {}", state.word());
        }
        let ready = side.members.iter().any(|id| place.is_ready(id));
        let gains = side.weight > 0 && before.is_none_or(|b| b.weight == 0);
        prop_assert!(!gains || ready || !serves, "moves traffic to {}, of which nothing is ready", rev_name(revision));
    }
    moves(place, to, ops)?;
    let by_number = to.desired.parts.values().any(|p| p.share == Share::ByInstance);
    if by_number && place.serving(&ops.sides) > 0 {
        let members = ops.sides.values().flat_map(|s| &s.members);
        prop_assert!(members.into_iter().all(|id| place.is_ready(id)), "the pool has members that are not ready");
    }
    Ok(())
}

/// Weights only move to a side when all of it is ready, unless nothing healthy serves.
fn moves(place: &Place, to: &Waypoint, ops: &Ops) -> Result<(), TestCaseError> {
    let serves = place.serving(&place.sides) > 0;
    for (revision, part) in &to.desired.parts {
        let Share::Weight(wanted) = part.share else { continue };
        let before = place.sides.get(revision).map_or(0, |side| side.weight);
        let mine = place.instances.iter().filter(|i| i.revision == *revision && i.slot < part.extent.count());
        let ready = mine.filter(|i| i.state == InstanceState::Ready).count();
        let all = ready == part.extent.count() as usize;
        let gains = ops.sides[revision].weight > before;
        prop_assert!(!gains || all || !serves, "{} gains with {ready} ready", rev_name(revision));
        // And then nobody else loses what this one does not get.
        let held = wanted > before && !all && serves;
        prop_assert!(!held || place.serving(&ops.sides) > 0, "{} gets nothing, and nothing serves", rev_name(revision));
    }
    Ok(())
}

/// Capacity is never taken below what was promised, as far as it was there. Where weights are set, a side whose own
/// instances fell ill may be that much short; nothing is stopped for that.
fn capacity(place: &Place, to: &Waypoint, ops: &Ops) -> Result<(), TestCaseError> {
    let desired = &to.desired;
    let floor = to.floor as usize;
    let routed = desired.parts.values().any(|p| p.share != Share::Unmanaged);
    if routed {
        let before = place.serving(&place.sides);
        let parts = desired.parts.iter().filter(|(_, p)| matches!(p.share, Share::Weight(w) if w > 0));
        let ill: usize = parts
            .map(|(r, p)| {
                let mine = |i: &&InstanceSeen| i.revision == *r && i.slot < p.extent.count();
                let ready = place.instances.iter().filter(mine).filter(|i| i.state == InstanceState::Ready).count();
                p.extent.count() as usize - ready
            })
            .sum();
        let after = place.serving(&ops.sides);
        prop_assert!(
            after + ill >= floor.min(before),
            "{after} of {before} serve after, {floor} are promised: {ops:?}"
        );
    } else if !desired.parts.is_empty() {
        let stopped = ops.stop.iter().filter(|id| place.is_ready(id)).count();
        prop_assert!(place.ready() - stopped >= floor.min(place.ready()), "{stopped} healthy ones are stopped");
    }
    Ok(())
}

fn state() -> impl Strategy<Value = InstanceState> {
    prop_oneof![
        Just(starting()),
        Just(InstanceState::Ready),
        Just(InstanceState::Ready),
        Just(unhealthy()),
        Just(failed()),
        Just(InstanceState::Stopping),
        Just(InstanceState::Gone),
    ]
}

/// Any instances of three revisions, any of them in the routing, by weights that make the whole or by number.
fn place() -> impl Strategy<Value = Place> {
    let instance = proptest::option::of((state(), any::<bool>(), 0..3_u64));
    let all = proptest::collection::vec(instance, 15);
    (all, 0..=100_u32, 0..=100_u32, 0..3_u8).prop_map(|(all, x, y, kind)| {
        let mut place = Place::default();
        for (at, found) in (0..).zip(all) {
            let Some((state, routed, requests)) = found else { continue };
            let instance = seen(at / 5, at % 5, state);
            if kind > 0 && routed {
                place.sides.entry(instance.revision.clone()).or_default().members.insert(instance.id.clone());
            }
            if kind > 0 {
                place.in_flight.insert(instance.id.clone(), requests);
            }
            place.instances.push(instance);
        }
        let (x, y) = (x.min(y) * 100, x.max(y) * 100);
        let weights = match place.sides.len() {
            0 | 1 => vec![FULL],
            2 => vec![x, FULL - x],
            _ => vec![x, y - x, FULL - y],
        };
        for (side, weight) in place.sides.values_mut().zip(weights) {
            side.weight = if kind == 1 { weight } else { u32::try_from(side.members.len()).unwrap() };
        }
        place
    })
}

/// A waypoint of some strategy, between any two of the three revisions.
fn waypoint() -> impl Strategy<Value = (Waypoint, bool)> {
    let how = prop_oneof![
        Just(How::Recreate),
        (0..3_u32, 0..3_u32).prop_map(|(surge, unavailable)| rolling(surge, unavailable)),
        Just(How::BlueGreen),
        Just(canary(&[1_000, 5_000])),
    ];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (how, 1..=4_u32, 0..=4_u32, flags, any::<prop::sample::Index>()).prop_map(
        |(how, count, before, (routed, tested, rests), at)| {
            let mut app = config(how.clone(), count);
            let share = match (routed, &how) {
                (false, _) => Share::Unmanaged,
                (true, How::Rolling { .. } | How::Recreate) => Share::ByInstance,
                (true, _) => Share::Weight(FULL),
            };
            app.route = app.route.filter(|_| routed);
            let from = if before == 0 { Desired::nothing() } else { desired(&[(1, before, share)]) };
            let goal = Goal { to: &rev(2), config: &app, tested, alone: false };
            let path = path(&from, &goal);
            let mut waypoint = path[at.index(path.len())].clone();
            if rests {
                // As what rests is kept while no deployment runs.
                (waypoint.floor, waypoint.gates) = (0, Vec::new());
            }
            (waypoint, how == How::Recreate)
        },
    )
}

fn is_nothing(place: &Place, ops: &Ops) -> bool {
    ops.forget.is_empty()
        && ops.start.is_empty()
        && ops.stop.is_empty()
        && ops.waits.is_empty()
        && ops.sides == place.sides
}

/// What is there is what is wanted: these slots, healthy, and routed by these shares.
fn is_there(place: &Place, desired: &Desired) -> Result<(), TestCaseError> {
    let mut there: Vec<_> = place.instances.iter().map(|i| (i.revision.clone(), i.slot)).collect();
    let wanted: Vec<_> =
        desired.parts.iter().flat_map(|(r, p)| (0..p.extent.count()).map(|slot| (r.clone(), slot))).collect();
    there.sort();
    prop_assert_eq!(there, wanted);
    for (revision, part) in &desired.parts {
        let side = place.sides.get(revision);
        match part.share {
            Share::Unmanaged => prop_assert_eq!(side, None),
            Share::Weight(weight) => prop_assert_eq!(side.unwrap().weight, weight),
            Share::ByInstance => prop_assert_eq!(side.unwrap().weight, part.extent.count()),
        }
        prop_assert!(side.is_none_or(|s| s.members.len() == part.extent.count() as usize), "{side:?}");
    }
    prop_assert!(place.sides.keys().all(|r| desired.parts.contains_key(r)), "{:?}", place.sides);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_decision_is_safe_from_any_state(mut place in place(), (to, exclusive) in waypoint()) {
        place.exclusive = exclusive;
        check(&place, &to, &place.decide(&to))?;
    }

    #[test]
    fn any_state_converges_however_it_is_interrupted(
        mut place in place(),
        (to, exclusive) in waypoint(),
        chaos in proptest::collection::vec((0..6_usize, proptest::collection::vec(any::<u8>(), 15)), 0..12),
    ) {
        place.exclusive = exclusive;
        for (most, dice) in &chaos {
            let ops = place.decide(&to);
            check(&place, &to, &ops)?;
            place.act(&ops, *most);
            place.live(dice, false);
        }
        let mut rounds = 0;
        loop {
            place.live(&[], true);
            let ops = place.decide(&to);
            check(&place, &to, &ops)?;
            if is_nothing(&place, &ops) {
                break;
            }
            place.act(&ops, usize::MAX);
            rounds += 1;
            prop_assert!(rounds < 20, "not done after {rounds} rounds: {ops:?} at {place:?}");
        }
        is_there(&place, &to.desired)?;
        prop_assert!(is_nothing(&place, &place.decide(&to)), "done, and yet something is to be done");
    }
}

#[test]
fn a_release_with_requests_is_waited_for_and_the_reason_is_said() {
    let mut place = Place {
        instances: vec![seen(1, 0, InstanceState::Ready), seen(2, 0, InstanceState::Ready)],
        ..Place::default()
    };
    let member = |at: usize| [place.instances[at].id.clone()].into();
    place.sides = BTreeMap::from([(rev(2), Side { weight: FULL, members: member(1) })]);
    place.in_flight.insert(place.instances[0].id.clone(), 3);
    let to = Waypoint { desired: desired(&[(2, 1, Share::Weight(FULL))]), floor: 1, gates: Vec::new() };
    let ops = place.decide(&to);
    assert_eq!(ops.stop, []);
    assert_eq!(ops.waits, [format!("3 requests on {} finish", place.instances[0].id)]);
}

#[test]
fn what_is_ill_leaves_the_pool_while_anything_in_it_is_healthy() {
    let mut place =
        Place { instances: vec![seen(1, 0, unhealthy()), seen(2, 0, InstanceState::Ready)], ..Place::default() };
    for instance in &place.instances {
        place.sides.insert(instance.revision.clone(), Side { weight: 1, members: [instance.id.clone()].into() });
    }
    let pool = desired(&[(1, 1, Share::ByInstance), (2, 1, Share::ByInstance)]);
    let to = Waypoint { desired: pool, floor: 2, gates: Vec::new() };
    let ops = place.decide(&to);
    assert_eq!(ops.sides[&rev(1)], Side::default());
    assert_eq!(ops.sides[&rev(2)], place.sides[&rev(2)]);
    assert_eq!(ops.stop, []);
    place.instances.truncate(1);
    assert_eq!(place.decide(&to).sides[&rev(1)], place.sides[&rev(1)], "the last one keeps what it had");
}

/// A rolling deployment over a blue-green one fails before anything of it is healthy: by the way back the traffic is
/// split by weights again, and the half of the bad release must not hold it up.
#[test]
fn a_bad_release_does_not_hold_up_the_way_back_to_weights() {
    let ready = |slot| seen(1, slot, InstanceState::Ready);
    let mut place =
        Place { instances: vec![ready(0), ready(1), seen(2, 0, failed()), seen(2, 1, failed())], ..Place::default() };
    let members = place.instances[..2].iter().map(|i| i.id.clone()).collect();
    place.sides = BTreeMap::from([(rev(1), Side { weight: 2, members })]);
    let old = config(How::BlueGreen, 2);
    let stands = desired(&[(1, 2, Share::ByInstance), (2, 2, Share::ByInstance)]);
    let way = path(&stands, &Goal { to: &rev(1), config: &old, tested: false, alone: false });
    assert_eq!(way.len(), 3, "{way:?}");
    for waypoint in &way {
        let ops = place.decide(waypoint);
        assert!(ops.sides[&rev(1)].weight > 0, "the old one serves on: {ops:?}");
        assert!(ops.sides.get(&rev(2)).is_none_or(|side| side.weight == 0), "nobody is there to serve: {ops:?}");
        place.act(&ops, usize::MAX);
        let ops = place.decide(waypoint);
        let leaving = |wait: &String| wait.ends_with("is stopping") || wait.ends_with("out of the routing");
        assert!(ops.waits.iter().all(leaving), "{:?} at {waypoint:?}", ops.waits);
    }
}
