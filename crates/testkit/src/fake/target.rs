//! What a fake deploys to: what runs, who takes traffic, what jobs did. It outlives the drivers.

use super::Break;
use deployctl_core::desired::{Desired, FULL, JobGate, Share};
use deployctl_core::fault::{Fault, FaultKind, Retry};
use deployctl_core::id::{Fence, InstanceId, JobId, Revision, Scope, Sha256Hex, instance_id};
use deployctl_core::instance::{InstanceSeen, InstanceState};
use deployctl_core::job::JobState;
use deployctl_core::time::Millis;
use std::collections::{BTreeMap, HashMap, HashSet};

/// The state of a target.
#[derive(Default)]
pub(super) struct Target {
    pub(super) broken: Option<Break>,
    pub(super) places: HashMap<Scope, Place>,
    pub(super) jobs: HashMap<JobId, Job>,
    /// How jobs end, by what they are for; others run until they are told.
    pub(super) ends: Vec<(JobGate, JobState)>,
    pub(super) started: Vec<JobGate>,
    /// Releases whose instances cannot come up.
    pub(super) bad: HashSet<Sha256Hex>,
    /// Releases whose instances never say anything.
    pub(super) silent: HashSet<Sha256Hex>,
    /// What others changed by hand, if the target lets them.
    pub(super) drift: Option<Vec<String>>,
    /// So many more calls fail.
    pub(super) faults: usize,
    pub(super) never: Option<String>,
    pub(super) is_cut_off: bool,
    pub(super) refused: usize,
    /// What every release would change, exactly, and how, or why it cannot; none if nothing is said of it.
    pub(super) previews: Option<Result<Vec<(String, String)>, String>>,
    /// Which of `admit`, `observe` and `converge` were asked for in each scope, in their order.
    pub(super) asked: HashMap<Scope, Vec<&'static str>>,
    drivers: u64,
    pids: u32,
}

/// What is kept of a scope.
#[derive(Default)]
pub(super) struct Place {
    /// What was made true last.
    pub(super) desired: Desired,
    /// Everything that runs, whoever knows of it.
    copies: Vec<Copy>,
    pub(super) shares: BTreeMap<Revision, u32>,
    pub(super) fence: Fence,
}

/// A running instance.
struct Copy {
    revision: Revision,
    slot: u32,
    id: InstanceId,
    pid: u32,
    /// The driver that started it.
    by: u64,
    /// Whether it is noted anywhere.
    is_noted: bool,
}

/// A job that was asked for, or killed before.
pub(super) struct Job {
    pub(super) state: JobState,
    pub(super) begun: usize,
    /// How much of it lives.
    pub(super) alive: usize,
    pub(super) by: u64,
}

/// What changed.
pub(super) enum Effect {
    Started(u32),
    Other,
}

impl Target {
    pub(super) fn breaks(&self, rule: Break) -> bool {
        self.broken == Some(rule)
    }

    pub(super) fn new_driver(&mut self) -> u64 {
        if self.breaks(Break::ForgetsFences) {
            self.places.values_mut().for_each(|place| place.fence = Fence(0));
        }
        self.drivers += 1;
        self.drivers
    }

    /// Whether the target can be asked for anything.
    pub(super) fn reach(&self) -> Result<(), Fault> {
        match self.is_cut_off {
            true if self.breaks(Break::GivesUp) => {
                Err(Fault { retry: Retry::Never, ..Fault::platform("the target cannot be reached") })
            }
            true => Err(Fault::platform("the target cannot be reached")),
            false => Ok(()),
        }
    }

    /// The trouble that it was told to make.
    pub(super) fn trouble(&mut self) -> Result<(), Fault> {
        if let Some(why) = &self.never {
            return Err(Fault::refused(FaultKind::Denied, why.clone()));
        }
        if self.faults > 0 {
            self.faults -= 1;
            return Err(Fault::platform("the target does not answer"));
        }
        self.reach()
    }

    pub(super) fn admit(&mut self, scope: &Scope, fence: Fence) -> Result<(), Fault> {
        let place = self.places.entry(scope.clone()).or_default();
        if fence < place.fence && self.broken != Some(Break::IgnoresFences) {
            self.refused += 1;
            return Err(Fault::refused(FaultKind::Conflict, "a newer owner was here"));
        }
        place.fence = place.fence.max(fence);
        Ok(())
    }

    fn place(&mut self, scope: &Scope) -> &mut Place {
        self.places.entry(scope.clone()).or_default()
    }

    fn copies(&self, scope: &Scope) -> &[Copy] {
        self.places.get(scope).map_or(&[], |place| &place.copies)
    }

    /// Does one thing that is missing, and says what; none if all is as desired.
    pub(super) fn advance(
        &mut self,
        scope: &Scope,
        to: &Desired,
        fence: Fence,
        me: u64,
    ) -> Result<Option<Effect>, Fault> {
        let runs = |id: &InstanceId| self.copies(scope).iter().any(|c| c.id == *id && self.shows(c, me));
        let missing = wanted(scope, to).find(|(id, ..)| !runs(id));
        if let Some((_, revision, slot)) = missing {
            self.admit(scope, fence)?;
            return Ok(Some(Effect::Started(self.start(scope, &revision, slot, me))));
        }
        let shares = self.shares_of(scope, to);
        if self.place(scope).shares != shares {
            if !self.breaks(Break::MovesTrafficForAnybody) {
                self.admit(scope, fence)?;
            }
            self.place(scope).shares = shares;
            return Ok(Some(Effect::Other));
        }
        let spare = |c: &Copy| c.slot >= to.count(&c.revision) && self.shows(c, me);
        if let Some(at) = self.copies(scope).iter().position(spare) {
            self.admit(scope, fence)?;
            match self.breaks(Break::KeepsInstances) {
                true => self.place(scope).copies[at].is_noted = false,
                false => drop(self.place(scope).copies.remove(at)),
            }
            return Ok(Some(Effect::Other));
        }
        if self.place(scope).desired != *to {
            self.admit(scope, fence)?;
            self.place(scope).desired = to.clone();
            return Ok(Some(Effect::Other));
        }
        Ok(None)
    }

    fn shares_of(&self, scope: &Scope, to: &Desired) -> BTreeMap<Revision, u32> {
        if self.breaks(Break::KeepsShares) && to.parts.is_empty() {
            return self.places.get(scope).map(|place| place.shares.clone()).unwrap_or_default();
        }
        let share = |revision: &Revision| match to.weight(revision) {
            weight if weight > 0 && self.breaks(Break::MiscountsShares) => FULL,
            weight => weight,
        };
        let routed = to.parts.iter().filter(|(_, part)| part.share != Share::Unmanaged);
        routed.map(|(revision, _)| (revision.clone(), share(revision))).collect()
    }

    /// Starts an instance; its pid.
    fn start(&mut self, scope: &Scope, revision: &Revision, slot: u32, by: u64) -> u32 {
        self.pids += 1;
        let is_noted = !self.breaks(Break::NotesLate);
        let id = instance_id(scope, revision, slot);
        let copy = |pid: u32, is_noted| Copy { revision: revision.clone(), slot, id: id.clone(), pid, by, is_noted };
        let pid = self.pids;
        let twice = self.breaks(Break::StartsTwice).then(|| copy(pid + 1_000_000, false));
        self.place(scope).copies.extend([copy(pid, is_noted)].into_iter().chain(twice));
        pid
    }

    pub(super) fn note(&mut self, scope: &Scope, pid: u32) {
        self.place(scope).copies.iter_mut().filter(|copy| copy.pid == pid).for_each(|copy| copy.is_noted = true);
    }

    /// New processes for everything in a scope.
    pub(super) fn restart(&mut self, scope: &Scope) {
        let first = self.pids + 1;
        let copies = &mut self.place(scope).copies;
        for (pid, copy) in (first..).zip(copies.iter_mut()) {
            copy.pid = pid;
        }
        self.pids = first + u32::try_from(copies.len()).unwrap_or(0);
    }

    pub(super) fn take_away(&mut self, scope: &Scope, id: Option<&InstanceId>) {
        self.place(scope).copies.retain(|copy| id.is_some_and(|id| copy.id != *id));
    }

    fn shows(&self, copy: &Copy, me: u64) -> bool {
        copy.is_noted && (copy.by == me || !self.breaks(Break::ForgetsWhatRuns))
    }

    pub(super) fn instances(&self, scope: &Scope, me: u64) -> Vec<InstanceSeen> {
        let mine = self.copies(scope).iter().filter(|copy| self.shows(copy, me));
        mine.map(|copy| self.seen(scope, copy)).collect()
    }

    pub(super) fn alive(&self, scope: &Scope) -> Vec<InstanceId> {
        self.copies(scope).iter().map(|copy| copy.id.clone()).collect()
    }

    fn seen(&self, scope: &Scope, copy: &Copy) -> InstanceSeen {
        InstanceSeen {
            id: copy.id.clone(),
            scope: scope.clone(),
            revision: copy.revision.clone(),
            slot: copy.slot,
            state: self.state(&copy.revision.release),
            address: Some(format!("127.0.0.1:{}", 20_000 + copy.slot)),
            pid: Some(copy.pid),
            started_at: Millis(u64::from(copy.pid)),
            restarts: 0,
            container: None,
            drift: None,
        }
    }

    fn state(&self, release: &Sha256Hex) -> InstanceState {
        let lines = || if self.breaks(Break::LosesLastLines) { vec![] } else { vec!["no such table".into()] };
        if self.is_cut_off {
            InstanceState::Failed { reason: "it does not answer".into(), last_lines: lines() }
        } else if self.bad.contains(release) && !self.breaks(Break::WaitsForever) {
            InstanceState::Failed { reason: "exit 1".into(), last_lines: lines() }
        } else if self.silent.contains(release) || self.bad.contains(release) {
            InstanceState::Starting { waiting_for: "its first word".into() }
        } else {
            InstanceState::Ready
        }
    }
}

fn wanted<'a>(scope: &'a Scope, to: &'a Desired) -> impl Iterator<Item = (InstanceId, Revision, u32)> + 'a {
    let slots = move |(revision, part): (&'a Revision, &'a deployctl_core::desired::Part)| {
        (0..part.extent.count()).map(move |slot| (instance_id(scope, revision, slot), revision.clone(), slot))
    };
    to.parts.iter().flat_map(slots)
}
