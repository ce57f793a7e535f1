//! Looking and waiting.

use crate::contract::bench::{Bench, Character::Good};
use crate::contract::trial::{PATIENCE, Trial, Verdict, broken, ensure, lives};
use deployctl_core::desired::FULL;
use deployctl_core::instance::{LogQuery, SecretValues};
use futures_util::StreamExt;
use tokio::time::timeout;

/// Looks in every way that there is.
async fn look_around(trial: &Trial<'_>) -> Verdict {
    let (scope, driver) = (&trial.scope, trial.driver());
    let release = trial.bench.release(Good(1));
    let looks = async {
        driver.observe(scope).await?;
        driver.check(scope).await?;
        driver.stats(scope).await?;
        driver.urls(scope).await?;
        driver.claim(scope, &release.config).await?;
        driver.preview(scope, &release, &SecretValues::default(), false).await?;
        driver.kept(scope, &release).await?;
        let mut lines = driver.logs(scope, LogQuery { tail: 10, follow: false });
        while let Some(line) = lines.next().await {
            line?;
        }
        Ok(())
    };
    let looked: Result<(), deployctl_core::fault::Fault> = looks.await;
    looked.or_else(|fault| broken("whoever may look can look", fault))
}

/// Observing, checking, counting, asking for addresses, reading output, asking what could be had and what would change: all this changes nothing, where
/// something runs as where nothing does.
pub async fn looking_changes_nothing(bench: &dyn Bench) -> Verdict {
    let mut trial = Trial::new(bench);
    look_around(&trial).await?;
    let nothing = trial.waypoint(&[]);
    let seen = trial.look().await?;
    ensure(trial.lacks(&nothing, &seen).is_none(), "where nothing was, looking leaves nothing", &seen)?;
    trial.nothing_else_runs(&nothing).await?;

    let to = trial.waypoint(&[(Good(1), 2, FULL)]);
    let before = trial.reach(&to).await?;
    for who in ["the same", "a new one"] {
        look_around(&trial).await?;
        let after = trial.look().await?;
        let same = lives(&before) == lives(&after) && before.shares == after.shares;
        ensure(same, &format!("looking, by {who}, changes nothing"), (&before, &after))?;
        trial.nothing_else_runs(&to).await?;
        trial.next_owner();
    }
    Ok(())
}

/// Whoever looks, then waits for a change, then looks again, misses nothing: neither what happens while it waits nor what
/// happened since it looked. Being woken for nothing is allowed.
pub async fn who_waits_is_woken(bench: &dyn Bench) -> Verdict {
    let trial = Trial::new(bench);
    let to = trial.waypoint(&[(Good(1), 1, FULL)]);
    let watching = async {
        while trial.lacks(&to, &trial.look().await?).is_some() {
            if timeout(PATIENCE, trial.driver().changed(&trial.scope)).await.is_err() {
                return broken("whoever waits for a change is woken by one", trial.look().await?);
            }
        }
        Ok(())
    };
    let (reached, seen) = tokio::join!(trial.reach(&to), watching);
    reached?;
    seen
}
