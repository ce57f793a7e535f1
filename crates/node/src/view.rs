//! What is said of an instance, from what its shim wrote and what its health checks answered. No clock, no files.

use crate::records::{Exit, Phase, Proc, RunState};
use deployctl_core::instance::InstanceState;
use deployctl_core::time::Millis;
use std::time::Duration;

/// So many exits by itself within [`LOOP_WINDOW`] are a crash loop.
pub(crate) const LOOP_EXITS: usize = 3;
/// See [`LOOP_EXITS`].
const LOOP_WINDOW: Duration = Duration::from_secs(60);

/// What the checks of the present process answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Health {
    /// Nothing yet.
    #[default]
    Unasked,
    /// Not healthy so far, and why.
    NotYet(String),
    /// Healthy.
    Healthy,
    /// Was healthy, is not now, and why.
    Failing(String),
}

/// Why an instance cannot become healthy any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    pub(crate) last_lines: Vec<String>,
}

/// All that is known of one instance.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// What its shim wrote last.
    pub(crate) run: Option<RunState>,
    /// What its checks say.
    pub(crate) health: Health,
    /// Whether any of its processes ever was healthy.
    pub(crate) ever_healthy: bool,
    /// Whether it was told to stop, and how long it may take to end by itself.
    pub(crate) stopping: Option<Duration>,
    /// Whether nothing is left of it, proven.
    pub(crate) gone: bool,
    /// Why it cannot become healthy any more.
    pub(crate) failure: Option<Failure>,
}

impl View {
    /// The state that people and the engine see.
    pub(crate) fn state(&self) -> InstanceState {
        if self.gone {
            return InstanceState::Gone;
        }
        let phase = self.run.as_ref().map(|run| run.phase);
        if self.stopping.is_some() || matches!(phase, Some(Phase::Stopping | Phase::Gone)) {
            return InstanceState::Stopping;
        }
        if let Some(failure) = &self.failure {
            let (reason, last_lines) = (failure.reason.clone(), failure.last_lines.clone());
            return InstanceState::Failed { reason, last_lines };
        }
        match (phase, &self.health) {
            (Some(Phase::Running), Health::Healthy) => InstanceState::Ready,
            (Some(Phase::Running), Health::Failing(reason)) => InstanceState::Unhealthy { reason: reason.clone() },
            (Some(Phase::Running), Health::NotYet(what)) if !self.ever_healthy => {
                InstanceState::Starting { waiting_for: what.clone() }
            }
            _ if self.ever_healthy => InstanceState::Unhealthy { reason: self.after_exit() },
            (Some(Phase::Running), _) => InstanceState::Starting { waiting_for: "its first health check".into() },
            _ => InstanceState::Starting { waiting_for: "its process".into() },
        }
    }

    /// The process, if one runs.
    pub(crate) fn process(&self) -> Option<&Proc> {
        self.run.as_ref().filter(|run| run.phase != Phase::Gone).and_then(|run| run.process.as_ref())
    }

    /// Takes in what a check of the present process answered; says whether it became healthy by that.
    pub(crate) fn answered(&mut self, health: Health, now: Millis) -> bool {
        let is_news = health == Health::Healthy && self.health != Health::Healthy;
        if health == Health::Healthy {
            // What came up after all is right; what ended in a loop is, when it stays.
            let stays = self.run.as_ref().is_some_and(|run| now.since(run.since) >= LOOP_WINDOW);
            if !self.ever_healthy || stays {
                self.failure = None;
            }
            self.ever_healthy = true;
        }
        self.health = health;
        is_news
    }

    /// The exit that condemns the instance, if one does: any before it was ever healthy, else the last of a crash loop.
    pub(crate) fn fatal_exit(&self) -> Option<(&Exit, String)> {
        let run = self.run.as_ref()?;
        let last = run.exits.last()?;
        if !self.ever_healthy {
            return Some((last, last.how.clone()));
        }
        let first = run.exits.get(run.exits.len().checked_sub(LOOP_EXITS)?)?;
        let is_loop = last.at.since(first.at) <= LOOP_WINDOW;
        let span = LOOP_WINDOW.as_secs();
        is_loop.then(|| (last, format!("{}; it ended {LOOP_EXITS} times within {span} s", last.how)))
    }

    fn after_exit(&self) -> String {
        let run = self.run.as_ref();
        let restarts = run.map_or(0, |run| run.restarts);
        match (run.and_then(|run| run.exits.last()), &self.health) {
            (_, Health::NotYet(what)) if restarts > 0 => format!("started again ({restarts} times so far): {what}"),
            (Some(exit), _) => format!("{}; it is being started again ({restarts} times so far)", exit.how),
            (None, _) => "it is being started again".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(phase: Phase, exits: &[u64]) -> RunState {
        let shim = Proc { pid: 1, start: 1, boot: "b".into() };
        let exit = |at: &u64| Exit { at: Millis(*at), how: "exit 3".into(), log_from: 0, process: None };
        let exits = exits.iter().map(exit).collect();
        RunState {
            phase,
            process: None,
            shim,
            since: Millis(0),
            restarts: 2,
            exits,
            log_from: 0,
            notes: vec![],
            cgroups: vec![],
        }
    }

    #[test]
    fn a_new_instance_is_condemned_by_its_first_exit_an_old_one_by_a_loop() {
        let mut view = View { run: Some(run(Phase::Pausing, &[5])), ..View::default() };
        assert_eq!(view.fatal_exit().unwrap().1, "exit 3");
        view.ever_healthy = true;
        assert!(view.fatal_exit().is_none());
        assert_eq!(
            view.state(),
            InstanceState::Unhealthy { reason: "exit 3; it is being started again (2 times so far)".into() }
        );
        view.run = Some(run(Phase::Pausing, &[1, 2, 3]));
        assert_eq!(view.fatal_exit().unwrap().1, "exit 3; it ended 3 times within 60 s");
        view.run = Some(run(Phase::Pausing, &[1, 2, 90_000]));
        assert!(view.fatal_exit().is_none(), "too far apart for a loop");
    }

    #[test]
    fn what_was_condemned_and_comes_up_after_all_is_ready() {
        let condemned = || Some(Failure { reason: "exit 3".into(), last_lines: vec![] });
        let mut view = View { run: Some(run(Phase::Running, &[5])), failure: condemned(), ..View::default() };
        assert!(!view.answered(Health::NotYet("an answer".into()), Millis(10)));
        assert!(matches!(view.state(), InstanceState::Failed { .. }));
        assert!(view.answered(Health::Healthy, Millis(20)), "for the first time");
        assert_eq!(view.state(), InstanceState::Ready);
        // It had been healthy before it ended in a loop.
        view.failure = condemned();
        assert!(!view.answered(Health::Healthy, Millis(30)));
        assert!(matches!(view.state(), InstanceState::Failed { .. }), "it has just begun");
        view.answered(Health::Healthy, Millis(60_000));
        assert_eq!(view.state(), InstanceState::Ready);
    }

    #[test]
    fn states_follow_phase_and_health() {
        let mut view = View::default();
        assert_eq!(view.state(), InstanceState::Starting { waiting_for: "its process".into() });
        view.run = Some(run(Phase::Running, &[]));
        assert_eq!(view.state(), InstanceState::Starting { waiting_for: "its first health check".into() });
        view.health = Health::NotYet("GET /: 503".into());
        assert_eq!(view.state(), InstanceState::Starting { waiting_for: "GET /: 503".into() });
        view.health = Health::Healthy;
        assert_eq!(view.state(), InstanceState::Ready);
        view.failure = Some(Failure { reason: "r".into(), last_lines: vec!["l".into()] });
        assert_eq!(view.state(), InstanceState::Failed { reason: "r".into(), last_lines: vec!["l".into()] });
        view.stopping = Some(Duration::ZERO);
        assert_eq!(view.state(), InstanceState::Stopping);
        view.gone = true;
        assert_eq!(view.state(), InstanceState::Gone);
    }
}
