//! Health, smoke tests, migrations and hooks.

use super::Context;
use super::route::bad_path;
use crate::code::Code;
use crate::raw::{At, Either, Health as RawHealth, Job, Settings, Smoke as RawSmoke, SpanText, Text};
use crate::source::Place;
use crate::template::Late;
use deployctl_core::config::{Check, Command, Health, Hooks, Migrate, Smoke};
use deployctl_core::time::Span;

/// A health check, and where it stands; `None` inside if it does not say what is checked.
pub(super) struct HealthSaid {
    check: Option<Check>,
    health: Health,
    at: Place,
}

pub(super) fn health(settings: &Settings, cx: &mut Context<'_, '_>) -> Option<HealthSaid> {
    let raw = settings.health.as_ref()?;
    let check = check(raw, cx);
    let health = Health {
        check: Check::Tcp,
        within: cx.span_above_zero(raw.value.within.as_ref(), DEFAULT.within),
        interval: cx.span_above_zero(raw.value.interval.as_ref(), DEFAULT.interval),
        timeout: cx.span_above_zero(raw.value.timeout.as_ref(), DEFAULT.timeout),
        failures: raw.value.failures.as_ref().map_or(DEFAULT.failures, |failures| failures.value),
    };
    if let Some(failures) = raw.value.failures.as_ref().filter(|failures| failures.value == 0) {
        cx.findings.error(failures.at, Code::BadValue, "no failures at all make every instance unhealthy; at least 1");
    }
    Some(HealthSaid { check, health, at: raw.at })
}

const DEFAULT: Health =
    Health { check: Check::Tcp, within: Span::secs(30), interval: Span::secs(1), timeout: Span::secs(2), failures: 3 };

fn check(raw: &At<RawHealth>, cx: &mut Context<'_, '_>) -> Option<Check> {
    let health = &raw.value;
    let said =
        [health.http.as_ref().map(|x| x.at), health.tcp.as_ref().map(|x| x.at), health.command.as_ref().map(|x| x.at)];
    if let [_, second, ..] = said.iter().flatten().collect::<Vec<_>>()[..] {
        cx.findings.error(*second, Code::Contradiction, "a health check is one of `http`, `tcp` and `command`");
    }
    if let Some(path) = &health.http {
        return Some(Check::Http(request_path(path, cx)));
    }
    if let Some(command) = &health.command {
        return Some(Check::Command(cx.command(command, Late::Instance)));
    }
    if let Some(tcp) = health.tcp.as_ref().filter(|tcp| !tcp.value) {
        cx.findings.error(tcp.at, Code::BadValue, "`tcp` can only be `true`; leave it out otherwise");
    }
    health.tcp.as_ref().map(|_| Check::Tcp)
}

/// The check that holds: what was said, else the port, if there is one.
pub(super) fn with_default(said: Option<HealthSaid>, port: bool, cx: &mut Context<'_, '_>) -> Option<Health> {
    let Some(said) = said else { return port.then(|| DEFAULT.clone()) };
    match (said.check, port) {
        (Some(check @ Check::Command(_)), _) | (Some(check), true) => Some(Health { check, ..said.health }),
        (None, true) => Some(said.health),
        (Some(_), false) => {
            let help = "use `{{ port }}` in `command` or `env`, or check with `command`";
            cx.findings.error_help(said.at, Code::Contradiction, "this app has no port that could be checked", help);
            None
        }
        (None, false) => {
            let help = "say `command: [...]`, or use `{{ port }}` so that it has a port";
            cx.findings.error_help(said.at, Code::MissingKey, "this health check checks nothing", help);
            None
        }
    }
}

fn request_path(text: &At<Text>, cx: &mut Context<'_, '_>) -> String {
    let path = cx.plain(text);
    if let Some(why) = bad_path(&path, true) {
        cx.findings.error(text.at, Code::BadValue, why);
    }
    path
}

fn command(
    run: &At<Vec<At<Text>>>,
    timeout: Option<&At<SpanText>>,
    default: Span,
    repeatable: bool,
    cx: &mut Context<'_, '_>,
) -> Command {
    Command { run: cx.command(run, Late::Job), timeout: cx.span_above_zero(timeout, default), repeatable }
}

pub(super) fn smoke(settings: &Settings, cx: &mut Context<'_, '_>) -> Vec<Smoke> {
    settings.smoke.iter().flatten().filter_map(|smoke| one_smoke(smoke, cx)).collect()
}

fn one_smoke(smoke: &At<RawSmoke>, cx: &mut Context<'_, '_>) -> Option<Smoke> {
    let raw = &smoke.value;
    match (&raw.http, &raw.run) {
        (Some(path), None) => {
            for at in [raw.timeout.as_ref().map(|x| x.at), raw.repeatable.as_ref().map(|x| x.at)].into_iter().flatten()
            {
                cx.findings.error(at, Code::Contradiction, "this belongs to a command, and this is a request");
            }
            http_smoke(path, raw, cx)
        }
        (None, Some(run)) => {
            if let Some(expect) = &raw.expect {
                let message = "`expect` belongs to `http`; a command is good if it exits 0";
                cx.findings.error(expect.at, Code::Contradiction, message);
            }
            let repeatable = raw.repeatable.as_ref().is_none_or(|repeatable| repeatable.value);
            Some(Smoke::Command(command(run, raw.timeout.as_ref(), Span::secs(30), repeatable, cx)))
        }
        (Some(_), Some(run)) => {
            cx.findings.error(run.at, Code::Contradiction, "a smoke test has either `http` or `run`, not both");
            None
        }
        (None, None) => {
            cx.findings.error(smoke.at, Code::MissingKey, "a smoke test needs `http` or `run`");
            None
        }
    }
}

fn http_smoke(path: &At<Text>, raw: &RawSmoke, cx: &mut Context<'_, '_>) -> Option<Smoke> {
    let path = request_path(path, cx);
    let expect = raw.expect.as_ref().map(|expect| &expect.value);
    let status = expect.and_then(|expect| expect.status.as_ref());
    if let Some(status) = status.filter(|status| !(100..=599).contains(&status.value)) {
        cx.findings.error(status.at, Code::BadValue, format!("`{}` is not an HTTP status", status.value));
    }
    let body = expect.and_then(|expect| expect.body.as_ref()).map(|text| cx.plain(text));
    let contains = expect.and_then(|expect| expect.contains.as_ref()).map(|text| cx.plain(text));
    Some(Smoke::Http { path, status: status.map(|status| status.value), body, contains })
}

pub(super) fn migrate(settings: &Settings, cx: &mut Context<'_, '_>) -> Option<Migrate> {
    let raw = &settings.migrate.as_ref()?.value;
    let repeatable = raw.repeatable.unwrap_or(false);
    let minutes = Span::secs(300);
    let run = command(&raw.run, raw.timeout.as_ref(), minutes, repeatable, cx);
    let undo = raw.undo.as_ref().map(|undo| command(undo, raw.timeout.as_ref(), minutes, repeatable, cx));
    let irreversible = raw.irreversible.as_ref().is_some_and(|irreversible| irreversible.value);
    if let (Some(at), true) = (raw.irreversible.as_ref().map(|x| x.at), irreversible && undo.is_some()) {
        cx.findings.error(at, Code::Contradiction, "a migration with `undo` is not irreversible");
    }
    Some(Migrate { run, undo, irreversible })
}

pub(super) fn hooks(settings: &Settings, cx: &mut Context<'_, '_>) -> Hooks {
    let Some(raw) = &settings.hooks else { return Hooks::default() };
    let mut all = |jobs: &Option<Vec<Job>>| jobs.iter().flatten().map(|job| hook(job, cx)).collect();
    Hooks { before: all(&raw.before), after: all(&raw.after) }
}

fn hook(job: &Job, cx: &mut Context<'_, '_>) -> Command {
    let minute = Span::secs(60);
    match &job.value {
        Either::Short(run) => command(&At { at: job.at, value: run.clone() }, None, minute, false, cx),
        Either::Full(map) => command(&map.run, map.timeout.as_ref(), minute, map.repeatable.unwrap_or(false), cx),
    }
}
