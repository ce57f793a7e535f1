//! Targets that bring one release to the next by themselves, and are judged as a whole.

use crate::make::{NOW, canary, config, desired, folded, leg, pin, reached, rev, rolling, seen};
use deployctl_core::config::{AppConfig, KubernetesConfig, ManifestObject, Strategy, TargetConfig};
use deployctl_core::deployment::closing::closing;
use deployctl_core::deployment::step::{Evidence, Outcome, step};
use deployctl_core::deployment::turn_back::turn_back;
use deployctl_core::deployment::{Closed, Event, Verdict};
use deployctl_core::desired::{Desired, Extent, Gate, Part, Share};
use deployctl_core::driver::{Capabilities, Observed};
use deployctl_core::instance::{Binding, InstanceState};
use deployctl_core::plan::Side;
use deployctl_core::planner::refusal;
use deployctl_core::scope;
use deployctl_core::strategy::{Goal, path};
use deployctl_core::time::Span;
use deployctl_core::view::waypoint_words;

fn cluster() -> AppConfig {
    let kubernetes = KubernetesConfig {
        context: Some("here".into()),
        namespace: "shop".into(),
        patience: Span::secs(60),
        adopt: false,
        replace: Vec::new(),
        jobs: None,
        smoke_port: Some(8080),
        objects: vec![ManifestObject { from: "web.yaml:1".into(), object: "a large one".into() }],
    };
    AppConfig { target: TargetConfig::Kubernetes(kubernetes), route: None, ..config(rolling(1, 0), 1) }
}

fn auto(n: u32) -> Desired {
    let part = Part { extent: Extent::Auto, share: Share::Unmanaged };
    Desired { base: Some(rev(n)), parts: [(rev(n), part)].into() }
}

/// What a deployment from v1 to v2 says to this state of v2, that many seconds after it was seen first.
fn after(state: InstanceState, seconds: u64) -> Outcome {
    let deployment = folded(vec![leg(Some(cluster()), Some(cluster()), auto(1))], &[]);
    let mut evidence = Evidence { settled: true, ..Evidence::default() };
    let observed = Observed { wholes: [(rev(2), state)].into(), ..Observed::default() };
    evidence.see(observed.clone(), NOW);
    let now = NOW.after(Span::secs(seconds).0);
    evidence.see(observed, now);
    step(&deployment, 0, &evidence, now)
}

fn unhealthy() -> InstanceState {
    InstanceState::Unhealthy { reason: "Deployment/web: the image cannot be pulled".into() }
}

#[test]
fn a_plan_has_no_objects_and_the_rest_of_the_configuration() {
    let side = Side::new(pin(rev(1), "v1"), &cluster());
    let text = serde_json::to_string(&side).expect("JSON");
    assert!(!text.contains("objects") && !text.contains("a large one"), "{text}");
    assert_eq!(serde_json::from_str::<Side>(&text).expect("a side"), side);
    assert_eq!((side.config.target.patience(), side.config.deadline), (Some(Span::secs(60)), cluster().deadline));
}

#[test]
fn one_waypoint_leads_there_and_one_leads_back() {
    let forward = leg(Some(cluster()), Some(cluster()), auto(1));
    assert_eq!(forward.path.len(), 1);
    assert_eq!(forward.path[0].desired, auto(2));
    assert_eq!(forward.path[0].gates, [Gate::Ready(rev(2)), Gate::Gone(rev(1))]);
    assert_eq!(waypoint_words(&auto(2), |_| "v2".into()), "v2: by the target itself");
    let Outcome::Happened(events) = after(InstanceState::Failed { reason: "no".into(), last_lines: Vec::new() }, 0)
    else {
        panic!("it goes on")
    };
    let [Event::TurnedBack { reason, paths, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(reason, "v2 did not come up: no");
    assert_eq!(paths.len(), 0, "nothing was begun");
}

#[test]
fn only_rolling_is_built_and_the_rest_is_refused_before_anything_is_touched() {
    let by_itself = Capabilities { side_by_side: false, split: false, by_itself: true, jobs: true };
    assert_eq!(refusal(&cluster(), by_itself), None);
    for strategy in [canary(&[1_000]), Strategy::BlueGreen] {
        let refused = refusal(&AppConfig { strategy, ..cluster() }, by_itself).unwrap();
        assert_eq!(
            refused,
            "this target brings one release to the next by itself; only `strategy: rolling` is built for it"
        );
    }
    let beside = Capabilities { side_by_side: true, split: true, ..by_itself };
    for strategy in [canary(&[1_000]), Strategy::BlueGreen, rolling(1, 0)] {
        assert_eq!(refusal(&AppConfig { strategy, ..cluster() }, beside), None);
    }
    let refused = refusal(&AppConfig { strategy: Strategy::Recreate, ..cluster() }, beside).unwrap();
    assert_eq!(refused, "this target decides itself what runs; `strategy: recreate` is not built for it");
}

fn beside(parts: &[(u32, Extent, u32)]) -> Desired {
    let part =
        |(n, extent, weight): &(u32, Extent, u32)| (rev(*n), Part { extent: *extent, share: Share::Weight(*weight) });
    let base = parts.iter().max_by_key(|(_, _, weight)| *weight).map(|(n, _, _)| rev(*n));
    Desired { base, parts: parts.iter().map(part).collect() }
}

/// The waypoints from `from` to v2, or on the way back.
fn walked(from: &Desired, strategy: Strategy, tested: bool) -> Vec<Desired> {
    let config = AppConfig { strategy, ..cluster() };
    let path = path(from, &Goal { to: &rev(2), config: &config, tested, alone: false });
    path.into_iter().map(|waypoint| waypoint.desired).collect()
}

#[test]
fn blue_and_green_are_beside_each_other_and_the_target_decides_how_far_they_extend() {
    use Extent::Auto;
    let forward = walked(&auto(1), Strategy::BlueGreen, true);
    let wanted = [
        beside(&[(1, Auto, 10_000), (2, Auto, 0)]),
        Desired { base: Some(rev(2)), ..beside(&[(1, Auto, 0), (2, Auto, 10_000)]) },
        auto(2),
    ];
    assert_eq!(forward, wanted);
    // Back from where both are there and the old one has all: its traffic need not move.
    assert_eq!(walked(&beside(&[(2, Auto, 10_000), (3, Auto, 0)]), Strategy::BlueGreen, false), [auto(2)]);
    // From where the new one has all: what was there takes it again, and then the new one goes.
    let back = walked(&beside(&[(2, Auto, 0), (3, Auto, 10_000)]), Strategy::BlueGreen, false);
    assert_eq!(back, [beside(&[(2, Auto, 10_000), (3, Auto, 0)]), auto(2)]);
    // And from where it is alone already.
    let back = walked(&auto(3), Strategy::BlueGreen, false);
    assert_eq!(back[0], Desired { base: Some(rev(3)), ..beside(&[(2, Auto, 0), (3, Auto, 10_000)]) });
    assert_eq!(back[1..], [beside(&[(2, Auto, 10_000), (3, Auto, 0)]), auto(2)]);
}

#[test]
fn a_canary_of_a_whole_extends_as_far_as_its_share_takes() {
    use Extent::{Auto, Enough};
    let wanted = [
        beside(&[(1, Auto, 10_000), (2, Enough(1_000), 0)]),
        beside(&[(1, Auto, 9_000), (2, Enough(1_000), 1_000)]),
        beside(&[(1, Auto, 9_000), (2, Enough(5_000), 1_000)]),
        Desired { base: Some(rev(1)), ..beside(&[(1, Auto, 5_000), (2, Enough(5_000), 5_000)]) },
        Desired { base: Some(rev(1)), ..beside(&[(1, Auto, 5_000), (2, Auto, 5_000)]) },
        beside(&[(1, Auto, 0), (2, Auto, 10_000)]),
        auto(2),
    ];
    assert_eq!(walked(&auto(1), canary(&[1_000, 5_000]), true), wanted);
    assert_eq!(
        waypoint_words(&wanted[1], crate::make::rev_name),
        "v1: by the target itself @ 90%, v2: enough for 10% @ 10%"
    );
    // There is nothing to be compared with, or it is a way back.
    assert_eq!(walked(&Desired::nothing(), canary(&[1_000]), true), [auto(2)]);
    let back = walked(&beside(&[(2, Auto, 9_000), (3, Enough(1_000), 1_000)]), canary(&[1_000]), false);
    assert_eq!(back, [beside(&[(2, Auto, 10_000), (3, Enough(1_000), 0)]), auto(2)]);
}

#[test]
fn no_three_are_beside_each_other() {
    use Extent::Auto;
    let left = beside(&[(1, Auto, 9_000), (3, Auto, 1_000)]);
    assert_eq!(walked(&left, Strategy::BlueGreen, true)[..2], [auto(1), beside(&[(1, Auto, 10_000), (2, Auto, 0)])]);
    assert_eq!(walked(&left, rolling(1, 0), true), [auto(2)]);
}

#[test]
fn a_whole_is_ready_when_the_target_says_so_however_many_instances_there_are() {
    let observed = |state| Observed { wholes: [(rev(1), state)].into(), ..Observed::default() };
    assert!(observed(InstanceState::Ready).is_ready(&rev(1), Extent::Auto));
    assert!(!observed(unhealthy()).is_ready(&rev(1), Extent::Auto));
    let instances = vec![seen(1, 0, InstanceState::Ready)];
    assert!(!Observed { instances, ..Observed::default() }.is_ready(&rev(1), Extent::Auto), "nothing is said of it");
}

#[test]
fn a_revision_is_gone_when_neither_it_nor_an_instance_is_left() {
    let gone = |state: InstanceState, instances| {
        Observed { wholes: [(rev(1), state)].into(), instances, ..Observed::default() }.is_gone(&rev(1))
    };
    assert!(Observed::default().is_gone(&rev(1)));
    assert!(gone(InstanceState::Gone, Vec::new()));
    assert!(!gone(InstanceState::Stopping, Vec::new()));
    assert!(!gone(InstanceState::Gone, vec![seen(1, 0, InstanceState::Stopping)]));
}

#[test]
fn what_waits_says_what_for_and_trouble_that_may_heal_gets_its_patience() {
    let starting = InstanceState::Starting { waiting_for: "Deployment/web: 1 of 2".into() };
    let Outcome::Wait { why, until: None } = after(starting, 500) else { panic!("it does not wait") };
    assert_eq!(why, "Deployment/web: 1 of 2");
    let Outcome::Wait { why, until } = after(unhealthy(), 59) else { panic!("it has patience") };
    assert_eq!(why, "Deployment/web: the image cannot be pulled");
    assert_eq!(until, Some(NOW.after(Span::secs(60).0)));
    let Outcome::Happened(events) = after(unhealthy(), 60) else { panic!("patience ends") };
    let [Event::TurnedBack { reason, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(reason, "v2 did not become healthy within 60 s of trouble: Deployment/web: the image cannot be pulled");
}

#[test]
fn what_was_healed_meanwhile_gets_its_patience_anew() {
    let deployment = folded(vec![leg(Some(cluster()), Some(cluster()), auto(1))], &[]);
    let mut evidence = Evidence { settled: true, ..Evidence::default() };
    let whole = |state| Observed { wholes: [(rev(2), state)].into(), ..Observed::default() };
    evidence.see(whole(unhealthy()), NOW);
    evidence.see(whole(InstanceState::Starting { waiting_for: "x".into() }), NOW.after(Span::secs(30).0));
    let now = NOW.after(Span::secs(70).0);
    evidence.see(whole(unhealthy()), now);
    let Outcome::Wait { until, .. } = step(&deployment, 0, &evidence, now) else { panic!("it has patience") };
    assert_eq!(until, Some(now.after(Span::secs(60).0)));
}

#[test]
fn an_instance_in_trouble_condemns_no_whole() {
    let deployment = folded(vec![leg(Some(cluster()), Some(cluster()), auto(1))], &[]);
    let failed = InstanceState::Failed { reason: "exit 1".into(), last_lines: Vec::new() };
    let wholes = [(rev(2), InstanceState::Ready)].into();
    let mut evidence = Evidence { settled: true, ..Evidence::default() };
    evidence.see(Observed { instances: vec![seen(2, 0, failed)], wholes, ..Observed::default() }, NOW);
    assert!(
        matches!(step(&deployment, 0, &evidence, NOW), Outcome::Happened(events) if matches!(events[..], [Event::Reached { .. }]))
    );
    assert_eq!(desired(&[(1, 2, Share::Unmanaged)]).extent(&rev(1)), Extent::Count(2));
}

#[test]
fn what_was_turned_back_stays_current() {
    let begun = Event::LegStarted { leg: 0, binding: Binding::default() };
    let leg = leg(Some(cluster()), Some(cluster()), auto(1));
    let walking = folded(vec![leg.clone()], std::slice::from_ref(&begun));
    let back = turn_back(&walking, "so", false, NOW);
    let state = folded(vec![leg], &[begun, back]);
    let closed = Closed { verdict: Verdict::RolledBack, restored: true, reason: "so".into() };
    let last = deployctl_core::id::Sha256Hex::of(b"last");
    let ends = closing(&state, &closed, &[scope::State::default()], &last, NOW);
    assert_eq!(ends[0].resting, auto(1));
    assert_eq!(ends[0].current.as_ref().map(|pin| &pin.revision), Some(&rev(1)));
}

/// Where each release replaces the one before in its place, nobody asked whether the two can be beside each other.
#[test]
fn what_came_in_its_place_goes_back_in_its_place() {
    let old = AppConfig { strategy: Strategy::BlueGreen, ..cluster() };
    for (strategy, events, beside) in
        [(rolling(1, 0), reached(0, 0), false), (Strategy::BlueGreen, reached(0, 2), true)]
    {
        let new = AppConfig { strategy, ..cluster() };
        let deployment = folded(vec![leg(Some(old.clone()), Some(new), auto(1))], &events);
        let Event::TurnedBack { paths, .. } = turn_back(&deployment, "it is bad", false, NOW) else {
            panic!("it is turned back");
        };
        let way: Vec<&Desired> = paths[0].1.iter().map(|waypoint| &waypoint.desired).collect();
        assert_eq!(way.last(), Some(&&auto(1)));
        assert_eq!(way.iter().any(|desired| desired.parts.len() > 1), beside, "{way:?}");
    }
}
