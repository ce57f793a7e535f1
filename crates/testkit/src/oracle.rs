//! What must hold, watched from outside: nothing here is believed because an engine says so.

use crate::journal::Said;
use crate::target::{JobNow, Place};
use crate::world::{Time, World};
use deployctl_core::deployment::{self, Deployment, Verdict, evolve::evolve};
use deployctl_core::desired::{Desired, JobGate, JobKind, Share, Waypoint};
use deployctl_core::id::{DeploymentId, Fence, JobId, Revision, Scope};
use deployctl_core::instance::InstanceState;
use deployctl_core::job::JobState;
use deployctl_core::journal::StreamId;
use deployctl_core::plan::Leg;
use deployctl_core::scope;
use deployctl_core::time::Millis;
use std::collections::BTreeMap;

/// So much later than its deadline a deployment may end: clocks are wrong, and a lease must run out first.
const SLACK: Time = 45_000;

/// A deployment, as the journal tells it.
#[derive(Clone, Debug)]
struct Watched {
    state: Option<Deployment>,
    opened: Time,
    closed: Option<Time>,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    /// What was wrong.
    pub wrong: Vec<String>,
    /// How deployments ended.
    pub verdicts: BTreeMap<&'static str, u64>,
    /// How often an engine took over.
    pub taken: u64,
    deployments: BTreeMap<StreamId, Watched>,
    scopes: BTreeMap<Scope, scope::State>,
    promised: BTreeMap<Scope, u32>,
    acted: BTreeMap<Scope, Fence>,
}

impl Oracle {
    /// Whether a deployment runs in a scope.
    pub fn is_busy(&self, scope: &Scope) -> bool {
        self.scopes.get(scope).is_some_and(|state| state.open.is_some())
    }

    /// Whether a deployment runs anywhere.
    pub fn is_open(&self) -> bool {
        self.scopes.values().any(|state| state.open.is_some())
    }

    fn promise(&mut self, scope: &Scope, path: &[Waypoint]) {
        let lowest = path.iter().map(|w| w.floor).min().unwrap_or(0);
        let promised = self.promised.entry(scope.clone()).or_insert(lowest);
        *promised = (*promised).min(lowest);
    }

    fn open_in(&self, scope: &Scope) -> Option<&Deployment> {
        let open = self.scopes.get(scope)?.open.as_ref()?;
        self.deployments.get(&open.opened.deployment.stream())?.state.as_ref()
    }
}

fn floors(oracle: &mut Oracle, state: &Deployment, event: &deployment::Event) {
    match event {
        deployment::Event::Opened { plan, .. } => {
            for leg in &plan.legs {
                oracle.promised.remove(&leg.scope);
                oracle.promise(&leg.scope, &leg.path);
            }
        }
        deployment::Event::TurnedBack { paths, .. } => {
            for (leg, path) in paths {
                oracle.promise(&state.plan.legs[*leg].scope, path);
            }
        }
        deployment::Event::Closed(_) => {
            for leg in &state.plan.legs {
                oracle.promised.remove(&leg.scope);
            }
        }
        _ => {}
    }
}

impl World {
    /// Something was appended.
    pub fn heard(&mut self, stream: &StreamId, said: &Said, at: Millis) {
        match said {
            Said::Deployment(event) => self.heard_of_deployment(stream, event),
            Said::Scope(event) => self.heard_of_scope(stream, event, at),
        }
    }

    fn heard_of_deployment(&mut self, stream: &StreamId, event: &deployment::Event) {
        let now = self.now;
        let watched = Watched { state: None, opened: now, closed: None };
        let watched = self.oracle.deployments.entry(stream.clone()).or_insert(watched);
        let ended = watched.closed.is_some();
        watched.state = evolve(watched.state.take(), event);
        if matches!(event, deployment::Event::Closed(_)) {
            watched.closed = Some(now);
        }
        let counts = matches!(event, deployment::Event::TurnedBack { .. } | deployment::Event::Closed(_));
        if counts || matches!(event, deployment::Event::Opened { .. }) {
            let state = watched.state.clone();
            state.iter().for_each(|state| floors(&mut self.oracle, state, event));
        }
        if counts {
            self.no_job_runs(stream, event);
        }
        if let deployment::Event::JobEnded { leg, gate, failure: None, .. } = event {
            self.ended_well(stream, *leg, gate);
        }
        if ended {
            self.wrong(format!("{stream} goes on after its end: {event:?}"));
        }
        if let deployment::Event::Closed(closed) = event {
            *self.oracle.verdicts.entry(closed.verdict.word()).or_default() += 1;
            let truthful = match closed.verdict {
                Verdict::Succeeded | Verdict::Failed => !closed.restored,
                Verdict::RolledBack => closed.restored,
                Verdict::Cancelled => true,
            };
            if !truthful || closed.reason.is_empty() {
                self.wrong(format!("{stream} ends in contradiction: {closed:?}"));
            }
        }
    }

    /// What is said to have ended well was seen to.
    fn ended_well(&mut self, stream: &StreamId, leg: usize, gate: &JobGate) {
        let state = self.oracle.deployments.get(stream).and_then(|watched| watched.state.as_ref());
        let seen = state.and_then(|state| {
            let run = state.legs.get(leg)?.job(gate)?;
            self.places.get(&state.plan.legs[leg].scope)?.jobs.get(&run.job)
        });
        if seen.is_none_or(|job| job.now != JobNow::Ended(JobState::Succeeded)) {
            self.wrong(format!("{stream} says that the {} ended well, and nobody saw it", gate.what));
        }
    }

    /// Before anything is turned back or ended, every job that was started has ended.
    fn no_job_runs(&mut self, stream: &StreamId, event: &deployment::Event) {
        let state = self.oracle.deployments.get(stream).and_then(|watched| watched.state.as_ref());
        let legs = state.iter().flat_map(|state| state.plan.legs.iter().zip(&state.legs));
        let started = legs.flat_map(|(leg, here)| here.jobs.iter().map(move |run| (&leg.scope, run)));
        let running = started.filter_map(|(scope, run)| {
            let job = self.places.get(scope)?.jobs.get(&run.job)?;
            (job.now == JobNow::Runs).then(|| format!("the {} of {scope}", run.gate.what))
        });
        let running: Vec<String> = running.collect();
        let what = if matches!(event, deployment::Event::Closed(_)) { "ends" } else { "goes back" };
        for job in running {
            self.wrong(format!("{stream} {what} while {job} runs"));
        }
    }

    fn heard_of_scope(&mut self, stream: &StreamId, event: &scope::Event, at: Millis) {
        let scope = self.places.keys().find(|scope| scope.stream() == *stream).cloned();
        let Some(scope) = scope else { return self.wrong(format!("nobody knows {stream}")) };
        let before = self.oracle.scopes.remove(&scope).unwrap_or_default();
        let fits = match event {
            scope::Event::Opened(o) => before.open.is_none() && o.fence > before.fence,
            scope::Event::Taken { fence, .. } => before.open.is_some() && *fence > before.fence,
            scope::Event::Closed(c) => before.open.as_ref().is_some_and(|o| o.opened.deployment == c.deployment),
            scope::Event::Migrated { release, .. } => !before.migrations.iter().any(|(r, _)| r == release),
            scope::Event::Unmigrated { .. } | scope::Event::Maintenance { .. } => true,
        };
        if !fits {
            self.wrong(format!("{stream} has an event that does not fit: {event:?}"));
        }
        self.oracle.taken += u64::from(matches!(event, scope::Event::Taken { .. }));
        if let scope::Event::Closed(closed) = event {
            self.ended(&scope, &before, closed);
        }
        let after = scope::evolve(before, event, at, "");
        self.oracle.scopes.insert(scope, after);
    }

    /// The verdict against the world, at the moment when it is given.
    fn ended(&mut self, scope: &Scope, before: &scope::State, closed: &scope::Closed) {
        let state = self.oracle.deployments.get(&closed.deployment.stream()).and_then(|w| w.state.clone());
        let Some(state) = state else { return self.wrong(format!("{scope} closes what never was")) };
        let Some(at) = state.plan.legs.iter().position(|leg| leg.scope == *scope) else { return };
        let (leg, begun) = (&state.plan.legs[at], state.legs[at].binding.is_some());
        let lines = self.journal.lines(&closed.deployment.stream());
        if lines.len() < 2 || lines[lines.len() - 2].hash != closed.last {
            self.wrong(format!("{scope} does not know where {} ended", closed.deployment));
        }
        let release = |pin: &Option<deployctl_core::plan::Pin>| pin.as_ref().map(|p| p.revision.clone());
        let wanted = match (closed.verdict, closed.restored) {
            (Verdict::Succeeded, _) => leg.to.as_ref(),
            (_, true) => leg.from.as_ref(),
            (_, false) => return,
        };
        let wanted = wanted.map(|side| side.pin.revision.clone());
        if closed.verdict != Verdict::Succeeded && release(&before.current) != release(&closed.current) {
            self.wrong(format!("{scope} is said to be restored, but another release is current"));
        }
        if closed.verdict == Verdict::Succeeded && release(&closed.current) != wanted {
            self.wrong(format!("{scope} succeeded, but the new release is not current"));
        }
        if closed.restored && begun {
            self.undone(leg, &state.legs[at].jobs);
        }
        if begun {
            self.as_wished(scope, leg, wanted.as_ref(), closed.verdict == Verdict::Succeeded);
        }
    }

    /// What is restored has no migration left that its plan knows a way back from.
    fn undone(&mut self, leg: &Leg, jobs: &[deployment::JobRun]) {
        let Some(migration) = &leg.migration else { return };
        let run = |what: JobKind| jobs.iter().find(|run| run.gate.what == what);
        if run(JobKind::Migrate).is_none() {
            return;
        }
        let undone = run(JobKind::Undo).is_some_and(|run| run.ended == Some(Ok(())));
        if migration.irreversible || (migration.undo && !undone) {
            self.wrong(format!("{} is said to be restored, but its migration is not undone", leg.scope));
        }
    }

    fn as_wished(&mut self, scope: &Scope, leg: &Leg, wanted: Option<&Revision>, alone: bool) {
        let count = [&leg.to, &leg.from].into_iter().flatten().find(|s| Some(&s.pin.revision) == wanted);
        let count = count.map_or(0, |side| side.config.instances as usize);
        let new = leg.to.as_ref().map(|side| side.pin.revision.clone());
        let place = self.place(scope).clone();
        let mine = place.alive().filter(|i| Some(&i.revision) == wanted);
        let up = mine.filter(|i| i.state == InstanceState::Ready || i.ill).count();
        let others = place
            .alive()
            .filter(|i| Some(&i.revision) != wanted)
            .filter(|i| alone || new.as_ref() == Some(&i.revision));
        let others = others.count();
        if up != count || others > 0 {
            self.wrong(format!("{scope} is said to be as wished, with {up} of {count} up and {others} others there"));
        }
        let routed = wanted.and_then(|r| self.releases.get(&r.release)).is_some_and(|(r, _)| r.config.route.is_some());
        let ready = place.alive().filter(|i| Some(&i.revision) == wanted && i.state == InstanceState::Ready).count();
        let served = place.proxies.iter().map(|p| place.serving(p.service.as_ref())).min().unwrap_or(0);
        if routed && served < ready && !place.is_ill() {
            self.wrong(format!("{scope} is said to be as wished, with traffic on {served} of {ready}"));
        }
    }

    /// Something was appended by who shows these fences.
    pub fn wrote(&mut self, fences: &[(StreamId, Fence)]) {
        for (stream, fence) in fences {
            let newest = self.oracle.scopes.iter().find(|(scope, _)| scope.stream() == *stream);
            let newest = newest.map_or(Fence(0), |(_, state)| state.fence);
            if *fence < newest {
                self.wrong(format!("two owners write: {stream} with fence {} after {}", fence.0, newest.0));
            }
        }
    }

    /// Somebody acted on the target and was let.
    pub fn acted(&mut self, scope: &Scope, fence: Fence) {
        let highest = self.oracle.acted.entry(scope.clone()).or_default();
        let stale = fence < *highest;
        *highest = fence.max(*highest);
        if stale {
            self.wrong(format!("two owners act on {scope}: fence {} after a newer one", fence.0));
        }
    }

    /// An instance is stopped where nothing is routed.
    pub fn one_less(&mut self, scope: &Scope, was_ready: bool) {
        let place = self.place(scope);
        if place.service.is_none() && was_ready {
            let before = place.alive().filter(|i| i.state == InstanceState::Ready).count();
            let ill = place.instances.values().filter(|i| i.was_ill).count();
            self.capacity(scope, before, before - 1, ill);
        }
    }

    /// Capacity changes by what we do. `ill` instances that it is about broke by themselves at some time: who decided by
    /// what was seen then is excused for so many.
    pub fn capacity(&mut self, scope: &Scope, before: usize, after: usize, ill: usize) {
        let promised = self.oracle.promised.get(scope).copied().unwrap_or(0) as usize;
        if after < before && after + ill < promised.min(before) {
            self.wrong(format!("{scope} is taken from {before} to {after} healthy instances, {promised} are promised"));
        }
    }

    /// A job begins.
    pub fn job_begins(&mut self, scope: &Scope, id: &JobId, gate: &JobGate, runs: u64, repeatable: bool) {
        let what = gate.what;
        if runs > 0 && !repeatable {
            self.wrong(format!("the {what} of {scope} runs again and is not repeatable"));
        }
        let Some(open) = self.oracle.open_in(scope) else {
            return self.wrong(format!("the {what} of {scope} begins while no deployment runs"));
        };
        let recorded = open.legs.iter().flat_map(|leg| &leg.jobs).any(|run| run.job == *id);
        let (back, undo) = (open.back.is_some(), what == JobKind::Undo);
        if !recorded {
            self.wrong(format!("the {what} of {scope} begins before it is recorded"));
        }
        if back && !undo {
            self.wrong(format!("the {what} of {scope} begins although the deployment goes back"));
        }
        let migrates = |place: &Place| {
            let running = place.jobs.values().filter(|job| job.now == JobNow::Runs);
            running.filter_map(|job| job.gate.as_ref()).any(|gate| gate.what == JobKind::Migrate)
        };
        if undo && migrates(self.place(scope)) {
            self.wrong(format!("a migration of {scope} is undone while it runs"));
        }
        let state = self.oracle.scopes.get(scope);
        if what == JobKind::Migrate && state.is_some_and(|s| s.migrations.iter().any(|(r, _)| *r == gate.release)) {
            self.wrong(format!("a migration of {scope} runs a second time"));
        }
    }

    /// What is still to be done until everything is as the journal says; none if it is.
    pub fn unsettled(&self) -> Option<String> {
        for (scope, place) in &self.places {
            let Some(state) = self.oracle.scopes.get(scope) else { continue };
            if let Some(open) = &state.open {
                return Some(format!("{scope} is still changed by {}", open.opened.deployment));
            }
            let wrong = self.differs(scope, place, &state.resting);
            if let Some(wrong) = wrong {
                return Some(format!("{scope}: {wrong}"));
            }
        }
        None
    }

    fn differs(&self, scope: &Scope, place: &Place, resting: &Desired) -> Option<String> {
        let _ = scope;
        let mut there: Vec<_> = place.instances.values().map(|i| (i.revision.clone(), i.slot)).collect();
        there.sort();
        let wanted = resting.parts.iter().flat_map(|(r, p)| (0..p.extent.count()).map(|slot| (r.clone(), slot)));
        let wanted: Vec<_> = wanted.collect();
        if there != wanted {
            let names = |all: &[(Revision, u32)]| {
                all.iter().map(|(r, slot)| format!("{}/{slot}", self.name(r))).collect::<Vec<_>>().join(" ")
            };
            return Some(format!("there is [{}] and should be [{}]", names(&there), names(&wanted)));
        }
        let good = |r: &Revision| self.character(r) != crate::cast::Character::Exits;
        let late =
            place.instances.values().find(|i| matches!(i.state, InstanceState::Starting { .. }) && good(&i.revision));
        if let Some(late) = late {
            return Some(format!("{} is {}", self.name(&late.revision), late.state.word()));
        }
        if place.proxies.iter().any(|p| p.generation != place.generation) {
            return Some("a proxy works by old routes".into());
        }
        let base = resting.base.as_ref().and_then(|r| self.releases.get(&r.release));
        let routed = base.is_some_and(|(release, _)| release.config.route.is_some());
        if routed != place.service.is_some() {
            return Some(format!("it should be routed: {routed}"));
        }
        let all_ready = place.instances.values().all(|i| i.state == InstanceState::Ready);
        let service = place.service.as_ref().filter(|_| all_ready)?;
        for (revision, part) in &resting.parts {
            let Some(side) = service.get(revision) else {
                if part.share == Share::Unmanaged {
                    continue;
                }
                return Some(format!("{} is not routed", self.name(revision)));
            };
            let weight = match part.share {
                Share::Weight(weight) => weight,
                _ => part.extent.count(),
            };
            if side.members.len() != part.extent.count() as usize || side.weight != weight {
                return Some(format!("{} is routed as {side:?}", self.name(revision)));
            }
        }
        None
    }

    /// The last look, when everything has come to rest.
    pub fn last_look(&mut self, quiet: Time) {
        if let Some(why) = self.unsettled() {
            self.wrong(format!("not at rest: {why}"));
        }
        let mut late = Vec::new();
        for (stream, watched) in &self.oracle.deployments {
            let Some(state) = &watched.state else { continue };
            let span = u64::try_from(state.plan.deadline.0.as_millis()).unwrap_or(u64::MAX);
            let due = (watched.opened + 2 * span).max(quiet) + SLACK;
            match watched.closed {
                None => late.push(format!("{stream} never ends")),
                Some(closed) if closed > due => {
                    late.push(format!("{stream} ends at {closed} ms, {due} ms was the last"))
                }
                Some(_) => {}
            }
            let closings = self
                .journal
                .lines(stream)
                .iter()
                .filter(|line| matches!(&*line.said, Said::Deployment(deployment::Event::Closed(_))));
            let closings = closings.count();
            if closings > 1 {
                late.push(format!("{stream} ends {closings} times"));
            }
        }
        for what in late {
            self.wrong(what);
        }
    }

    /// The open deployment of a scope, for people who steer it.
    pub fn running(&self, scope: &Scope) -> Option<DeploymentId> {
        Some(self.oracle.scopes.get(scope)?.open.as_ref()?.opened.deployment.clone())
    }
}
