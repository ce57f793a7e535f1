//! What the data plane should know of a scope, and its publication.

use crate::Managed;
use deployctl_core::config::{AppConfig, Check, Listen};
use deployctl_core::desired::Waypoint;
use deployctl_core::driver::Way;
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::{InstanceId, Revision, Scope, Sha256Hex};
use deployctl_core::ops;
use deployctl_core::release::Release;
use deployctl_core::route::{Listener, Mode, ProxyCheck, RouteTable, Service, Side};
use deployctl_core::time::Span;
use std::collections::{BTreeMap, BTreeSet};

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
        Some(Service { scope: scope.clone(), route, mode, sides, sticky, check, drain: config.drain })
    }

    /// Publishes the service if it is not what is routed already; says whether it did.
    pub(crate) async fn route(
        &self,
        scope: &Scope,
        seen: Option<&Service>,
        wanted: Option<Service>,
        way: &Way,
    ) -> Result<bool, Fault> {
        if seen.is_none() && wanted.is_none() {
            return Ok(false);
        }
        if seen == wanted.as_ref() && self.is_acknowledged().await? {
            return Ok(false);
        }
        let _one = self.publishing.lock().await;
        let before = self.router.table().await?;
        let mut lost = BTreeSet::new();
        loop {
            let mut table = before.clone();
            table.services.retain(|service| service.scope != *scope);
            let mut chosen = None;
            if let Some(service) = wanted.clone() {
                chosen = add_listeners(&mut table, scope, &service, &lost)?;
                table.services.push(service);
            }
            drop_unused_listeners(&mut table);
            table.generation += 1;
            table.fence = table.fence.max(way.fence);
            match (self.router.publish(table).await, chosen) {
                (Ok(()), _) => return Ok(true),
                // Free when it was chosen, taken a moment later: any other is as good.
                (Err(fault), Some(chosen)) if fault.kind == FaultKind::Conflict && fault.message.contains(&chosen) => {
                    lost.insert(chosen);
                }
                (Err(fault), _) => return Err(fault),
            }
        }
    }

    /// Refuses a release whose addresses somebody else has, before anything is changed.
    pub(crate) async fn claim_listeners(&self, scope: &Scope, config: &AppConfig) -> Result<(), Fault> {
        let listen = config.route.iter().flat_map(|route| &route.listen);
        for listen in listen {
            let table = self.router.table().await?;
            match table.listeners.iter().find(|there| there.address == listen.address) {
                Some(there) => is_ours(there, &environment(scope), listen)?,
                None => self.router.can_listen(&listen.address).await?,
            }
        }
        Ok(())
    }

    /// A published table may not have reached the data plane, if its writer died in between.
    async fn is_acknowledged(&self) -> Result<bool, Fault> {
        let traffic = self.router.traffic().await?;
        Ok(traffic.generation == Some(self.router.table().await?.generation))
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
            }),
            Some(there) => is_ours(there, &environment, listen)?,
        }
    }
    let mut chosen = None;
    if !table.listeners.iter().any(|l| l.only.as_ref() == Some(scope)) {
        let address = free_address(table, scope, lost)?;
        chosen = Some(address.clone());
        table.listeners.push(Listener {
            address,
            tls: false,
            only: Some(scope.clone()),
            environment: environment.clone(),
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

fn drop_unused_listeners(table: &mut RouteTable) {
    let used: BTreeSet<String> =
        table.services.iter().flat_map(|s| s.route.listen.iter().map(|l| l.address.clone())).collect();
    table.listeners.retain(|listener| listener.only.is_some() || used.contains(&listener.address));
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
