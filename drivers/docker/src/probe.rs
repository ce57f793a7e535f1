//! Asks a container whether it is healthy: at once and often while it starts, then now and then.

use crate::client::USUAL;
use crate::docker::{Inner, now};
use crate::logs::{last_lines, text};
use crate::tracked::Tracked;
use crate::view::Health as Seen;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::{ExecConfig, HealthStatusEnum};
use deployctl_core::config::{Check, Health};
use deployctl_core::instance::{Checked, InstanceState};
use deployctl_core::time::Span;
use deployctl_runner::{ask, say};
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

/// The first pause while it starts; the next ones are longer.
const FIRST: Duration = Duration::from_millis(3);
/// The longest pause while it starts.
const OFTEN: Duration = Duration::from_millis(100);
/// Without port and health check: an instance that stays up this long is taken for healthy.
const STAYS_UP: Duration = Duration::from_millis(500);

/// A connection that is passed on and stays open this long leads somewhere.
const STAYS_OPEN: Duration = Duration::from_millis(500);

/// Asks the process of `tracked` that was started at `started` until the task is aborted.
pub(crate) fn start(node: Arc<Inner>, tracked: Arc<Tracked>, started: String) -> AbortHandle {
    tokio::spawn(async move { keep_asking(&node, &tracked, &started).await }).abort_handle()
}

/// The rule for an app that states none: its port takes connections.
fn rule(tracked: &Tracked) -> Health {
    let default = || Health {
        check: Check::Tcp,
        within: Span::secs(60),
        interval: Span::secs(5),
        timeout: Span::secs(5),
        failures: 3,
    };
    tracked.record.health.clone().unwrap_or_else(default)
}

fn is_asked(tracked: &Tracked) -> bool {
    tracked.record.health.is_some() || tracked.record.port.is_some()
}

async fn keep_asking(node: &Arc<Inner>, tracked: &Arc<Tracked>, started: &str) {
    let known = tracked.view().health == Seen::Healthy;
    if !is_asked(tracked) {
        if known {
            return;
        }
        tracked.checked(started, Seen::NotYet("it to stay up for a moment".into()));
        sleep(STAYS_UP).await;
        return tracked.checked(started, Seen::Healthy);
    }
    let rule = rule(tracked);
    if !known {
        until_healthy(node, tracked, started, &rule).await;
    }
    while_it_lasts(node, tracked, started, &rule).await;
}

/// Asks until the first good answer. When that is overdue, the instance is condemned, and asked at every interval.
async fn until_healthy(node: &Arc<Inner>, tracked: &Arc<Tracked>, started: &str, rule: &Health) {
    let since = tracked.view().look.since().filter(|_| !node.is_elsewhere());
    // Of one elsewhere it counts from when it can be asked: it may have begun while nobody could.
    let up = since.map_or(Duration::ZERO, |since| now().since(since));
    let mut due = Instant::now() + rule.within.0.saturating_sub(up);
    let mut pause = FIRST;
    loop {
        let begun = Instant::now();
        let left = due.saturating_duration_since(begun).max(OFTEN);
        let what = match once(node, tracked, rule, rule.timeout.0.min(left)).await {
            Ok(()) => {
                return tracked.checked(started, Seen::Healthy);
            }
            Err(what) => what,
        };
        if was_cut_off(node, tracked, started).await {
            due += begun.elapsed();
        }
        let new = !tracked.view().ever_healthy;
        let overdue = new && Instant::now() >= due;
        if overdue && tracked.view().failure.is_none() {
            let lines = last_lines(node, &tracked.container).await;
            let within = say(rule.within.0);
            tracked.condemn(format!("it did not become healthy within {within}: {what}"), lines);
        }
        tracked.checked(started, Seen::NotYet(what));
        sleep(if overdue { rule.interval.0.max(OFTEN) } else { pause }).await;
        pause = (pause * 3 / 2).min(OFTEN);
    }
}

/// Whether a check may have failed because an engine elsewhere, or the way there, was cut off: then it waits until it is not.
async fn was_cut_off(node: &Arc<Inner>, tracked: &Arc<Tracked>, started: &str) -> bool {
    if !node.is_elsewhere() {
        return false;
    }
    let waits = |why: String| {
        if !tracked.view().ever_healthy {
            tracked.checked(started, Seen::NotYet(why));
        }
    };
    let is_known = || match &tracked.view().look {
        look if look.at.is_some() || !look.is_running() || tracked.record.port.is_none() => Ok(()),
        look => Err(look.no_way.clone().unwrap_or_else(|| "the engine publishes no port of it".into())),
    };
    node.was_cut_off(&tracked.id, is_known, waits).await
}

/// Asks at every interval; so many bad answers in a row make it unhealthy, one good answer healthy again.
async fn while_it_lasts(node: &Arc<Inner>, tracked: &Arc<Tracked>, started: &str, rule: &Health) {
    let mut failures = 0;
    loop {
        sleep(rule.interval.0.max(FIRST)).await;
        match once(node, tracked, rule, rule.timeout.0).await {
            Ok(()) => {
                failures = 0;
                tracked.checked(started, Seen::Healthy);
            }
            // What cannot be reached is not therefore ill.
            Err(_) if was_cut_off(node, tracked, started).await => {}
            Err(what) => {
                failures += 1;
                if failures >= rule.failures.max(1) {
                    tracked.checked(started, Seen::Failing(what));
                }
            }
        }
    }
}

async fn once(node: &Arc<Inner>, tracked: &Arc<Tracked>, rule: &Health, limit: Duration) -> Result<(), String> {
    if let Check::Command(_) = &rule.check {
        let checked = timeout(limit, command(node, &tracked.container, &tracked.record.check)).await;
        return checked.unwrap_or_else(|_| Err(format!("the health check took longer than {}", say(limit))));
    }
    let Some(port) = tracked.record.port else { return Err("it has no port to ask on".into()) };
    let Some(at) = tracked.view().look.at.clone() else {
        return Err(format!("it has no address in the network `{}`", tracked.record.network()));
    };
    let elsewhere = node.is_elsewhere();
    let asked = async {
        let stream = ask::connect(at.as_str(), port, limit).await?;
        match &rule.check {
            Check::Http(path) => ask::get(stream, &at, path, tracked.record.h2, limit).await,
            Check::Tcp if elsewhere => stays(stream, port).await,
            Check::Tcp | Check::Command(_) => Ok(()),
        }
    };
    asked.await.map_err(|what| if elsewhere { format!("{what} (asked at {at})") } else { what })
}

/// Who passes connections on takes them first, and ends them when nobody is there to be reached.
async fn stays(mut stream: TcpStream, port: u16) -> Result<(), String> {
    let mut byte = [0];
    match timeout(STAYS_OPEN, stream.read(&mut byte)).await {
        Err(_) | Ok(Ok(1..)) => Ok(()),
        Ok(Ok(0) | Err(_)) => Err(format!("port {port} ends every connection: nothing listens behind it")),
    }
}

/// Runs a command in the container; the error is what is wrong, with the last line that it printed.
async fn command(node: &Arc<Inner>, container: &str, argv: &[String]) -> Result<(), String> {
    let cannot = |what: String| format!("the health check cannot be run: {what}");
    let engine = node.engine().map_err(|fault| cannot(fault.message))?;
    let said = |trouble: crate::client::Trouble| cannot(trouble.fault("the engine").message);
    let config = ExecConfig {
        cmd: Some(argv.to_vec()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..ExecConfig::default()
    };
    let container = container.to_owned();
    let made = engine.client.call(USUAL, |api| async move { api.create_exec(&container, config).await });
    let id = made.await.map_err(said)?.id;
    let of = id.clone();
    let begun = engine.client.call(USUAL, |api| async move { api.start_exec(&of, None::<StartExecOptions>).await });
    let mut last = None;
    if let StartExecResults::Attached { mut output, .. } = begun.await.map_err(said)? {
        while let Some(Ok(line)) = output.next().await {
            last = Some(text(line)).filter(|line| !line.trim().is_empty()).or(last);
        }
    }
    let inspected = engine.client.call(USUAL, |api| async move { api.inspect_exec(&id).await });
    match (inspected.await.map_err(said)?.exit_code, last) {
        (Some(0), _) => Ok(()),
        (code, Some(line)) => Err(format!("the health check: exit {}: {}", code.unwrap_or(-1), line.trim())),
        (code, None) => Err(format!("the health check: exit {}", code.unwrap_or(-1))),
    }
}

/// Takes in what the image's own health check says.
pub(crate) async fn own(node: &Arc<Inner>, tracked: &Arc<Tracked>, own: &(HealthStatusEnum, String)) {
    let (started, ever) = {
        let view = tracked.view();
        (view.look.started.clone(), view.ever_healthy)
    };
    let said = |printed: &str| match printed {
        "" => "the image's health check".to_owned(),
        printed => format!("the image's health check: {printed}"),
    };
    match own {
        (HealthStatusEnum::HEALTHY, _) => tracked.checked(&started, Seen::Healthy),
        (HealthStatusEnum::UNHEALTHY, printed) if ever => tracked.checked(&started, Seen::Failing(said(printed))),
        (HealthStatusEnum::UNHEALTHY, printed) => {
            let lines = last_lines(node, &tracked.container).await;
            tracked.condemn(format!("it did not become healthy: {}", said(printed)), lines);
        }
        (_, printed) => tracked.checked(&started, Seen::NotYet(said(printed))),
    }
}

/// How an instance is by a check that is run now. What is kept of its health stays: that changes by the rule.
pub(crate) async fn check(node: &Arc<Inner>, tracked: &Arc<Tracked>) -> Checked {
    let mut seen = tracked.seen();
    let own = tracked.view().look.own.is_some() && tracked.record.health.is_none();
    let asked = is_asked(tracked) || own;
    let settled = matches!(seen.state, InstanceState::Failed { .. } | InstanceState::Stopping | InstanceState::Gone);
    if settled || own || !is_asked(tracked) || !tracked.view().look.is_running() {
        return Checked { seen, asked };
    }
    let rule = rule(tracked);
    let starting = matches!(seen.state, InstanceState::Starting { .. });
    seen.state = match once(node, tracked, &rule, rule.timeout.0).await {
        Ok(()) => InstanceState::Ready,
        Err(what) if starting => InstanceState::Starting { waiting_for: what },
        Err(what) => InstanceState::Unhealthy { reason: what },
    };
    Checked { seen, asked }
}
