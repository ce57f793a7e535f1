//! Every strategy's paths in words, kept in `golden/paths.txt`. After a change on purpose, run with `DEPLOYCTL_BLESS=1`
//! and read the difference.

use crate::make::{
    NOW, canary, command, config, folded, http_smoke, id, leg as plain_leg, migrate, pin, reached, rev, rev_name,
    rolling, scope,
};
use deployctl_core::config::{AppConfig, Hooks, Strategy};
use deployctl_core::deployment::Event;
use deployctl_core::deployment::turn_back::turn_back;
use deployctl_core::desired::{Desired, Gate, Share, Waypoint};
use deployctl_core::journal::Seq;
use deployctl_core::plan::{Leg, Side};
use deployctl_core::planner::{Place, Wish, leg};
use deployctl_core::scope::State;
use deployctl_core::strategy::{Goal, path};
use deployctl_core::time::Span;
use deployctl_core::view::waypoint_words;
use std::fmt::Write;

fn gate(gate: &Gate) -> String {
    match gate {
        Gate::Ready(r) => format!("{} ready", rev_name(r)),
        Gate::Gone(r) => format!("{} gone", rev_name(r)),
        Gate::Job(job) => job.what.to_string(),
        Gate::Smoke { revision, index } => format!("smoke #{} of {}", index + 1, rev_name(revision)),
        Gate::Hold(span) => format!("hold {} s", span.0.as_secs()),
        Gate::Analysis { new, old, .. } => format!("compare {} with {}", rev_name(new), rev_name(old)),
    }
}

fn show(out: &mut String, title: &str, path: &[Waypoint]) {
    writeln!(out, "{title}").unwrap();
    for waypoint in path {
        let mut words = waypoint_words(&waypoint.desired, rev_name);
        if let (true, Some(base)) = (waypoint.desired.parts.is_empty(), &waypoint.desired.base) {
            write!(words, ", requests of {} held", rev_name(base)).unwrap();
        }
        let gates: Vec<_> = waypoint.gates.iter().map(gate).collect();
        writeln!(out, "    {words:<42} floor {:<3} {}", waypoint.floor, gates.join(", ")).unwrap();
    }
    writeln!(out).unwrap();
}

fn strategies() -> Vec<(&'static str, AppConfig)> {
    let full = |strategy| AppConfig {
        smoke: vec![http_smoke()],
        hooks: Hooks { before: vec![command("a")], after: vec![command("b")] },
        migrate: Some(migrate(true, false)),
        bake: Span::secs(5),
        ..config(strategy, 3)
    };
    vec![
        ("recreate", config(Strategy::Recreate, 1)),
        ("rolling, surge 1", config(rolling(1, 0), 3)),
        ("rolling, unavailable 1", config(rolling(0, 1), 3)),
        ("rolling, surge 100%", config(rolling(3, 0), 3)),
        ("blue-green", config(Strategy::BlueGreen, 3)),
        ("canary 10%, 50%, hold 30 s", config(canary(&[1_000, 5_000]), 3)),
        ("blue-green without a route", AppConfig { route: None, ..config(Strategy::BlueGreen, 2) }),
        ("rolling with everything", full(rolling(1, 0))),
        ("canary with everything", full(canary(&[2_500]))),
        ("recreate with everything", full(Strategy::Recreate)),
    ]
}

/// As the planner plans it, with the names of tests instead of digests.
fn deploy(config: &AppConfig, first: bool) -> Leg {
    let share = match (&config.strategy, &config.route) {
        (_, None) => Share::Unmanaged,
        (Strategy::Rolling { .. } | Strategy::Recreate, _) => Share::ByInstance,
        _ => Share::Weight(10_000),
    };
    let start = crate::make::desired(&[(1, config.instances, share)]);
    let from = (!first).then(|| config.clone());
    let mut leg = plain_leg(from, Some(config.clone()), if first { Desired::nothing() } else { start });
    // The planner adds hooks and migration in front; releases with digests for names would be no fun to read.
    leg.path = planned(config, &leg);
    leg
}

fn planned(config: &AppConfig, plain: &Leg) -> Vec<Waypoint> {
    let release = crate::make::release("v2", config.clone());
    let state =
        State { resting: plain.start.clone(), current: plain.from.as_ref().map(|s| s.pin.clone()), ..State::default() };
    let scope = scope();
    let place = Place {
        scope: &scope,
        state: &state,
        seq: Seq(1),
        current: plain.from.as_ref().map(|s| &s.config),
        healthy: true,
    };
    let wish = Wish::Deploy { release: &release, migrated: false, spec: None };
    let planned = leg(&place, &wish, &id("d1"), NOW).unwrap();
    let text = serde_json::to_string(&planned.path).unwrap().replace(release.id().as_str(), rev(2).release.as_str());
    serde_json::from_str(&text).unwrap()
}

fn back_from(leg: &Leg, at: usize) -> Vec<Waypoint> {
    let state = folded(vec![leg.clone()], &reached(0, at));
    match turn_back(&state, "bad", false, NOW) {
        Event::TurnedBack { paths, .. } => paths[0].1.clone(),
        other => panic!("{other:?}"),
    }
}

fn all() -> String {
    let mut out = String::new();
    for (name, config) in strategies() {
        show(&mut out, &format!("{name}: first"), &deploy(&config, true).path);
        let update = deploy(&config, false);
        show(&mut out, &format!("{name}: v1 -> v2"), &update.path);
        for at in 0..update.path.len() {
            show(&mut out, &format!("{name}: turned back on the way to waypoint {}", at + 1), &back_from(&update, at));
        }
        let there = Desired { base: Some(rev(2)), ..update.path.last().unwrap().desired.clone() };
        let alone = Side { pin: pin(rev(2), "v2"), config: config.clone() }.is_exclusive();
        let back = path(&there, &Goal { to: &rev(1), config: &config, tested: false, alone });
        show(&mut out, &format!("{name}: rollback v2 -> v1"), &back);
    }
    out
}

#[test]
fn paths_in_words() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/golden/paths.txt");
    let now = all();
    if std::env::var_os("DEPLOYCTL_BLESS").is_some() {
        std::fs::write(file, &now).unwrap();
    }
    let kept = std::fs::read_to_string(file).unwrap_or_default();
    let differs = now.lines().zip(kept.lines()).position(|(a, b)| a != b);
    assert!(now == kept, "differs from line {:?} of {file} on; now:\n{now}", differs.map(|n| n + 1));
}
