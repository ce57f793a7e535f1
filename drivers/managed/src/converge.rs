//! One bounded step: look, decide, act, until nothing is left that can be done now.

use crate::routing::{is_known, newest};
use crate::{Managed, is_exclusive};
use deployctl_core::desired::Waypoint;
use deployctl_core::driver::{Step, Way};
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::{InstanceId, Revision, Scope, instance_id};
use deployctl_core::instance::{InstanceSeen, InstanceSpec};
use deployctl_core::ops::{Ops, Seen, Side, next_ops};
use deployctl_core::route::{Mode, Service, Traffic};
use futures_util::future::try_join_all;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Looks at most so often within one step; what is left then is done by the next.
const ROUNDS_MAX: usize = 5;

/// The longest wait for requests that were held, and how often they are counted meanwhile.
const LET_IN: Duration = Duration::from_secs(2);
const LET_IN_LOOK: Duration = Duration::from_millis(3);

/// What is routed in a scope.
#[derive(Clone, Copy)]
struct Routed<'a> {
    service: Option<&'a Service>,
    /// Whether every data plane process works by the table that says so.
    is_known: bool,
}

impl Managed {
    pub(crate) async fn step(&self, scope: &Scope, to: &Waypoint, way: &Way) -> Result<Step, Fault> {
        let base = self.base(&to.desired).await?;
        let exclusive = is_exclusive(base.as_deref());
        let mut waits = Vec::new();
        for _ in 0..ROUNDS_MAX {
            let instances = self.instances.list(scope).await?;
            let table = self.router.table().await?;
            let service = table.services.iter().find(|service| service.scope == *scope);
            // Also of a service that was withdrawn there may be requests that its instances have to answer.
            let traffic = match (service, instances.is_empty()) {
                (None, true) => Traffic::default(),
                _ => self.router.traffic().await?,
            };
            let routed = Routed { service, is_known: is_known(&traffic, &table) };
            let sides = service.map(sides_of).unwrap_or_default();
            let seen = Seen { instances: &instances, sides: &sides, in_flight: &traffic.in_flight, exclusive };
            let ops = next_ops(&seen, to);
            let acted = self.act(scope, to, way, &ops, &instances, routed, base.as_deref()).await?;
            waits = ops.waits;
            if !acted {
                if waits.is_empty() && service.is_some_and(|service| service.mode == Mode::Open) {
                    self.let_in(scope, traffic).await?;
                }
                return Ok(waits.into_iter().next().map_or(Step::Done, Step::Pending));
            }
        }
        Ok(Step::Pending(waits.into_iter().next().unwrap_or_else(|| "instances start".into())))
    }

    /// Waits until the requests that were held are on their way to instances: what comes next may pause the service
    /// again, and who misses every moment in which it is open waits for too long.
    async fn let_in(&self, scope: &Scope, mut traffic: Traffic) -> Result<(), Fault> {
        let until = Instant::now() + LET_IN;
        while traffic.held.get(&scope.to_string()).is_some_and(|held| *held > 0) && Instant::now() < until {
            tokio::time::sleep(LET_IN_LOOK).await;
            traffic = self.router.traffic().await?;
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    async fn act(
        &self,
        scope: &Scope,
        to: &Waypoint,
        way: &Way,
        ops: &Ops,
        instances: &[InstanceSeen],
        routed: Routed<'_>,
        base: Option<&deployctl_core::release::Release>,
    ) -> Result<bool, Fault> {
        for id in &ops.forget {
            self.instances.forget(scope, id, way.fence).await?;
        }
        try_join_all(ops.start.iter().map(|(revision, slot)| self.start(scope, revision, *slot, way))).await?;
        let addresses = addresses(instances);
        let mut wanted = self.wanted_service(scope, to, &ops.sides, &addresses, way, base);
        if let Some(wanted) = &mut wanted {
            wanted.newest = newest(&to.desired, &wanted.sides, routed.service);
            if let Some(base) = base {
                self.hand_over(scope, wanted, routed.service, &base.config, way).await?;
            }
        }
        let rests = routed.is_known && routed.service == wanted.as_ref();
        let published = !rests && self.route(scope, routed.service, wanted, way).await?;
        // What was in flight was counted before; a data plane that only now works by the table may have sent more.
        let stop: &[InstanceId] = if published { &[] } else { &ops.stop };
        for id in stop {
            let drain = self.drain_of(instances, id).await?;
            self.instances.stop(scope, id, drain, way.fence).await?;
        }
        Ok(!ops.forget.is_empty() || !ops.start.is_empty() || published || !stop.is_empty())
    }

    async fn start(&self, scope: &Scope, revision: &Revision, slot: u32, way: &Way) -> Result<(), Fault> {
        let release = self.releases.release(&revision.release).await?;
        let spec = InstanceSpec {
            id: instance_id(scope, revision, slot),
            scope: scope.clone(),
            revision: revision.clone(),
            slot,
            release,
            binding: way.binding.clone(),
        };
        self.instances.start(&spec, way.fence).await
    }

    async fn drain_of(&self, instances: &[InstanceSeen], id: &InstanceId) -> Result<deployctl_core::time::Span, Fault> {
        let Some(instance) = instances.iter().find(|i| i.id == *id) else {
            return Err(Fault::refused(FaultKind::Bug, format!("{id} is to be stopped but was not seen")));
        };
        Ok(self.releases.release(&instance.revision.release).await?.config.drain)
    }
}

fn sides_of(service: &Service) -> BTreeMap<Revision, Side> {
    let side = |side: &deployctl_core::route::Side| Side {
        weight: side.weight,
        members: side.instances.keys().cloned().collect(),
    };
    service.sides.iter().map(|(revision, s)| (revision.clone(), side(s))).collect()
}

fn addresses(instances: &[InstanceSeen]) -> BTreeMap<InstanceId, String> {
    instances.iter().filter_map(|i| Some((i.id.clone(), i.address.clone()?))).collect()
}
