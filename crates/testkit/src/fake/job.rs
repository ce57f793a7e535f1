//! Jobs of the target in memory.

use super::Break;
use super::target::{Job, Target};
use deployctl_core::desired::JobGate;
use deployctl_core::id::JobId;
use deployctl_core::job::JobState;

impl Job {
    pub(super) fn end(&mut self, how: JobState) {
        (self.state, self.alive) = (how, 0);
    }
}

impl Target {
    /// Starts a job or finds it; the next to ask finds it ended if it is one that ends.
    pub(super) fn run_job(&mut self, id: &JobId, gate: &JobGate, me: u64) -> JobState {
        let again = |target: &Self, job: &Job| match &job.state {
            JobState::Running => job.by != me && target.breaks(Break::ForgetsJobs),
            _ if job.begun == 0 => target.breaks(Break::BeginsKilledJobs),
            _ => target.breaks(Break::RunsJobsAgain),
        };
        if self.jobs.get(id).is_none_or(|job| again(self, job)) {
            self.started.push(gate.clone());
            let begun = self.jobs.get(id).map_or(0, |job| job.begun) + 1;
            self.jobs.insert(id.clone(), Job { state: JobState::Running, begun, alive: 2, by: me });
            return JobState::Running;
        }
        let mut end = self.ends.iter().find(|(of, _)| of == gate).map(|(_, how)| how.clone());
        if end.is_some() && self.breaks(Break::PraisesJobs) {
            end = Some(JobState::Succeeded);
        }
        let Some(job) = self.jobs.get_mut(id) else { return JobState::Unknown };
        if let Some(end) = end.filter(|_| job.state == JobState::Running) {
            job.end(end);
        }
        job.state.clone()
    }

    /// Kills a job for good, also one that has not begun.
    pub(super) fn kill_job(&mut self, id: &JobId, me: u64) {
        let rest = usize::from(self.breaks(Break::KillsHalf));
        let new = || Job { state: JobState::Running, begun: 0, alive: 0, by: me };
        let job = self.jobs.entry(id.clone()).or_insert_with(new);
        if job.state == JobState::Running {
            job.state = JobState::Failed { reason: "stopped before its end".into(), last_lines: Vec::new() };
            job.alive = job.alive.min(rest);
        }
    }
}
