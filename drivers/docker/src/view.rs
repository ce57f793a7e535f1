//! What is said of a container, from what the engine and its health checks say. No clock, no engine.

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum as Status, HealthStatusEnum};
use deployctl_core::instance::InstanceState;
use deployctl_core::time::Millis;
use std::time::Duration;

/// So many exits by itself within [`LOOP_WINDOW`] are a crash loop.
const LOOP_EXITS: u32 = 3;
/// See [`LOOP_EXITS`].
const LOOP_WINDOW: Duration = Duration::from_secs(60);

/// What one look at a container showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) status: Option<Status>,
    /// When its present process was started, as the engine writes it: another text, another process.
    pub(crate) started: String,
    pub(crate) pid: Option<u32>,
    pub(crate) restarts: u32,
    pub(crate) exit: i64,
    pub(crate) out_of_memory: bool,
    /// Why it could not be started.
    pub(crate) error: String,
    /// Its address in the network where it is reached.
    pub(crate) ip: Option<String>,
    /// Where it answers, as this machine sees it.
    pub(crate) at: Option<String>,
    /// Why that is not known, if it could be.
    pub(crate) no_way: Option<String>,
    /// What somebody changed by hand.
    pub(crate) drift: Option<String>,
    /// What the image's own health check says, and printed last.
    pub(crate) own: Option<(HealthStatusEnum, String)>,
}

impl Look {
    /// From an inspection.
    pub(crate) fn of(inspected: &ContainerInspectResponse, network: &str) -> Self {
        let state = inspected.state.clone().unwrap_or_default();
        let settings = inspected.network_settings.as_ref();
        let networks = settings.and_then(|settings| settings.networks.as_ref());
        let ip = networks.and_then(|networks| networks.get(network)?.ip_address.clone()).filter(|ip| !ip.is_empty());
        let own = state.health.and_then(|health| {
            let last = health.log.and_then(|log| log.last()?.output.clone()).unwrap_or_default();
            let asked = |status: &HealthStatusEnum| !matches!(status, HealthStatusEnum::EMPTY | HealthStatusEnum::NONE);
            Some((health.status.filter(asked)?, last.lines().last().unwrap_or_default().trim().to_owned()))
        });
        Self {
            status: state.status,
            started: state.started_at.unwrap_or_default(),
            pid: state.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0),
            restarts: inspected.restart_count.and_then(|count| u32::try_from(count).ok()).unwrap_or(0),
            exit: state.exit_code.unwrap_or(0),
            out_of_memory: state.oom_killed.unwrap_or(false),
            error: state.error.unwrap_or_default(),
            ip,
            at: None,
            no_way: None,
            drift: None,
            own,
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.status == Some(Status::RUNNING)
    }

    /// Whether it was never started, and is not being started.
    pub(crate) fn is_new(&self) -> bool {
        self.status == Some(Status::CREATED)
    }

    /// Whether its process ended and the engine does not start it again.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.status, Some(Status::EXITED | Status::DEAD))
    }

    /// When its present process was started.
    pub(crate) fn since(&self) -> Option<Millis> {
        moment(&self.started)
    }

    /// How it ended, such as `exit 3`.
    pub(crate) fn how(&self) -> String {
        how(self.exit, self.out_of_memory)
    }
}

/// A moment as the engine writes it; none for "never".
pub(crate) fn moment(text: &str) -> Option<Millis> {
    let at: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(at.as_millisecond()).ok().map(Millis)
}

/// How a process ended, such as `exit 3`.
pub(crate) fn how(exit: i64, out_of_memory: bool) -> String {
    match exit {
        _ if out_of_memory => "it was killed: out of memory".into(),
        137 => "exit 137 (killed)".into(),
        exit => format!("exit {exit}"),
    }
}

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

/// All that is known of one container.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) look: Look,
    pub(crate) health: Health,
    /// Whether any of its processes ever was healthy.
    pub(crate) ever_healthy: bool,
    /// When that of its processes was started which was healthy last.
    pub(crate) marked: Option<String>,
    /// Whether it was told to stop.
    pub(crate) stopping: bool,
    /// Whether it was over at two looks that were some time apart: the engine does not start it again.
    pub(crate) settled: bool,
    /// Whether the engine says that there is no such container.
    pub(crate) removed: bool,
    /// Why it cannot become healthy any more, and its last lines.
    pub(crate) failure: Option<(String, Vec<String>)>,
    /// What keeps it from being started, for now.
    pub(crate) hindered: Option<String>,
    /// How its process ended last, and when it did so by itself.
    pub(crate) last_exit: Option<String>,
    pub(crate) exits: Vec<Millis>,
}

impl View {
    /// The state that people and the engine see.
    pub(crate) fn state(&self) -> InstanceState {
        if self.removed {
            return InstanceState::Gone;
        }
        let ended = self.look.is_over() || self.look.is_new();
        match self.look.status {
            _ if self.stopping && ended => return InstanceState::Gone,
            Some(Status::REMOVING) => return InstanceState::Stopping,
            _ if self.stopping => return InstanceState::Stopping,
            _ => {}
        }
        if let Some((reason, last_lines)) = &self.failure {
            return InstanceState::Failed { reason: reason.clone(), last_lines: last_lines.clone() };
        }
        match (self.look.status, &self.health) {
            (Some(Status::EXITED | Status::DEAD), _) if self.settled => InstanceState::Gone,
            (Some(Status::RUNNING), Health::Healthy) => InstanceState::Ready,
            (Some(Status::RUNNING), Health::Failing(reason)) => InstanceState::Unhealthy { reason: reason.clone() },
            (Some(Status::RUNNING), Health::NotYet(what)) if !self.ever_healthy => {
                InstanceState::Starting { waiting_for: what.clone() }
            }
            (Some(Status::PAUSED), _) if self.ever_healthy => {
                InstanceState::Unhealthy { reason: "somebody paused the container".into() }
            }
            _ if self.ever_healthy => InstanceState::Unhealthy { reason: self.after_exit() },
            (Some(Status::RUNNING), _) => InstanceState::Starting { waiting_for: "its first health check".into() },
            _ => InstanceState::Starting { waiting_for: self.hindered.clone().unwrap_or("its container".into()) },
        }
    }

    /// Takes in a new look; says whether the process ended by itself since the last one.
    pub(crate) fn saw(&mut self, look: Look, now: Millis) -> bool {
        if look.started != self.look.started {
            // One that was healthy when the engine of deployctl changed is, until its checks say otherwise.
            let same = self.marked.as_ref() == Some(&look.started);
            self.health = if same { Health::Healthy } else { Health::Unasked };
        }
        if !look.is_over() {
            self.settled = false;
        }
        // What ended a new one before anybody here looked is no news: who killed it may have killed deployctl as well. A
        // loop is one all the same.
        let is_first = self.look.status.is_none() && !self.ever_healthy;
        let known = if is_first && look.restarts < LOOP_EXITS { look.restarts } else { self.look.restarts };
        let ended = look.restarts > known;
        if ended {
            self.exits.push(now);
            if look.exit != 0 || look.status == Some(Status::RESTARTING) {
                self.last_exit = Some(look.how());
            }
            let many = self.exits.len().saturating_sub(LOOP_EXITS as usize);
            self.exits.drain(..many);
        }
        self.look = look;
        ended
    }

    /// Takes in what a check of the present process answered; says whether this process is healthy for the first time.
    pub(crate) fn answered(&mut self, health: Health, now: Millis) -> bool {
        let healthy = health == Health::Healthy;
        self.health = health;
        if !healthy {
            return false;
        }
        // What came up after all is right; what ended in a loop is, when it stays.
        let stays = self.look.since().is_some_and(|since| now.since(since) >= LOOP_WINDOW);
        if !self.ever_healthy || stays {
            self.failure = None;
        }
        self.ever_healthy = true;
        let before = self.marked.replace(self.look.started.clone());
        before.as_ref() != Some(&self.look.started)
    }

    /// The exit that condemns the instance, if one does: any before it was ever healthy, else the last of a crash loop.
    pub(crate) fn fatal_exit(&self) -> Option<String> {
        let how = self.last_exit.clone().unwrap_or_else(|| "it ended by itself".into());
        if !self.ever_healthy {
            return (!self.exits.is_empty()).then_some(how);
        }
        let first = self.exits.get(self.exits.len().checked_sub(LOOP_EXITS as usize)?)?;
        let is_loop = self.exits.last()?.since(*first) <= LOOP_WINDOW;
        is_loop.then(|| format!("{how}; it ended {LOOP_EXITS} times within {} s", LOOP_WINDOW.as_secs()))
    }

    fn after_exit(&self) -> String {
        match (&self.last_exit, &self.health) {
            (_, Health::NotYet(what)) => format!("started again ({} times so far): {what}", self.look.restarts),
            (Some(exit), _) => format!("{exit}; it is being started again ({} times so far)", self.look.restarts),
            (None, _) => "it is being started again".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(status: Status, restarts: u32, exit: i64) -> Look {
        Look { status: Some(status), started: "2026-01-01T00:00:00Z".into(), restarts, exit, ..Look::default() }
    }

    #[test]
    fn a_new_container_is_condemned_by_its_first_exit_an_old_one_by_a_loop() {
        let mut view = View::default();
        assert!(!view.saw(look(Status::RUNNING, 0, 0), Millis(1)));
        assert!(view.saw(look(Status::RESTARTING, 1, 3), Millis(2)));
        assert_eq!(view.fatal_exit().unwrap(), "exit 3");
        let mut view = View { ever_healthy: true, ..View::default() };
        view.saw(look(Status::RUNNING, 0, 0), Millis(1));
        for (restarts, at) in [(1, 10), (2, 20)] {
            assert!(view.saw(look(Status::RESTARTING, restarts, 3), Millis(at)));
            assert_eq!(view.fatal_exit(), None);
        }
        let unhealthy = "exit 3; it is being started again (2 times so far)".to_owned();
        assert_eq!(view.state(), InstanceState::Unhealthy { reason: unhealthy });
        assert!(view.saw(look(Status::RESTARTING, 3, 3), Millis(30)));
        assert_eq!(view.fatal_exit().unwrap(), "exit 3; it ended 3 times within 60 s");
    }

    #[test]
    fn what_ended_before_the_first_look_does_not_condemn_but_a_loop_does() {
        let mut view = View::default();
        assert!(!view.saw(look(Status::RUNNING, 2, 137), Millis(1)));
        assert_eq!(view.fatal_exit(), None);
        assert!(view.saw(look(Status::RESTARTING, 3, 1), Millis(2)));
        assert_eq!(view.fatal_exit().unwrap(), "exit 1");
        let mut view = View::default();
        assert!(view.saw(look(Status::RESTARTING, 3, 1), Millis(1)));
        assert_eq!(view.fatal_exit().unwrap(), "exit 1");
    }

    #[test]
    fn what_was_condemned_and_comes_up_after_all_is_ready() {
        let condemned = || Some(("exit 1".to_owned(), Vec::new()));
        let started = moment("2026-01-01T00:00:00Z").unwrap();
        let mut view = View { failure: condemned(), ..View::default() };
        view.saw(look(Status::RUNNING, 0, 0), started);
        assert!(!view.answered(Health::NotYet("an answer".into()), started));
        assert!(matches!(view.state(), InstanceState::Failed { .. }));
        assert!(view.answered(Health::Healthy, started), "for the first time");
        assert_eq!(view.state(), InstanceState::Ready);
        // It had been healthy before it ended in a loop.
        view.failure = condemned();
        assert!(!view.answered(Health::Healthy, started));
        assert!(matches!(view.state(), InstanceState::Failed { .. }), "it has just begun");
        view.answered(Health::Healthy, Millis(started.0 + 60_000));
        assert_eq!(view.state(), InstanceState::Ready);
    }

    #[test]
    fn what_was_healthy_is_until_its_checks_say_otherwise() {
        let known = look(Status::RUNNING, 0, 0);
        let adopted = || View { ever_healthy: true, marked: Some(known.started.clone()), ..View::default() };
        let mut view = adopted();
        view.saw(known.clone(), Millis(1));
        assert_eq!(view.state(), InstanceState::Ready);
        let mut view = adopted();
        view.saw(Look { started: "2026-01-01T00:00:09Z".into(), ..known.clone() }, Millis(1));
        assert!(matches!(view.state(), InstanceState::Unhealthy { .. }), "another process");
    }

    #[test]
    fn a_container_is_gone_only_by_evidence() {
        let mut view = View { ever_healthy: true, ..View::default() };
        view.saw(look(Status::EXITED, 0, 137), Millis(1));
        assert!(matches!(view.state(), InstanceState::Unhealthy { .. }), "the engine may be about to start it again");
        view.settled = true;
        assert_eq!(view.state(), InstanceState::Gone);
        view.saw(look(Status::RUNNING, 0, 0), Millis(2));
        view.health = Health::Healthy;
        assert_eq!(view.state(), InstanceState::Ready);
        view.stopping = true;
        assert_eq!(view.state(), InstanceState::Stopping);
        view.saw(look(Status::EXITED, 0, 0), Millis(3));
        assert_eq!(view.state(), InstanceState::Gone);
    }

    #[test]
    fn never_started_is_no_moment() {
        assert_eq!(moment("0001-01-01T00:00:00Z"), None);
        assert_eq!(moment("1970-01-01T00:00:01.5Z"), Some(Millis(1500)));
    }
}
