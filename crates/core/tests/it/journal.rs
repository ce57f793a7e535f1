//! Journals that earlier builds wrote must always fold. `golden/*.jsonl` holds events as they were written; lines are
//! added when an event gets a new kind or field, and never changed.

use deployctl_core::deployment::{self, Deployment};
use deployctl_core::scope;
use deployctl_core::time::Millis;

const DEPLOYMENTS: &str = include_str!("golden/deployment.jsonl");
const SCOPES: &str = include_str!("golden/scope.jsonl");

/// A kind that is added to the enum does not compile until it is named here, and fails until there is a sample of it.
fn kind(event: &deployment::Event) -> &'static str {
    use deployment::Event as E;
    match event {
        E::Opened { .. } => "opened",
        E::LegStarted { .. } => "leg_started",
        E::JobStarted { .. } => "job_started",
        E::JobEnded { .. } => "job_ended",
        E::HoldStarted { .. } => "hold_started",
        E::Reached { .. } => "reached",
        E::TurnedBack { .. } => "turned_back",
        E::Paused => "paused",
        E::Resumed => "resumed",
        E::Closed(_) => "closed",
    }
}

const KINDS: [&str; 10] = [
    "opened",
    "leg_started",
    "job_started",
    "job_ended",
    "hold_started",
    "reached",
    "turned_back",
    "paused",
    "resumed",
    "closed",
];

fn scope_kind(event: &scope::Event) -> &'static str {
    use scope::Event as E;
    match event {
        E::Opened(_) => "opened",
        E::Taken { .. } => "taken",
        E::Migrated { .. } => "migrated",
        E::Unmigrated { .. } => "unmigrated",
        E::Closed(_) => "closed",
        E::Maintenance { .. } => "maintenance",
    }
}

const SCOPE_KINDS: [&str; 6] = ["opened", "taken", "migrated", "unmigrated", "closed", "maintenance"];

/// Every event of the samples, checked to carry the type that it is found by.
fn events<T: serde::de::DeserializeOwned>(text: &str, kind: impl Fn(&T) -> &'static str) -> Vec<T> {
    let parse = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let event = serde_json::from_str(line).unwrap_or_else(|e| panic!("an old journal does not fold: {e}: {line}"));
        assert_eq!(value["type"], kind(&event), "{line}");
        event
    };
    text.lines().filter(|line| !line.is_empty()).map(parse).collect()
}

#[test]
fn every_kind_of_event_has_a_sample() {
    let found: Vec<_> = events(DEPLOYMENTS, kind).iter().map(kind).collect();
    assert!(KINDS.iter().all(|kind| found.contains(kind)), "{found:?}");
    let found: Vec<_> = events(SCOPES, scope_kind).iter().map(scope_kind).collect();
    assert!(SCOPE_KINDS.iter().all(|kind| found.contains(kind)), "{found:?}");
}

#[test]
fn old_deployments_fold_to_what_they_were() {
    let mut folded: Vec<Option<Deployment>> = Vec::new();
    for event in events(DEPLOYMENTS, kind) {
        if matches!(event, deployment::Event::Opened { .. }) {
            folded.push(None);
        }
        let last = folded.last_mut().unwrap();
        *last = deployment::evolve::evolve(last.take(), &event);
    }
    let shown = |d: &Deployment| {
        let closed = d.closed.as_ref().unwrap();
        format!(
            "{} {} legs, {} jobs, back {:?}, {} restored {}: {}",
            d.plan.id,
            d.legs.len(),
            d.legs.iter().map(|l| l.jobs.len()).sum::<usize>(),
            d.back.as_ref().map(|b| b.cancelled),
            closed.verdict.word(),
            closed.restored,
            closed.reason
        )
    };
    let shown: Vec<_> = folded.iter().flatten().map(shown).collect();
    assert_eq!(shown, ["d-old-1 1 legs, 2 jobs, back Some(true), cancelled restored true: cancelled by alice@laptop"]);
}

#[test]
fn old_scopes_fold_to_what_they_were() {
    let fold = |state, event: &scope::Event| scope::evolve(state, event, Millis(5), "alice");
    let state = events(SCOPES, scope_kind).iter().fold(scope::State::default(), fold);
    assert_eq!((state.fence.0, state.maintenance, state.open), (3, true, None));
    assert_eq!(state.current.as_ref().unwrap().version.as_str(), "v1.1.0");
    assert_eq!((state.stack.len(), state.recent.len(), state.migrations.len()), (1, 1, 1));
    let last = state.last.unwrap();
    assert_eq!((last.verdict.word(), last.restored, last.reason.as_str()), ("succeeded", false, "all gates passed"));
    assert_eq!(state.resting.total(), 2);
    assert_eq!(state.binding.addresses.len(), 1);
}
