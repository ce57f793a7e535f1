//! The project's networks, and a service's place in them.

use crate::reader::At;
use deployctl_core::config::ComposeNetwork;
use std::collections::BTreeMap;

/// The networks of the project, by the name that the file has for them.
pub(crate) fn networks(top: &At<'_>) -> BTreeMap<String, ComposeNetwork> {
    let Some(all) = top.get("networks") else { return BTreeMap::new() };
    all.entries().into_iter().map(|(key, at)| (key.clone(), network(key, &at))).collect()
}

fn network(key: String, at: &At<'_>) -> ComposeNetwork {
    let mut network = ComposeNetwork { key, ..ComposeNetwork::default() };
    for (key, value) in at.entries() {
        match key.as_str() {
            "name" => network.name = value.text(),
            "external" => network.external = value.flag(),
            "driver" => network.driver = Some(value.text()),
            "driver_opts" => network.driver_opts = value.text_map(),
            "internal" => network.internal = value.flag(),
            "attachable" => network.attachable = value.flag(),
            "enable_ipv6" => network.ipv6 = value.flag(),
            "enable_ipv4" if value.flag() => {}
            "labels" => network.labels = value.text_map(),
            "ipam" => network.subnets = subnets(&value),
            key if key.starts_with("x-") => {}
            _ => value.not_built("take it out, or make the network by hand and say `external: true`"),
        }
    }
    if matches!(network.name.as_str(), "host" | "none") {
        at.not_built("each container needs an address of its own");
    }
    network
}

fn subnets(ipam: &At<'_>) -> Vec<(String, Option<String>)> {
    let mut all = Vec::new();
    for (key, value) in ipam.entries() {
        match key.as_str() {
            "driver" if value.text() == "default" => {}
            "config" => all.extend(value.items().iter().filter_map(subnet)),
            _ => value.not_built("make the network by hand and say `external: true`"),
        }
    }
    all
}

fn subnet(at: &At<'_>) -> Option<(String, Option<String>)> {
    for (key, value) in at.entries() {
        if !matches!(key.as_str(), "subnet" | "gateway") {
            value.not_built("`subnet` and `gateway` are");
        }
    }
    Some((at.get("subnet")?.text(), at.get("gateway").map(|at| at.text())))
}

/// A service's networks, each with the names by which it is reached there.
pub(crate) fn of_service(
    at: Option<At<'_>>,
    names: &[String],
    all: &BTreeMap<String, ComposeNetwork>,
) -> Vec<ComposeNetwork> {
    let mut found: Vec<(i64, ComposeNetwork)> = Vec::new();
    for (key, value) in at.map(|at| at.names()).unwrap_or_default() {
        let Some(network) = all.get(&key) else { continue };
        let (mut aliases, mut priority) = (names.to_vec(), 0);
        for (key, value) in value.entries() {
            match key.as_str() {
                "aliases" => aliases.extend(value.texts()),
                "priority" | "gw_priority" => priority = value.text().parse().unwrap_or(0),
                key if key.starts_with("x-") => {}
                _ => value.not_built("an address of its own does not go with versions side by side"),
            }
        }
        aliases.sort();
        aliases.dedup();
        found.push((-priority, ComposeNetwork { aliases, ..network.clone() }));
    }
    found.sort_by(|(a, x), (b, y)| (a, &x.key).cmp(&(b, &y.key)));
    found.into_iter().map(|(_, network)| network).collect()
}
