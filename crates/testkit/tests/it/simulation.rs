//! Seeds played, and rules broken on purpose to see that it is noticed.

use deployctl_testkit::sim::run;
use deployctl_testkit::world::Broken;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")))
}

/// `DEPLOYCTL_SEED=7` plays one seed and prints what happened; `DEPLOYCTL_SEEDS=20000` plays so many.
#[test]
fn simulation() {
    if let Some(seed) = number("DEPLOYCTL_SEED") {
        let played = run(seed, Broken::default(), true);
        played.trace.iter().for_each(|line| println!("{line}"));
        assert!(played.wrong.is_empty(), "seed {seed}: {:#?}", played.wrong);
        return;
    }
    let seeds = number("DEPLOYCTL_SEEDS").unwrap_or(2_000);
    let (mut verdicts, mut taken, mut crashes, mut bad) = (std::collections::BTreeMap::new(), 0, 0, Vec::new());
    for seed in 0..seeds {
        let played = run(seed, Broken::default(), false);
        for (verdict, count) in played.verdicts {
            *verdicts.entry(verdict).or_insert(0_u64) += count;
        }
        (taken, crashes) = (taken + played.taken, crashes + played.crashes);
        if let Some(first) = played.wrong.first() {
            bad.push(format!("seed {seed}: {first}"));
        }
    }
    println!("{seeds} seeds: {verdicts:?}, {crashes} engines killed, {taken} leases taken over");
    let shown = bad.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(bad.is_empty(), "{} of {seeds} seeds went wrong; play one with DEPLOYCTL_SEED=N:\n{shown}", bad.len());
}

/// Breaks a rule of the simulated engines or their world.
type Breaks = fn(&mut Broken);

/// A rule that nobody breaks without being noticed.
#[test]
fn broken_rules_are_noticed() {
    let rules: [(&str, Breaks); 16] = [
        ("the journal appends whatever the fence", |b| b.journal_unfenced = true),
        ("the target acts whatever the fence", |b| b.target_unfenced = true),
        ("a taken-over deployment keeps its fence", |b| b.takeover_keeps_fence = true),
        ("traffic moves to what is not ready", |b| b.routes_before_ready = true),
        ("what is routed or has requests is stopped", |b| b.stops_at_once = true),
        ("stops go out in the round that published", |b| b.stops_before_acknowledged = true),
        ("requests are forgotten with their service", |b| b.forgets_requests_of_no_service = true),
        ("observed after converging", |b| b.looks_after_converging = true),
        ("a job is started before it is recorded", |b| b.starts_jobs_unrecorded = true),
        ("a job of unknown outcome is run again", |b| b.repeats_any_job = true),
        ("turning back although a job could not be ended", |b| b.ignores_kill_faults = true),
        ("a job that was killed before it began may begin", |b| b.kills_leave_no_mark = true),
        ("nobody takes over", |b| b.never_takes_over = true),
        ("deadlines end nothing", |b| b.no_deadline = true),
        ("a fault closes as restored", |b| b.closes_on_faults = true),
        ("nothing keeps what rests", |b| b.no_keepers = true),
    ];
    let most = number("DEPLOYCTL_SEEDS").unwrap_or(6_000).max(6_000);
    let mut unnoticed = Vec::new();
    for (name, breaks) in rules {
        let mut broken = Broken::default();
        breaks(&mut broken);
        let noticed = (0..most).find_map(|seed| Some((seed, run(seed, broken, false).wrong.into_iter().next()?)));
        match noticed {
            Some((seed, why)) => println!("{name}: seed {seed}, {why}"),
            None => unnoticed.push(name),
        }
    }
    assert!(unnoticed.is_empty(), "in {most} seeds nobody noticed: {unnoticed:#?}");
}
