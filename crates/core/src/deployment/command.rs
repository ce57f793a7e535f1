//! What people ask of a running deployment.

use super::turn_back::turn_back;
use super::{Deployment, Event};
use crate::time::Millis;

/// What a person asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Stop and go back.
    Cancel,
    /// Stand still.
    Pause,
    /// Go on.
    Resume,
}

/// Why it is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It ended.
    #[error("the deployment has ended already: {0}")]
    Ended(&'static str),
    /// It goes back.
    #[error("the deployment is being turned back already")]
    GoesBack,
    /// It stands still.
    #[error("the deployment is paused already")]
    Paused,
    /// It does not stand still.
    #[error("the deployment is not paused")]
    NotPaused,
}

/// Decides what a command makes of a deployment.
pub fn command(state: &Deployment, command: Command, by: &str, now: Millis) -> Result<Event, Refusal> {
    if let Some(closed) = &state.closed {
        return Err(Refusal::Ended(closed.verdict.word()));
    }
    if state.back.is_some() {
        return Err(Refusal::GoesBack);
    }
    match command {
        Command::Cancel => Ok(turn_back(state, &format!("cancelled by {by}"), true, now)),
        Command::Pause if state.paused => Err(Refusal::Paused),
        Command::Pause => Ok(Event::Paused),
        Command::Resume if state.paused => Ok(Event::Resumed),
        Command::Resume => Err(Refusal::NotPaused),
    }
}
