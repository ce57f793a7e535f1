//! The progress of a deployment: lines that repaint themselves on a terminal, plain lines elsewhere.

use super::{err, harmless, log};
use crate::output::time::{now, short};
use deployctl_core::view;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

/// How progress is shown.
pub(crate) enum Progress {
    /// On a terminal.
    Live(Live),
    /// Elsewhere: a line whenever something changes that a person would want to know.
    Plain(Plain),
    /// As JSON lines on standard output.
    Log(Plain),
    /// Not at all.
    Silent,
}

/// What was said last, so that nothing is said twice.
#[derive(Default)]
pub(crate) struct Plain {
    towards: Option<String>,
    back: bool,
    /// What is waited for, since when, and whether that was said.
    waits: Option<(String, Instant, bool)>,
}

/// A wait that is shorter than this is no news where lines stay.
const WAIT_IS_NEWS: Duration = Duration::from_secs(1);

/// Lines that repaint themselves.
pub(crate) struct Live {
    all: MultiProgress,
    legs: Vec<ProgressBar>,
    foot: ProgressBar,
}

impl Progress {
    /// By what standard error is.
    pub(crate) fn new(json_log: bool) -> Self {
        if json_log {
            return Self::Log(Plain::default());
        }
        // No terminal, or one that cannot move its cursor.
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        if all.is_hidden() {
            return Self::Plain(Plain::default());
        }
        let foot = all.add(bar("  {msg}"));
        Self::Live(Live { all, legs: Vec::new(), foot })
    }

    /// Shows nothing.
    pub(crate) fn silent() -> Self {
        Self::Silent
    }

    /// Shows a new view.
    pub(crate) fn show(&mut self, view: &view::Deployment) {
        match self {
            Self::Silent => {}
            Self::Live(live) => live.show(view),
            Self::Plain(plain) => plain.news(view).iter().for_each(|line| err(line)),
            Self::Log(plain) => {
                let action = if view.back.is_some() { "turn-back" } else { "waypoint" };
                plain.news(view).iter().for_each(|line| log::line(view, action, line));
            }
        }
    }

    /// Time passes; nothing else changed.
    pub(crate) fn tick(&mut self, view: &view::Deployment) {
        self.show(view);
    }

    /// Clears what repaints itself.
    pub(crate) fn finish(&mut self) {
        *self = Self::Silent;
    }
}

impl Plain {
    /// Lines that are worth printing now.
    fn news(&mut self, view: &view::Deployment) -> Vec<String> {
        let mut lines = Vec::new();
        if view.closed.is_some() {
            return lines;
        }
        if let Some(why) = view.back.as_ref().filter(|_| !self.back) {
            lines.push(format!("turning back: {why}"));
            self.back = true;
        }
        let here = view.leg.and_then(|leg| view.legs.get(leg)).map(towards);
        if here != self.towards {
            lines.extend(here.clone());
            self.towards = here;
            self.waits = None;
        }
        lines.extend(self.long_wait(view));
        lines
    }

    fn long_wait(&mut self, view: &view::Deployment) -> Option<String> {
        let waiting = view.waiting.as_deref().filter(|w| !w.is_empty())?;
        // Counting down is no news.
        let key: String = waiting.chars().filter(|c| !c.is_ascii_digit()).collect();
        match &mut self.waits {
            Some((same, since, said)) if *same == key => {
                if *said || since.elapsed() < WAIT_IS_NEWS {
                    return None;
                }
                *said = true;
                Some(format!("  waiting: {waiting}"))
            }
            other => {
                *other = Some((key, Instant::now(), false));
                None
            }
        }
    }
}

fn towards(leg: &view::Leg) -> String {
    let step = format!("{}/{}", (leg.reached + 1).min(leg.waypoints), leg.waypoints);
    format!("{} [{step}] {}", leg.app, leg.towards.as_deref().unwrap_or("done"))
}

fn bar(template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::new_spinner().with_style(style)
}

impl Drop for Live {
    /// What repaints itself is no record: nothing of it stays.
    fn drop(&mut self) {
        let _ = self.all.clear();
    }
}

impl Live {
    fn show(&mut self, view: &view::Deployment) {
        while self.legs.len() < view.legs.len() {
            let line = self.all.insert_before(&self.foot, bar("{spinner} {msg}"));
            self.legs.push(line);
        }
        for (index, (leg, line)) in view.legs.iter().zip(&self.legs).enumerate() {
            let current = view.leg == Some(index);
            line.set_message(harmless(&if current { self.current(leg) } else { rest(leg) }).into_owned());
            if current {
                line.tick();
            }
        }
        let left = short(view.deadline.since(now()));
        let back = view.back.as_ref().map_or(String::new(), |why| format!("turning back: {why}\n  "));
        let paused = if view.paused { "PAUSED  " } else { "" };
        let waiting = view.waiting.as_deref().unwrap_or("");
        let foot = format!("{back}{paused}{waiting}  ({left} left; Ctrl-C leaves it running)");
        self.foot.set_message(harmless(&foot).into_owned());
    }

    fn current(&self, leg: &view::Leg) -> String {
        let mut text = towards(leg);
        if !leg.shares.is_empty() {
            let shares: Vec<String> = leg.shares.iter().map(|(version, share)| format!("{version} {share}")).collect();
            text.push_str(&format!("\n    traffic now: {}", shares.join(", ")));
        }
        for instance in &leg.instances {
            let detail = instance.detail.as_deref().map_or(String::new(), |d| format!(" ({d})"));
            text.push_str(&format!("\n    {} {} {}{detail}", instance.version, instance.id, instance.state));
        }
        text
    }
}

fn rest(leg: &view::Leg) -> String {
    let from = leg.from.as_ref().map_or("nothing".to_owned(), ToString::to_string);
    let to = leg.to.as_ref().map_or("nothing".to_owned(), ToString::to_string);
    let state = if leg.reached >= leg.waypoints { "done" } else { "waits" };
    format!("{} {from} -> {to} {state}", leg.app)
}
