//! How Services and routes are to be, so that a side has its share of the traffic.

use super::made::selector;
use super::select::{keys, marked, services};
use super::{Means, Sided, backends, called, deployment, is_backend, is_route, name_of, of_kind};
use deployctl_core::desired::FULL;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// No weight of a route is larger (Gateway API).
const WEIGHT_MAX: u64 = 1_000_000;

/// The Services and routes of the stable release as they lead `share` basis points of the traffic to the side, which is of the
/// release `new`. What has all of the traffic says how it is led.
pub fn led(stable: &[Value], new: &[Value], sided: &[Sided], mark: &str, share: u32) -> Vec<Value> {
    let base = if share >= FULL { new } else { stable };
    let of_base = |object: &Value| {
        let is_same = |other: &&Value| other["kind"] == object["kind"] && name_of(other) == name_of(object);
        base.iter().find(is_same).unwrap_or(object).clone()
    };
    let mut routed = BTreeSet::new();
    let mut all: BTreeMap<String, Value> = BTreeMap::new();
    for one in sided {
        let Some(deployment) = deployment(new, &one.name) else { continue };
        let keys = match one.means {
            Means::Ratio => BTreeSet::new(),
            Means::Route | Means::Switch => keys(new, deployment),
        };
        for service in services(new, deployment) {
            let Some(before) = of_kind(stable, "", "Service").find(|before| name_of(before) == name_of(service)) else {
                continue;
            };
            if one.means == Means::Route && is_routed(stable, name_of(service)) {
                routed.insert(name_of(service).to_owned());
                continue;
            }
            let mut then = of_base(before);
            if share >= FULL {
                then["spec"]["selector"] = match one.means {
                    Means::Ratio => marked(&service["spec"]["selector"], mark),
                    Means::Route | Means::Switch => selector(service, &keys, mark),
                };
            }
            all.insert(name_of(service).to_owned(), then);
        }
    }
    let routes = stable.iter().filter(|object| is_route(object));
    let routes = routes.filter(|route| backends(route).any(|to| routed.iter().any(|name| is_backend(to, name))));
    let routes = routes.map(|route| weighted(of_base(route), &routed, mark, share));
    all.into_values().chain(routes).collect()
}

fn is_routed(objects: &[Value], service: &str) -> bool {
    objects.iter().filter(|object| is_route(object)).flat_map(backends).any(|to| is_backend(to, service))
}

/// The route with each of these Services and its side in place of it.
fn weighted(mut route: Value, routed: &BTreeSet<String>, mark: &str, share: u32) -> Value {
    if share == 0 {
        return route;
    }
    for rule in route["spec"]["rules"].as_array_mut().into_iter().flatten() {
        let Some(refs) = rule["backendRefs"].as_array_mut() else { continue };
        if !refs.iter().any(|to| routed.iter().any(|name| is_backend(to, name))) {
            continue;
        }
        let mut then: Vec<(Value, u64)> = Vec::new();
        for to in refs.iter() {
            let weight = to["weight"].as_u64().unwrap_or(1);
            let Some(name) = routed.iter().find(|name| is_backend(to, name)) else {
                then.push((to.clone(), weight * u64::from(FULL)));
                continue;
            };
            let mut side = to.clone();
            side["name"] = Value::from(called(name, mark));
            if share < FULL {
                then.push((to.clone(), weight * u64::from(FULL - share)));
            }
            then.push((side, weight * u64::from(share)));
        }
        let by = divisor(then.iter().map(|(_, weight)| *weight));
        *refs = then
            .into_iter()
            .map(|(mut to, weight)| {
                to["weight"] = Value::from(weight / by);
                to
            })
            .collect();
    }
    route
}

/// What all weights can be divided by, and have to be where one of them is too large.
fn divisor(weights: impl Iterator<Item = u64> + Clone) -> u64 {
    let common = weights.clone().fold(0, gcd).max(1);
    let most = weights.max().unwrap_or(0);
    if most / common <= WEIGHT_MAX { common } else { most.div_ceil(WEIGHT_MAX) }
}

fn gcd(one: u64, other: u64) -> u64 {
    if other == 0 { one } else { gcd(other, one % other) }
}
