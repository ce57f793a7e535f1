//! Properties of paths, from arbitrary resting states.

use crate::make::{config, desired, folded, http_smoke, leg, reached, rev, route};
use deployctl_core::config::{Amount, AppConfig, Canary, Strategy as How};
use deployctl_core::deployment::Event;
use deployctl_core::deployment::turn_back::turn_back;
use deployctl_core::desired::{Desired, FULL, Gate, Share, Waypoint};
use deployctl_core::strategy::{Goal, path, path_down};
use deployctl_core::time::{Millis, Span};
use proptest::prelude::*;

/// What a walk may begin from: nothing, one release, or what an attempt that was not restored left behind. Never more
/// of the goal (v2) than its release wants.
fn resting(goal_max: u32) -> impl Strategy<Value = Desired> {
    let counts = (0..=10_u32, 0..=10_u32, 0..=goal_max);
    (counts, 0..4_u8, 0..=100_u32, 0..=100_u32).prop_map(|((a, b, c), kind, x, y)| {
        let there: Vec<(u32, u32)> = [(0, a), (1, b), (2, c)].into_iter().filter(|(_, count)| *count > 0).collect();
        let (x, y) = (x.min(y) * 100, x.max(y) * 100);
        let weights = match there.len() {
            1 => vec![if kind == 0 { 0 } else { FULL }],
            2 => vec![x, FULL - x],
            _ => vec![x, y - x, FULL - y],
        };
        let share = |at: usize| match kind {
            2 => Share::ByInstance,
            3 => Share::Unmanaged,
            _ => Share::Weight(weights[at]),
        };
        let parts: Vec<_> = there.iter().enumerate().map(|(at, (n, count))| (*n, *count, share(at))).collect();
        desired(&parts)
    })
}

fn amount() -> impl Strategy<Value = Amount> {
    prop_oneof![(0..=10_u32).prop_map(Amount::Count), (0..=150_u32).prop_map(Amount::Percent)]
}

fn how() -> impl Strategy<Value = How> {
    let steps = proptest::collection::btree_set(1..FULL, 0..4);
    prop_oneof![
        Just(How::Recreate),
        (amount(), amount()).prop_map(|(surge, unavailable)| How::Rolling { surge, unavailable }),
        Just(How::BlueGreen),
        steps.prop_map(|steps| How::Canary(Canary {
            steps: steps.into_iter().collect(),
            hold: Span::secs(1),
            analysis: None,
            sticky: None
        })),
    ]
}

fn app() -> impl Strategy<Value = AppConfig> {
    (how(), 1..=10_u32, any::<bool>(), any::<bool>(), 0..2_u64).prop_map(|(how, count, routed, smoke, bake)| {
        let routed = routed || matches!(how, How::Canary(_));
        AppConfig {
            route: routed.then(route),
            smoke: if smoke { vec![http_smoke()] } else { Vec::new() },
            bake: Span::secs(bake),
            ..config(how, count)
        }
    })
}

/// A goal and where the walk to it begins.
fn walk() -> impl Strategy<Value = (AppConfig, Desired)> {
    app().prop_flat_map(|app| (resting(app.instances), Just(app))).prop_map(|(from, app)| (app, from))
}

fn to_v2(config: &AppConfig, from: &Desired, tested: bool) -> Vec<Waypoint> {
    path(from, &Goal { to: &rev(2), config, tested, alone: false })
}

fn counts(desired: &Desired) -> Vec<u32> {
    (0..3).map(|n| desired.count(&rev(n))).collect()
}

fn weights(desired: &Desired) -> Vec<u32> {
    (0..3).map(|n| desired.weight(&rev(n))).collect()
}

/// Equal but for the basis points that rounding costs.
fn same_traffic(a: &Desired, b: &Desired) -> bool {
    weights(a).iter().zip(weights(b)).all(|(a, b)| a.abs_diff(b) <= 3)
}

/// Instances that may take traffic, or all where nothing is routed.
fn serving(desired: &Desired) -> u32 {
    desired.parts.values().filter(|part| part.share != Share::Weight(0)).map(|part| part.extent.count()).sum()
}

fn is_unrouted(desired: &Desired) -> bool {
    desired.parts.values().any(|part| part.share == Share::Unmanaged)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_path_ends_in_the_goal_alone((config, from) in walk(), tested: bool) {
        let path = to_v2(&config, &from, tested);
        let end = &path.last().unwrap().desired;
        prop_assert_eq!(end.base.as_ref(), Some(&rev(2)));
        prop_assert_eq!(counts(end), vec![0, 0, config.instances]);
        if config.route.is_some() && config.instances > 0 {
            prop_assert_eq!(end.weight(&rev(2)), FULL);
        }
        let left: Vec<_> = from.parts.keys().filter(|r| **r != rev(2)).cloned().map(Gate::Gone).collect();
        let gates: Vec<&Gate> = path.iter().flat_map(|w| &w.gates).collect();
        prop_assert!(left.iter().all(|gone| gates.contains(&gone)), "{left:?} in {gates:?}");
        prop_assert!(path.len() <= 2 * (from.total() + config.instances) as usize + 8, "{} waypoints", path.len());
    }

    #[test]
    fn a_waypoint_changes_capacity_or_traffic((config, from) in walk(), tested: bool) {
        let path = to_v2(&config, &from, tested);
        let mut before = &from;
        for waypoint in &path {
            let now = &waypoint.desired;
            let by_number = |d: &Desired| d.parts.values().all(|p| p.share == Share::ByInstance);
            // By number, the traffic follows the capacity; `recreate` is without traffic in between. Where the release
            // gives its route up or first takes one, the other side has no traffic to compare.
            if config.strategy != How::Recreate && !by_number(now) && !is_unrouted(now) && !is_unrouted(before) {
                let capacity = counts(before) != counts(now);
                prop_assert!(!capacity || same_traffic(before, now), "{before:?} then {now:?}");
            }
            before = now;
        }
    }

    #[test]
    fn weights_make_the_whole_or_nothing((config, from) in walk(), tested: bool) {
        for waypoint in to_v2(&config, &from, tested) {
            let weighted = waypoint.desired.parts.values().filter(|p| matches!(p.share, Share::Weight(_)));
            if weighted.count() == waypoint.desired.parts.len() {
                let sum: u32 = weights(&waypoint.desired).iter().sum();
                let nothing_served = weights(&from).iter().sum::<u32>() == 0;
                prop_assert!(sum == FULL || nothing_served || waypoint.desired.parts.is_empty(), "{waypoint:?}");
            }
        }
    }

    #[test]
    fn promised_capacity_is_planned((config, from) in walk(), tested: bool) {
        let whole = config.instances;
        for waypoint in to_v2(&config, &from, tested) {
            let promised = match config.strategy {
                How::Recreate => 0,
                How::Rolling { unavailable, .. } if from.parts.len() < 2 || serving(&from) == from.total() => {
                    let share = match unavailable {
                        Amount::Count(n) => n,
                        Amount::Percent(p) => whole * p / 100,
                    };
                    whole.saturating_sub(share).min(from.total())
                }
                _ => whole.min(serving(&from)),
            };
            prop_assert!(waypoint.floor >= promised, "floor of {waypoint:?}, {promised} promised");
            let there = serving(&waypoint.desired);
            // What had no route served nobody through it.
            let served = if config.route.is_some() && is_unrouted(&from) { 0 } else { serving(&from) };
            prop_assert!(there >= waypoint.floor.min(served), "{there} serve in {waypoint:?} from {from:?}");
        }
    }

    #[test]
    fn rolling_never_exceeds_its_surge((config, from) in walk()) {
        let How::Rolling { surge, .. } = config.strategy else { return Ok(()) };
        if from.parts.len() > 1 {
            return Ok(());
        }
        let whole = config.instances;
        let surge = match surge {
            Amount::Count(n) => n,
            Amount::Percent(p) => (whole * p).div_ceil(100),
        };
        for waypoint in to_v2(&config, &from, true) {
            let total = waypoint.desired.total();
            prop_assert!(total <= whole.max(from.total()) + surge.max(1), "{total} in {waypoint:?}");
        }
    }

    #[test]
    fn the_new_release_is_smoke_tested_before_the_old_one_goes((config, from) in walk()) {
        let smoke = Gate::Smoke { revision: rev(2), index: 0 };
        let path = to_v2(&config, &from, true);
        let tested = path.iter().position(|w| w.gates.contains(&smoke));
        if config.smoke.is_empty() {
            return Ok(());
        }
        let tested = tested.expect("a smoke test on the way");
        // By number, an instance has traffic as soon as it is healthy, and is tested then; else it is tested before.
        let more = |w: &&Waypoint| match config.strategy {
            How::Rolling { .. } | How::Recreate => w.desired.count(&rev(2)) > from.count(&rev(2)),
            _ => w.desired.weight(&rev(2)) > from.weight(&rev(2)),
        };
        prop_assert_eq!(path[..tested].iter().filter(more).count(), 0, "too late: {:?}", path[tested]);
        prop_assert!(to_v2(&config, &from, false).iter().all(|w| !w.gates.contains(&smoke)), "none on the way back");
    }

    #[test]
    fn what_must_be_alone_is_never_beside_another((config, from) in walk(), tested: bool) {
        let alone = path(&from, &Goal { to: &rev(2), config: &config, tested, alone: true });
        for waypoint in &alone {
            prop_assert!(waypoint.desired.parts.len() <= 1, "{waypoint:?}");
            prop_assert!(waypoint.desired.parts.keys().all(|r| *r == rev(2)), "{waypoint:?}");
        }
        let first_start = alone.iter().position(|w| !w.desired.parts.is_empty()).unwrap_or(alone.len());
        for old in from.parts.keys().filter(|r| **r != rev(2)) {
            let gone = Gate::Gone(old.clone());
            prop_assert!(alone[..first_start].iter().any(|w| w.gates.contains(&gone)), "{old} may still be there");
        }
    }

    #[test]
    fn every_waypoint_can_turn_back(
        (new, start) in walk(), old in app(), first: bool, down: bool, at in 0..40_usize,
    ) {
        let from = (!first).then(|| old.clone());
        let there = leg(from, (!down).then_some(new), start);
        let at = at.min(there.path.len());
        let state = folded(vec![there.clone()], &reached(0, at));
        let event = turn_back(&state, "it is bad", false, Millis(5));
        let Event::TurnedBack { paths, deadline, .. } = &event else { panic!("{event:?}") };
        prop_assert_eq!(*deadline, Millis(5).after(state.plan.deadline.0));
        let way = &paths[0].1;
        let end = way.last().unwrap();
        match &there.from {
            Some(_) => {
                prop_assert_eq!(counts(&end.desired), vec![0, old.instances, 0]);
                prop_assert_eq!(end.desired.base.as_ref(), Some(&rev(1)));
            }
            None => prop_assert_eq!(&end.desired, &Desired::nothing()),
        }
        let stands = there.path.get(at).or(there.path.last()).unwrap();
        if stands.desired.count(&rev(2)) > 0 {
            prop_assert!(end.gates.contains(&Gate::Gone(rev(2))), "{end:?} does not wait for the end of v2");
        }
        // The old release never has less traffic on the way back than where the walk stands.
        let alone = way.iter().any(|w| w.desired.parts.is_empty());
        // It may not have lost yet what it loses there.
        let reached = at.checked_sub(1).map_or(&there.start, |before| &there.path[before].desired);
        let is_there = stands.desired.count(&rev(1)) > 0 && at < there.path.len();
        let weighted = |d: &Desired| d.parts.values().all(|p| matches!(p.share, Share::Weight(_)));
        let mut least = match (alone, is_there && weighted(&stands.desired) && serving(&stands.desired) > 0) {
            (true, _) => 0,
            (false, true) => reached.weight(&rev(1)),
            (false, false) => stands.desired.weight(&rev(1)),
        };
        for waypoint in way.iter().filter(|w| weighted(&w.desired)) {
            let now = waypoint.desired.weight(&rev(1));
            prop_assert!(now + 3 >= least, "{now} after {least} in {way:?} from {stands:?}");
            least = now;
        }
        let tests = way.iter().flat_map(|w| &w.gates).filter(|g| matches!(g, Gate::Smoke { .. } | Gate::Hold(_)));
        prop_assert_eq!(tests.count(), 0, "nothing is held or tested on the way back");
    }

    #[test]
    fn the_way_down_leaves_nothing(from in resting(10)) {
        let path = path_down(&from);
        prop_assert_eq!(&path.last().unwrap().desired, &Desired::nothing());
        for revision in from.parts.keys() {
            prop_assert!(path[0].gates.contains(&Gate::Gone(revision.clone())));
        }
    }
}

#[test]
fn a_release_that_never_had_traffic_gets_none_from_its_successor() {
    let from = desired(&[(1, 2, Share::Weight(0))]);
    for how in [How::BlueGreen, crate::make::canary(&[1_000])] {
        for waypoint in to_v2(&config(how, 2), &from, true) {
            assert_eq!(waypoint.desired.weight(&rev(1)), 0, "{waypoint:?}");
        }
    }
}

#[test]
fn what_is_routed_stays_so_until_a_release_without_a_route_has_come_up() {
    let from = desired(&[(1, 2, Share::Weight(FULL))]);
    let unrouted = AppConfig { route: None, ..config(How::BlueGreen, 2) };
    let path = to_v2(&unrouted, &from, true);
    assert_eq!(path[0].desired.weight(&rev(1)), FULL);
    assert_eq!(path[0].desired.base, Some(rev(1)));
}
