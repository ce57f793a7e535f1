//! What is due, what people may ask, where it ends, and what the end means for its scopes.

use crate::make::{NOW, config, desired, folded, id, leg, migrate, pin, reached, rev, scope, scope_of, started};
use deployctl_core::config::{AppConfig, Strategy};
use deployctl_core::deployment::closing::closing;
use deployctl_core::deployment::command::{Command, Refusal, command};
use deployctl_core::deployment::evolve::evolve;
use deployctl_core::deployment::next::{Due, next};
use deployctl_core::deployment::turn_back::turn_back;
use deployctl_core::deployment::{Closed, Deployment, Event, Verdict};
use deployctl_core::desired::{Desired, FULL, Gate, JobGate, JobKind, Share};
use deployctl_core::id::{JobId, Sha256Hex};
use deployctl_core::instance::Binding;
use deployctl_core::plan::{Leg, Migration};
use deployctl_core::scope::{self, StackChange};
use deployctl_core::time::{Millis, Span};

fn blue_green() -> AppConfig {
    config(Strategy::BlueGreen, 2)
}

fn upgrade() -> Leg {
    leg(Some(blue_green()), Some(blue_green()), desired(&[(1, 2, Share::Weight(FULL))]))
}

/// The upgrade with a migration before anything else, as the planner puts it.
fn migrating(undo: bool, irreversible: bool) -> Leg {
    let mut leg = upgrade();
    leg.to.as_mut().unwrap().config.migrate = Some(migrate(undo, irreversible));
    leg.migration = Some(Migration { release: rev(2).release, undo, irreversible });
    let gates = vec![Gate::Job(job(JobKind::Migrate))];
    leg.path.insert(0, deployctl_core::desired::Waypoint { desired: leg.start.clone(), floor: 2, gates });
    leg
}

fn job(what: JobKind) -> JobGate {
    JobGate { what, release: rev(2).release }
}

fn job_started() -> Event {
    Event::JobStarted { leg: 0, gate: job(JobKind::Migrate), job: JobId::new("job-1").unwrap() }
}

fn and(state: Deployment, event: &Event) -> Deployment {
    evolve(Some(state), event).unwrap()
}

fn deadline(state: &Deployment) -> Millis {
    state.deadline
}

#[test]
fn legs_are_begun_walked_and_closed_in_order() {
    let mut two = upgrade();
    two.scope = scope_of("web");
    let legs = vec![upgrade(), two];
    let waypoints = legs[0].path.len();
    let mut events = Vec::new();
    let due = |events: &[Event]| next(&folded(legs.clone(), events), NOW);
    assert_eq!(due(&events), Due::Begin(0));
    events.extend(reached(0, 0));
    assert_eq!(due(&events), Due::Walk(0));
    events.extend(reached(0, waypoints).into_iter().skip(1));
    assert_eq!(due(&events), Due::Begin(1));
    events.extend(reached(1, waypoints));
    let done = Closed { verdict: Verdict::Succeeded, restored: false, reason: "all gates passed".into() };
    assert_eq!(due(&events), Due::Close(done.clone()));
    events.push(Event::Closed(done));
    assert_eq!(due(&events), Due::Nothing);
}

#[test]
fn a_pause_stands_still_until_the_deadline() {
    let state = and(folded(vec![upgrade()], &reached(0, 1)), &Event::Paused);
    assert_eq!(next(&state, NOW), Due::Stand);
    let Due::TimeUp(Event::TurnedBack { reason, .. }) = next(&state, deadline(&state)) else { panic!("no end") };
    assert_eq!(reason, "not done within its deadline of 600 s; it was paused");
    assert_eq!(next(&and(state, &Event::Resumed), NOW), Due::Walk(0));
}

#[test]
fn time_up_turns_back_and_the_way_back_has_as_much_time_again() {
    let state = folded(vec![upgrade()], &reached(0, 1));
    let Due::TimeUp(event) = next(&state, deadline(&state)) else { panic!("no end") };
    let back = and(state.clone(), &event);
    assert_eq!(back.deadline, state.deadline.after(Span::secs(600).0));
    assert_eq!(next(&back, state.deadline), Due::Walk(0));
    let reason = "not done within its deadline of 600 s; the way back was not done within its deadline either".into();
    let closed = Closed { verdict: Verdict::Failed, restored: false, reason };
    assert_eq!(next(&back, back.deadline), Due::TimeUp(Event::Closed(closed)));
}

#[test]
fn what_was_done_in_time_is_done_also_if_nobody_was_there_to_say_so() {
    let path = upgrade().path.len();
    let state = folded(vec![upgrade()], &reached(0, path));
    let late = deadline(&state).after(Span::secs(3_600).0);
    assert!(matches!(next(&state, late), Due::Close(Closed { verdict: Verdict::Succeeded, .. })));
    let state = folded(vec![upgrade()], &reached(0, 1));
    let back = and(state.clone(), &turn_back(&state, "it is bad", false, NOW));
    let way = back.legs[0].path.len();
    let back = (0..way).fold(back, |state, waypoint| and(state, &Event::Reached { leg: 0, waypoint }));
    let Due::Close(closed) = next(&back, late) else { panic!("not closed") };
    assert_eq!((closed.verdict, closed.restored), (Verdict::RolledBack, true));
}

#[test]
fn a_deployment_can_be_cancelled_at_every_stage() {
    let whole = upgrade().path.len();
    let mut stages = vec![folded(vec![upgrade()], &[])];
    stages.extend((0..=whole).map(|at| folded(vec![upgrade()], &reached(0, at))));
    stages.push(and(folded(vec![upgrade()], &reached(0, 1)), &Event::Paused));
    for state in stages {
        let event = command(&state, Command::Cancel, "alice", NOW).unwrap();
        let mut back = and(state, &event);
        assert_eq!(back.back.as_ref().unwrap().reason, "cancelled by alice");
        assert!(!back.paused);
        assert_eq!(command(&back, Command::Cancel, "bob", NOW), Err(Refusal::GoesBack));
        for waypoint in 0.. {
            match next(&back, NOW) {
                Due::Walk(0) => back = and(back, &Event::Reached { leg: 0, waypoint }),
                Due::Close(closed) => {
                    assert_eq!((closed.verdict, closed.restored), (Verdict::Cancelled, true));
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn commands_are_refused_where_they_make_no_sense() {
    let state = folded(vec![upgrade()], &reached(0, 1));
    assert_eq!(command(&state, Command::Resume, "a", NOW), Err(Refusal::NotPaused));
    let paused = and(state.clone(), &command(&state, Command::Pause, "a", NOW).unwrap());
    assert_eq!(command(&paused, Command::Pause, "a", NOW), Err(Refusal::Paused));
    let closed = Closed { verdict: Verdict::Succeeded, restored: false, reason: String::new() };
    let closed = and(state, &Event::Closed(closed));
    let refused = command(&closed, Command::Cancel, "a", NOW).unwrap_err();
    assert_eq!(refused.to_string(), "the deployment has ended already: succeeded");
}

#[test]
fn after_an_irreversible_migration_nothing_is_turned_back() {
    let state = and(folded(vec![migrating(false, true)], &reached(0, 0)), &job_started());
    for (cancelled, verdict) in [(false, Verdict::Failed), (true, Verdict::Cancelled)] {
        let Event::Closed(closed) = turn_back(&state, "it is bad", cancelled, NOW) else { panic!("goes back") };
        assert_eq!((closed.verdict, closed.restored), (verdict, false));
        let why = "it is bad; not turned back: the migration of api cannot be undone.";
        assert!(closed.reason.starts_with(why) && closed.reason.contains("--across-migration"), "{}", closed.reason);
    }
    let before = folded(vec![migrating(false, true)], &reached(0, 0));
    assert!(matches!(turn_back(&before, "x", false, NOW), Event::TurnedBack { .. }), "it did not run yet");
}

#[test]
fn a_migration_is_undone_on_the_way_back_when_the_new_release_is_gone() {
    let undone = |leg: Leg| {
        let state = and(folded(vec![leg], &reached(0, 0)), &job_started());
        let Event::TurnedBack { paths, .. } = turn_back(&state, "x", false, NOW) else { panic!("closed") };
        paths[0].1.last().unwrap().gates.clone()
    };
    let gates = undone(migrating(true, false));
    let at = |wanted: &Gate| gates.iter().position(|gate| gate == wanted);
    assert!(at(&Gate::Gone(rev(2))) < at(&Gate::Job(job(JobKind::Undo))), "{gates:?}");
    assert!(!undone(migrating(false, false)).contains(&Gate::Job(job(JobKind::Undo))));
    let mut recreate = migrating(true, false);
    recreate.from.as_mut().unwrap().config.strategy = Strategy::Recreate;
    let state = folded(vec![recreate], &reached(0, 3));
    let Event::TurnedBack { paths, .. } = turn_back(&and(state, &job_started()), "x", false, NOW) else { panic!() };
    let way = &paths[0].1;
    assert!(way[0].desired.parts.is_empty() && way[0].gates.contains(&Gate::Job(job(JobKind::Undo))));
}

#[test]
fn a_recreate_release_that_is_turned_back_is_gone_before_the_old_one_starts() {
    let mut leg = upgrade();
    leg.to.as_mut().unwrap().config.strategy = Strategy::Recreate;
    let state = folded(vec![leg], &reached(0, 2));
    let Event::TurnedBack { paths, .. } = turn_back(&state, "x", false, NOW) else { panic!("closed") };
    let way = &paths[0].1;
    assert!(way.iter().all(|w| w.desired.parts.len() <= 1));
    assert_eq!(way[0].gates, [Gate::Gone(rev(2))]);
}

#[test]
fn legs_are_turned_back_in_reverse_and_those_that_never_began_not_at_all() {
    let of = |app: &str| Leg { scope: scope_of(app), ..upgrade() };
    let legs = vec![of("db"), of("api"), of("web")];
    let mut events = reached(0, of("db").path.len());
    events.extend(reached(1, 1));
    let state = folded(legs, &events);
    let back = and(state.clone(), &turn_back(&state, "x", false, NOW));
    assert_eq!(back.order, [1, 0]);
    assert_eq!(next(&back, NOW), Due::Walk(1));
}

#[test]
fn what_never_began_is_restored_as_it_is() {
    let state = folded(vec![upgrade()], &[]);
    let back = and(state.clone(), &turn_back(&state, "x", true, NOW));
    let Due::Close(closed) = next(&back, NOW) else { panic!("not closed") };
    assert_eq!((closed.verdict, closed.restored), (Verdict::Cancelled, true));
}

fn last() -> Sha256Hex {
    Sha256Hex::of(b"last")
}

fn ends(state: &Deployment, verdict: Verdict) -> scope::Closed {
    let before = scope::State { current: Some(pin(rev(1), "v1")), ..scope::State::default() };
    let closed = Closed { verdict, restored: false, reason: "so".into() };
    let ends = closing(state, &closed, &[before], &last(), NOW);
    assert_eq!((&ends[0].deployment, &ends[0].last, ends[0].reason.as_str()), (&id("d1"), &last(), "so"));
    ends.into_iter().next().unwrap()
}

#[test]
fn success_makes_the_new_release_current_and_puts_it_on_the_stack() {
    let mut leg = upgrade();
    leg.keep = 3;
    let path = leg.path.len();
    let end = ends(&folded(vec![leg], &reached(0, path)), Verdict::Succeeded);
    let pin = end.current.unwrap();
    assert_eq!((&pin.revision, pin.at), (&rev(2), NOW));
    assert_eq!(end.stack, StackChange::Put { keep: 3, pin });
    assert_eq!(end.resting, Desired::only(&rev(2), 2, true));
}

#[test]
fn what_never_began_rests_as_before() {
    let end = ends(&folded(vec![upgrade()], &[]), Verdict::Cancelled);
    assert_eq!((end.resting, end.current.map(|p| p.revision)), (upgrade().start, Some(rev(1))));
    assert_eq!(end.stack, StackChange::Same);
}

#[test]
fn what_stopped_half_way_rests_where_it_stands_and_the_larger_share_is_current() {
    for (at, current) in [(0, rev(1)), (1, rev(2)), (2, rev(2))] {
        let state = folded(vec![upgrade()], &reached(0, at));
        let end = ends(&state, Verdict::Failed);
        assert_eq!(end.resting, upgrade().path[at].desired);
        assert_eq!((end.current.unwrap().revision, end.stack), (current, StackChange::Same));
    }
}

#[test]
fn a_job_without_instances_is_current_wherever_its_walk_ends() {
    for (at, current) in [(0, 1), (1, 2)] {
        let mut leg = upgrade();
        leg.start = Desired::only(&rev(1), 0, false);
        leg.path.truncate(2);
        for (waypoint, n) in leg.path.iter_mut().zip([1, 2]) {
            waypoint.desired = Desired::only(&rev(n), 0, false);
        }
        let end = ends(&folded(vec![leg], &reached(0, at)), Verdict::RolledBack);
        assert_eq!(end.current.map(|pin| pin.revision), Some(rev(current)), "at waypoint {at}");
    }
}

#[test]
fn down_leaves_nothing_current_and_the_stack_as_it_is() {
    let leg = leg(Some(blue_green()), None, desired(&[(1, 2, Share::Weight(FULL))]));
    let end = ends(&folded(vec![leg], &reached(0, 1)), Verdict::Succeeded);
    assert_eq!((end.current, end.resting, end.stack), (None, Desired::nothing(), StackChange::Same));
}

#[test]
fn a_turned_back_down_has_deleted_no_data() {
    let mut down = leg(Some(blue_green()), None, desired(&[(1, 2, Share::Weight(FULL))]));
    down.delete_data = true;
    down.path.push(deployctl_core::desired::Waypoint { desired: Desired::nothing(), floor: 0, gates: Vec::new() });
    let begun = folded(vec![down.clone()], &reached(0, 0));
    assert!(!begun.deletes_data(0), "something else is left");
    let event = turn_back(&begun, "cancelled", true, NOW);
    assert!(matches!(event, Event::TurnedBack { .. }), "{event:?}");
    assert!(!and(begun, &event).deletes_data(0));
    let deletes = folded(vec![down], &reached(0, 1));
    assert!(deletes.deletes_data(0));
    let Event::Closed(closed) = turn_back(&deletes, "cancelled", true, NOW) else { panic!("it was turned back") };
    assert_eq!((closed.verdict, closed.restored), (Verdict::Cancelled, false));
    assert!(closed.reason.starts_with("cancelled; not turned back: the data of "), "{}", closed.reason);
}

#[test]
fn late_values_are_kept_and_added_to() {
    let bound = |app: &str, at: &str| Binding { addresses: [(scope_of(app).app, at.into())].into() };
    let before = scope::State { binding: bound("db", "old"), ..scope::State::default() };
    let event = Event::LegStarted { leg: 0, binding: bound("cache", "new") };
    let closed = Closed { verdict: Verdict::Failed, restored: false, reason: String::new() };
    let ends = closing(&folded(vec![upgrade()], &[event]), &closed, &[before], &last(), NOW);
    let addresses: Vec<_> = ends[0].binding.addresses.values().map(String::as_str).collect();
    assert_eq!(addresses, ["new", "old"]);
}

#[test]
fn events_that_do_not_fit_change_nothing() {
    assert_eq!(evolve(None, &Event::Paused), None);
    let state = folded(vec![upgrade()], &[]);
    let strays = [
        started(9),
        Event::Reached { leg: 9, waypoint: 0 },
        Event::HoldStarted { leg: 9, until: NOW },
        Event::JobEnded { leg: 0, gate: job(JobKind::Undo), failure: None, printed: Vec::new() },
        Event::Opened { plan: state.plan.clone(), reason: None, deadline: NOW },
    ];
    for stray in strays {
        assert_eq!(evolve(Some(state.clone()), &stray).as_ref(), Some(&state), "{stray:?}");
    }
    assert_eq!(scope().stream().0, "scope/shop/prod/eu/api");
}
