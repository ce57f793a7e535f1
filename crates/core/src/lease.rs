//! When an owner is dead: its renewal counter did not move for the lease time, by the observer's own monotonic clock.
//!
//! No wall clock is asked and no two clocks are compared, so skew and jumps decide nothing. An owner that is only slow may
//! be taken for dead: the fence that its successor takes then keeps it from writing, not this watch. Where a lock proves
//! that an owner has ended (the engine of a state directory), no watch is needed.

use crate::fault::Fault;
use crate::id::OwnerId;
use crate::time::Span;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::time::Duration;

/// What one observer saw of the renewal counters of others. Lost with the observer, which then begins anew: never too soon.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    seen: BTreeMap<OwnerId, (Option<u64>, Duration)>,
}

/// Whether an owner lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Its counter moved, or is seen for the first time.
    Alive,
    /// Its counter stands still; it is dead after so much longer.
    Silent(Duration),
    /// Its counter stood still for the lease time: whoever wants to may take over.
    Dead,
}

impl Watch {
    /// Takes in the counter of `owner` (none if it never beat) at `now` of the observer's monotonic clock.
    pub fn see(&mut self, owner: &OwnerId, beats: Option<u64>, now: Duration, lease: Span) -> Life {
        let Some((_, since)) = self.seen.get(owner).copied().filter(|(seen, _)| *seen == beats) else {
            self.seen.insert(owner.clone(), (beats, now));
            return Life::Alive;
        };
        match lease.0.checked_sub(now.saturating_sub(since)) {
            None | Some(Duration::ZERO) => Life::Dead,
            Some(left) => Life::Silent(left),
        }
    }

    /// Forgets owners that are of no interest any more.
    pub fn retain(&mut self, wanted: impl Fn(&OwnerId) -> bool) {
        self.seen.retain(|owner, _| wanted(owner));
    }
}

/// How the right to change a state stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sits {
    /// It is ours.
    Me,
    /// Nobody has it.
    Nobody,
    /// Another one has it.
    Other {
        /// Where it runs and for whom, such as `alice@build-7`.
        who: String,
        /// Whether it lives.
        life: Life,
    },
}

/// The right to change a state that several engines can reach, as one of them sees it. One has it at a time; who was taken for
/// dead and is not finds out at its next beat, and is kept from writing by fences until then.
#[async_trait]
pub trait Seat: Send + Sync {
    /// How it stands.
    async fn look(&self) -> Result<Sits, Fault>;
    /// Takes it if nobody has it, or who has it is dead; says how it stands then.
    async fn take(&self) -> Result<Sits, Fault>;
    /// Says that we live, if it is ours; says how it stands then.
    async fn beat(&self) -> Result<Sits, Fault>;
    /// Leaves it to others, if it is ours.
    async fn leave(&self) -> Result<(), Fault>;
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Span = Span::secs(10);

    #[test]
    fn an_owner_is_dead_when_its_counter_stood_still_for_the_lease() {
        let (a, b) = (OwnerId::new("a").unwrap(), OwnerId::new("b").unwrap());
        let s = Duration::from_secs;
        let mut watch = Watch::default();
        let steps = [
            (&a, Some(1), s(100), Life::Alive),
            (&a, Some(1), s(105), Life::Silent(s(5))),
            (&b, None, s(106), Life::Alive),
            (&a, Some(2), s(109), Life::Alive),
            (&a, Some(2), s(118), Life::Silent(s(1))),
            (&a, Some(2), s(119), Life::Dead),
            (&b, None, s(116), Life::Dead),
            (&a, Some(3), s(120), Life::Alive),
            (&a, Some(1), s(121), Life::Alive),
        ];
        for (owner, beats, now, wanted) in steps {
            assert_eq!(watch.see(owner, beats, now, LEASE), wanted, "{owner} {beats:?} {now:?}");
        }
        watch.retain(|owner| owner == &b);
        assert_eq!(
            watch.see(&a, Some(1), s(900), LEASE),
            Life::Alive,
            "an observer that begins anew is never too soon"
        );
        assert_eq!(
            watch.see(&b, None, s(10), LEASE),
            Life::Silent(s(10)),
            "a clock that went back only makes it later"
        );
    }
}
