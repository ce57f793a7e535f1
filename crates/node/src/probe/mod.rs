//! Asks an instance whether it is healthy: at once and often while it starts, then now and then.

mod command;
mod owner;

use crate::node::Inner;
use crate::records::{Kind, Proc, RunSpec};
use crate::tracked::Tracked;
use crate::view::Health as Seen;
use deployctl_core::config::{Check, Health};
use deployctl_core::instance::{Checked, InstanceState};
use deployctl_core::time::Span;
use deployctl_runner::{ask, say};
use owner::{Owner, Vouch};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

/// The first pause while it starts; the next ones are longer.
const FIRST: Duration = Duration::from_millis(3);
/// The longest pause while it starts.
const OFTEN: Duration = Duration::from_millis(100);
/// Without port and health check: an instance that stays up this long is taken for healthy.
const STAYS_UP: Duration = Duration::from_millis(500);

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Healthy,
    Not(String),
    /// Somebody else listens on its port: it never will be.
    Taken(String),
}

/// Asks `process` of `tracked` until the task is aborted.
pub(crate) fn start(node: Arc<Inner>, tracked: Arc<Tracked>, process: Proc) -> AbortHandle {
    tokio::spawn(async move { keep_asking(&node, &tracked, &process).await }).abort_handle()
}

/// The rule for an app that states none: its port takes connections.
fn rule(kind: &Kind) -> Health {
    let default = Health {
        check: Check::Tcp,
        within: Span::secs(60),
        interval: Span::secs(5),
        timeout: Span::secs(5),
        failures: 3,
    };
    match kind {
        Kind::Instance { health: Some(health), .. } => health.clone(),
        _ => default,
    }
}

/// Whether there is anything to ask an instance.
fn is_asked(spec: &RunSpec) -> bool {
    spec.port.is_some() || matches!(&spec.kind, Kind::Instance { health: Some(_), .. })
}

/// How an instance is by a check that is run now. What is kept of its health stays: that changes by the rule.
pub(crate) async fn check(node: &Arc<Inner>, tracked: &Arc<Tracked>) -> Checked {
    let (seen, asked) = (tracked.seen(), is_asked(&tracked.spec));
    let process = tracked.view().process().cloned();
    let Some(process) = process.filter(|_| told(&seen.state, Answer::Healthy).is_some()) else {
        return Checked { seen, asked };
    };
    let rule = rule(&tracked.spec.kind);
    let answer = if asked {
        let asker = Asker { node, tracked, process: &process, rule: &rule, vouch: Vouch::default() };
        asker.once(rule.timeout.0).await
    } else if process.is_alive() {
        return Checked { seen: tracked.seen(), asked };
    } else {
        Answer::Not("its process ended just now".into())
    };
    let mut seen = tracked.seen();
    // Of another process, or of one that is being stopped, the answer says nothing.
    if tracked.view().process() == Some(&process)
        && let Some(state) = told(&seen.state, answer)
    {
        seen.state = state;
    }
    Checked { seen, asked }
}

/// How an instance is that was so and gave this answer; nothing if no answer changes that.
fn told(before: &InstanceState, answer: Answer) -> Option<InstanceState> {
    use InstanceState as S;
    Some(match (before, answer) {
        (S::Failed { .. } | S::Stopping | S::Gone, _) => return None,
        (_, Answer::Healthy) => S::Ready,
        (S::Starting { .. }, Answer::Not(what) | Answer::Taken(what)) => S::Starting { waiting_for: what },
        (_, Answer::Not(what) | Answer::Taken(what)) => S::Unhealthy { reason: what },
    })
}

async fn keep_asking(node: &Arc<Inner>, tracked: &Arc<Tracked>, process: &Proc) {
    let rule = rule(&tracked.spec.kind);
    if !is_asked(&tracked.spec) {
        tracked.checked(process, Seen::NotYet("it to stay up for a moment".into()));
        sleep(STAYS_UP).await;
        return tracked.checked(process, Seen::Healthy);
    }
    let asker = Asker { node, tracked, process, rule: &rule, vouch: Vouch::default() };
    if tracked.view().health != Seen::Healthy {
        asker.until_healthy().await;
    }
    asker.while_it_lasts().await;
}

struct Asker<'a> {
    node: &'a Arc<Inner>,
    tracked: &'a Arc<Tracked>,
    process: &'a Proc,
    rule: &'a Health,
    vouch: Vouch,
}

impl Asker<'_> {
    /// Asks until the first good answer. What cannot become healthy any more, or should have, is condemned, and asked at
    /// every interval.
    async fn until_healthy(&self) {
        let up = self.tracked.view().run.as_ref().map_or(Duration::ZERO, |run| crate::clock::now().since(run.since));
        let due = Instant::now() + self.rule.within.0.saturating_sub(up);
        let mut pause = FIRST;
        loop {
            let left = due.saturating_duration_since(Instant::now()).max(OFTEN);
            let (what, taken) = match self.once(self.rule.timeout.0.min(left)).await {
                Answer::Healthy => return self.tracked.checked(self.process, Seen::Healthy),
                Answer::Taken(what) => (what, true),
                Answer::Not(what) => (what, false),
            };
            let overdue = !self.tracked.view().ever_healthy && Instant::now() >= due;
            if (taken || overdue) && self.tracked.view().failure.is_none() {
                let late = || format!("it did not become healthy within {}: {what}", say(self.rule.within.0));
                self.tracked.condemn(self.process, if taken { what.clone() } else { late() });
            }
            self.tracked.checked(self.process, Seen::NotYet(what));
            sleep(if taken || overdue { self.rule.interval.0.max(OFTEN) } else { pause }).await;
            pause = (pause * 3 / 2).min(OFTEN);
        }
    }

    /// Asks at every interval; so many bad answers in a row make it unhealthy, one good answer healthy again.
    async fn while_it_lasts(&self) {
        let mut failures = 0;
        loop {
            sleep(self.rule.interval.0.max(FIRST)).await;
            match self.once(self.rule.timeout.0).await {
                Answer::Healthy => {
                    failures = 0;
                    self.tracked.checked(self.process, Seen::Healthy);
                }
                Answer::Not(what) | Answer::Taken(what) => {
                    failures += 1;
                    if failures >= self.rule.failures.max(1) {
                        self.tracked.checked(self.process, Seen::Failing(what));
                    }
                }
            }
        }
    }

    async fn once(&self, limit: Duration) -> Answer {
        match &self.rule.check {
            Check::Command(_) => command::check(self.node, &self.tracked.spec, limit)
                .await
                .map_or_else(Answer::Not, |()| Answer::Healthy),
            Check::Tcp => self.connect(limit).await.map_or_else(|answer| answer, |_| Answer::Healthy),
            Check::Http(path) => {
                let stream = match self.connect(limit).await {
                    Ok(stream) => stream,
                    Err(answer) => return answer,
                };
                self.get(stream, path, limit).await
            }
        }
    }

    /// A connection to the instance, and to nobody else.
    async fn connect(&self, limit: Duration) -> Result<TcpStream, Answer> {
        let Some(port) = self.tracked.spec.port else {
            return Err(Answer::Not("it has no port to ask on".into()));
        };
        let stream = ask::connect(("127.0.0.1", port), port, limit).await.map_err(Answer::Not)?;
        match self.vouch.owner(port, self.process, &self.tracked.family).await {
            Owner::Instance => Ok(stream),
            Owner::Nobody => Err(Answer::Not(format!("nothing listens on port {port}"))),
            Owner::Other(reason) => Err(Answer::Taken(reason)),
            Owner::Unknown(why) => Err(Answer::Not(format!("who listens on port {port} cannot be found out: {why}"))),
        }
    }

    async fn get(&self, stream: TcpStream, path: &str, limit: Duration) -> Answer {
        let h2 = matches!(&self.tracked.spec.kind, Kind::Instance { h2: true, .. });
        let host = self.tracked.spec.address().unwrap_or_default();
        ask::get(stream, &host, path, h2, limit).await.map_or_else(Answer::Not, |()| Answer::Healthy)
    }
}
