//! From a service to the instance that takes a request, counted in.

use crate::balance;
use crate::flight::Flight;
use crate::headers;
use crate::table::{Service, Side};
use crate::upstream::pool::Pool;
use crate::worker::{Local, Worker};
use deployctl_core::config::Sticky;
use deployctl_core::id::Revision;
use http::HeaderMap;
use std::rc::Rc;
use std::time::Instant;

/// What a client asks for a side by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// This side.
    Forced(usize),
    /// The side of this bucket.
    Bucket(u32),
    /// Any; a bucket is to be given to the client.
    NewBucket,
    /// Any.
    None,
}

/// Reads the wish of a request; an error if a side is asked for that there is not.
pub(crate) fn wish(service: &Service, headers: &HeaderMap) -> Result<Wish, ()> {
    if let Some(text) = headers.get(headers::FORCE) {
        return text
            .to_str()
            .ok()
            .and_then(|text| forced(&service.sides, service.config.newest.as_ref(), text))
            .map(Wish::Forced)
            .ok_or(());
    }
    Ok(match &service.config.sticky {
        None => Wish::None,
        Some(Sticky::Header(name)) => match headers.get(name.as_str()) {
            Some(value) => Wish::Bucket(balance::bucket_of_text(value.as_bytes())),
            None => Wish::None,
        },
        Some(Sticky::Cookie) => {
            let bucket = headers::cookie(headers, &service.cookie).and_then(|text| text.parse().ok());
            match bucket.filter(|bucket| *bucket < balance::BUCKETS) {
                Some(bucket) => Wish::Bucket(bucket),
                None if service.sides.iter().filter(|side| side.effective() > 0).count() > 1 => Wish::NewBucket,
                None => Wish::None,
            }
        }
    })
}

/// The side that a tester asks for: `new`, `old`, or the beginning of a release's id, at least four characters.
fn forced(sides: &[Side], newest: Option<&Revision>, text: &str) -> Option<usize> {
    let with_instances = || sides.iter().enumerate().filter(|(_, side)| !side.members.is_empty());
    // Where the table does not say it, of two seen at once the one with less traffic is the newer.
    let age = |side: &Side| (newest == Some(&side.revision), side.since, std::cmp::Reverse(side.weight));
    match text {
        "new" => with_instances().max_by_key(|(_, side)| age(side)).map(|(at, _)| at),
        "old" => with_instances().min_by_key(|(_, side)| age(side)).map(|(at, _)| at),
        prefix if prefix.len() >= 4 => {
            with_instances().find(|(_, side)| side.revision.to_string().starts_with(prefix)).map(|(at, _)| at)
        }
        _ => None,
    }
}

/// An instance that takes a request.
#[derive(Debug)]
pub(crate) struct Picked {
    pub(crate) side: usize,
    pub(crate) flight: Flight,
    pub(crate) pool: Rc<Pool>,
    /// The bucket that the client is to keep.
    pub(crate) bucket: Option<u32>,
}

/// Picks by `local`; none if no side with a share has an instance. The caller looks again whether `local` is still the
/// newest table, now that the request is counted.
pub(crate) fn pick(
    worker: &Rc<Worker>,
    local: &Local,
    number: usize,
    wish: Wish,
    tried: &[std::net::SocketAddr],
    (now, deadline): (Instant, Instant),
) -> Option<Picked> {
    let service = &local.table.services[number];
    let weights = service.sides.iter().map(Side::effective);
    let choose = || balance::smooth(weights.clone(), &mut local.choice.borrow_mut()[number]);
    let (side, bucket) = match wish {
        Wish::Forced(side) => (side, None),
        Wish::Bucket(bucket) => (balance::of_bucket(weights.clone(), bucket)?, None),
        Wish::NewBucket => {
            let side = choose()?;
            (side, balance::bucket_of(weights.clone(), side, worker.random()))
        }
        Wish::None if service.sides.len() == 1 => {
            (if service.sides[0].effective() > 0 { 0 } else { return None }, None)
        }
        Wish::None => (choose()?, None),
    };
    let members = &service.sides.get(side)?.members;
    let at = match members.len() {
        0 => return None,
        1 => 0,
        count => {
            let turn = local.turn.get().wrapping_add(1);
            local.turn.set(turn);
            let now_ms = worker.shared.clock.ms(now);
            let instance = |at: usize| &members[at].instance;
            balance::least(
                count,
                turn % count,
                |at| instance(at).in_flight.load(std::sync::atomic::Ordering::Relaxed),
                |at| instance(at).fit(now_ms),
                |at| tried.contains(&instance(at).address),
            )?
        }
    };
    let member = &members[at];
    let flight = Flight::begin(worker, &member.instance, Some(deadline));
    Some(Picked { side, flight, pool: local.pools[member.pool].clone(), bucket })
}
