//! One look at a waypoint, as in `crates/engine/src/weigh.rs`: observe, converge, weigh, and wait.
//!
//! Observed before converging, so that what was seen healthy has its traffic when the waypoint counts as reached.

use super::{Engine, POLL};
use crate::world::{Reply, Request, Time};
use deployctl_core::analysis::since;
use deployctl_core::deployment::step::{Evidence, Outcome, step};
use deployctl_core::deployment::{Deployment, Event};
use deployctl_core::desired::{Gate, JobGate, Waypoint};
use deployctl_core::driver::{Observed, Step};
use deployctl_core::fault::Fault;
use deployctl_core::id::{Fence, Revision, Scope, job_id};
use deployctl_core::job::JobState;
use deployctl_core::route::SideStats;
use std::collections::BTreeMap;

/// What a walk carries from round to round; lost in a crash without harm.
#[derive(Default)]
pub(super) struct Round {
    evidence: Evidence,
    baseline: Option<BTreeMap<Revision, SideStats>>,
    pub(super) tries: u32,
}

impl Engine {
    /// What happened at the current waypoint of a leg; nothing if it is to be looked at again.
    pub(super) async fn look(&self, state: &Deployment, leg: usize, round: &mut Round) -> Result<Vec<Event>, Fault> {
        let (plan, here) = (&state.plan.legs[leg], &state.legs[leg]);
        let Some(waypoint) = here.waypoint() else { return Ok(Vec::new()) };
        let fence = self.fence_of(&self.scope(&plan.scope).state);
        self.target(Request::Admit(plan.scope.clone(), fence)).await?;
        let version = self.version(&plan.scope);
        let late = self.world.borrow().broken.looks_after_converging;
        if !late {
            self.observe(&plan.scope, round).await?;
        }
        let stepped = self.converge(&plan.scope, waypoint, fence).await?;
        if late {
            self.observe(&plan.scope, round).await?;
        }
        (round.evidence.settled, round.evidence.pending) = match stepped {
            Step::Done => (true, String::new()),
            Step::Pending(why) => (false, why),
        };
        self.count(&plan.scope, waypoint, round).await?;
        round.evidence.jobs.clear();
        round.tries = 0;
        loop {
            match step(state, leg, &round.evidence, self.now()) {
                Outcome::Happened(events) => return self.hasty(state, leg, events, fence).await,
                Outcome::Job(gate) => {
                    let job = self.job(state, leg, &gate, fence).await?;
                    round.evidence.jobs.push((gate, job));
                }
                Outcome::Smoke(revision, index) => {
                    if let Reply::Smoke(said) = self.target(Request::Smoke(plan.scope.clone(), revision)).await? {
                        round.evidence.smoke.insert(index, said);
                    }
                }
                Outcome::Wait { until, .. } => {
                    let due = until.map_or(POLL, |until| {
                        Time::try_from(until.since(self.now()).as_millis()).unwrap_or(POLL).clamp(1, POLL)
                    });
                    self.changed(&plan.scope, version, due).await;
                    return Ok(Vec::new());
                }
            }
        }
    }

    async fn observe(&self, scope: &Scope, round: &mut Round) -> Result<(), Fault> {
        if let Reply::Instances(instances) = self.target(Request::List(scope.clone())).await? {
            round.evidence.see(Observed { instances, ..Observed::default() }, self.now());
        }
        Ok(())
    }

    async fn job(&self, state: &Deployment, leg: usize, gate: &JobGate, fence: Fence) -> Result<JobState, Fault> {
        let Some(run) = state.legs[leg].job(gate) else { return Ok(JobState::Unknown) };
        let scope = state.plan.legs[leg].scope.clone();
        match self.target(Request::Job(scope, run.job.clone(), gate.clone(), fence)).await? {
            Reply::Job(job) => Ok(job),
            other => unreachable!("a job is answered with {other:?}"),
        }
    }

    /// Breaks the rule that a job is recorded before it is started, if that is to be seen.
    async fn hasty(
        &self,
        state: &Deployment,
        leg: usize,
        events: Vec<Event>,
        fence: Fence,
    ) -> Result<Vec<Event>, Fault> {
        let hasty = self.world.borrow().broken.starts_jobs_unrecorded;
        if let Some(Event::JobStarted { gate, .. }) = events.first().filter(|_| hasty) {
            let plan = &state.plan;
            let id = job_id(&plan.id, &plan.legs[leg].scope, &format!("{:?}/{}", gate.what, gate.release), 0);
            let job = Request::Job(plan.legs[leg].scope.clone(), id, gate.clone(), fence);
            self.target(job).await?;
        }
        Ok(events)
    }

    /// Counts requests since the waypoint was entered, where a gate compares them.
    async fn count(&self, scope: &Scope, waypoint: &Waypoint, round: &mut Round) -> Result<(), Fault> {
        if !waypoint.gates.iter().any(|gate| matches!(gate, Gate::Analysis { .. })) {
            return Ok(());
        }
        let Reply::Traffic(_, _, now) = self.target(Request::Traffic(scope.clone())).await? else { return Ok(()) };
        let none = SideStats::default();
        let before = round.baseline.get_or_insert_with(|| now.clone());
        round.evidence.stats =
            now.iter().map(|(r, stats)| (r.clone(), since(stats, before.get(r).unwrap_or(&none)))).collect();
        Ok(())
    }
}
