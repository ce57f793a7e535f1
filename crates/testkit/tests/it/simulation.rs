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
