//! The data plane: two proxies, each working by what it loaded last, and requests that come whenever they like.

use super::{Place, Turn};
use crate::cast::Character;
use crate::world::{Event, Reply, Time, World};
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::{InstanceId, Revision, Scope};
use deployctl_core::instance::InstanceState;
use deployctl_core::ops::Side;
use std::collections::BTreeMap;

/// What is routed in a scope.
pub type Service = BTreeMap<Revision, Side>;

/// What a proxy works by.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// As which generation.
    pub generation: u64,
    /// The sides; none if there is no service.
    pub service: Option<Service>,
}

impl Loaded {
    /// Whether an instance may get requests.
    pub fn routes(&self, id: &InstanceId) -> bool {
        self.service.iter().flatten().any(|(_, side)| side.members.contains(id))
    }
}

impl Place {
    /// Healthy instances that take requests by `service`.
    pub fn serving(&self, service: Option<&Service>) -> usize {
        let sides = service.into_iter().flatten().filter(|(_, side)| side.weight > 0);
        let members = sides.flat_map(|(_, side)| &side.members);
        members.filter(|id| self.instances.get(*id).is_some_and(|i| i.state == InstanceState::Ready)).count()
    }
}

impl World {
    pub(super) fn table(&mut self, scope: &Scope) -> Reply {
        let place = self.place(scope);
        Reply::Table(place.service.clone(), place.generation)
    }

    pub(super) fn traffic(&mut self, scope: &Scope) -> Reply {
        let place = self.place(scope);
        let lowest = place.proxies.iter().map(|p| p.generation).min().unwrap_or(0);
        let in_flight = place.instances.iter().map(|(id, i)| (id.clone(), i.in_flight)).collect();
        Reply::Traffic(lowest, in_flight, place.stats.clone())
    }

    /// Publishes; answered when both proxies work by it. If who published dies before, they may not.
    pub(super) fn publish(
        &mut self,
        scope: &Scope,
        service: Option<&Service>,
        generation: u64,
        life: usize,
    ) -> Result<Time, Fault> {
        let place = self.place(scope);
        if generation != place.generation + 1 {
            let message = format!("generation {generation} cannot follow {}", place.generation);
            return Err(Fault::refused(FaultKind::Conflict, message));
        }
        (place.service, place.generation) = (service.cloned(), generation);
        let mut last = 0;
        for _ in 0..self.rng.below(4) {
            let delay = self.rng.between(0, 8);
            self.after(delay, Event::Target(scope.clone(), Turn::Extra));
        }
        for proxy in 0..2 {
            let delay = if self.rng.chance(100) { self.rng.between(50, 500) } else { self.rng.between(1, 10) };
            self.after(delay, Event::Target(scope.clone(), Turn::Load(proxy, life, generation)));
            last = last.max(delay);
        }
        Ok(last)
    }

    pub(super) fn load(&mut self, scope: &Scope, proxy: usize, life: usize, generation: u64) {
        if !self.lives[life].alive && self.rng.chance(700) {
            return;
        }
        let place = self.place(scope);
        if place.proxies[proxy].generation >= generation || place.generation != generation {
            return;
        }
        let before = place.serving(place.proxies[proxy].service.as_ref());
        let after = place.serving(place.service.as_ref());
        let ill = place.instances.iter().filter(|(id, i)| {
            let new = place.service.iter().flatten().any(|(_, side)| side.members.contains(*id));
            i.was_ill && (new || place.proxies[proxy].routes(id))
        });
        let ill = ill.count();
        place.proxies[proxy] = Loaded { generation, service: place.service.clone() };
        self.capacity(scope, before, after, ill);
        self.say(|| format!("proxy {proxy} of {scope} loads {generation}"));
        self.changed(scope);
    }

    /// Requests keep coming.
    pub(super) fn arrive(&mut self, scope: &Scope) {
        let busy = self.oracle.is_busy(scope);
        let pause = if busy { self.rng.between(20, 300) } else { 1_500 };
        self.after(pause, Event::Target(scope.clone(), Turn::Arrives));
        self.arrives(scope);
    }

    /// A request comes to one of the proxies.
    pub(super) fn arrives(&mut self, scope: &Scope) {
        let proxy = usize::from(self.rng.chance(500));
        let place = self.place(scope);
        let service = place.proxies[proxy].service.clone().unwrap_or_default();
        let sides: Vec<_> = service.iter().filter(|(_, s)| s.weight > 0 && !s.members.is_empty()).collect();
        let total: u64 = sides.iter().map(|(_, side)| u64::from(side.weight)).sum();
        let mut at = self.rng.below(total);
        for (revision, side) in sides {
            if at >= u64::from(side.weight) {
                at -= u64::from(side.weight);
                continue;
            }
            let members: Vec<_> = side.members.iter().cloned().collect();
            let id = self.rng.pick(&members).clone();
            self.request(scope, revision, &id);
            return;
        }
    }

    fn request(&mut self, scope: &Scope, revision: &Revision, id: &InstanceId) {
        let errs = self.character(revision) == Character::Errs && self.rng.chance(800);
        let place = self.place(scope);
        let stats = place.stats.entry(revision.clone()).or_default();
        stats.requests += 1;
        stats.errors += u64::from(errs);
        match place.instances.get_mut(id) {
            Some(i) if i.state == InstanceState::Ready => {
                i.in_flight += 1;
                let delay = if self.rng.chance(50) { 5_000 } else { self.rng.between(5, 800) };
                self.after(delay, Event::Target(scope.clone(), Turn::Answered(id.clone())));
            }
            Some(i) if i.was_ready && !matches!(i.state, InstanceState::Stopping | InstanceState::Gone) => {
                stats.errors += 1;
            }
            other => {
                let state = other.map_or("cleared away", |i| i.state.word());
                self.wrong(format!("a request goes to {id}, which is {state}"));
            }
        }
    }

    pub(super) fn request_done(&mut self, scope: &Scope, id: &InstanceId) {
        if let Some(i) = self.place(scope).instances.get_mut(id) {
            i.in_flight = i.in_flight.saturating_sub(1);
            if i.in_flight == 0 {
                self.changed(scope);
            }
        }
    }
}
