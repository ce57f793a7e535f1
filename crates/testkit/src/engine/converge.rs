//! One bounded step towards a waypoint, as in `drivers/managed/src/converge.rs` and `routing.rs`.

use super::Engine;
use crate::target::Service;
use crate::world::{Reply, Request};
use deployctl_core::config::Strategy;
use deployctl_core::desired::{Desired, Share, Waypoint};
use deployctl_core::driver::Step;
use deployctl_core::fault::Fault;
use deployctl_core::id::{Fence, InstanceId, Scope};
use deployctl_core::instance::InstanceSeen;
use deployctl_core::ops::{Ops, Seen, Side, next_ops};
use deployctl_core::release::Release;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Looks at most so often within one step.
const ROUNDS_MAX: usize = 5;

/// What a look found.
struct Found {
    instances: Vec<InstanceSeen>,
    service: Option<Service>,
    generation: u64,
    acknowledged: bool,
    in_flight: BTreeMap<InstanceId, u64>,
}

impl Engine {
    pub(super) async fn converge(&self, scope: &Scope, to: &Waypoint, fence: Fence) -> Result<Step, Fault> {
        let base = self.base(&to.desired);
        let exclusive = base.as_ref().is_some_and(|r| r.config.strategy == Strategy::Recreate);
        let mut waits = Vec::new();
        for _ in 0..ROUNDS_MAX {
            let found = self.find(scope).await?;
            let sides = found.service.clone().unwrap_or_default();
            let seen = Seen { instances: &found.instances, sides: &sides, in_flight: &found.in_flight, exclusive };
            let mut ops = next_ops(&seen, to);
            self.hurry(&found, to, &mut ops);
            let acted = self.act(scope, to, fence, &ops, &found, base.as_deref()).await?;
            waits = ops.waits;
            if !acted {
                return Ok(waits.into_iter().next().map_or(Step::Done, Step::Pending));
            }
        }
        Ok(Step::Pending(waits.into_iter().next().unwrap_or_else(|| "instances start".into())))
    }

    fn base(&self, desired: &Desired) -> Option<Arc<Release>> {
        let revision = desired.base.as_ref().or_else(|| desired.parts.keys().next())?;
        self.world.borrow().releases.get(&revision.release).map(|(release, _)| release.clone())
    }

    async fn find(&self, scope: &Scope) -> Result<Found, Fault> {
        let Reply::Instances(instances) = self.target(Request::List(scope.clone())).await? else { unreachable!() };
        let Reply::Table(service, generation) = self.target(Request::Table(scope.clone())).await? else {
            unreachable!()
        };
        // Asked for after the table: what is in no table that every proxy works by can only get less.
        let Reply::Traffic(lowest, mut in_flight, _) = self.target(Request::Traffic(scope.clone())).await? else {
            unreachable!()
        };
        if service.is_none() && self.world.borrow().broken.forgets_requests_of_no_service {
            in_flight.clear();
        }
        Ok(Found { instances, service, generation, acknowledged: lowest == generation, in_flight })
    }

    async fn act(
        &self,
        scope: &Scope,
        to: &Waypoint,
        fence: Fence,
        ops: &Ops,
        found: &Found,
        base: Option<&Release>,
    ) -> Result<bool, Fault> {
        for id in &ops.forget {
            self.target(Request::Forget(scope.clone(), id.clone(), fence)).await?;
        }
        for (revision, slot) in &ops.start {
            self.target(Request::Start(scope.clone(), revision.clone(), *slot, fence)).await?;
        }
        let routed = to.desired.base.is_some() && base.is_some_and(|release| release.config.route.is_some());
        let wanted = routed.then(|| ops.sides.clone());
        let published = self.route(scope, found, wanted, fence).await?;
        if published && !self.world.borrow().broken.stops_before_acknowledged {
            // What every proxy works by now was not known when the stops were decided.
            return Ok(true);
        }
        for id in &ops.stop {
            self.target(Request::Stop(scope.clone(), id.clone(), fence)).await?;
        }
        Ok(published || !ops.forget.is_empty() || !ops.start.is_empty() || !ops.stop.is_empty())
    }

    async fn route(&self, scope: &Scope, found: &Found, wanted: Option<Service>, fence: Fence) -> Result<bool, Fault> {
        let same = found.service == wanted;
        if (same && found.acknowledged) || (found.service.is_none() && wanted.is_none() && found.generation == 0) {
            return Ok(false);
        }
        self.target(Request::Publish(scope.clone(), wanted, found.generation + 1, fence)).await?;
        Ok(true)
    }

    /// Breaks the order inside a waypoint, if that is to be seen.
    fn hurry(&self, found: &Found, to: &Waypoint, ops: &mut Ops) {
        let broken = self.world.borrow().broken;
        if broken.routes_before_ready {
            for (revision, part) in &to.desired.parts {
                let mine = found.instances.iter().filter(|i| i.revision == *revision);
                let members = mine.map(|i| i.id.clone()).collect();
                let weight = match part.share {
                    Share::Unmanaged => continue,
                    Share::Weight(weight) => weight,
                    Share::ByInstance => part.extent.count(),
                };
                ops.sides.insert(revision.clone(), Side { weight, members });
            }
        }
        if broken.stops_at_once {
            let surplus = found.instances.iter().filter(|i| i.slot >= to.desired.count(&i.revision));
            ops.stop = surplus.map(|i| i.id.clone()).collect();
        }
    }
}
