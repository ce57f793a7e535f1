//! What the data plane should know of a scope, and its publication.

use crate::Managed;
use deployctl_core::config::{AppConfig, Check, Listen};
use deployctl_core::desired::{Desired, FULL, Share, Waypoint};
use deployctl_core::driver::Way;
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::{Fence, InstanceId, Revision, Scope, Sha256Hex};
use deployctl_core::ops;
use deployctl_core::release::Release;
use deployctl_core::route::{Listener, Mode, ProxyCheck, RouteTable, Router, Service, Side, Traffic};
use deployctl_core::time::Span;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Direct addresses are chosen from here: below the usual ephemeral range, apart from the instances' ports.
const DIRECT_PORTS: std::ops::Range<u16> = 12_000..20_000;

/// For `Retry-After` on the maintenance page.
const RETRY_AFTER: Span = Span::secs(30);

impl Managed {
    pub(crate) fn wanted_service(
        &self,
        scope: &Scope,
        to: &Waypoint,
        sides: &BTreeMap<Revision, ops::Side>,
        addresses: &BTreeMap<InstanceId, String>,
        way: &Way,
        base: Option<&Release>,
    ) -> Option<Service> {
        to.desired.base.as_ref()?;
        let config = &base?.config;
        let route = config.route.clone()?;
        let sides: BTreeMap<Revision, Side> =
            sides.iter().map(|(r, side)| (r.clone(), address(side, addresses))).collect();
        let serves = sides.values().any(|side| side.weight > 0 && !side.instances.is_empty());
        let mode = match (way.maintenance, serves) {
            (true, _) => Mode::Maintenance { retry_after: RETRY_AFTER, page: None },
            (false, true) => Mode::Open,
            (false, false) => Mode::Paused,
        };
        let sticky = match &config.strategy {
            deployctl_core::config::Strategy::Canary(canary) => canary.sticky.clone(),
            _ => None,
        };
        let check = config.health.as_ref().and_then(|health| {
            let path = match &health.check {
                Check::Http(path) => Some(path.clone()),
                Check::Tcp => None,
                Check::Command(_) => return None,
            };
            Some(ProxyCheck { path, interval: health.interval, timeout: health.timeout, failures: health.failures })
        });
        Some(Service { scope: scope.clone(), route, mode, sides, newest: None, sticky, check, drain: config.drain })
    }

    /// Publishes the service if it is not what is routed already; says whether it did.
    pub(crate) async fn route(
        &self,
        scope: &Scope,
        seen: Option<&Service>,
        wanted: Option<Service>,
        way: &Way,
    ) -> Result<bool, Fault> {
        if seen == wanted.as_ref() && self.is_acknowledged().await? {
            return Ok(false);
        }
        let one = Arc::clone(&self.publishing).lock_owned().await;
        let before = self.router.table().await?;
        // The table has one fence for all scopes, so it cannot tell who was replaced in this one. Asked after the table was
        // read: if somebody newer comes and publishes from here on, the generation is not the next one any more.
        self.instances.admit(scope, way.fence).await?;
        let change = RouteChange { scope: scope.clone(), wanted, fence: way.fence };
        let router = Arc::clone(&self.router);
        // Owned by the task, lock and all: a caller that goes away leaves no publication that the next one would run into.
        let publishing = tokio::spawn(async move {
            let _one = one;
            change.publish(router.as_ref(), &before).await
        });
        let died = |e| Fault::refused(FaultKind::Bug, format!("the task that publishes routes died: {e}"));
        publishing.await.map_err(died)?.map(|()| true)
    }

    /// Refuses a release whose addresses somebody else has, before anything is changed; says what it costs to take them.
    pub(crate) async fn claim_listeners(&self, scope: &Scope, config: &AppConfig) -> Result<Vec<String>, Fault> {
        let mut costs = Vec::new();
        let listen = config.route.iter().flat_map(|route| &route.listen);
        for listen in listen {
            let table = self.router.table().await?;
            match table.listeners.iter().find(|there| there.address == listen.address) {
                Some(there) => is_ours(there, &environment(scope), listen)?,
                None => self.router.can_listen(&listen.address).await?,
            }
        }
        for address in config.route.iter().flat_map(|route| &route.published) {
            let table = self.router.table().await?;
            match table.listeners.iter().find(|there| there.address == *address) {
                Some(there) => is_published_by(there, scope)?,
                None => costs.extend(self.claim_published(config, address).await?),
            }
        }
        Ok(costs)
    }

    async fn claim_published(&self, config: &AppConfig, address: &str) -> Result<Option<String>, Fault> {
        let Err(taken) = self.router.can_listen(address).await else { return Ok(None) };
        let Some(holder) = self.instances.in_the_way(config, address).await? else { return Err(taken) };
        Ok(Some(format!(
            "{holder} holds {address}: it is stopped when the new release is healthy, and until it has ended and the proxy \
             listens there, connections are refused, this once"
        )))
    }

    /// What takes over an address from a container that holds it does so when it has traffic, not before: until then that
    /// one serves.
    pub(crate) async fn hand_over(
        &self,
        scope: &Scope,
        wanted: &mut Service,
        seen: Option<&Service>,
        config: &AppConfig,
        way: &Way,
    ) -> Result<(), Fault> {
        for address in wanted.route.published.clone() {
            let known = seen.is_some_and(|seen| seen.route.published.contains(&address));
            if known || self.instances.in_the_way(config, &address).await?.is_none() {
                continue;
            }
            match wanted.mode {
                Mode::Open => {
                    // Who was replaced stops nothing.
                    self.instances.admit(scope, way.fence).await?;
                    self.instances.make_way(config).await?;
                }
                _ => wanted.route.published.retain(|other| *other != address),
            }
        }
        Ok(())
    }

    /// A published table may not have reached the data plane, if its writer died in between.
    async fn is_acknowledged(&self) -> Result<bool, Fault> {
        let traffic = self.router.traffic().await?;
        let table = self.router.table().await?;
        Ok(is_known(&traffic, &table))
    }
}

/// Whether every data plane process works by the table; where nothing listens, none has to.
pub(crate) fn is_known(traffic: &Traffic, table: &RouteTable) -> bool {
    match traffic.generation {
        Some(generation) => generation == table.generation,
        None => table.listeners.is_empty(),
    }
}

/// What becomes of the routes of one scope.
struct RouteChange {
    scope: Scope,
    wanted: Option<Service>,
    fence: Fence,
}

impl RouteChange {
    async fn publish(&self, router: &dyn Router, before: &RouteTable) -> Result<(), Fault> {
        let mut lost = BTreeSet::new();
        loop {
            let mut table = before.clone();
            table.services.retain(|service| service.scope != self.scope);
            let mut chosen = None;
            if let Some(service) = self.wanted.clone() {
                chosen = add_listeners(&mut table, &self.scope, &service, &lost)?;
                table.services.push(service);
            }
            drop_unused_listeners(&mut table);
            table.generation += 1;
            table.fence = table.fence.max(self.fence);
            match (router.publish(table).await, chosen) {
                (Ok(()), _) => return Ok(()),
                // Free when it was chosen, taken a moment later: any other is as good.
                (Err(fault), Some(chosen)) if fault.kind == FaultKind::Conflict && fault.message.contains(&chosen) => {
                    lost.insert(chosen);
                }
                (Err(fault), _) => return Err(fault),
            }
        }
    }
}

/// The side that came last, where there are several: it is not in what is routed yet, or was told so when it came.
pub(crate) fn newest(desired: &Desired, sides: &BTreeMap<Revision, Side>, seen: Option<&Service>) -> Option<Revision> {
    if sides.len() < 2 {
        return None;
    }
    if let Some(seen) = seen.filter(|seen| !seen.sides.is_empty()) {
        let mut fresh = sides.keys().filter(|revision| !seen.sides.contains_key(*revision));
        match (fresh.next(), fresh.next(), &seen.newest) {
            (Some(one), None, _) => return Some(one.clone()),
            (None, _, Some(known)) if sides.contains_key(known) => return Some(known.clone()),
            _ => {}
        }
    }
    // Nothing is remembered. Where weights are shifted, the base is the old one until all of them are; else the new one.
    let base = desired.base.as_ref().filter(|base| sides.contains_key(*base))?;
    match desired.parts.get(base)?.share {
        Share::Weight(weight) if weight < FULL => {
            let mut others = sides.keys().filter(|revision| *revision != base);
            others.next().filter(|_| others.next().is_none()).cloned()
        }
        Share::ByInstance => Some(base.clone()),
        _ => None,
    }
}

fn address(side: &ops::Side, addresses: &BTreeMap<InstanceId, String>) -> Side {
    let instances = side.members.iter().filter_map(|id| Some((id.clone(), addresses.get(id)?.clone()))).collect();
    Side { weight: side.weight, instances }
}

fn environment(scope: &Scope) -> String {
    format!("{}/{}", scope.project, scope.environment)
}

/// A scope has one address of its own, chosen once and kept, besides those that its environment listens on. Says which
/// one was chosen just now; never one of `lost`.
fn add_listeners(
    table: &mut RouteTable,
    scope: &Scope,
    service: &Service,
    lost: &BTreeSet<String>,
) -> Result<Option<String>, Fault> {
    let environment = environment(scope);
    // First what is asked for by address: the own address must be another one.
    for listen in &service.route.listen {
        match table.listeners.iter().find(|l| l.address == listen.address) {
            None => table.listeners.push(Listener {
                address: listen.address.clone(),
                tls: listen.tls,
                only: None,
                environment: environment.clone(),
                published: false,
            }),
            Some(there) => is_ours(there, &environment, listen)?,
        }
    }
    for address in &service.route.published {
        match table.listeners.iter().find(|l| l.address == *address) {
            None => table.listeners.push(Listener {
                address: address.clone(),
                tls: false,
                only: Some(scope.clone()),
                environment: environment.clone(),
                published: true,
            }),
            Some(there) => is_published_by(there, scope)?,
        }
    }
    let mut chosen = None;
    if !table.listeners.iter().any(|l| l.only.as_ref() == Some(scope) && !l.published) {
        let address = free_address(table, scope, lost)?;
        chosen = Some(address.clone());
        table.listeners.push(Listener {
            address,
            tls: false,
            only: Some(scope.clone()),
            environment: environment.clone(),
            published: false,
        });
    }
    Ok(chosen)
}

/// An address serves one environment of one project.
fn is_ours(there: &Listener, environment: &str, listen: &Listen) -> Result<(), Fault> {
    if there.environment == environment && there.only.is_none() && there.tls == listen.tls {
        return Ok(());
    }
    let what = match (&there.only, there.environment == environment) {
        (Some(scope), _) => format!("is the own address of {} in {}", scope.app, there.environment),
        (None, true) => "is listened on both with and without TLS".into(),
        (None, false) => format!("is listened on for {} already", there.environment),
    };
    Err(Fault::refused(FaultKind::Conflict, format!("{} {what}", listen.address))
        .hint("choose another address under `listen:` of the environment"))
}

/// A published address leads to one app.
fn is_published_by(there: &Listener, scope: &Scope) -> Result<(), Fault> {
    if there.published && there.only.as_ref() == Some(scope) {
        return Ok(());
    }
    let whose = there.only.as_ref().map_or_else(|| there.environment.clone(), ToString::to_string);
    Err(Fault::refused(FaultKind::Conflict, format!("{} is listened on for {whose} already", there.address))
        .hint("publish another port"))
}

fn drop_unused_listeners(table: &mut RouteTable) {
    let used: BTreeSet<String> =
        table.services.iter().flat_map(|s| s.route.listen.iter().map(|l| l.address.clone())).collect();
    let published: BTreeSet<(&Scope, &String)> =
        table.services.iter().flat_map(|s| s.route.published.iter().map(|address| (&s.scope, address))).collect();
    table.listeners.retain(|listener| match &listener.only {
        Some(scope) => !listener.published || published.contains(&(scope, &listener.address)),
        None => used.contains(&listener.address),
    });
}

/// The first free one in an order of the scope's own, so that the same scope tends to the same port.
fn free_address(table: &RouteTable, scope: &Scope, lost: &BTreeSet<String>) -> Result<String, Fault> {
    let digest = Sha256Hex::of(scope.to_string().as_bytes());
    let start = u16::from_str_radix(&digest.as_str()[..4], 16).unwrap_or(0);
    let size = DIRECT_PORTS.end - DIRECT_PORTS.start;
    for step in 0..size {
        let port = DIRECT_PORTS.start + (start.wrapping_add(step)) % size;
        let address = format!("127.0.0.1:{port}");
        let taken = lost.contains(&address) || table.listeners.iter().any(|l| l.address == address);
        if !taken && std::net::TcpListener::bind(&address).is_ok() {
            return Ok(address);
        }
    }
    Err(Fault::platform(format!("no port of {}-{} is free on 127.0.0.1", DIRECT_PORTS.start, DIRECT_PORTS.end)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use deployctl_core::desired::{Extent, Part};

    fn revision(name: &str) -> Revision {
        Revision { release: Sha256Hex::of(name.as_bytes()), nonce: 0 }
    }

    fn desired(base: &str, parts: &[(&str, Share)]) -> Desired {
        let part = |share: Share| Part { extent: Extent::Count(1), share };
        let parts = parts.iter().map(|(name, share)| (revision(name), part(*share))).collect();
        Desired { base: Some(revision(base)), parts }
    }

    fn sides(names: &[&str]) -> BTreeMap<Revision, Side> {
        names.iter().map(|name| (revision(name), Side::default())).collect()
    }

    fn service(names: &[&str], newest: Option<&str>) -> Service {
        Service {
            scope: crate::tests::scope(),
            route: crate::tests::release().config.route.unwrap(),
            mode: Mode::Open,
            sides: sides(names),
            newest: newest.map(revision),
            sticky: None,
            check: None,
            drain: Span::secs(1),
        }
    }

    #[test]
    fn the_side_that_came_last_is_known_on_the_whole_way() {
        let weights = |old: u32| [("old", Share::Weight(old)), ("new", Share::Weight(FULL - old))];
        let both = sides(&["old", "new"]);
        let canary = desired("old", &weights(9_000));
        let found = |to: &Desired, seen: Option<Service>| newest(to, &both, seen.as_ref());
        assert_eq!(found(&canary, Some(service(&["old"], None))), Some(revision("new")), "it comes");
        let known = || Some(service(&["old", "new"], Some("new")));
        assert_eq!(
            found(&desired("old", &weights(1_000)), known()),
            Some(revision("new")),
            "it has most of the traffic"
        );
        assert_eq!(found(&desired("new", &weights(0)), known()), Some(revision("new")), "it has all, the old one goes");
        assert_eq!(found(&desired("old", &weights(FULL)), known()), Some(revision("new")), "it goes, it was bad");
        let back = Some(service(&["new"], None));
        assert_eq!(
            found(&desired("new", &weights(5_000)), back),
            Some(revision("old")),
            "on the way back the old comes"
        );
        assert_eq!(newest(&canary, &sides(&["old"]), None), None, "one alone is neither");
    }

    #[test]
    fn without_memory_the_waypoint_says_it_or_nobody() {
        let both = sides(&["old", "new"]);
        let unknown = || Some(service(&["old", "new"], None));
        let canary = desired("old", &[("old", Share::Weight(9_000)), ("new", Share::Weight(1_000))]);
        for seen in [None, unknown(), Some(service(&[], None))] {
            assert_eq!(newest(&canary, &both, seen.as_ref()), Some(revision("new")));
        }
        let rolling = desired("new", &[("old", Share::ByInstance), ("new", Share::ByInstance)]);
        assert_eq!(newest(&rolling, &both, unknown().as_ref()), Some(revision("new")));
        let end = desired("new", &[("old", Share::Weight(0)), ("new", Share::Weight(FULL))]);
        assert_eq!(newest(&end, &both, unknown().as_ref()), None, "forward or back, nobody knows");
        let gone = Some(service(&["old", "new", "other"], Some("other")));
        assert_eq!(newest(&end, &both, gone.as_ref()), None);
    }
}
