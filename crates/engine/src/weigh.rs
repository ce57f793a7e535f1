//! One look at a waypoint: observe, converge, weigh, and wait where only time or a change helps.

use crate::Engine;
use crate::walk::Round;
use deployctl_core::analysis::since;
use deployctl_core::deployment::step::{Outcome, step};
use deployctl_core::deployment::{Deployment, Event};
use deployctl_core::desired::{Gate, JobGate, Waypoint};
use deployctl_core::driver::{Step, Way};
use deployctl_core::fault::Fault;
use deployctl_core::id::{Revision, Scope};
use deployctl_core::job::JobState;
use deployctl_core::route::SideStats;
use std::collections::BTreeMap;
use std::time::Duration;

/// A change that nobody announced is seen after this long, at first; a long wait looks up ever more seldom.
const POLL: Duration = Duration::from_millis(250);

/// And after this long at the latest.
const POLL_MAX: Duration = Duration::from_secs(2);

/// Counters when the waypoint was entered, to count from there.
#[derive(Default)]
pub(crate) struct Looked {
    /// How often it was looked without anything having happened.
    times: u32,
    baseline: Option<BTreeMap<Revision, SideStats>>,
}

/// Pauses between tries: doubling from 50 ms to 5 s, with jitter, so that many deployments do not knock together.
#[derive(Default)]
pub(crate) struct Backoff(u32);

impl Backoff {
    pub(crate) fn next(&mut self) -> Duration {
        let base = Duration::from_millis(50 << self.0.min(7)).min(Duration::from_secs(5));
        self.0 += 1;
        // The hasher's keys are random per value: enough for jitter.
        let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), self.0);
        base.mul_f64(0.5 + f64::from(u16::try_from(random & 0xffff).unwrap_or(0)) / 65_536.0)
    }
}

impl Engine {
    /// What happened at the current waypoint of a leg; nothing if it is to be looked at again.
    pub(crate) async fn look(&self, state: &Deployment, leg: usize, round: &mut Round) -> Result<Vec<Event>, Fault> {
        let (plan, here) = (&state.plan.legs[leg], &state.legs[leg]);
        let Some(waypoint) = here.waypoint() else { return Ok(Vec::new()) };
        let way = self.way(state, leg).await?;
        let driver = &self.ports.driver;
        driver.admit(&plan.scope, way.fence).await?;
        // Observed before converging, so that what was seen healthy has its traffic when the waypoint counts as reached.
        let observed = driver.observe(&plan.scope).await?;
        let stepped = driver.converge(&plan.scope, waypoint, &way).await?;
        round.evidence.settled = stepped == Step::Done;
        round.evidence.pending = match stepped {
            Step::Done => String::new(),
            Step::Pending(why) => why,
        };
        round.evidence.see(observed, self.ports.clock.now());
        self.count(&plan.scope, waypoint, round).await?;
        round.evidence.jobs.clear();
        round.evidence.printed.clear();
        round.backoff = Backoff::default();
        loop {
            match step(state, leg, &round.evidence, self.ports.clock.now()) {
                Outcome::Happened(events) => return Ok(events),
                Outcome::Job(gate) => {
                    let job = self.job(state, leg, &gate, &way).await?;
                    if let (JobState::Succeeded, Some(run)) = (&job, state.legs[leg].job(&gate)) {
                        let printed = driver.job_printed(&plan.scope, &run.job).await;
                        round.evidence.printed.push((gate.clone(), printed));
                    }
                    round.evidence.jobs.push((gate, job));
                }
                Outcome::Smoke(revision, index) => {
                    let said = driver.smoke(&plan.scope, &revision, index).await?;
                    round.evidence.smoke.insert(index, said);
                }
                Outcome::Wait { why, until } => {
                    // What is waited for is told with what was seen just now.
                    self.show(state, &round.evidence).await;
                    self.note(&state.plan.id, &why);
                    let poll = (POLL * (1 << round.looked.times.min(3))).min(POLL_MAX);
                    if self.wait(state, leg, until, poll, &round.evidence.jobs).await {
                        round.looked.times += 1;
                    } else {
                        round.looked.times = 0;
                    }
                    return Ok(Vec::new());
                }
            }
        }
    }

    async fn job(&self, state: &Deployment, leg: usize, gate: &JobGate, way: &Way) -> Result<JobState, Fault> {
        let Some(run) = state.legs[leg].job(gate) else { return Ok(JobState::Unknown) };
        self.ports.driver.job(&state.plan.legs[leg].scope, &run.job, gate, way).await
    }

    /// Waits for a change; says whether none came.
    async fn wait(
        &self,
        state: &Deployment,
        leg: usize,
        until: Option<deployctl_core::time::Millis>,
        poll: Duration,
        jobs: &[(JobGate, JobState)],
    ) -> bool {
        let scope = &state.plan.legs[leg].scope;
        let running = jobs.iter().find(|(_, job)| *job == JobState::Running);
        let job = running.and_then(|(gate, _)| state.legs[leg].job(gate)).map(|run| run.job.clone());
        let due = until.map_or(poll, |until| until.since(self.ports.clock.now()).min(poll));
        let steered = self.steered(&state.plan.id);
        let job_changed = async {
            match &job {
                Some(job) => self.ports.driver.job_changed(scope, job).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.ports.driver.changed(scope) => false,
            () = job_changed => false,
            () = steered.nudge.notified() => false,
            () = tokio::time::sleep(due) => true,
        }
    }

    /// Counts requests since the waypoint was entered, where a gate compares them.
    async fn count(&self, scope: &Scope, waypoint: &Waypoint, round: &mut Round) -> Result<(), Fault> {
        if !waypoint.gates.iter().any(|gate| matches!(gate, Gate::Analysis { .. })) {
            return Ok(());
        }
        let now = self.ports.driver.stats(scope).await?;
        let none = SideStats::default();
        let before = round.looked.baseline.get_or_insert_with(|| now.clone());
        round.evidence.stats =
            now.iter().map(|(r, stats)| (r.clone(), since(stats, before.get(r).unwrap_or(&none)))).collect();
        Ok(())
    }
}
