//! Who plays: apps, their releases, and how each release behaves.

use crate::rng::Rng;
use deployctl_core::config::{
    Amount, Analysis, AppConfig, Canary, Command, Hooks, LateText, Limits, Migrate, ProcessConfig, Restart, Route,
    Smoke, Strategy, TargetConfig,
};
use deployctl_core::id::{AppName, Scope, Version};
use deployctl_core::release::Release;
use deployctl_core::time::Span;
use std::collections::BTreeMap;

/// How a release behaves, whatever is done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Character {
    /// It comes up and works.
    Good,
    /// It exits at once.
    Exits,
    /// It never becomes healthy.
    Hangs,
    /// It falls ill some time after it came up.
    Sickens,
    /// Its smoke test fails.
    Smells,
    /// Most of its answers are errors.
    Errs,
    /// Its jobs fail.
    JobsFail,
    /// Its jobs hang until their time is up.
    JobsHang,
}

impl Character {
    const BAD: [Self; 7] =
        [Self::Exits, Self::Hangs, Self::Sickens, Self::Smells, Self::Errs, Self::JobsFail, Self::JobsHang];

    /// Usually good.
    pub fn draw(rng: &mut Rng) -> Self {
        if rng.chance(600) { Self::Good } else { *rng.pick(&Self::BAD) }
    }
}

/// The scope of an app.
pub fn scope(app: &str) -> Scope {
    let name = |text: &str| text.parse().unwrap_or_else(|e| unreachable!("{e}"));
    Scope {
        project: "shop".parse().unwrap_or_else(|e| unreachable!("{e}")),
        environment: "prod".parse().unwrap_or_else(|e| unreachable!("{e}")),
        region: "eu".parse().unwrap_or_else(|e| unreachable!("{e}")),
        app: name(app),
    }
}

fn command(rng: &mut Rng) -> Command {
    Command { run: vec![LateText::plain("job")], timeout: Span::secs(8), repeatable: rng.chance(300) }
}

fn strategy(rng: &mut Rng, routed: bool) -> Strategy {
    match rng.below(10) {
        0 | 1 => Strategy::Recreate,
        2..=4 => {
            let (surge, unavailable) = (rng.below(3), rng.below(2));
            let count = |n: u64| Amount::Count(u32::try_from(n).unwrap_or(0));
            Strategy::Rolling { surge: count(surge), unavailable: count(unavailable) }
        }
        5 | 6 => Strategy::BlueGreen,
        _ if !routed => Strategy::BlueGreen,
        _ => {
            let steps = if rng.chance(500) { vec![2_000] } else { vec![1_000, 5_000] };
            let analysis = rng.chance(300).then_some(Analysis { requests_min: 3 });
            Strategy::Canary(Canary { steps, hold: Span::ms(rng.between(0, 3_000)), analysis, sticky: None })
        }
    }
}

fn route() -> Route {
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

/// A configuration, drawn. `usual` is the app's own strategy, changed now and then.
pub fn config(rng: &mut Rng, routed: bool, usual: Option<&Strategy>) -> AppConfig {
    let strategy = match usual {
        Some(usual) if rng.chance(850) => usual.clone(),
        _ => strategy(rng, routed),
    };
    let process = ProcessConfig {
        command: vec![LateText::plain("./app")],
        env: BTreeMap::new(),
        port: routed,
        user: None,
        limits: Limits::default(),
        restart: Restart::default(),
        log_bytes_max: 0,
    };
    let irreversible = rng.chance(200);
    let undo = !irreversible && rng.chance(700);
    let migrate = Migrate { run: command(rng), undo: undo.then(|| command(rng)), irreversible };
    let http = Smoke::Http { path: "/version".into(), status: None, body: None, contains: None };
    AppConfig {
        target: TargetConfig::Process(process),
        instances: u32::try_from(rng.between(1, 3)).unwrap_or(1),
        strategy,
        depends_on: Vec::new(),
        route: routed.then(route),
        health: None,
        smoke: if !rng.chance(400) {
            Vec::new()
        } else if routed && rng.chance(500) {
            vec![http]
        } else {
            vec![Smoke::Command(command(rng))]
        },
        migrate: rng.chance(300).then_some(migrate),
        hooks: Hooks {
            before: if rng.chance(150) { vec![command(rng)] } else { Vec::new() },
            after: if rng.chance(150) { vec![command(rng)] } else { Vec::new() },
        },
        drain: Span::secs(3),
        deadline: Span::secs(rng.between(40, 90)),
        bake: Span::ms(if rng.chance(200) { rng.between(1, 3_000) } else { 0 }),
    }
}

/// The release of an app under a version.
pub fn release(scope: &Scope, number: u64, config: AppConfig) -> Release {
    Release {
        project: scope.project.clone(),
        environment: scope.environment.clone(),
        region: scope.region.clone(),
        app: AppName::new(scope.app.as_str()).unwrap_or_else(|e| unreachable!("{e}")),
        version: Version::new(format!("v{number}")).unwrap_or_else(|e| unreachable!("{e}")),
        artifact: None,
        config,
        secrets: BTreeMap::new(),
        built_here: false,
    }
}
