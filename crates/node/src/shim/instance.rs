//! An instance's life: start, watch, start again after a pause, stop.

use super::adopt;
use super::control::Woken;
use super::desk::{Desk, Watched};
use crate::clock::now;
use crate::records::{Kind, Phase};
use deployctl_core::config::Restart;
use std::io;
use std::time::{Duration, Instant};

/// Owns the instance until it is told to stop and nothing is left of it.
pub(super) fn serve(mut desk: Desk) -> io::Result<()> {
    let restart = match &desk.spec.kind {
        Kind::Instance { restart, .. } => *restart,
        Kind::Job { .. } => return Err(io::Error::other("this is a job, not an instance")),
    };
    let mut process = adopt::adopt(&mut desk)?;
    let mut pause = Pause::new(restart);
    loop {
        if let Some(grace) = desk.stop_ordered() {
            return desk.end(process, grace);
        }
        let started = match process.take() {
            Some(process) => Ok(process),
            None => desk.start(),
        };
        let up = Instant::now();
        let how = match started {
            Ok(running) => match watch(&mut desk, running)? {
                Ended::ByItself(how) => how,
                Ended::ToldTo(running) => {
                    process = Some(running);
                    continue;
                }
            },
            Err(how) => how,
        };
        desk.note_exit(how);
        let span = pause.next(up.elapsed());
        desk.record(Phase::Pausing);
        deployctl_sys::crash::point("shim.pausing");
        if desk.wait(None, Some(Instant::now() + span))? == Woken::Due {
            desk.state.restarts += 1;
            desk.state.since = now();
        }
    }
}

enum Ended {
    ByItself(String),
    ToldTo(Watched),
}

fn watch(desk: &mut Desk, process: Watched) -> io::Result<Ended> {
    match desk.wait(Some(&process), None)? {
        Woken::Ended => Ok(Ended::ByItself(desk.finish(&process)?)),
        Woken::Stop(_) | Woken::Due => Ok(Ended::ToldTo(process)),
    }
}

/// The pauses before restarts: none, then doubling ones; none again after the process stayed up for a while.
struct Pause {
    rule: Restart,
    next: Duration,
}

impl Pause {
    fn new(rule: Restart) -> Self {
        Self { rule, next: Duration::ZERO }
    }

    fn next(&mut self, up: Duration) -> Duration {
        if up >= self.rule.reset_after.0 {
            self.next = Duration::ZERO;
        }
        let now = self.next.min(self.rule.pause_max.0);
        self.next = now.saturating_mul(2).max(self.rule.pause.0).max(Duration::from_millis(1));
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deployctl_core::time::Span;

    #[test]
    fn at_once_then_doubling_up_to_the_longest_and_anew() {
        let rule = Restart { pause: Span::ms(100), pause_max: Span::ms(350), reset_after: Span::secs(30) };
        let mut pause = Pause::new(rule);
        let short = Duration::from_secs(1);
        let got: Vec<u128> = (0..5).map(|_| pause.next(short).as_millis()).collect();
        assert_eq!(got, [0, 100, 200, 350, 350]);
        assert_eq!(pause.next(Duration::from_secs(30)).as_millis(), 0);
    }
}
