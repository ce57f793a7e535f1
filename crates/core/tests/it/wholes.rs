//! Targets that bring one release to the next by themselves, and are judged as a whole.

use crate::make::{NOW, canary, config, desired, folded, leg, rev, rolling, seen};
use deployctl_core::config::{AppConfig, KubernetesConfig, Strategy, TargetConfig};
use deployctl_core::deployment::closing::closing;
use deployctl_core::deployment::step::{Evidence, Outcome, step};
use deployctl_core::deployment::turn_back::turn_back;
use deployctl_core::deployment::{Closed, Event, Verdict};
use deployctl_core::desired::{Desired, Extent, Gate, Part, Share};
use deployctl_core::driver::{Capabilities, Observed};
use deployctl_core::instance::{Binding, InstanceState};
use deployctl_core::planner::refusal;
use deployctl_core::scope;
use deployctl_core::time::Span;
use deployctl_core::view::waypoint_words;

fn cluster() -> AppConfig {
    let kubernetes = KubernetesConfig {
        context: Some("here".into()),
        namespace: "shop".into(),
        patience: Span::secs(60),
        adopt: false,
        objects: Vec::new(),
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
    let by_itself = Capabilities { side_by_side: false, split: false, by_itself: true };
    assert_eq!(refusal(&cluster(), by_itself), None);
    for strategy in [canary(&[1_000]), Strategy::BlueGreen, Strategy::Recreate] {
        let refused = refusal(&AppConfig { strategy, ..cluster() }, by_itself).unwrap();
        assert_eq!(
            refused,
            "this target brings one release to the next by itself; only `strategy: rolling` is built for it"
        );
    }
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
