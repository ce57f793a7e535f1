//! Makes the values that tests are about, with as few words as possible.

use deployctl_core::config::{
    AppConfig, Artifact, ArtifactFormat, Canary, Command, Hooks, LateText, Limits, Migrate, ProcessConfig, Restart,
    Route, Smoke, Strategy, TargetConfig,
};
use deployctl_core::deployment::{Deployment, Event, evolve::evolve};
use deployctl_core::desired::{Desired, Extent, Part, Share};
use deployctl_core::id::{AppName, DeploymentId, Revision, Scope, Sha256Hex, Version, instance_id};
use deployctl_core::instance::{Binding, InstanceSeen, InstanceState};
use deployctl_core::plan::{Action, Leg, Pin, Plan, Side};
use deployctl_core::release::Release;
use deployctl_core::time::{Millis, Span};
use std::collections::BTreeMap;

pub(crate) const NOW: Millis = Millis(1_000_000);

pub(crate) fn scope() -> Scope {
    scope_of("api")
}

pub(crate) fn scope_of(app: &str) -> Scope {
    Scope {
        project: "shop".parse().unwrap(),
        environment: "prod".parse().unwrap(),
        region: "eu".parse().unwrap(),
        app: AppName::new(app).unwrap(),
    }
}

/// The revision `v0`, `v1`, ... of tests of paths and orders; its name sorts like its number.
pub(crate) fn rev(n: u32) -> Revision {
    let digest = format!("{n:064x}");
    Revision { release: Sha256Hex::new(digest).unwrap(), nonce: 0 }
}

pub(crate) fn rev_name(revision: &Revision) -> String {
    let number = revision.release.as_str().trim_start_matches('0');
    format!("v{}", if number.is_empty() { "0" } else { number })
}

pub(crate) fn process() -> ProcessConfig {
    ProcessConfig {
        command: vec![LateText::plain("./api")],
        env: BTreeMap::new(),
        port: true,
        user: None,
        limits: Limits::default(),
        restart: Restart::default(),
        log_bytes_max: 1_000_000,
    }
}

pub(crate) fn route() -> Route {
    Route {
        listen: Vec::new(),
        published: Vec::new(),
        hosts: Vec::new(),
        redirect_hosts: Vec::new(),
        path: "/".into(),
        strip: false,
        https_only: false,
        tls: None,
        body_bytes_max: None,
        timeout: Span::secs(60),
        hold: Span::secs(30),
        h2: false,
        error_pages: BTreeMap::new(),
        access_log: false,
    }
}

pub(crate) fn config(strategy: Strategy, instances: u32) -> AppConfig {
    AppConfig {
        target: TargetConfig::Process(process()),
        instances,
        strategy,
        depends_on: Vec::new(),
        route: Some(route()),
        health: None,
        smoke: Vec::new(),
        migrate: None,
        hooks: Hooks::default(),
        drain: Span::secs(10),
        deadline: Span::secs(600),
        bake: Span::default(),
    }
}

pub(crate) fn command(word: &str) -> Command {
    Command { run: vec![LateText::plain(word)], timeout: Span::secs(60), repeatable: false }
}

pub(crate) fn migrate(undo: bool, irreversible: bool) -> Migrate {
    Migrate { run: command("up"), undo: undo.then(|| command("down")), irreversible }
}

pub(crate) fn http_smoke() -> Smoke {
    Smoke::Http { path: "/version".into(), status: None, body: None, contains: None }
}

pub(crate) fn canary(steps: &[u32]) -> Strategy {
    Strategy::Canary(Canary { steps: steps.to_vec(), hold: Span::secs(30), analysis: None, sticky: None })
}

pub(crate) fn rolling(surge: u32, unavailable: u32) -> Strategy {
    use deployctl_core::config::Amount::Count;
    Strategy::Rolling { surge: Count(surge), unavailable: Count(unavailable) }
}

pub(crate) fn release(version: &str, config: AppConfig) -> Release {
    let sha256 = Sha256Hex::of(version.as_bytes());
    Release {
        project: "shop".parse().unwrap(),
        environment: "prod".parse().unwrap(),
        region: "eu".parse().unwrap(),
        app: "api".parse().unwrap(),
        version: Version::new(version).unwrap(),
        artifact: Some(Artifact { sha256, format: ArtifactFormat::TarGz }),
        config,
        secrets: BTreeMap::new(),
        built_here: false,
    }
}

pub(crate) fn pin(revision: Revision, version: &str) -> Pin {
    Pin {
        revision,
        version: Version::new(version).unwrap(),
        artifact: None,
        deployment: id("d0"),
        at: Millis(0),
        spec: None,
    }
}

pub(crate) fn id(text: &str) -> DeploymentId {
    DeploymentId::new(text).unwrap()
}

/// A desired state of these revisions, with the first one as base.
pub(crate) fn desired(parts: &[(u32, u32, Share)]) -> Desired {
    let base = parts.first().map(|(n, _, _)| rev(*n));
    let part = |(n, count, share): &(u32, u32, Share)| (rev(*n), Part { extent: Extent::Count(*count), share: *share });
    Desired { base, parts: parts.iter().map(part).collect() }
}

/// A leg from release v1 to release v2 with these configurations.
pub(crate) fn leg(from: Option<AppConfig>, to: Option<AppConfig>, start: Desired) -> Leg {
    use deployctl_core::strategy::{Goal, path, path_down};
    let from = from.map(|config| Side { pin: pin(rev(1), "v1"), config });
    let to = to.map(|config| Side { pin: pin(rev(2), "v2"), config });
    let alone = from.as_ref().is_some_and(Side::is_exclusive);
    let path = match &to {
        Some(side) => path(&start, &Goal { to: &side.pin.revision, config: &side.config, tested: true, alone }),
        None => path_down(&start),
    };
    let (costs, changes, foreseen) = Default::default();
    Leg {
        scope: scope(),
        from,
        to,
        start,
        path,
        migration: None,
        keep: 0,
        costs,
        corrects: false,
        changes,
        delete_data: false,
        foreseen,
    }
}

pub(crate) fn plan_of(legs: Vec<Leg>) -> Plan {
    Plan { format: 1, id: id("d1"), action: Action::Deploy, legs, basis: Vec::new(), deadline: Span::secs(600) }
}

/// A deployment of these legs that was opened and had these events.
pub(crate) fn folded(legs: Vec<Leg>, events: &[Event]) -> Deployment {
    let opened = Event::Opened { plan: plan_of(legs), reason: None, deadline: NOW.after(Span::secs(600).0) };
    std::iter::once(&opened).chain(events).fold(None, evolve).unwrap()
}

pub(crate) fn started(leg: usize) -> Event {
    Event::LegStarted { leg, binding: Binding::default() }
}

/// Events that bring a leg to its waypoint number `reached`.
pub(crate) fn reached(leg: usize, reached: usize) -> Vec<Event> {
    std::iter::once(started(leg)).chain((0..reached).map(|waypoint| Event::Reached { leg, waypoint })).collect()
}

pub(crate) fn seen(revision: u32, slot: u32, state: InstanceState) -> InstanceSeen {
    let revision = rev(revision);
    InstanceSeen {
        id: instance_id(&scope(), &revision, slot),
        scope: scope(),
        revision,
        slot,
        state,
        address: Some(format!("127.0.0.1:{}", 20_000 + slot)),
        pid: None,
        started_at: Millis(0),
        restarts: 0,
        container: None,
        drift: None,
    }
}

pub(crate) fn starting() -> InstanceState {
    InstanceState::Starting { waiting_for: "GET /healthz: 503".into() }
}

pub(crate) fn failed() -> InstanceState {
    InstanceState::Failed { reason: "exit 1".into(), last_lines: vec!["no such file".into()] }
}

pub(crate) fn unhealthy() -> InstanceState {
    InstanceState::Unhealthy { reason: "GET /healthz: 500".into() }
}
