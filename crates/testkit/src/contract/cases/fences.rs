//! Owners that were replaced and do not know it yet.

use crate::contract::bench::{Bench, Character::Good, Task};
use crate::contract::cases::jobs::{job, name, until};
use crate::contract::trial::{Trial, Verdict, broken, ensure, lives};
use deployctl_core::desired::{FULL, Waypoint};
use deployctl_core::driver::Way;
use deployctl_core::fault::{Applied, Fault, FaultKind};
use deployctl_core::id::Fence;
use deployctl_core::job::JobState;
use std::fmt::Debug;

/// A fence that was replaced before the cases begin.
fn stale() -> Way {
    Way { fence: Fence(1), ..Way::default() }
}

fn refused<T: Debug>(what: &str, answer: Result<T, Fault>) -> Verdict {
    let is_refused = matches!(&answer, Err(fault) if fault.kind == FaultKind::Conflict && fault.applied == Applied::No);
    ensure(is_refused, &format!("{what} by a replaced owner is refused as a conflict, nothing done"), answer)
}

async fn tried(trial: &Trial<'_>, now: &Waypoint, tries: &[(&str, Waypoint)], way: &Way) -> Verdict {
    let before = trial.look().await?;
    for (what, to) in tries {
        refused(what, trial.driver().converge(&trial.scope, to, way).await)?;
        let after = trial.look().await?;
        let same = lives(&before) == lives(&after) && before.shares == after.shares;
        ensure(same, &format!("{what} that is refused changes nothing"), (&before, &after))?;
        trial.nothing_else_runs(now).await?;
    }
    Ok(())
}

/// The target remembers the newest fence that it saw in a scope, also when the driver does not: a start or a stop with an
/// older one is refused as a conflict and changes nothing.
pub async fn a_replaced_owner_starts_and_stops_nothing(bench: &dyn Bench) -> Verdict {
    let mut trial = Trial::new(bench);
    let now = trial.waypoint(&[(Good(1), 1, FULL)]);
    trial.reach(&now).await?;
    let mut tries = vec![("a stop", trial.waypoint(&[])), ("an exchange", trial.waypoint(&[(Good(2), 1, FULL)]))];
    if trial.capabilities().side_by_side {
        tries.insert(0, ("a start", trial.waypoint(&[(Good(1), 1, FULL), (Good(2), 1, 0)])));
    }
    tried(&trial, &now, &tries, &stale()).await?;
    trial.next_owner();
    // The driver is another one, and nobody has told it of a fence yet.
    tried(&trial, &now, &tries, &stale()).await
}

/// A new owner that has only shown its fence is the owner: the one before changes nothing of what the new one looks at.
pub async fn who_shows_a_newer_fence_is_the_owner(bench: &dyn Bench) -> Verdict {
    let trial = Trial::new(bench);
    let now = trial.waypoint(&[(Good(1), 1, FULL)]);
    trial.reach(&now).await?;
    let newer = Fence(trial.way.fence.0 + 1);
    if let Err(fault) = trial.driver().admit(&trial.scope, newer).await {
        return broken("a newer fence is let in", fault);
    }
    let tries = [("a stop", trial.waypoint(&[]))];
    tried(&trial, &now, &tries, &trial.way).await?;
    refused("the fence", trial.driver().admit(&trial.scope, trial.way.fence).await)
}

/// Who gets the requests is the newest owner's alone to say, also where nothing is to be started or stopped.
pub async fn a_replaced_owner_moves_no_traffic(bench: &dyn Bench) -> Verdict {
    let trial = Trial::new(bench);
    let can = trial.capabilities();
    if !(can.side_by_side && can.split) {
        return Ok(());
    }
    let now = trial.waypoint(&[(Good(1), 1, 9_000), (Good(2), 1, 1_000)]);
    trial.reach(&now).await?;
    let tries = [("a switch", trial.waypoint(&[(Good(1), 1, 0), (Good(2), 1, FULL)]))];
    tried(&trial, &now, &tries, &stale()).await
}

/// A replaced owner neither begins a job nor kills one that runs.
pub async fn a_replaced_owner_runs_and_kills_no_job(bench: &dyn Bench) -> Verdict {
    let trial = Trial::new(bench);
    if !trial.capabilities().jobs {
        return Ok(());
    }
    let (running, late) = (name("running"), name("late"));
    until(&trial, &running, Task::Stays, "a job is running", |state| *state == JobState::Running).await?;
    let (scope, driver) = (&trial.scope, trial.driver());
    refused("a job", driver.job(scope, &late, &bench.job(Task::Ends), &stale()).await)?;
    refused("a kill", driver.kill_job(scope, &running, &stale()).await)?;
    ensure(bench.begun(&late).await == 0, "a job that is refused does not begin", bench.begun(&late).await)?;
    let state = job(&trial, &running, Task::Stays).await?;
    ensure(state == JobState::Running, "a job that a replaced owner may not kill goes on", state)?;
    match driver.kill_job(scope, &running, &trial.way).await {
        Ok(()) => Ok(()),
        Err(fault) => broken("the owner kills its job", fault),
    }
}
