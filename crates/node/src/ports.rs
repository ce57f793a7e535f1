//! Ports of instances: from a range of their own, each reserved by what is written in an instance's record, so that two
//! instances never get the same one and nobody's outgoing connection takes it.

use crate::layout::Layout;
use crate::records;
use deployctl_core::fault::{Fault, FaultKind, Retry};
use deployctl_core::id::{Scope, Sha256Hex};
use deployctl_runner::trouble::trouble;
use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The range that is used unless another one is asked for, cut so that it does not meet the kernel's ephemeral ports.
pub(crate) fn default_range() -> RangeInclusive<u16> {
    let ephemeral = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = ephemeral.split_ascii_whitespace().filter_map(|text| text.parse().ok());
    outside(20_000..=29_999, bounds.next().unwrap_or(32_768), bounds.next().unwrap_or(60_999))
}

fn outside(wanted: RangeInclusive<u16>, low: u16, high: u16) -> RangeInclusive<u16> {
    let (start, end) = (*wanted.start(), *wanted.end());
    if high < start || low > end {
        return wanted;
    }
    let below = start.max(1024)..=end.min(low.saturating_sub(1));
    if below.len() >= 1000 {
        return below;
    }
    let all_below = 1024..=low.saturating_sub(1).max(1024);
    let above = high.saturating_add(1)..=u16::MAX;
    if all_below.len() >= above.len() { all_below } else { above }
}

/// Hands out ports.
#[derive(Debug)]
pub(crate) struct Ports {
    range: RangeInclusive<u16>,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    by_port: HashMap<u16, String>,
    stable: BTreeMap<String, u16>,
}

impl Ports {
    /// Ports of `range`, minus the stable ones that the state knows.
    pub(crate) fn open(layout: &Layout, range: RangeInclusive<u16>) -> Result<Self, Fault> {
        let path = layout.stable_ports();
        let stable: Option<BTreeMap<String, u16>> =
            records::read(&path).map_err(|e| trouble("the stable ports cannot be read from", &path, &e))?;
        let stable = stable.unwrap_or_default();
        let by_port = stable.iter().map(|(key, port)| (*port, key.clone())).collect();
        Ok(Self { range, taken: Mutex::new(Taken { by_port, stable }) })
    }

    /// Notes that `owner`, whose record says so, has `port`.
    pub(crate) fn note(&self, port: u16, owner: &str) {
        self.lock().by_port.entry(port).or_insert_with(|| owner.into());
    }

    /// Gives back what `owner` has; stable ports stay.
    pub(crate) fn free(&self, owner: &str) {
        self.lock().by_port.retain(|_, has| has != owner);
    }

    /// Reserves a port for `owner` on which nobody listens. The search begins at a place that depends on `seed`, so
    /// that two states on one machine seldom ask for the same.
    pub(crate) fn reserve(&self, owner: &str, seed: &str) -> Result<u16, Fault> {
        self.lock().pick(&self.range, owner, seed)
    }

    /// The port of `slot` of a scope, the same for good.
    pub(crate) fn stable(&self, layout: &Layout, scope: &Scope, slot: u32, seed: &str) -> Result<u16, Fault> {
        let key = if slot == 0 { scope.to_string() } else { format!("{scope}#{slot}") };
        let mut taken = self.lock();
        if let Some(port) = taken.stable.get(&key) {
            return Ok(*port);
        }
        let port = taken.pick(&self.range, &key, seed)?;
        taken.stable.insert(key.clone(), port);
        let path = layout.stable_ports();
        if let Err(error) = records::write_durable(&path, &taken.stable) {
            taken.stable.remove(&key);
            taken.by_port.remove(&port);
            return Err(trouble("the stable port cannot be written to", &path, &error));
        }
        Ok(port)
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn pick(&mut self, range: &RangeInclusive<u16>, owner: &str, seed: &str) -> Result<u16, Fault> {
        let count = range.len();
        let digest = Sha256Hex::of(format!("{seed}\0{owner}").as_bytes());
        let first = usize::from_str_radix(&digest.as_str()[..8], 16).unwrap_or(0) % count.max(1);
        for step in 0..count {
            let offset = u16::try_from((first + step) % count).unwrap_or(0);
            let port = range.start() + offset;
            if !self.by_port.contains_key(&port) && nobody_listens(port) {
                self.by_port.insert(port, owner.into());
                return Ok(port);
            }
        }
        let message = format!("no port from {} to {} is free for {owner}", range.start(), range.end());
        Err(Fault { retry: Retry::Soon, ..Fault::refused(FaultKind::Platform, message) })
    }
}

/// Whether the port can be bound now.
pub(crate) fn nobody_listens(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use deployctl_core::id::{AppName, EnvName, ProjectName, RegionName};

    #[test]
    fn the_range_keeps_clear_of_ephemeral_ports() {
        assert_eq!(outside(20_000..=29_999, 32_768, 60_999), 20_000..=29_999);
        assert_eq!(outside(20_000..=29_999, 25_000, 60_999), 20_000..=24_999);
        assert_eq!(outside(20_000..=29_999, 15_000, 65_000), 1024..=14_999);
        assert_eq!(outside(20_000..=29_999, 1024, 40_000), 40_001..=65_535);
    }

    #[test]
    fn taken_ports_are_not_handed_out_and_stable_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        let scope = Scope {
            project: ProjectName::new("shop").unwrap(),
            environment: EnvName::new("dev").unwrap(),
            region: RegionName::default_region(),
            app: AppName::new("db").unwrap(),
        };
        // Outside the ephemeral range, where others come and go.
        let listener = (10_000..12_000).find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).unwrap();
        let busy = listener.local_addr().unwrap().port();
        let range = busy..=busy.saturating_add(3);
        let ports = Ports::open(&layout, range.clone()).unwrap();
        let one = ports.reserve("a", "seed").unwrap();
        assert_ne!(one, busy, "somebody listens there");
        let stable = ports.stable(&layout, &scope, 0, "seed").unwrap();
        let again = Ports::open(&layout, range.clone()).unwrap();
        assert_eq!(again.stable(&layout, &scope, 0, "other").unwrap(), stable);
        again.note(one, "a");
        let rest: Vec<u16> = std::iter::from_fn(|| again.reserve("b", "seed").ok()).collect();
        assert!(!rest.contains(&one) && !rest.contains(&stable) && !rest.contains(&busy), "{rest:?}");
        let full = again.reserve("c", "seed").unwrap_err().message;
        assert_eq!(full, format!("no port from {} to {} is free for c", range.start(), range.end()));
        again.free("a");
        assert_eq!(again.reserve("c", "seed").unwrap(), one);
    }
}
