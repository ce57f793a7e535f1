//! What is due next.

use super::{Closed, Deployment, Event, Verdict};
use crate::time::Millis;

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing, ever again.
    Nothing,
    /// To stand still until it is resumed, cancelled, or its deadline comes.
    Stand,
    /// To bind the late values of a leg and begin it.
    Begin(usize),
    /// To walk a leg towards its current waypoint.
    Walk(usize),
    /// To append this: the last leg is done.
    Close(Closed),
    /// To append this: time is up.
    TimeUp(Event),
}

/// What is due now.
pub fn next(state: &Deployment, now: Millis) -> Due {
    if state.closed.is_some() {
        return Due::Nothing;
    }
    let here =
        state.order.iter().find_map(|leg| Some((*leg, state.legs.get(*leg).filter(|l| l.waypoint().is_some())?)));
    // What is done is done, also if nobody was there to say so in time.
    let Some((leg, here)) = here else { return Due::Close(done(state)) };
    if now >= state.deadline {
        return Due::TimeUp(time_up(state, now));
    }
    if state.paused {
        return Due::Stand;
    }
    if here.binding.is_none() { Due::Begin(leg) } else { Due::Walk(leg) }
}

fn done(state: &Deployment) -> Closed {
    match &state.back {
        None => Closed { verdict: Verdict::Succeeded, restored: false, reason: "all gates passed".into() },
        Some(back) => Closed {
            verdict: if back.cancelled { Verdict::Cancelled } else { Verdict::RolledBack },
            restored: true,
            reason: back.reason.clone(),
        },
    }
}

fn time_up(state: &Deployment, now: Millis) -> Event {
    match &state.back {
        None => {
            let waiting = if state.paused { "; it was paused" } else { "" };
            let span = state.plan.deadline.0.as_secs();
            super::turn_back::turn_back(
                state,
                &format!("not done within its deadline of {span} s{waiting}"),
                false,
                now,
            )
        }
        Some(back) => {
            Event::Closed(super::turn_back::not_restored(back, "the way back was not done within its deadline either"))
        }
    }
}
