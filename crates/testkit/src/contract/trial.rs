//! A driver on a bench, and how the cases walk and look.

use super::bench::{Bench, Character};
use deployctl_core::desired::{Desired, Extent, Gate, Part, Share, Waypoint};
use deployctl_core::driver::{Capabilities, Driver, Observed, Step, Way};
use deployctl_core::fault::{Fault, Retry};
use deployctl_core::id::{Fence, InstanceId, Revision, Scope, instance_id};
use deployctl_core::instance::{InstanceSeen, InstanceState};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Nothing takes so long unless it hangs; far less than the deadline of the releases. Nothing is measured by it.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// Some targets tell of no changes of their own; then it is looked this often.
const LOOK: Duration = Duration::from_millis(50);

/// A rule that was broken, and what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(pub String);

/// How a case ends.
pub type Verdict<T = ()> = Result<T, Broken>;

/// The rule is broken: says which and what was seen.
pub(crate) fn broken<T>(rule: impl Into<String>, seen: impl Debug) -> Verdict<T> {
    Err(Broken(format!("{}; seen: {seen:?}", rule.into())))
}

/// The rule is broken if it does not hold.
pub(crate) fn ensure(holds: bool, rule: &str, seen: impl Debug) -> Verdict {
    if holds { Ok(()) } else { broken(rule, seen) }
}

/// Polls a future so many times at most, then drops it, as a crash would.
pub(crate) async fn cut_off<T>(work: impl Future<Output = T>, polls: &mut usize) -> Option<T> {
    let mut work = pin!(work);
    std::future::poll_fn(|context| {
        if *polls == 0 {
            return Poll::Ready(None);
        }
        *polls -= 1;
        match work.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            // It was woken for the last time: what it asked for goes on, and nobody is there to hear of the end.
            Poll::Pending if *polls == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// A walk of the suite: a bench, the driver at work, and by what right.
pub struct Trial<'a> {
    pub(crate) bench: &'a dyn Bench,
    pub(crate) scope: Scope,
    driver: Option<Arc<dyn Driver>>,
    pub(crate) way: Way,
    /// How many instances a release says that it has.
    counts: BTreeMap<Revision, u32>,
}

impl<'a> Trial<'a> {
    pub(crate) fn new(bench: &'a dyn Bench) -> Self {
        let way = Way { fence: Fence(3), ..Way::default() };
        let all = [Character::Good(1), Character::Good(2), Character::ExitsAtOnce, Character::NeverHealthy];
        let counts = all.map(|character| bench.release(character));
        let counts = counts.map(|release| (Revision { release: release.id(), nonce: 0 }, release.config.instances));
        Self { bench, scope: bench.scope(), driver: Some(bench.driver()), way, counts: counts.into() }
    }

    pub(crate) fn driver(&self) -> &dyn Driver {
        self.driver.as_deref().unwrap_or_else(|| unreachable!("there is always one"))
    }

    /// What the driver can do with the bench's releases, as far as the suite asks it: where the target decides how many instances there
    /// are, two releases are beside each other as the target sees fit, and what that is, is the target's own to prove.
    pub(crate) fn capabilities(&self) -> Capabilities {
        let can = self.driver().capabilities(&self.bench.release(Character::Good(1)).config);
        let beside = !can.by_itself;
        Capabilities { side_by_side: can.side_by_side && beside, split: can.split && beside, ..can }
    }

    /// Whoever was at work died; the next one goes on, with a newer fence.
    pub(crate) fn next_owner(&mut self) {
        self.driver = None;
        self.driver = Some(self.bench.driver());
        self.way.fence.0 += 1;
    }

    pub(crate) fn revision(&self, character: Character) -> Revision {
        Revision { release: self.bench.release(character).id(), nonce: 0 }
    }

    /// A waypoint: so many instances of each, with this weight; where the target brings one release to the next by itself, as many as
    /// the release says, and the traffic is the target's.
    pub(crate) fn waypoint(&self, parts: &[(Character, u32, u32)]) -> Waypoint {
        let by_itself = self.capabilities().by_itself;
        let part = |(character, count, weight): &(Character, u32, u32)| {
            let part = match by_itself {
                true => Part { extent: Extent::Auto, share: Share::Unmanaged },
                false => Part { extent: Extent::Count(*count), share: Share::Weight(*weight) },
            };
            (self.revision(*character), part)
        };
        let parts: BTreeMap<Revision, Part> = parts.iter().map(part).collect();
        let base = parts.iter().max_by_key(|(_, part)| part.extent.count()).map(|(revision, _)| revision.clone());
        let gates = parts.keys().cloned().map(Gate::Ready).collect();
        Waypoint { desired: Desired { base, parts }, floor: 0, gates }
    }

    /// What is seen now; it must be possible to look.
    pub(crate) async fn look(&self) -> Verdict<Observed> {
        match self.driver().observe(&self.scope).await {
            Ok(observed) => Ok(observed),
            Err(fault) => broken("a target that can be reached can be observed", fault),
        }
    }

    /// One step, with trouble that may pass taken for nothing done.
    pub(crate) async fn step(&self, to: &Waypoint) -> Result<Option<Step>, Fault> {
        match self.driver().converge(&self.scope, to, &self.way).await {
            Err(fault) if fault.retry == Retry::Never => Err(fault),
            step => Ok(step.ok()),
        }
    }

    /// Walks to a waypoint, as an engine does, until it is true in all; what is seen then.
    pub(crate) async fn reach(&self, to: &Waypoint) -> Verdict<Observed> {
        let begun = Instant::now();
        loop {
            let step = match self.step(to).await {
                Ok(step) => step,
                Err(fault) => return broken(format!("{} can be converged to", self.say(to)), fault),
            };
            let observed = self.look().await?;
            let lacks = self.lacks(to, &observed);
            match (step, &lacks) {
                (Some(Step::Done), None) => return Ok(observed),
                (step, _) if begun.elapsed() > PATIENCE => {
                    let rule = format!("converging again and again ends at {}", self.say(to));
                    return broken(rule, (step, lacks, observed));
                }
                _ => self.wait().await,
            }
        }
    }

    /// Waits for a change, not for long.
    pub(crate) async fn wait(&self) {
        let _ = timeout(LOOK, self.driver().changed(&self.scope)).await;
    }

    /// What is not as the waypoint says, if anything.
    pub(crate) fn lacks(&self, to: &Waypoint, observed: &Observed) -> Option<String> {
        if self.capabilities().by_itself {
            return self.lacks_whole(to, observed);
        }
        let wanted = self.wanted(to);
        let there: Vec<InstanceId> = sorted(observed.instances.iter().map(|i| i.id.clone()));
        if there != wanted {
            return Some(format!("instances {wanted:?}, not {there:?}"));
        }
        if let Some(other) = observed.instances.iter().find(|i| i.state != InstanceState::Ready) {
            return Some(format!("{} ready, not {}", other.id, other.state.word()));
        }
        let capable = self.capabilities().split;
        let wrong = to.desired.parts.keys().find(|revision| {
            let share = observed.shares.get(revision).copied().unwrap_or(0);
            capable && share.abs_diff(to.desired.weight(revision)) > 1
        });
        let strange = observed.shares.keys().find(|revision| !to.desired.parts.contains_key(revision));
        wrong.or(strange).map(|revision| format!("another share of {}", revision.release.short()))
    }

    /// The same where the target decides itself which instances there are: it says that the release is right as a whole, there is no
    /// other, and there are as many instances as the release says.
    fn lacks_whole(&self, to: &Waypoint, observed: &Observed) -> Option<String> {
        let is_asked = |revision: &Revision| to.desired.parts.contains_key(revision);
        let ready = |revision: &&Revision| observed.wholes.get(*revision) != Some(&InstanceState::Ready);
        if let Some(revision) = to.desired.parts.keys().find(ready) {
            return Some(format!("{} right as a whole, not {:?}", revision.release.short(), observed.wholes));
        }
        let strange = observed.wholes.iter().find(|(one, state)| !is_asked(one) && **state != InstanceState::Gone);
        if let Some((revision, _)) = strange {
            return Some(format!("nothing left of {}", revision.release.short()));
        }
        let wanted = to.desired.parts.keys().filter_map(|revision| self.counts.get(revision)).sum::<u32>() as usize;
        let ready = |i: &InstanceSeen| i.state == InstanceState::Ready && is_asked(&i.revision);
        let count = observed.instances.iter().filter(|i| ready(i)).count();
        (count != wanted || observed.instances.len() != wanted).then(|| {
            let there: Vec<_> = observed.instances.iter().map(|i| (&i.id, i.state.word())).collect();
            format!("{wanted} instances that are ready, not {there:?}")
        })
    }

    /// Why a release cannot become healthy, and what it printed last, if that is seen.
    pub(crate) fn failed<'o>(&self, seen: &'o Observed, revision: &Revision) -> Option<(&'o str, &'o [String])> {
        if !self.capabilities().by_itself {
            return seen.failed(revision).map(|(_, reason, lines)| (reason, lines));
        }
        match seen.wholes.get(revision)? {
            InstanceState::Failed { reason, last_lines } => Some((reason, last_lines)),
            _ => None,
        }
    }

    /// The ids that a waypoint asks for.
    pub(crate) fn wanted(&self, to: &Waypoint) -> Vec<InstanceId> {
        let slots = |(revision, part): (&Revision, &Part)| {
            (0..part.extent.count()).map(|slot| instance_id(&self.scope, revision, slot)).collect::<Vec<_>>()
        };
        sorted(to.desired.parts.iter().flat_map(slots))
    }

    /// By the target's own evidence there runs what the waypoint asks for, once each, and nothing else.
    pub(crate) async fn nothing_else_runs(&self, to: &Waypoint) -> Verdict {
        let alive = sorted(self.bench.alive().await);
        if self.capabilities().by_itself {
            let seen = self.look().await?;
            let shown = sorted(seen.instances.iter().map(|i| i.id.clone()));
            let lacks = self.lacks_whole(to, &seen);
            let rule = format!("just what is asked for runs: {}", self.say(to));
            return ensure(alive == shown && lacks.is_none(), &rule, (alive, shown, lacks));
        }
        ensure(alive == self.wanted(to), &format!("just what is asked for runs, once: {}", self.say(to)), alive)
    }

    pub(crate) fn say(&self, to: &Waypoint) -> String {
        let part = |(revision, part): (&Revision, &Part)| {
            format!("{}: {} @ {}", revision.release.short(), part.extent.count(), to.desired.weight(revision))
        };
        format!("{{{}}}", to.desired.parts.iter().map(part).collect::<Vec<_>>().join(", "))
    }
}

/// In order.
pub(crate) fn sorted<T: Ord>(all: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut all: Vec<T> = all.into_iter().collect();
    all.sort();
    all
}

/// What tells one run of an instance from another.
pub(crate) fn lives(observed: &Observed) -> Vec<impl PartialEq + Debug + use<>> {
    let life = |i: &InstanceSeen| (i.id.clone(), i.pid, i.started_at, i.restarts, i.address.clone());
    let mut lives: Vec<_> = observed.instances.iter().map(life).collect();
    lives.sort();
    lives
}
