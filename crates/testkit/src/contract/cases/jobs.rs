//! Jobs.

use crate::contract::bench::{Bench, LAST_LINE, Task};
use crate::contract::trial::{PATIENCE, Trial, Verdict, broken, cut_off, ensure};
use deployctl_core::id::JobId;
use deployctl_core::job::JobState;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long it is waited for a change of a job before it is looked again.
const LOOK: Duration = Duration::from_millis(50);

/// The id of a job of a case; each has a bench of its own.
pub(crate) fn name(what: &str) -> JobId {
    JobId::new(format!("job-{what}")).unwrap_or_else(|e| unreachable!("{e}"))
}

/// Starts a job or finds it.
pub(crate) async fn job(trial: &Trial<'_>, id: &JobId, task: Task) -> Verdict<JobState> {
    match trial.driver().job(&trial.scope, id, &trial.bench.job(task), &trial.way).await {
        Ok(state) => Ok(state),
        Err(fault) => broken("a job can be asked for", fault),
    }
}

/// Asks for a job until it is as wanted.
pub(crate) async fn until(
    trial: &Trial<'_>,
    id: &JobId,
    task: Task,
    rule: &str,
    wanted: impl Fn(&JobState) -> bool,
) -> Verdict<JobState> {
    let begun = Instant::now();
    loop {
        let state = job(trial, id, task).await?;
        if wanted(&state) {
            return Ok(state);
        }
        if begun.elapsed() > PATIENCE {
            return broken(rule, state);
        }
        let _ = timeout(LOOK, trial.driver().job_changed(&trial.scope, id)).await;
    }
}

async fn ended(trial: &Trial<'_>, id: &JobId, task: Task) -> Verdict<JobState> {
    until(trial, id, task, "a job ends", |state| *state != JobState::Running).await
}

async fn began_once(bench: &dyn Bench, id: &JobId) -> Verdict {
    let begun = bench.begun(id).await;
    ensure(begun == 1, "a job begins once per id", begun)
}

/// However often it is asked for, at once, later, after its end, and by whoever comes next, a job begins once per id; and
/// its end is remembered.
pub async fn a_job_begins_once(bench: &dyn Bench) -> Verdict {
    let mut trial = Trial::new(bench);
    if !trial.capabilities().jobs {
        return Ok(());
    }
    let id = name("once");
    job(&trial, &id, Task::Ends).await?;
    trial.next_owner();
    let (first, second) = tokio::join!(job(&trial, &id, Task::Ends), job(&trial, &id, Task::Ends));
    first?;
    second?;
    for _ in 0..2 {
        let state = ended(&trial, &id, Task::Ends).await?;
        ensure(state == JobState::Succeeded, "a job that ends well has succeeded, for good", state)?;
        began_once(bench, &id).await?;
        trial.next_owner();
    }
    Ok(())
}

/// A job that fails says how, with the last lines that it printed.
pub async fn a_job_that_fails_says_how(bench: &dyn Bench) -> Verdict {
    let trial = Trial::new(bench);
    if !trial.capabilities().jobs {
        return Ok(());
    }
    let id = name("fails");
    match ended(&trial, &id, Task::Fails).await? {
        JobState::Failed { reason, last_lines } => {
            ensure(!reason.is_empty(), "it is said how a job failed", &reason)?;
            let has_line = last_lines.iter().any(|line| line.contains(LAST_LINE));
            ensure(has_line, "what a job printed last is shown", last_lines)?;
        }
        other => return broken("a job that fails has failed", other),
    }
    began_once(bench, &id).await
}

/// Whoever asks for a job may go away at any moment: it begins once all the same, and its end is found by the next call and
/// by the next driver.
pub async fn a_job_whose_caller_goes_away_begins_once(bench: &dyn Bench) -> Verdict {
    let mut trial = Trial::new(bench);
    if !trial.capabilities().jobs {
        return Ok(());
    }
    for cut in 1..=6 {
        let (id, mut wakes) = (name(&format!("cut-{cut}")), cut);
        let _ = cut_off(job(&trial, &id, Task::Ends), &mut wakes).await;
        for _ in 0..2 {
            let state = ended(&trial, &id, Task::Ends).await?;
            ensure(state == JobState::Succeeded, "a job goes on without who asked for it", (cut, state))?;
            began_once(bench, &id).await?;
            trial.next_owner();
        }
    }
    Ok(())
}

/// When a kill has returned, the job is gone with all that it started, has failed, and stays so.
pub async fn a_killed_job_is_gone_with_all_it_started(bench: &dyn Bench) -> Verdict {
    let mut trial = Trial::new(bench);
    if !trial.capabilities().jobs {
        return Ok(());
    }
    let id = name("killed");
    job(&trial, &id, Task::Stays).await?;
    let begun = Instant::now();
    while bench.working(&id).await < 2 {
        if begun.elapsed() > PATIENCE {
            return broken("the bench's job starts something", job(&trial, &id, Task::Stays).await?);
        }
        let _ = timeout(LOOK, trial.driver().job_changed(&trial.scope, &id)).await;
    }
    if let Err(fault) = trial.driver().kill_job(&trial.scope, &id, &trial.way).await {
        return broken("a job can be killed", fault);
    }
    let left = bench.working(&id).await;
    ensure(left == 0, "nothing is left of a job that was killed", left)?;
    stays_dead(&mut trial, &id, 1).await
}

/// A job that was killed before anybody asked for it never begins: the call that comes late hears that it was killed.
pub async fn a_job_that_was_killed_before_never_begins(bench: &dyn Bench) -> Verdict {
    let mut trial = Trial::new(bench);
    if !trial.capabilities().jobs {
        return Ok(());
    }
    let id = name("never");
    if let Err(fault) = trial.driver().kill_job(&trial.scope, &id, &trial.way).await {
        return broken("a job that nobody asked for can be killed", fault);
    }
    stays_dead(&mut trial, &id, 0).await
}

async fn stays_dead(trial: &mut Trial<'_>, id: &JobId, begun: usize) -> Verdict {
    for _ in 0..2 {
        let state = job(trial, id, Task::Stays).await?;
        ensure(matches!(state, JobState::Failed { .. }), "a job that was killed has failed, for good", state)?;
        let now = trial.bench.begun(id).await;
        ensure(now == begun, "a job that was killed does not begin", now)?;
        trial.next_owner();
    }
    Ok(())
}
