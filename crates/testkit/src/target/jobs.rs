//! Jobs: run once per id, counted; sometimes nobody sees how one ends.

use super::Turn;
use crate::cast::Character;
use crate::world::{Event, Reply, World};
use deployctl_core::config::{Command, Smoke};
use deployctl_core::desired::{JobGate, JobKind};
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::{JobId, Scope};
use deployctl_core::job::JobState;

/// A job.
#[derive(Clone, Debug)]
pub struct Job {
    /// What for.
    pub gate: Option<JobGate>,
    /// How often it was begun.
    pub runs: u64,
    /// How it is.
    pub now: JobNow,
    run: u64,
}

/// How a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobNow {
    /// It runs.
    Runs,
    /// It ended so.
    Ended(JobState),
    /// It does not run any more, and nobody saw how it ended.
    Interrupted,
}

/// How a job ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Well.
    Well,
    /// Badly.
    Badly,
    /// Unseen.
    Unseen,
}

impl World {
    pub(super) fn run_job(&mut self, scope: &Scope, id: &JobId, gate: &JobGate) -> Result<Reply, Fault> {
        let Some(repeatable) = self.command(gate).map(|command| command.repeatable) else {
            let message = format!("the release {} has no {}", gate.release.short(), gate.what);
            return Err(Fault::refused(FaultKind::Bug, message));
        };
        let again = repeatable || self.broken.repeats_any_job;
        let known = self.place(scope).jobs.get(id).map(|job| (job.now.clone(), job.runs));
        let runs = match known {
            Some((JobNow::Runs, _)) => return Ok(Reply::Job(JobState::Running)),
            Some((JobNow::Ended(state), _)) => return Ok(Reply::Job(state)),
            Some((JobNow::Interrupted, _)) if !again => return Ok(Reply::Job(JobState::Unknown)),
            Some((JobNow::Interrupted, runs)) => runs,
            None => 0,
        };
        self.job_begins(scope, id, gate, runs, repeatable);
        let run = self.rng.next();
        let job = Job { gate: Some(gate.clone()), runs: runs + 1, now: JobNow::Runs, run };
        self.place(scope).jobs.insert(id.clone(), job);
        let character = self.releases.get(&gate.release).map_or(Character::Good, |(_, character)| *character);
        let (delay, ends) = match character {
            _ if !self.quiet && self.rng.chance(60) => (self.rng.between(10, 2_000), Ends::Unseen),
            _ if gate.what == JobKind::Undo => (self.rng.between(10, 2_000), Ends::Well),
            Character::JobsFail => (self.rng.between(10, 2_000), Ends::Badly),
            Character::JobsHang => (8_000, Ends::Badly),
            _ => (self.rng.between(10, 2_000), Ends::Well),
        };
        self.after(delay, Event::Target(scope.clone(), Turn::Job(id.clone(), run, ends)));
        self.changed(scope);
        Ok(Reply::Job(JobState::Running))
    }

    fn command(&self, gate: &JobGate) -> Option<Command> {
        let config = &self.releases.get(&gate.release)?.0.config;
        match gate.what {
            JobKind::Before(i) => config.hooks.before.get(i).cloned(),
            JobKind::After(i) => config.hooks.after.get(i).cloned(),
            JobKind::Migrate => config.migrate.as_ref().map(|m| m.run.clone()),
            JobKind::Undo => config.migrate.as_ref().and_then(|m| m.undo.clone()),
            JobKind::Smoke(i) => match config.smoke.get(i)? {
                Smoke::Command(command) => Some(command.clone()),
                Smoke::Http { .. } => None,
            },
        }
    }

    /// Ends a job for good: also one that has not begun never will.
    pub(super) fn kill_job(&mut self, scope: &Scope, id: &JobId) -> Result<Reply, Fault> {
        let marks = !self.broken.kills_leave_no_mark;
        let killed = JobState::Failed { reason: "killed".into(), last_lines: Vec::new() };
        match self.place(scope).jobs.get_mut(id) {
            None if !marks => {}
            None => {
                let job = Job { gate: None, runs: 0, now: JobNow::Ended(killed), run: 0 };
                self.place(scope).jobs.insert(id.clone(), job);
            }
            Some(job) if job.now == JobNow::Runs || marks && job.now == JobNow::Interrupted => {
                job.now = JobNow::Ended(killed);
            }
            Some(_) => {}
        }
        self.changed(scope);
        Ok(Reply::Done)
    }

    pub(super) fn job_ends(&mut self, scope: &Scope, id: &JobId, run: u64, ends: Ends) {
        let job = self.place(scope).jobs.get_mut(id).filter(|job| job.run == run && job.now == JobNow::Runs);
        let Some(job) = job else { return };
        job.now = match ends {
            Ends::Well => JobNow::Ended(JobState::Succeeded),
            Ends::Badly => JobNow::Ended(JobState::Failed { reason: "exit 3".into(), last_lines: Vec::new() }),
            Ends::Unseen => JobNow::Interrupted,
        };
        self.say(|| format!("{id} ends {ends:?}"));
        self.changed(scope);
    }
}
