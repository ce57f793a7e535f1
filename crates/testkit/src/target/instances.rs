//! Instances: they take their time to come up, fall ill, crash by themselves, and linger when they are stopped.

use super::{Place, Turn};
use crate::cast::Character;
use crate::world::{Event, Reply, World};
use deployctl_core::config::Strategy;
use deployctl_core::fault::{Fault, FaultKind, Retry};
use deployctl_core::id::{InstanceId, Revision, Scope, instance_id};
use deployctl_core::instance::{InstanceSeen, InstanceState};
use deployctl_core::time::Millis;

/// An instance.
#[derive(Clone, Debug)]
pub struct Instance {
    /// What it is a copy of.
    pub revision: Revision,
    /// Its number.
    pub slot: u32,
    /// How it is.
    pub state: InstanceState,
    /// Which run under this id it is.
    pub run: u64,
    /// Whether it was healthy in this run.
    pub was_ready: bool,
    /// Whether it is in trouble by itself.
    pub ill: bool,
    /// Whether it ever was, in this run: whoever decided by what was seen then may act much later.
    pub was_ill: bool,
    /// Requests that it works on.
    pub in_flight: u64,
}

/// What an instance becomes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Becomes {
    /// Healthy.
    Ready,
    /// Given up.
    Failed,
    /// Ill, for good.
    Sick,
    /// Crashed; its shim starts it again.
    Crashed,
    /// Gone, after it was stopped.
    Gone,
}

impl Place {
    /// Instances that exist.
    pub fn alive(&self) -> impl Iterator<Item = &Instance> {
        self.instances.values().filter(|i| i.state != InstanceState::Gone)
    }

    /// Whether anything is, or was, in trouble that nobody but itself is to blame for.
    pub fn is_ill(&self) -> bool {
        self.instances.values().any(|i| i.was_ill)
    }
}

impl World {
    pub(super) fn list(&mut self, scope: &Scope) -> Vec<InstanceSeen> {
        let seen = |(id, i): (&InstanceId, &Instance)| InstanceSeen {
            id: id.clone(),
            scope: scope.clone(),
            revision: i.revision.clone(),
            slot: i.slot,
            state: i.state.clone(),
            address: None,
            pid: None,
            started_at: Millis(0),
            restarts: 0,
            container: None,
            drift: None,
        };
        let mut all: Vec<_> = self.place(scope).instances.iter().map(seen).collect();
        all.sort_by(|a, b| (&a.revision, a.slot).cmp(&(&b.revision, b.slot)));
        all
    }

    pub(super) fn start(&mut self, scope: &Scope, revision: &Revision, slot: u32) -> Result<Reply, Fault> {
        let id = instance_id(scope, revision, slot);
        match self.place(scope).instances.get(&id).map(|i| &i.state) {
            None | Some(InstanceState::Gone) => {}
            Some(InstanceState::Stopping) => {
                let fault = Fault::refused(FaultKind::Conflict, format!("{id} is being stopped"));
                return Err(Fault { retry: Retry::Soon, ..fault });
            }
            Some(_) => return Ok(Reply::Done),
        }
        self.beside(scope, revision);
        let run = self.rng.next();
        let state = InstanceState::Starting { waiting_for: "its port".into() };
        let instance = Instance {
            revision: revision.clone(),
            slot,
            state,
            run,
            was_ready: false,
            ill: false,
            was_ill: false,
            in_flight: 0,
        };
        self.place(scope).instances.insert(id.clone(), instance);
        let (delay, becomes) = match self.character(revision) {
            Character::Exits => (self.rng.between(20, 300), Becomes::Failed),
            Character::Hangs => (5_000, Becomes::Failed),
            _ => (self.rng.between(20, 2_000), Becomes::Ready),
        };
        self.after(delay, Event::Target(scope.clone(), Turn::Instance(id, run, becomes)));
        self.changed(scope);
        Ok(Reply::Done)
    }

    /// Two releases of which one must be alone never meet.
    fn beside(&mut self, scope: &Scope, revision: &Revision) {
        let exclusive = |world: &Self, r: &Revision| {
            world.releases.get(&r.release).is_some_and(|(release, _)| release.config.strategy == Strategy::Recreate)
        };
        let others: Vec<Revision> =
            self.place(scope).alive().map(|i| i.revision.clone()).filter(|r| r != revision).collect();
        if let Some(other) = others.iter().find(|other| exclusive(self, other) || exclusive(self, revision)) {
            let (new, old) = (self.name(revision), self.name(other));
            self.wrong(format!("{new} starts beside {old} in {scope}, and one of them must be alone"));
        }
    }

    pub(super) fn stop(&mut self, scope: &Scope, id: &InstanceId) -> Result<Reply, Fault> {
        let place = self.place(scope);
        let Some(instance) = place.instances.get(id) else { return Ok(Reply::Done) };
        if matches!(instance.state, InstanceState::Stopping | InstanceState::Gone) {
            return Ok(Reply::Done);
        }
        let (in_flight, run, was) = (instance.in_flight, instance.run, instance.state.clone());
        let routed = place.proxies.iter().any(|p| p.routes(id));
        if in_flight > 0 || routed {
            self.wrong(format!("{id} is stopped with {in_flight} requests in flight, routed: {routed}"));
        }
        self.one_less(scope, was == InstanceState::Ready);
        if let Some(instance) = self.place(scope).instances.get_mut(id) {
            instance.state = InstanceState::Stopping;
            instance.ill = false;
        }
        let delay = if self.rng.chance(100) { 3_000 } else { self.rng.between(5, 400) };
        self.after(delay, Event::Target(scope.clone(), Turn::Instance(id.clone(), run, Becomes::Gone)));
        self.changed(scope);
        Ok(Reply::Done)
    }

    pub(super) fn forget(&mut self, scope: &Scope, id: &InstanceId) -> Result<Reply, Fault> {
        let place = self.place(scope);
        match place.instances.get(id).map(|i| &i.state) {
            None => {}
            Some(InstanceState::Gone) => {
                place.instances.remove(id);
                self.changed(scope);
            }
            Some(_) => return Err(Fault::refused(FaultKind::Conflict, format!("{id} is not gone yet"))),
        }
        Ok(Reply::Done)
    }

    pub(super) fn becomes(&mut self, scope: &Scope, id: &InstanceId, run: u64, becomes: Becomes) {
        let quiet = self.quiet;
        let Some(instance) = self.place(scope).instances.get_mut(id).filter(|i| i.run == run) else { return };
        if (instance.state == InstanceState::Stopping) != (becomes == Becomes::Gone) {
            return;
        }
        let revision = instance.revision.clone();
        match becomes {
            Becomes::Ready => {
                (instance.state, instance.was_ready, instance.ill) = (InstanceState::Ready, true, false);
            }
            Becomes::Failed => {
                let (reason, last_lines) = ("exit 1".into(), vec!["no such file".into()]);
                (instance.state, instance.ill) = (InstanceState::Failed { reason, last_lines }, true);
            }
            Becomes::Sick => {
                (instance.state, instance.ill) = (InstanceState::Unhealthy { reason: "500".into() }, true);
            }
            Becomes::Crashed if quiet => return,
            Becomes::Crashed => {
                (instance.state, instance.ill) = (InstanceState::Starting { waiting_for: "restart".into() }, true);
            }
            Becomes::Gone => instance.state = InstanceState::Gone,
        }
        instance.was_ill |= instance.ill;
        self.say(|| format!("{id} becomes {becomes:?}"));
        let next = match becomes {
            Becomes::Ready if self.character(&revision) == Character::Sickens => {
                Some((self.rng.between(100, 4_000), Becomes::Sick))
            }
            Becomes::Ready if !quiet && self.rng.chance(60) => Some((self.rng.between(0, 20_000), Becomes::Crashed)),
            Becomes::Crashed => Some((self.rng.between(50, 1_500), Becomes::Ready)),
            _ => None,
        };
        if let Some((delay, becomes)) = next {
            self.after(delay, Event::Target(scope.clone(), Turn::Instance(id.clone(), run, becomes)));
        }
        self.changed(scope);
    }

    /// How a revision's release behaves.
    pub fn character(&self, revision: &Revision) -> Character {
        self.releases.get(&revision.release).map_or(Character::Good, |(_, character)| *character)
    }

    /// A revision's version and number of restart, for people.
    pub fn name(&self, revision: &Revision) -> String {
        let version = self.releases.get(&revision.release).map(|(release, _)| release.version.to_string());
        format!("{}.{}", version.unwrap_or_else(|| revision.release.short().into()), revision.nonce)
    }

    pub(super) fn smoke(&mut self, scope: &Scope, revision: &Revision) -> Reply {
        let ready = |i: &Instance| i.revision == *revision && i.state == InstanceState::Ready;
        if !self.place(scope).instances.values().any(ready) {
            return Reply::Smoke(Err("no healthy instance has an address to send the request to".into()));
        }
        Reply::Smoke(match self.character(revision) {
            Character::Smells => Err("GET /version: 500".into()),
            _ => Ok(()),
        })
    }
}
