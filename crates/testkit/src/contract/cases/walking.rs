//! Converging.

use crate::contract::bench::{Bench, Character::Good};
use crate::contract::trial::{Broken, PATIENCE, Trial, Verdict, broken, cut_off, ensure, lives};
use deployctl_core::desired::{FULL, Share, Waypoint};
use deployctl_core::driver::Observed;
use deployctl_core::id::InstanceId;
use tokio::time::Instant;

/// Interruptions later than this are left to luck: a walk on a real target may wake any number of times.
const CUTS_MAX: usize = 24;

/// When converging is done and all is ready, what is observed is what was asked for: which instances, which shares; one
/// revision alone, and, where the target can, two side by side, with weights or by count.
pub async fn observe_says_what_was_asked(bench: &dyn Bench) -> Verdict {
    let trial = Trial::new(bench);
    let can = trial.capabilities();
    let mut asked = vec![trial.waypoint(&[(Good(1), 2, FULL)])];
    if can.side_by_side {
        asked.push(trial.waypoint(&[(Good(1), 2, FULL), (Good(2), 1, 0)]));
    }
    if can.side_by_side && can.split {
        asked.push(trial.waypoint(&[(Good(1), 2, 7_500), (Good(2), 1, 2_500)]));
        let mut by_count = trial.waypoint(&[(Good(1), 2, 0), (Good(2), 1, 0)]);
        by_count.desired.parts.values_mut().for_each(|part| part.share = Share::ByInstance);
        asked.push(by_count);
    }
    asked.push(trial.waypoint(&[(Good(2), 1, FULL)]));
    for to in &asked {
        let observed = trial.reach(to).await?;
        for instance in &observed.instances {
            let is_right = instance.scope == trial.scope && to.desired.parts.contains_key(&instance.revision);
            ensure(is_right, "an instance is shown where it belongs", instance)?;
        }
        trial.nothing_else_runs(to).await?;
    }
    Ok(())
}

/// Converging to what is true already does nothing, whoever asks: the same instances go on, none was restarted.
pub async fn converge_twice_is_converge_once(bench: &dyn Bench) -> Verdict {
    let mut trial = Trial::new(bench);
    let to = trial.waypoint(&[(Good(1), 2, FULL)]);
    let before = lives(&trial.reach(&to).await?);
    for who in ["the same", "the next owner"] {
        let after = lives(&trial.reach(&to).await?);
        ensure(before == after, &format!("converging again, by {who}, changes nothing"), (&before, after))?;
        trial.nothing_else_runs(&to).await?;
        trial.next_owner();
    }
    Ok(())
}

/// Whoever converges may go away at any moment, as at a timeout: what was begun is not left half done, the next call comes to
/// the same end, nothing is doubled or orphaned, and a new driver finds it so. Here the caller goes away at its first,
/// second, third... wake on the way from one release to another.
pub async fn interrupted_anywhere_it_ends_the_same(bench: &dyn Bench) -> Verdict {
    let mut trial = Trial::new(bench);
    let there = [trial.waypoint(&[(Good(1), 2, FULL)]), trial.waypoint(&[(Good(2), 2, FULL)])];
    for cut in 1..=CUTS_MAX {
        let to = &there[cut % 2];
        let was_cut = interrupted(&trial, to, cut).await?;
        goes_on(&mut trial, to).await.map_err(|Broken(why)| Broken(format!("interrupted at wake {cut}: {why}")))?;
        if !was_cut {
            break;
        }
    }
    Ok(())
}

async fn goes_on(trial: &mut Trial<'_>, to: &Waypoint) -> Verdict {
    let before = lives(&trial.reach(to).await?);
    trial.nothing_else_runs(to).await?;
    trial.next_owner();
    let after = lives(&trial.reach(to).await?);
    ensure(before == after, "a new driver finds what the one before did", (before, after))?;
    trial.nothing_else_runs(to).await
}

/// Walks on until so many wakes have passed; false if it arrived before.
async fn interrupted(trial: &Trial<'_>, to: &Waypoint, mut wakes: usize) -> Verdict<bool> {
    loop {
        match cut_off(trial.step(to), &mut wakes).await {
            None => return Ok(true),
            Some(Err(fault)) => return broken(format!("{} can be converged to", trial.say(to)), fault),
            Some(Ok(_)) if trial.lacks(to, &trial.look().await?).is_none() => return Ok(false),
            Some(Ok(_)) => trial.wait().await,
        }
    }
}

/// Converging to nothing leaves nothing: no instance, no share, no address, nothing that runs.
pub async fn the_way_down_leaves_nothing(bench: &dyn Bench) -> Verdict {
    let trial = Trial::new(bench);
    trial.reach(&trial.waypoint(&[(Good(1), 2, FULL)])).await?;
    let nothing = trial.waypoint(&[]);
    let observed = trial.reach(&nothing).await?;
    ensure(observed.shares.is_empty(), "nobody has a share of what is gone", &observed.shares)?;
    trial.nothing_else_runs(&nothing).await?;
    match trial.driver().urls(&trial.scope).await {
        Ok(urls) => ensure(urls.is_empty(), "what is gone answers nowhere", urls),
        Err(fault) => broken("the addresses can be asked for", fault),
    }
}

/// What somebody took away by hand is there again after converging to the same; what was left alone goes on.
pub async fn what_was_taken_away_is_made_good(bench: &dyn Bench) -> Verdict {
    let trial = Trial::new(bench);
    let to = trial.waypoint(&[(Good(1), 2, FULL)]);
    let before = trial.reach(&to).await?;
    let (taken, left) = (&before.instances[0], &before.instances[1]);
    if !bench.take_away(taken).await {
        return Ok(());
    }
    // It may take a moment until it is seen that it is gone.
    let of = |seen: &Observed, id: &InstanceId| {
        seen.instances.iter().find(|i| i.id == *id).map(|i| (i.pid, i.started_at, i.restarts))
    };
    let begun = Instant::now();
    let mut after = trial.reach(&to).await?;
    while of(&after, &taken.id) == of(&before, &taken.id) {
        ensure(begun.elapsed() < PATIENCE, "what was taken away is not taken for there", &after)?;
        trial.wait().await;
        after = trial.reach(&to).await?;
    }
    trial.nothing_else_runs(&to).await?;
    let same = of(&after, &left.id) == of(&before, &left.id);
    ensure(same, "the neighbour of what was taken away goes on", (&before, &after))
}
