//! What goes wrong with a release, and what goes wrong with the world.

use crate::contract::bench::{Bench, Character, Character::Good, LAST_LINE, Task};
use crate::contract::cases::jobs::name;
use crate::contract::trial::{PATIENCE, Trial, Verdict, broken, ensure, lives};
use deployctl_core::desired::FULL;
use deployctl_core::fault::{Fault, FaultKind, Retry};
use deployctl_core::instance::InstanceState;
use std::fmt::Debug;
use tokio::time::Instant;

/// Instances that exit at once, again and again, are `Failed` with the reason and what they printed last, long before the
/// deadline. That is said by what is observed and is no fault; what ran before goes on, traffic and all.
pub async fn what_exits_at_once_is_said_with_its_last_lines(bench: &dyn Bench) -> Verdict {
    condemned(bench, Character::ExitsAtOnce).await
}

/// The same for instances that run and are not healthy within the time that their release gives them.
pub async fn what_never_is_healthy_is_said_with_its_last_lines(bench: &dyn Bench) -> Verdict {
    condemned(bench, Character::NeverHealthy).await
}

async fn condemned(bench: &dyn Bench, bad: Character) -> Verdict {
    let trial = Trial::new(bench);
    let before = trial.reach(&trial.waypoint(&[(Good(1), 1, FULL)])).await?;
    let to = match trial.capabilities().side_by_side {
        true => trial.waypoint(&[(Good(1), 1, FULL), (bad, 1, 0)]),
        false => trial.waypoint(&[(bad, 1, FULL)]),
    };
    let (revision, begun) = (trial.revision(bad), Instant::now());
    let observed = loop {
        if let Err(fault) = trial.step(&to).await {
            return broken("a release that cannot come up is no fault of the target", fault);
        }
        let observed = trial.look().await?;
        if trial.failed(&observed, &revision).is_some() {
            break observed;
        }
        if begun.elapsed() > PATIENCE {
            return broken("that an instance cannot come up is said long before the deadline", observed);
        }
        trial.wait().await;
    };
    let Some((reason, last_lines)) = trial.failed(&observed, &revision) else { return broken("it failed", observed) };
    ensure(!reason.is_empty(), "it is said why it cannot come up", &observed)?;
    let has_line = last_lines.iter().any(|line| line.contains(LAST_LINE));
    ensure(has_line, "what it printed last is shown", (reason, last_lines))?;
    if trial.capabilities().side_by_side {
        let old = trial.revision(Good(1));
        let mut old_ones = observed.clone();
        old_ones.instances.retain(|i| i.revision == old);
        ensure(lives(&old_ones) == lives(&before), "what ran before goes on", (&before, &observed))?;
        let share = observed.shares.get(&old).copied();
        ensure(share == before.shares.get(&old).copied(), "what ran before keeps its traffic", &observed.shares)?;
    }
    Ok(())
}

fn trouble<T: Debug>(what: &str, answer: Result<T, Fault>) -> Verdict {
    let may_pass = |fault: &Fault| fault.kind == FaultKind::Platform && fault.retry != Retry::Never;
    let is_trouble = matches!(&answer, Err(fault) if may_pass(fault));
    ensure(is_trouble, &format!("{what} where the target cannot be reached is trouble that may pass"), answer)
}

/// A target that cannot be reached is trouble of the platform that may pass, for who changes something as for who looks. A
/// driver may also go on showing what it knows; it does not show a failure, nor that something is gone. When the target can
/// be reached again, everything goes on where it stood.
pub async fn out_of_reach_is_no_verdict(bench: &dyn Bench) -> Verdict {
    let trial = Trial::new(bench);
    let now = trial.waypoint(&[(Good(1), 2, FULL)]);
    let before = trial.reach(&now).await?;
    if !bench.set_reachable(false).await {
        return Ok(());
    }
    let other = trial.waypoint(&[(Good(2), 2, FULL)]);
    trouble("converging", trial.driver().converge(&trial.scope, &other, &trial.way).await)?;
    if trial.capabilities().jobs {
        let (id, gate) = (name("late"), bench.job(Task::Ends));
        trouble("a job", trial.driver().job(&trial.scope, &id, &gate, &trial.way).await)?;
    }
    match trial.driver().observe(&trial.scope).await {
        Err(fault) => trouble("observing", Err::<(), _>(fault))?,
        Ok(seen) => {
            let condemns = seen.instances.iter().any(|i| matches!(i.state, InstanceState::Failed { .. }));
            ensure(!condemns, "what cannot be reached is not shown as failed", &seen)?;
            ensure(lives(&seen) == lives(&before), "what cannot be reached is not shown as gone", &seen)?;
        }
    }
    bench.set_reachable(true).await;
    let after = trial.reach(&now).await?;
    ensure(lives(&after) == lives(&before), "what could not be reached has gone on", (&before, &after))?;
    trial.reach(&other).await?;
    trial.nothing_else_runs(&other).await
}
