//! What is seen at a waypoint, weighed: each gate, what condemns a release, what never does.

use crate::make::{
    NOW, canary, command, config, desired, failed, folded, http_smoke, leg, reached, rev, seen, starting, unhealthy,
};
use deployctl_core::config::{Analysis, AppConfig, Canary, Smoke, Strategy};
use deployctl_core::deployment::step::{Evidence, Outcome, PATIENCE, step};
use deployctl_core::deployment::{Closed, Deployment, Event, Verdict};
use deployctl_core::desired::{FULL, Gate, JobGate, JobKind, Share};
use deployctl_core::driver::Observed;
use deployctl_core::instance::{InstanceSeen, InstanceState};
use deployctl_core::job::JobState;
use deployctl_core::route::SideStats;
use deployctl_core::time::{Millis, Span};

use InstanceState::{Ready, Stopping};

fn later(ms: u64) -> Millis {
    NOW.after(Span::ms(ms).0)
}

/// A deployment from two of v1 to two of v2 that was brought to waypoint `at`.
fn at(at: usize, to: AppConfig) -> Deployment {
    let from = config(Strategy::BlueGreen, 2);
    let start = desired(&[(1, 2, Share::Weight(FULL))]);
    folded(vec![leg(Some(from), Some(to), start)], &reached(0, at))
}

fn blue_green() -> AppConfig {
    config(Strategy::BlueGreen, 2)
}

/// What is true, with nothing left for the driver to do.
fn evidence(instances: Vec<InstanceSeen>) -> Evidence {
    let mut evidence = Evidence { settled: true, ..Evidence::default() };
    evidence.see(Observed { instances, ..Observed::default() }, NOW);
    evidence
}

fn both(v1: InstanceState, v2: InstanceState) -> Vec<InstanceSeen> {
    vec![seen(1, 0, v1.clone()), seen(1, 1, v1), seen(2, 0, Ready), seen(2, 1, v2)]
}

fn waits(outcome: Outcome) -> (String, Option<Millis>) {
    match outcome {
        Outcome::Wait { why, until } => (why, until),
        other => panic!("{other:?}"),
    }
}

fn turned(outcome: Outcome) -> String {
    match outcome {
        Outcome::Happened(events) => match &events[..] {
            [Event::TurnedBack { reason, cancelled: false, .. }] => reason.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn passed(waypoint: usize) -> Outcome {
    Outcome::Happened(vec![Event::Reached { leg: 0, waypoint }])
}

#[test]
fn ready_waits_for_every_instance_and_says_for_which() {
    let state = at(0, blue_green());
    let (why, until) = waits(step(&state, 0, &evidence(both(Ready, starting())), NOW));
    let id = &seen(2, 1, Ready).id;
    assert_eq!((why, until), (format!("1 of 2 instances are healthy; {id}: GET /healthz: 503"), None));
    assert_eq!(step(&state, 0, &evidence(both(Ready, Ready)), NOW), passed(0));
}

#[test]
fn a_waypoint_is_reached_when_the_driver_has_nothing_left_to_do() {
    let mut seen = evidence(both(Ready, Ready));
    (seen.settled, seen.pending) = (false, "routes are published".into());
    let state = at(0, blue_green());
    assert_eq!(waits(step(&state, 0, &seen, NOW)), ("routes are published".into(), None));
}

#[test]
fn gone_needs_positive_evidence_and_counts_the_requests_that_finish() {
    let state = at(2, blue_green());
    let gone = |evidence: &Evidence| waits(step(&state, 0, evidence, NOW)).0;
    let mut seen = evidence(both(Stopping, Ready));
    assert_eq!(gone(&seen), "2 old instances are to end");
    seen.observed.draining = 3;
    assert_eq!(gone(&seen), "2 old instances finish 3 requests");
    for left in [unhealthy(), failed(), starting(), Ready] {
        assert_eq!(gone(&evidence(both(left, Ready))), "2 old instances are to end");
    }
    assert_eq!(step(&state, 0, &evidence(both(InstanceState::Gone, Ready)), NOW), passed(2));
}

#[test]
fn a_hold_is_recorded_and_waited_for() {
    let app = AppConfig { bake: Span::secs(5), ..blue_green() };
    let mut state = at(1, app);
    let seen = evidence(both(Ready, Ready));
    let Outcome::Happened(events) = step(&state, 0, &seen, NOW) else { panic!("no hold") };
    assert_eq!(events, [Event::HoldStarted { leg: 0, until: later(5_000) }]);
    state = deployctl_core::deployment::evolve::evolve(Some(state), &events[0]).unwrap();
    assert_eq!(waits(step(&state, 0, &seen, later(2_500))), ("held for 3 s more".into(), Some(later(5_000))));
    assert_eq!(step(&state, 0, &seen, later(5_000)), passed(1));
}

#[test]
fn a_hold_begins_when_what_is_held_is_there() {
    let state = at(1, AppConfig { bake: Span::secs(5), ..blue_green() });
    let mut seen = evidence(both(Ready, Ready));
    (seen.settled, seen.pending) = (false, "pods are replaced".into());
    assert_eq!(waits(step(&state, 0, &seen, NOW)), ("pods are replaced".into(), None));
}

#[test]
fn a_smoke_test_is_made_once_and_turns_back() {
    let state = at(0, AppConfig { smoke: vec![http_smoke()], ..blue_green() });
    let mut seen = evidence(both(Ready, Ready));
    assert_eq!(step(&state, 0, &seen, NOW), Outcome::Smoke(rev(2), 0));
    seen.smoke.insert(0, Ok(()));
    assert_eq!(step(&state, 0, &seen, NOW), passed(0));
    seen.smoke.insert(0, Err("GET /version: 500".into()));
    assert_eq!(turned(step(&state, 0, &seen, NOW)), "smoke test #1 failed: GET /version: 500");
}

fn smoke_job() -> JobGate {
    JobGate { what: JobKind::Smoke(0), release: rev(2).release }
}

/// At a smoke test by command that was started.
fn with_job() -> Deployment {
    let state = at(0, AppConfig { smoke: vec![Smoke::Command(command("test"))], ..blue_green() });
    let Outcome::Happened(events) = step(&state, 0, &evidence(both(Ready, Ready)), NOW) else { panic!("no job") };
    assert!(matches!(&events[..], [Event::JobStarted { gate, .. }] if *gate == smoke_job()), "{events:?}");
    deployctl_core::deployment::evolve::evolve(Some(state), &events[0]).unwrap()
}

#[test]
fn a_job_waits_until_everything_before_it_is_settled() {
    let state = at(0, AppConfig { smoke: vec![Smoke::Command(command("test"))], ..blue_green() });
    let mut seen = evidence(both(Ready, Ready));
    (seen.settled, seen.pending) = (false, "x stops".into());
    assert_eq!(waits(step(&state, 0, &seen, NOW)).0, "x stops");
}

#[test]
fn a_job_is_looked_at_and_its_end_recorded() {
    let state = with_job();
    let mut seen = evidence(both(Ready, Ready));
    assert_eq!(step(&state, 0, &seen, NOW), Outcome::Job(smoke_job()));
    let mut end = |job: JobState| {
        seen.jobs = vec![(smoke_job(), job)];
        step(&state, 0, &seen, NOW)
    };
    let ended = |failure: Option<&str>| {
        let failure = failure.map(str::to_owned);
        Outcome::Happened(vec![Event::JobEnded { leg: 0, gate: smoke_job(), failure, printed: Vec::new() }])
    };
    assert_eq!(waits(end(JobState::Running)).0, "the smoke test #1 runs");
    assert_eq!(end(JobState::Succeeded), ended(None));
    let lines = ["a", "a", "b ", ""].map(String::from).to_vec();
    let why = "exit 3; its last lines: a (2 times) | b";
    assert_eq!(end(JobState::Failed { reason: "exit 3".into(), last_lines: lines }), ended(Some(why)));
    let quiet = JobState::Failed { reason: "killed after 10 s".into(), last_lines: vec![] };
    assert_eq!(end(quiet), ended(Some("killed after 10 s; it printed nothing")));
    let unknown =
        "it was interrupted and nobody saw how it ended; it is not declared repeatable, so it is not tried again";
    assert_eq!(end(JobState::Unknown), ended(Some(unknown)));
}

#[test]
fn what_a_job_printed_that_ended_well_is_recorded_with_its_end() {
    let mut seen = evidence(both(Ready, Ready));
    seen.jobs = vec![(smoke_job(), JobState::Succeeded)];
    seen.printed = vec![(smoke_job(), vec!["3 tables".to_owned()])];
    let Outcome::Happened(events) = step(&with_job(), 0, &seen, NOW) else { panic!("it has ended") };
    let [Event::JobEnded { failure: None, printed, .. }] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(printed, &["3 tables"]);
    // Journals of before have no such lines.
    let json = serde_json::to_value(&events[0]).unwrap();
    let mut before = json.clone();
    before.as_object_mut().unwrap().remove("printed");
    let read: Event = serde_json::from_value(before.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), before);
    assert_eq!(json["printed"][0], "3 tables");
}

#[test]
fn a_job_that_failed_turns_back() {
    let ended = |failure: Option<String>| {
        let event = Event::JobEnded { leg: 0, gate: smoke_job(), failure, printed: Vec::new() };
        let state = deployctl_core::deployment::evolve::evolve(Some(with_job()), &event).unwrap();
        step(&state, 0, &evidence(both(Ready, Ready)), NOW)
    };
    assert_eq!(ended(None), passed(0));
    assert_eq!(turned(ended(Some("exit 3".into()))), "the smoke test #1 failed: exit 3");
}

#[test]
fn a_release_that_cannot_come_up_is_condemned_at_once_on_the_way_forward() {
    let state = at(0, blue_green());
    let id = &seen(2, 1, Ready).id;
    let why = turned(step(&state, 0, &evidence(both(Ready, failed())), NOW));
    assert_eq!(why, format!("v2 did not come up: {id}: exit 1; its last lines: no such file"));
}

#[test]
fn a_release_that_falls_ill_is_condemned_when_patience_ends() {
    let state = at(0, blue_green());
    let mut seen = evidence(both(Ready, unhealthy()));
    let (_, until) = waits(step(&state, 0, &seen, later(9_999)));
    assert_eq!(until, Some(NOW.after(PATIENCE.0)), "the walk wakes up for it");
    let id = seen.observed.instances[3].id.clone();
    let why = turned(step(&state, 0, &seen, later(10_000)));
    assert_eq!(why, format!("v2 became unhealthy: {id} GET /healthz: 500"));
    seen.see(Observed { instances: both(Ready, Ready), ..Observed::default() }, later(5_000));
    seen.see(Observed { instances: both(Ready, unhealthy()), ..Observed::default() }, later(6_000));
    assert!(matches!(step(&state, 0, &seen, later(10_000)), Outcome::Wait { .. }), "patience begins anew");
}

#[test]
fn the_old_release_condemns_nothing_on_the_way_forward() {
    for state in [failed(), unhealthy(), starting()] {
        let seen = evidence(both(state, Ready));
        assert_eq!(step(&at(0, blue_green()), 0, &seen, later(60_000)), passed(0));
    }
}

#[test]
fn before_the_new_release_is_wanted_nothing_of_it_is_condemned() {
    let hooks = deployctl_core::config::Hooks { before: vec![command("hook")], after: vec![] };
    let to = AppConfig { hooks, ..blue_green() };
    let mut there = leg(Some(blue_green()), Some(to), desired(&[(1, 2, Share::Weight(FULL))]));
    there.path.insert(0, deployctl_core::desired::Waypoint { desired: there.start.clone(), floor: 2, gates: vec![] });
    let state = folded(vec![there], &reached(0, 0));
    assert_eq!(step(&state, 0, &evidence(both(Ready, failed())), NOW), passed(0));
}

/// The same on the way back, where v1 should come up again.
fn going_back() -> Deployment {
    let state = at(1, blue_green());
    let event = deployctl_core::deployment::turn_back::turn_back(&state, "it is bad", false, NOW);
    deployctl_core::deployment::evolve::evolve(Some(state), &event).unwrap()
}

#[test]
fn on_the_way_back_patience_is_had_also_with_what_failed() {
    let (state, seen) = (going_back(), evidence(both(failed(), Ready)));
    assert!(matches!(step(&state, 0, &seen, later(9_999)), Outcome::Wait { .. }));
    let Outcome::Happened(events) = step(&state, 0, &seen, later(10_000)) else { panic!("waits") };
    let id = &seen.observed.instances[0].id;
    let reason =
        format!("it is bad; and the way back failed: v1 did not come up: {id}: exit 1; its last lines: no such file");
    assert_eq!(events, [Event::Closed(Closed { verdict: Verdict::Failed, restored: false, reason })]);
}

#[test]
fn on_the_way_back_the_bad_release_condemns_nothing() {
    let seen = evidence(both(Ready, failed()));
    assert_eq!(step(&going_back(), 0, &seen, later(60_000)), passed(0));
}

fn analysed() -> AppConfig {
    let analysis = Some(Analysis { requests_min: 100 });
    let Strategy::Canary(plain) = canary(&[1_000]) else { unreachable!() };
    config(Strategy::Canary(Canary { analysis, hold: Span::secs(30), ..plain }), 2)
}

fn stats(requests: u64, errors: u64) -> SideStats {
    SideStats { requests, errors, latency: vec![requests] }
}

#[test]
fn a_canary_that_is_clearly_worse_turns_back_while_it_is_held() {
    let state = at(1, analysed());
    let mut seen = evidence(both(Ready, Ready));
    seen.stats = [(rev(1), stats(1_000, 1)), (rev(2), stats(100, 50))].into();
    let why = "the canary fails more often than the old release: 50 of 100 requests failed on the canary, 1 of 1000 on \
               the old release";
    assert_eq!(turned(step(&state, 0, &seen, NOW)), why);
}

#[test]
fn too_few_requests_are_waited_for_and_never_a_pass() {
    let mut state = at(1, analysed());
    let held = Event::HoldStarted { leg: 0, until: NOW };
    state = deployctl_core::deployment::evolve::evolve(Some(state), &held).unwrap();
    let mut seen = evidence(both(Ready, Ready));
    let (why, _) = waits(step(&state, 0, &seen, later(3_600_000)));
    assert!(why.starts_with("too few requests to compare (100 wanted on each side): 0 of 0"), "{why}");
    seen.stats = [(rev(1), stats(1_000, 1)), (rev(2), stats(100, 0))].into();
    assert_eq!(step(&state, 0, &seen, NOW), passed(1));
}

#[test]
fn gates_are_weighed_in_their_order() {
    let gates = |state: &Deployment| state.legs[0].path[0].gates.clone();
    let state = at(0, AppConfig { smoke: vec![http_smoke()], ..blue_green() });
    assert_eq!(gates(&state), [Gate::Ready(rev(2)), Gate::Smoke { revision: rev(2), index: 0 }]);
    let (why, _) = waits(step(&state, 0, &evidence(both(Ready, starting())), NOW));
    assert!(why.starts_with("1 of 2 instances are healthy"), "no smoke test before all are healthy: {why}");
}
