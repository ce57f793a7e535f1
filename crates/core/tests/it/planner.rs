//! What the planner makes of a scope and a wish.

use crate::make::{NOW, canary, command, config, desired, http_smoke, id, migrate, pin, release, rolling, scope};
use deployctl_core::config::{AppConfig, Hooks, Strategy};
use deployctl_core::desired::{Desired, FULL, Gate, JobKind, Share};
use deployctl_core::driver::Capabilities;
use deployctl_core::id::Revision;
use deployctl_core::journal::Seq;
use deployctl_core::plan::{Action, Leg, Plan};
use deployctl_core::planner::{Place, Wish, leg, plan, refusal};
use deployctl_core::release::Release;
use deployctl_core::scope::State;
use deployctl_core::time::Span;

fn blue_green(version: &str) -> Release {
    release(version, config(Strategy::BlueGreen, 2))
}

fn revision(release: &Release, nonce: u32) -> Revision {
    Revision { release: release.id(), nonce }
}

/// A scope where these releases succeeded, one after the other, and the last one is current.
fn after(releases: &[&Release]) -> State {
    let pins: Vec<_> = releases.iter().map(|r| pin(revision(r, 0), r.version.as_str())).collect();
    let current = pins.last().cloned();
    let resting = current.as_ref().map_or_else(Desired::nothing, |c| Desired::only(&c.revision, 2, true));
    State { current, resting, recent: pins.iter().rev().cloned().collect(), stack: pins, ..State::default() }
}

fn plan_leg(state: &State, current: Option<&AppConfig>, healthy: bool, wish: &Wish<'_>) -> Option<Leg> {
    let scope = scope();
    leg(&Place { scope: &scope, state, seq: Seq(7), current, healthy }, wish, &id("d9"), NOW)
}

fn deploy(release: &Release) -> Wish<'_> {
    Wish::Deploy { release, migrated: false, spec: None }
}

fn to(leg: &Leg) -> &Revision {
    &leg.to.as_ref().unwrap().pin.revision
}

#[test]
fn what_is_current_and_healthy_needs_nothing() {
    let v1 = blue_green("v1");
    assert_eq!(plan_leg(&after(&[&v1]), Some(&v1.config), true, &deploy(&v1)), None);
    assert!(plan(id("d9"), Action::Deploy, Vec::new(), &[]).is_none());
}

#[test]
fn what_is_current_and_ill_is_replaced_by_new_instances_of_it() {
    let v1 = blue_green("v1");
    let leg = plan_leg(&after(&[&v1]), Some(&v1.config), false, &deploy(&v1)).unwrap();
    assert_eq!(to(&leg), &revision(&v1, 1));
    assert_eq!(leg.keep, 0, "it takes its own place on the stack");
}

#[test]
fn a_first_release_comes_from_nothing() {
    let v1 = blue_green("v1");
    let leg = plan_leg(&State::default(), None, true, &deploy(&v1)).unwrap();
    assert_eq!((leg.from.as_ref(), to(&leg), leg.keep), (None, &revision(&v1, 0), 0));
    assert_eq!(leg.start, Desired::nothing());
}

#[test]
fn another_configuration_of_a_version_is_another_release() {
    let (v1, more) = (blue_green("v1"), release("v1", config(Strategy::BlueGreen, 3)));
    let leg = plan_leg(&after(&[&v1]), Some(&v1.config), true, &deploy(&more)).unwrap();
    assert_eq!((to(&leg), leg.keep), (&revision(&more, 0), 1));
}

/// An attempt that was not restored left some of v2 beside v1, and most of the traffic with v2.
fn half_way(v1: &Release, v2: &Release) -> State {
    let mut state = after(&[v1]);
    state.resting.parts.extend(Desired::only(&revision(v2, 0), 2, true).parts);
    state.current = Some(pin(revision(v2, 0), "v2"));
    state
}

#[test]
fn another_attempt_takes_new_instances_and_cuts_nothing_off_the_stack() {
    let (v1, v2) = (blue_green("v1"), blue_green("v2"));
    let leg = plan_leg(&half_way(&v1, &v2), Some(&v2.config), true, &deploy(&v2)).unwrap();
    assert_eq!(to(&leg), &revision(&v2, 1), "the ones that were left may be broken");
    assert_eq!(leg.keep, 1, "v1 can still be gone back to");
    let restart = plan_leg(&half_way(&v1, &v2), Some(&v2.config), true, &Wish::Restart).unwrap();
    assert_eq!((to(&restart), restart.keep), (&revision(&v2, 1), 1));
}

#[test]
fn another_attempt_at_a_first_release_is_planned_over_an_empty_stack() {
    let v1 = blue_green("v1");
    let state = State {
        current: Some(pin(revision(&v1, 0), "v1")),
        resting: Desired::only(&revision(&v1, 0), 2, true),
        ..State::default()
    };
    let leg = plan_leg(&state, Some(&v1.config), false, &deploy(&v1)).unwrap();
    assert_eq!((to(&leg), leg.keep), (&revision(&v1, 1), 0));
}

#[test]
fn a_restart_takes_its_place_on_the_stack_with_new_instances() {
    let (v1, v2) = (blue_green("v1"), blue_green("v2"));
    let leg = plan_leg(&after(&[&v1, &v2]), Some(&v2.config), true, &Wish::Restart).unwrap();
    assert_eq!((to(&leg), leg.keep), (&revision(&v2, 1), 1));
    assert_eq!(plan_leg(&State::default(), None, true, &Wish::Restart), None);
}

#[test]
fn down_leads_to_nothing_once() {
    let v1 = blue_green("v1");
    let leg = plan_leg(&after(&[&v1]), Some(&v1.config), true, &Wish::Down { delete_data: false }).unwrap();
    assert_eq!((leg.to.as_ref(), leg.keep, leg.path.len()), (None, 1, 1));
    assert_eq!(leg.path[0].desired, Desired::nothing());
    assert_eq!(plan_leg(&State::default(), None, true, &Wish::Down { delete_data: false }), None);
    // Data that was left may go later.
    let leg = plan_leg(&State::default(), None, true, &Wish::Down { delete_data: true }).unwrap();
    assert!(leg.delete_data && leg.to.is_none() && leg.path.len() == 2);
}

#[test]
fn a_rollback_uses_instances_that_are_still_warm() {
    let (v1, v2) = (blue_green("v1"), blue_green("v2"));
    let mut state = after(&[&v1, &v2]);
    state.resting.parts.extend(Desired::only(&revision(&v1, 3), 2, true).parts);
    let target = state.stack[0].clone();
    let wish = Wish::Rollback { pin: &target, config: &v1.config, keep: 0, undo: Vec::new() };
    let leg = plan_leg(&state, Some(&v2.config), true, &wish).unwrap();
    assert_eq!((to(&leg), leg.keep), (&revision(&v1, 3), 0));
    assert_eq!(leg.to.unwrap().pin.at, NOW, "it becomes current now");
}

fn jobs(leg: &Leg) -> Vec<(usize, JobKind)> {
    let gates = leg.path.iter().enumerate().flat_map(|(at, w)| w.gates.iter().map(move |gate| (at, gate)));
    gates.filter_map(|(at, gate)| if let Gate::Job(job) = gate { Some((at, job.what)) } else { None }).collect()
}

fn busy() -> AppConfig {
    AppConfig {
        hooks: Hooks { before: vec![command("a"), command("b")], after: vec![command("c")] },
        migrate: Some(migrate(true, false)),
        smoke: vec![http_smoke()],
        bake: Span::secs(5),
        ..config(Strategy::BlueGreen, 2)
    }
}

#[test]
fn hooks_and_migration_come_before_anything_changes() {
    let (v1, v2) = (blue_green("v1"), release("v2", busy()));
    let state = after(&[&v1]);
    let leg = plan_leg(&state, Some(&v1.config), true, &deploy(&v2)).unwrap();
    let last = leg.path.len() - 2;
    let wanted = [(0, JobKind::Before(0)), (0, JobKind::Before(1)), (0, JobKind::Migrate), (last, JobKind::After(0))];
    assert_eq!(jobs(&leg), wanted);
    assert_eq!(leg.path[0].desired, state.resting, "nothing changes yet");
    assert!(leg.migration.is_some_and(|m| m.undo && !m.irreversible));
    let migrated = Wish::Deploy { release: &v2, migrated: true, spec: None };
    let leg = plan_leg(&state, Some(&v1.config), true, &migrated).unwrap();
    assert!(leg.migration.is_none() && !jobs(&leg).iter().any(|(_, job)| *job == JobKind::Migrate));
}

#[test]
fn a_rollback_undoes_migrations_newest_first_and_tests_nothing() {
    let (v1, v2, v3) = (release("v1", busy()), release("v2", busy()), release("v3", busy()));
    let state = after(&[&v1, &v2, &v3]);
    let target = state.stack[0].clone();
    let wish = Wish::Rollback { pin: &target, config: &v1.config, keep: 0, undo: vec![v3.id(), v2.id()] };
    let leg = plan_leg(&state, Some(&v3.config), true, &wish).unwrap();
    let last = leg.path.len() - 1;
    assert_eq!(jobs(&leg), [(last, JobKind::Undo), (last, JobKind::Undo)]);
    let gates = &leg.path[last].gates;
    let at = |wanted: &dyn Fn(&Gate) -> bool| gates.iter().position(wanted).unwrap();
    let undo = |of: &Release| at(&|g| matches!(g, Gate::Job(job) if job.release == of.id()));
    assert!(at(&|g| matches!(g, Gate::Gone(_))) < undo(&v3), "nothing of v3 runs while it is undone");
    assert!(undo(&v3) < undo(&v2));
}

#[test]
fn a_recreate_release_never_meets_another() {
    let alone = release("v1", config(Strategy::Recreate, 1));
    for next in [Strategy::BlueGreen, rolling(1, 0), canary(&[1_000]), Strategy::Recreate] {
        for (from, to) in
            [(alone.clone(), release("v2", config(next.clone(), 2))), (release("v2", config(next, 2)), alone.clone())]
        {
            let leg = plan_leg(&after(&[&from]), Some(&from.config), true, &deploy(&to)).unwrap();
            assert_eq!(leg.strategy(), "recreate");
            assert!(leg.path.iter().all(|w| w.desired.parts.len() <= 1), "{:?}", leg.path);
            assert_eq!(leg.path[0].gates, [Gate::Gone(from_revision(&from))]);
        }
    }
}

fn from_revision(release: &Release) -> Revision {
    revision(release, 0)
}

#[test]
fn legs_of_a_plan_share_its_time_and_name_their_basis() {
    let (v1, v2) = (blue_green("v1"), blue_green("v2"));
    let (state, scope) = (after(&[&v1]), scope());
    let place = Place { scope: &scope, state: &state, seq: Seq(7), current: Some(&v1.config), healthy: true };
    let one = leg(&place, &deploy(&v2), &id("d9"), NOW).unwrap();
    let Plan { deadline, basis, .. } = plan(id("d9"), Action::Deploy, vec![one.clone(), one], &[place]).unwrap();
    assert_eq!(deadline, Span::secs(1_200));
    assert_eq!((basis[0].stream.0.as_str(), basis[0].seq), ("scope/shop/prod/eu/api", Seq(7)));
}

#[test]
fn what_a_target_cannot_do_is_refused_before_anything_is_touched() {
    let all = Capabilities { side_by_side: true, split: true, by_itself: false, jobs: true };
    let one = Capabilities { side_by_side: false, split: false, by_itself: false, jobs: true };
    let unrouted = |strategy| AppConfig { route: None, ..config(strategy, 1) };
    let said = |config: &AppConfig, capabilities| refusal(config, capabilities).unwrap_or_default();
    let cases = [
        (config(canary(&[1_000]), 1), all, ""),
        (unrouted(canary(&[1_000])), all, "a canary needs a `route`: without one there is no traffic to split"),
        (config(canary(&[1_000]), 1), one, "this target cannot split traffic; choose another strategy"),
        (unrouted(Strategy::BlueGreen), all, ""),
        (config(Strategy::BlueGreen, 1), one, "this target runs one release at a time; use `strategy: recreate`"),
        (config(rolling(1, 0), 1), one, "this target runs one release at a time; use `strategy: recreate`"),
        (config(Strategy::Recreate, 1), one, ""),
    ];
    for (config, capabilities, wanted) in cases {
        assert_eq!(said(&config, capabilities), wanted, "{:?}", config.strategy);
    }
}

#[test]
fn the_first_waypoint_keeps_the_traffic_where_it_is() {
    let (v1, v2) = (blue_green("v1"), release("v2", busy()));
    let mut state = after(&[&v1]);
    state.resting = desired(&[(1, 2, Share::Weight(FULL))]);
    let leg = plan_leg(&state, Some(&v1.config), true, &deploy(&v2)).unwrap();
    assert_eq!((leg.path[0].desired.clone(), leg.path[0].floor), (state.resting, 2));
}
