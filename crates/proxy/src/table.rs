//! The route table as the workers use it: names resolved to numbers, state that outlives one table attached.

use crate::matching::HostMap;
use crate::stats::SideCounters;
use crate::tls::{self, Certificates};
use bytes::Bytes;
use deployctl_core::id::{InstanceId, Revision, Scope};
use deployctl_core::route::{self, RouteTable};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::time::{Duration, Instant};

/// What a listener is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ListenKey {
    /// One service, whatever the host.
    pub(crate) only: Option<Scope>,
    /// `PROJECT/ENVIRONMENT`.
    pub(crate) environment: String,
}

/// An instance, as long as anything refers to it; shared by all workers.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) id: InstanceId,
    pub(crate) address: SocketAddr,
    /// Requests and upgraded connections.
    pub(crate) in_flight: AtomicU64,
    /// Not in the table any more.
    pub(crate) leaving: AtomicBool,
    /// When what still runs is cut, in milliseconds of [`Clock`]; `u64::MAX` for never.
    pub(crate) cut_at: AtomicU64,
    /// Active checks fail.
    pub(crate) unhealthy: AtomicBool,
    /// Requests failed in a row.
    pub(crate) failures: AtomicU32,
    /// Until when it is out for that, in milliseconds of [`Clock`].
    pub(crate) out_until: AtomicU64,
}

impl Instance {
    /// Whether it should get requests if there is another one.
    pub(crate) fn fit(&self, now_ms: u64) -> bool {
        !self.unhealthy.load(Relaxed) && self.out_until.load(Relaxed) <= now_ms
    }
}

/// Milliseconds since this process began; what instants are in atomics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn ms(self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.0).as_millis()).unwrap_or(u64::MAX)
    }
}

/// An instance in one table.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) instance: Arc<Instance>,
    /// The number of its address among all of this table.
    pub(crate) pool: usize,
}

/// A side of a service.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) revision: Revision,
    pub(crate) weight: u32,
    pub(crate) members: Vec<Member>,
    pub(crate) counters: Arc<SideCounters>,
    /// When it was seen first: the higher, the newer.
    pub(crate) since: u64,
}

impl Side {
    /// Its weight, 0 while it has no instance.
    pub(crate) fn effective(&self) -> u32 {
        if self.members.is_empty() { 0 } else { self.weight }
    }
}

/// A service, ready for use.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) scope: Scope,
    pub(crate) config: route::Service,
    pub(crate) sides: Vec<Side>,
    pub(crate) held: Arc<AtomicU64>,
    pub(crate) pages: HashMap<u16, Bytes>,
    pub(crate) cookie: String,
}

/// A route table, ready for use.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) source: RouteTable,
    pub(crate) services: Vec<Service>,
    pub(crate) only: HashMap<Scope, usize>,
    pub(crate) environments: HashMap<String, HostMap>,
    /// The addresses of all instances.
    pub(crate) pools: Vec<SocketAddr>,
    /// The port of the first TLS listener of an environment.
    pub(crate) tls_ports: HashMap<String, u16>,
    pub(crate) tls: HashMap<ListenKey, Arc<Certificates>>,
}

/// What outlives a table.
#[derive(Debug)]
pub(crate) struct Registry {
    clock: Clock,
    instances: HashMap<(InstanceId, SocketAddr), Arc<Instance>>,
    sides: HashMap<(Scope, Revision), (Arc<SideCounters>, u64)>,
    held: HashMap<Scope, Arc<AtomicU64>>,
}

/// Files that a table refers to, read.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) pages: HashMap<String, Bytes>,
}

/// How many revisions that left the table keep their counters, at most.
const OLD_SIDES_MAX: usize = 256;

impl Registry {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, instances: HashMap::new(), sides: HashMap::new(), held: HashMap::new() }
    }

    /// Makes `source` ready for use. Changes nothing that a running table relies on; [`Registry::settle`] follows when
    /// the new table is in use. The error is for the person who wrote the specification.
    pub(crate) fn compile(&mut self, source: RouteTable, previous: &Table) -> Result<Table, String> {
        let files = read_pages(&source)?;
        let mut table = Table { tls: tls::load(&source, &previous.tls)?, ..Table::default() };
        let mut pools = HashMap::new();
        for service in &source.services {
            let number = table.services.len();
            let ready = self.service(service, source.generation, &files, &mut pools, &mut table.pools)?;
            let environment = format!("{}/{}", service.scope.project, service.scope.environment);
            let route = &service.route;
            // What is reached by addresses of its own alone takes nothing from where others are told apart by host.
            if route.published.is_empty() || !route.listen.is_empty() {
                let hosts = table.environments.entry(environment).or_default();
                hosts.add(number, &route.hosts, &route.redirect_hosts, &route.path);
            }
            table.only.insert(service.scope.clone(), number);
            table.services.push(ready);
        }
        for listener in source.listeners.iter().filter(|listener| listener.tls) {
            let port = address(&listener.address)?.port();
            table.tls_ports.entry(listener.environment.clone()).or_insert(port);
        }
        for listener in &source.listeners {
            address(&listener.address)?;
        }
        table.source = source;
        Ok(table)
    }

    fn service(
        &mut self,
        service: &route::Service,
        generation: u64,
        files: &Files,
        pools: &mut HashMap<SocketAddr, usize>,
        addresses: &mut Vec<SocketAddr>,
    ) -> Result<Service, String> {
        let mut sides = Vec::new();
        for (revision, side) in &service.sides {
            let mut members = Vec::new();
            for (id, text) in &side.instances {
                let address = address(text).map_err(|why| format!("instance {id} of {}: {why}", service.scope))?;
                let instance = self.instance(id, address);
                let pool = *pools.entry(address).or_insert_with(|| {
                    addresses.push(address);
                    addresses.len() - 1
                });
                members.push(Member { instance, pool });
            }
            let key = (service.scope.clone(), revision.clone());
            let (counters, since) = self.sides.entry(key).or_insert_with(|| (Arc::default(), generation)).clone();
            sides.push(Side { revision: revision.clone(), weight: side.weight, members, counters, since });
        }
        let pages = service.route.error_pages.iter();
        Ok(Service {
            scope: service.scope.clone(),
            held: self.held.entry(service.scope.clone()).or_default().clone(),
            pages: pages.filter_map(|(status, path)| Some((*status, files.pages.get(path)?.clone()))).collect(),
            cookie: format!("deployctl-{}", service.scope.app),
            config: service.clone(),
            sides,
        })
    }

    fn instance(&mut self, id: &InstanceId, address: SocketAddr) -> Arc<Instance> {
        let fresh = || Instance {
            id: id.clone(),
            address,
            in_flight: AtomicU64::new(0),
            leaving: AtomicBool::new(false),
            cut_at: AtomicU64::new(u64::MAX),
            unhealthy: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            out_until: AtomicU64::new(0),
        };
        self.instances.entry((id.clone(), address)).or_insert_with(|| Arc::new(fresh())).clone()
    }

    /// After `table` took the place of `previous`: what left begins to drain, what came back stops, what is gone goes.
    pub(crate) fn settle(&mut self, table: &Table, previous: &Table, now: Instant) {
        let (drains, present) = (drains(previous), drains(table));
        for (key, instance) in &self.instances {
            if present.contains_key(key) {
                instance.leaving.store(false, SeqCst);
                instance.cut_at.store(u64::MAX, SeqCst);
            } else if !instance.leaving.swap(true, SeqCst) {
                let drain = drains.get(key).copied().unwrap_or_default();
                instance.cut_at.store(self.clock.ms(now + drain), SeqCst);
            }
        }
        self.sweep();
        let live: std::collections::HashSet<_> = table
            .services
            .iter()
            .flat_map(|service| service.sides.iter().map(|side| (service.scope.clone(), side.revision.clone())))
            .collect();
        let mut old: Vec<_> = self
            .sides
            .iter()
            .filter(|(key, _)| !live.contains(key))
            .map(|(key, (_, since))| (*since, key.clone()))
            .collect();
        old.sort_by_key(|(since, _)| std::cmp::Reverse(*since));
        for (_, key) in old.into_iter().skip(OLD_SIDES_MAX) {
            self.sides.remove(&key);
        }
        self.held.retain(|scope, held| table.only.contains_key(scope) || held.load(SeqCst) > 0);
    }

    /// Forgets instances that left and have nothing in flight.
    pub(crate) fn sweep(&mut self) {
        self.instances.retain(|_, instance| {
            !instance.leaving.load(SeqCst) || instance.in_flight.load(SeqCst) > 0 || Arc::strong_count(instance) > 1
        });
    }

    /// All instances that are known, those that leave included.
    pub(crate) fn instances(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.instances.values()
    }

    /// Counters of all revisions, by scope.
    pub(crate) fn stats(&self) -> BTreeMap<String, BTreeMap<Revision, route::SideStats>> {
        let mut all: BTreeMap<String, BTreeMap<_, _>> = BTreeMap::new();
        for ((scope, revision), (counters, _)) in &self.sides {
            all.entry(scope.to_string()).or_default().insert(revision.clone(), counters.read());
        }
        all
    }

    /// Requests held, by scope.
    pub(crate) fn held(&self) -> BTreeMap<String, u64> {
        self.held.iter().map(|(scope, held)| (scope.to_string(), held.load(Relaxed))).filter(|(_, n)| *n > 0).collect()
    }
}

type Key = (InstanceId, SocketAddr);

/// The instances of a table, and how long what they carry may go on once they leave.
fn drains(table: &Table) -> HashMap<Key, Duration> {
    let mut all = HashMap::new();
    for service in &table.services {
        for member in service.sides.iter().flat_map(|side| &side.members) {
            all.insert((member.instance.id.clone(), member.instance.address), service.config.drain.0);
        }
    }
    all
}

/// Reads `IP:PORT`.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let text = text.strip_prefix("http://").unwrap_or(text);
    text.parse().map_err(|_| format!("`{text}` is not IP:PORT"))
}

fn read_pages(source: &RouteTable) -> Result<Files, String> {
    let mut files = Files::default();
    for service in &source.services {
        for (status, path) in &service.route.error_pages {
            let length = std::fs::metadata(path)
                .map_err(|e| format!("the error page {path} for status {status} of {}: {e}", service.scope))?
                .len();
            if length > crate::limits::PAGE_BYTES_MAX {
                return Err(format!("the error page {path} for status {status} of {} is too large", service.scope));
            }
            let bytes = std::fs::read(path)
                .map_err(|e| format!("the error page {path} for status {status} of {}: {e}", service.scope))?;
            files.pages.insert(path.clone(), bytes.into());
        }
    }
    Ok(files)
}
