//! The progress of a deployment: lines that repaint themselves on a terminal, plain lines elsewhere.

use super::{err, log};
use crate::output::time::{now, short};
use deployctl_core::view;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;

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
    said: Option<String>,
}

/// Lines that repaint themselves.
pub(crate) struct Live {
    all: MultiProgress,
    legs: Vec<ProgressBar>,
    foot: ProgressBar,
}

impl Progress {
    /// By what standard error is.
    pub(crate) fn new(json_log: bool) -> Self {
        match (json_log, std::io::stderr().is_terminal()) {
            (true, _) => Self::Log(Plain::default()),
            (false, false) => Self::Plain(Plain::default()),
            (false, true) => {
                let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
                let foot = all.add(bar("  {msg}"));
                Self::Live(Live { all, legs: Vec::new(), foot })
            }
        }
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
            Self::Plain(plain) => {
                if let Some(line) = plain.news(view) {
                    err(&line);
                }
            }
            Self::Log(plain) => {
                if let Some(line) = plain.news(view) {
                    log::line(view, if view.back.is_some() { "turn-back" } else { "waypoint" }, &line);
                }
            }
        }
    }

    /// Time passes; nothing else changed.
    pub(crate) fn tick(&mut self, view: &view::Deployment) {
        if let Self::Live(live) = self {
            live.show(view);
        }
    }

    /// Clears what repaints itself.
    pub(crate) fn finish(&mut self) {
        if let Self::Live(live) = self {
            let _ = live.all.clear();
        }
    }
}

impl Plain {
    fn news(&mut self, view: &view::Deployment) -> Option<String> {
        if view.closed.is_some() {
            return None;
        }
        let what = view.leg.and_then(|leg| view.legs.get(leg)).map(towards);
        let waiting = view.waiting.as_deref().filter(|_| view.leg.is_some());
        let line = match (&view.back, what) {
            (Some(_), Some(what)) => format!("{what} (turning back){}", tail(waiting)),
            (Some(why), None) => format!("turning back: {why}"),
            (None, Some(what)) => format!("{what}{}", tail(waiting)),
            (None, None) => return None,
        };
        // Counting down is no news.
        let key: String = line.chars().filter(|c| !c.is_ascii_digit()).collect();
        let news = self.said.as_ref() != Some(&key);
        self.said = Some(key);
        news.then_some(line)
    }
}

fn tail(waiting: Option<&str>) -> String {
    waiting.filter(|w| !w.is_empty()).map_or(String::new(), |w| format!(": {w}"))
}

fn towards(leg: &view::Leg) -> String {
    let step = format!("{}/{}", (leg.reached + 1).min(leg.waypoints), leg.waypoints);
    format!("{} [{step}] {}", leg.app, leg.towards.as_deref().unwrap_or("done"))
}

fn bar(template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::new_spinner().with_style(style)
}

impl Live {
    fn show(&mut self, view: &view::Deployment) {
        while self.legs.len() < view.legs.len() {
            let line = self.all.insert_before(&self.foot, bar("{spinner} {msg}"));
            self.legs.push(line);
        }
        for (index, (leg, line)) in view.legs.iter().zip(&self.legs).enumerate() {
            let current = view.leg == Some(index);
            line.set_message(if current { self.current(leg) } else { rest(leg) });
            if current {
                line.tick();
            }
        }
        let left = short(view.deadline.since(now()));
        let back = view.back.as_ref().map_or(String::new(), |why| format!("turning back: {why}\n  "));
        let paused = if view.paused { "PAUSED  " } else { "" };
        let waiting = view.waiting.as_deref().unwrap_or("");
        self.foot.set_message(format!("{back}{paused}{waiting}  ({left} left; Ctrl-C leaves it running)"));
    }

    fn current(&self, leg: &view::Leg) -> String {
        let mut text = towards(leg);
        for instance in &leg.instances {
            let share = leg.shares.get(&instance.version).map_or(String::new(), |share| format!(" of {share}"));
            let detail = instance.detail.as_deref().map_or(String::new(), |d| format!(" ({d})"));
            text.push_str(&format!("\n    {} {} {}{share}{detail}", instance.version, instance.id, instance.state));
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
