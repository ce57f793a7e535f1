//! What was seen at a waypoint, weighed: go on, wait, find out more, or turn back.

use super::turn_back::{not_restored, turn_back};
use super::{Deployment, Event, LegState};
use crate::analysis::{Judgement, judge};
use crate::desired::{Extent, Gate, JobGate, Waypoint};
use crate::driver::Observed;
use crate::id::{InstanceId, Revision, job_id};
use crate::instance::InstanceState;
use crate::job::JobState;
use crate::plan::Side;
use crate::route::SideStats;
use crate::time::{Millis, Span};
use std::collections::BTreeMap;

/// How long an instance that was healthy may be unhealthy before that condemns the release.
pub const PATIENCE: Span = Span::secs(10);

/// What is known at the current waypoint. Kept by the walk, forgotten when it moves on.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Whether the driver has nothing left to do.
    pub settled: bool,
    /// What the driver waits for, if it does.
    pub pending: String,
    /// What is true now.
    pub observed: Observed,
    /// Since when instances are in trouble.
    pub trouble_since: BTreeMap<InstanceId, Millis>,
    /// Since when revisions are in trouble that are judged as a whole.
    pub wholes_since: BTreeMap<Revision, Millis>,
    /// How jobs are that were started.
    pub jobs: Vec<(JobGate, JobState)>,
    /// What those printed that ended well.
    pub printed: Vec<(JobGate, Vec<String>)>,
    /// What HTTP smoke tests said.
    pub smoke: BTreeMap<usize, Result<(), String>>,
    /// Requests since the waypoint was entered.
    pub stats: BTreeMap<Revision, SideStats>,
}

impl Evidence {
    /// Takes in a new observation, keeping since when each instance is in trouble.
    pub fn see(&mut self, observed: Observed, now: Millis) {
        let before = std::mem::take(&mut self.trouble_since);
        for instance in &observed.instances {
            if is_trouble(&instance.state) {
                let since = before.get(&instance.id).copied().unwrap_or(now);
                self.trouble_since.insert(instance.id.clone(), since);
            }
        }
        let before = std::mem::take(&mut self.wholes_since);
        for (revision, _) in observed.wholes.iter().filter(|(_, whole)| is_trouble(whole)) {
            self.wholes_since.insert(revision.clone(), before.get(revision).copied().unwrap_or(now));
        }
        self.observed = observed;
    }
}

fn is_trouble(state: &InstanceState) -> bool {
    matches!(state, InstanceState::Unhealthy { .. } | InstanceState::Failed { .. })
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Append these.
    Happened(Vec<Event>),
    /// Start or look at this job, then weigh again.
    Job(JobGate),
    /// Make this HTTP smoke test, then weigh again.
    Smoke(Revision, usize),
    /// Wait for a change, at most until then.
    Wait {
        /// For what, for people.
        why: String,
        /// Until when; none if only a change helps.
        until: Option<Millis>,
    },
}

/// Weighs what was seen at the current waypoint of `leg`.
pub fn step(state: &Deployment, leg: usize, evidence: &Evidence, now: Millis) -> Outcome {
    let here = &state.legs[leg];
    let Some(waypoint) = here.waypoint() else { return Outcome::Happened(Vec::new()) };
    if let Some(why) = condemned(state, leg, waypoint, evidence, now) {
        return fails(state, &why, now);
    }
    if let Some(why) = waypoint.gates.iter().find_map(|gate| worse(gate, evidence)) {
        return fails(state, &why, now);
    }
    for gate in &waypoint.gates {
        match weigh(state, leg, here, gate, evidence, now) {
            Weighed::Pass => {}
            Weighed::Fail(why) => return fails(state, &why, now),
            Weighed::Other(outcome) => return sooner(outcome, state, evidence),
        }
    }
    if !evidence.settled {
        return sooner(Outcome::Wait { why: evidence.pending.clone(), until: None }, state, evidence);
    }
    Outcome::Happened(vec![Event::Reached { leg, waypoint: here.reached }])
}

/// A wait that ends when patience with an instance in trouble does.
fn sooner(outcome: Outcome, state: &Deployment, evidence: &Evidence) -> Outcome {
    let Outcome::Wait { why, until } = outcome else { return outcome };
    let patience = evidence.trouble_since.values().map(|since| since.after(PATIENCE.0)).min();
    let sides = || state.plan.legs.iter().flat_map(|leg| [&leg.to, &leg.from]).flatten();
    let wholes = evidence.wholes_since.iter().filter_map(|(revision, since)| {
        let side = sides().find(|side| side.pin.revision == *revision)?;
        Some(since.after(side.config.target.patience().unwrap_or(PATIENCE).0))
    });
    Outcome::Wait { why, until: [until, patience].into_iter().flatten().chain(wholes).min() }
}

fn fails(state: &Deployment, why: &str, now: Millis) -> Outcome {
    Outcome::Happened(vec![match &state.back {
        None => turn_back(state, why, false, now),
        Some(back) => Event::Closed(not_restored(back, &format!("and the way back failed: {why}"))),
    }])
}

/// What condemns the release that is being walked to. A fault of the platform never does.
fn condemned(state: &Deployment, leg: usize, waypoint: &Waypoint, evidence: &Evidence, now: Millis) -> Option<String> {
    let plan = &state.plan.legs[leg];
    let target = if state.back.is_some() { plan.from.as_ref() } else { plan.to.as_ref() };
    let revision = &target?.pin.revision;
    let extent = waypoint.desired.extent(revision);
    if extent.is_nothing() {
        return None;
    }
    let version = &target?.pin.version;
    if extent.is_whole() {
        // Its instances are the target's: it starts others for those that fail, and says itself when that has no end.
        return condemned_whole(state, target?, evidence, now);
    }
    let instances = || evidence.observed.instances.iter().filter(|i| i.revision == *revision);
    let over = |id: &InstanceId| evidence.trouble_since.get(id).is_some_and(|since| now.since(*since) >= PATIENCE.0);
    instances().find_map(|instance| match &instance.state {
        // On the way forward a verdict is due at once; on the way back there is nothing better than to keep trying a while.
        InstanceState::Failed { reason, last_lines } if state.back.is_none() || over(&instance.id) => {
            Some(explain(&format!("{version} did not come up: {}: {reason}", instance.id), last_lines))
        }
        InstanceState::Unhealthy { reason } if over(&instance.id) => {
            Some(format!("{version} became unhealthy: {} {reason}", instance.id))
        }
        _ => None,
    })
}

/// The same of a release that is judged as a whole.
fn condemned_whole(state: &Deployment, target: &Side, evidence: &Evidence, now: Millis) -> Option<String> {
    let (revision, version) = (&target.pin.revision, &target.pin.version);
    let patience = target.config.target.patience().unwrap_or(PATIENCE);
    let over = evidence.wholes_since.get(revision).is_some_and(|since| now.since(*since) >= patience.0);
    match evidence.observed.wholes.get(revision)? {
        InstanceState::Failed { reason, last_lines } if state.back.is_none() || over => {
            let what = format!("{version} did not come up: {reason}");
            Some(if last_lines.is_empty() { what } else { explain(&what, last_lines) })
        }
        InstanceState::Unhealthy { reason } if over => {
            Some(format!("{version} did not become healthy within {} s of trouble: {reason}", patience.0.as_secs()))
        }
        _ => None,
    }
}

/// How many of the last lines a reason repeats; `logs` and the journal of the instance have more.
const LINES_MAX: usize = 5;

/// What happened and the last lines that were printed, runs of equal ones once.
fn explain(what: &str, last_lines: &[String]) -> String {
    let mut runs: Vec<(&str, usize)> = Vec::new();
    for line in last_lines.iter().map(|line| line.trim_end()).filter(|line| !line.is_empty()) {
        match runs.last_mut().filter(|(last, _)| *last == line) {
            Some((_, times)) => *times += 1,
            None => runs.push((line, 1)),
        }
    }
    if runs.is_empty() {
        return format!("{what}; it printed nothing");
    }
    let shown = runs.iter().skip(runs.len().saturating_sub(LINES_MAX)).map(|(line, times)| match times {
        1 => (*line).to_owned(),
        times => format!("{line} ({times} times)"),
    });
    format!("{what}; its last lines: {}", shown.collect::<Vec<_>>().join(" | "))
}

enum Weighed {
    Pass,
    Fail(String),
    Other(Outcome),
}

fn wait(why: String) -> Weighed {
    Weighed::Other(Outcome::Wait { why, until: None })
}

fn weigh(state: &Deployment, leg: usize, here: &LegState, gate: &Gate, evidence: &Evidence, now: Millis) -> Weighed {
    match gate {
        Gate::Ready(revision) => ready(here, revision, evidence),
        Gate::Gone(revision) if evidence.observed.is_gone(revision) => Weighed::Pass,
        Gate::Gone(revision) => match evidence.observed.existing(revision) {
            0 => wait("the old release is to end".into()),
            left if evidence.observed.draining > 0 => {
                wait(format!("{left} old instances finish {} requests", evidence.observed.draining))
            }
            left => wait(format!("{left} old instances are to end")),
        },
        Gate::Job(job) => weigh_job(state, leg, here, job, evidence),
        Gate::Smoke { revision, index } => match evidence.smoke.get(index) {
            None => Weighed::Other(Outcome::Smoke(revision.clone(), *index)),
            Some(Ok(())) => Weighed::Pass,
            Some(Err(why)) => Weighed::Fail(format!("smoke test #{} failed: {why}", index + 1)),
        },
        // Nothing is held before it is there.
        Gate::Hold(_) if here.hold_until.is_none() && !evidence.settled => wait(evidence.pending.clone()),
        Gate::Hold(span) => hold(here, leg, *span, now),
        Gate::Analysis { new, old, requests_min } => analysis(evidence, new, old, *requests_min),
    }
}

fn ready(here: &LegState, revision: &Revision, evidence: &Evidence) -> Weighed {
    let extent = here.waypoint().map_or(Extent::Count(0), |w| w.desired.extent(revision));
    if evidence.observed.is_ready(revision, extent) {
        return Weighed::Pass;
    }
    let Extent::Count(wanted) = extent else {
        return wait(match evidence.observed.wholes.get(revision) {
            Some(InstanceState::Starting { waiting_for }) => waiting_for.clone(),
            Some(InstanceState::Unhealthy { reason } | InstanceState::Failed { reason, .. }) => reason.clone(),
            _ => evidence.pending.clone(),
        });
    };
    let ready = evidence.observed.ready(revision);
    let why = evidence.observed.instances.iter().filter(|i| i.revision == *revision).find_map(|i| match &i.state {
        InstanceState::Starting { waiting_for } => Some(format!("; {}: {waiting_for}", i.id)),
        InstanceState::Unhealthy { reason } => Some(format!("; {}: {reason}", i.id)),
        _ => None,
    });
    wait(format!("{ready} of {wanted} instances are healthy{}", why.unwrap_or_default()))
}

fn weigh_job(state: &Deployment, leg: usize, here: &LegState, gate: &JobGate, evidence: &Evidence) -> Weighed {
    let plan = &state.plan;
    let Some(run) = here.job(gate) else {
        // A job changes things: it waits until everything before it is settled.
        if !evidence.settled {
            return wait(evidence.pending.clone());
        }
        let job = job_id(&plan.id, &plan.legs[leg].scope, &format!("{:?}/{}", gate.what, gate.release), 0);
        return Weighed::Other(Outcome::Happened(vec![Event::JobStarted { leg, gate: gate.clone(), job }]));
    };
    match &run.ended {
        Some(Ok(())) => return Weighed::Pass,
        Some(Err(why)) => return Weighed::Fail(format!("the {} failed: {why}", gate.what)),
        None => {}
    }
    let ended = |failure: Option<String>| {
        let printed = evidence.printed.iter().filter(|(g, _)| g == gate && failure.is_none());
        let printed = printed.flat_map(|(_, lines)| lines.clone()).collect();
        Weighed::Other(Outcome::Happened(vec![Event::JobEnded { leg, gate: gate.clone(), failure, printed }]))
    };
    match evidence.jobs.iter().find(|(g, _)| g == gate).map(|(_, state)| state) {
        None => Weighed::Other(Outcome::Job(gate.clone())),
        Some(JobState::Running) => wait(format!("the {} runs", gate.what)),
        Some(JobState::Succeeded) => ended(None),
        Some(JobState::Failed { reason, last_lines }) => ended(Some(explain(reason, last_lines))),
        Some(JobState::Unknown) => ended(Some(
            "it was interrupted and nobody saw how it ended; it is not declared repeatable, so it is not tried again"
                .into(),
        )),
    }
}

fn hold(here: &LegState, leg: usize, span: Span, now: Millis) -> Weighed {
    match here.hold_until {
        None => Weighed::Other(Outcome::Happened(vec![Event::HoldStarted { leg, until: now.after(span.0) }])),
        Some(until) if now >= until => Weighed::Pass,
        Some(until) => Weighed::Other(Outcome::Wait {
            why: format!("held for {} s more", until.since(now).as_secs_f64().ceil()),
            until: Some(until),
        }),
    }
}

/// A canary that is clearly worse is turned back at once, not when its hold is over.
fn worse(gate: &Gate, evidence: &Evidence) -> Option<String> {
    let Gate::Analysis { new, old, requests_min } = gate else { return None };
    match analysis(evidence, new, old, *requests_min) {
        Weighed::Fail(why) => Some(why),
        _ => None,
    }
}

fn analysis(evidence: &Evidence, new: &Revision, old: &Revision, requests_min: u64) -> Weighed {
    let none = SideStats::default();
    let of = |revision| evidence.stats.get(revision).unwrap_or(&none);
    match judge(of(new), of(old), requests_min) {
        Judgement::Pass(_) => Weighed::Pass,
        Judgement::Worse(why, counts) => Weighed::Fail(format!("{why}: {counts}")),
        Judgement::Inconclusive(counts) => {
            wait(format!("too few requests to compare ({requests_min} wanted on each side): {counts}"))
        }
    }
}
