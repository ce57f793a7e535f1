//! StatefulSets: two of one cannot be beside each other, so some of its pods become those of the new release in their places, the
//! highest ordinals first, by the partition of its rolling update.

use super::pick::{config_names, differs};
use super::select::{labels, selects, services};
use super::size::around;
use super::{SIDE, TOLERANCE, name_of, of_kind, scaler};
use deployctl_core::desired::FULL;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A StatefulSet, some of whose pods are of the release beside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parted {
    /// By the name that both releases give it.
    pub name: String,
    /// How many pods it has.
    pub of: u32,
    /// So many of them, the highest ordinals, are of the release beside, or are on the way to it.
    pub new: u32,
}

impl Parted {
    /// The StatefulSet with the share of its pods that comes nearest to `share`.
    pub fn at(name: &str, of: u32, share: u32) -> Self {
        Self { name: name.to_owned(), of, new: nearest(of, share) }
    }
}

/// What keeps the pods of such a StatefulSet from being in both releases, in words.
const CLAIMS: &str = "takes requests and changes, and two of it cannot run beside each other: its pods have names and claims of their \
                      own; `strategy: canary` replaces a share of them in their places (by partition), `strategy: rolling` all of them";
/// What cannot change in place.
const FIXED: &[&str] = &["selector", "serviceName", "volumeClaimTemplates", "podManagementPolicy"];

/// The StatefulSets that take requests and whose pods are others in the new release. `in_place`: whether they may be replaced in their
/// places. The error says what cannot be, for a person.
pub fn parted(old: &[Value], new: &[Value], in_place: bool) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for after in of_kind(new, "apps", "StatefulSet").filter(|set| services(new, set).next().is_some()) {
        let name = name_of(after);
        let Some(before) = set(old, name).filter(|before| differs(before, old, after, new)) else { continue };
        let checked = if in_place { check((before, old), (after, new)) } else { Err(CLAIMS.into()) };
        checked.map_err(|why| format!("StatefulSet/{name} {why}"))?;
        all.push(name.to_owned());
    }
    Ok(all)
}

fn set<'a>(objects: &'a [Value], name: &'a str) -> Option<&'a Value> {
    of_kind(objects, "apps", "StatefulSet").find(|one| name_of(one) == name)
}

/// The ConfigMaps that pods of these StatefulSets read, by the names that the release gives them.
pub fn config_of(new: &[Value], names: &[String]) -> BTreeSet<String> {
    let sets = names.iter().filter_map(|name| set(new, name));
    sets.flat_map(|set| config_names(&set["spec"]["template"]["spec"])).collect()
}

fn check((before, old): (&Value, &[Value]), (after, new): (&Value, &[Value])) -> Result<(), String> {
    let name = name_of(after);
    for strategy in [before, after].map(|one| &one["spec"]["updateStrategy"]) {
        if strategy["type"] == "OnDelete" {
            return Err("has `updateStrategy: OnDelete`, so the cluster replaces none of its pods".into());
        }
        if strategy["rollingUpdate"]["partition"].as_u64().is_some_and(|partition| partition > 0) {
            return Err("says a `partition` itself, and a canary goes by that".into());
        }
    }
    if let Some(field) = FIXED.iter().find(|field| before["spec"][**field] != after["spec"][**field]) {
        return Err(format!("changes in `{field}`, which cannot change in place, so no share of its pods can"));
    }
    if scaler(new, "StatefulSet", name).is_some() || scaler(old, "StatefulSet", name).is_some() {
        return Err(
            "has an autoscaler, which decides how many pods there are, so their number cannot stand for a share".into(),
        );
    }
    let data = |objects: &[Value], map: &str| {
        let map = of_kind(objects, "", "ConfigMap").find(|one| name_of(one) == map);
        map.map(|map| json!([map["data"], map["binaryData"]]))
    };
    for map in config_names(&after["spec"]["template"]["spec"]) {
        let was = data(old, &map);
        if was.is_some() && was != data(new, &map) {
            return Err(format!(
                "reads ConfigMap/{map}, which changes under its name, so pods of both versions would read the same; give it another name \
                 for other values, as Kustomize's `configMapGenerator` does"
            ));
        }
    }
    for service in services(old, before) {
        let called = name_of(service);
        if !selects(&service["spec"]["selector"], labels(after)) {
            return Err(format!("has other labels, and Service/{called} would not lead to its new pods"));
        }
        let then = of_kind(new, "", "Service").find(|then| name_of(then) == called);
        if then.is_some_and(|then| then["spec"]["ports"] != service["spec"]["ports"]) {
            return Err(format!(
                "is behind Service/{called}, whose ports change, and pods of both versions would be behind it"
            ));
        }
    }
    Ok(())
}

/// So many of `of` come nearest to a share: some and not all, where that can be.
fn nearest(of: u32, share: u32) -> u32 {
    match share {
        0 => 0,
        share if share >= FULL => of,
        share => {
            let product = u64::from(of) * u64::from(share) + u64::from(FULL / 2);
            let rounded = u32::try_from(product / u64::from(FULL)).unwrap_or(of);
            if of < 2 { rounded } else { rounded.clamp(1, of - 1) }
        }
    }
}

/// How many of `of` pods stand for a share; else the shares around it that can be.
pub fn divisible(of: u32, share: u32) -> Result<u32, Vec<u32>> {
    let part = |count: u32| {
        let part = (u64::from(FULL) * u64::from(count)).checked_div(u64::from(of)).unwrap_or(0);
        u32::try_from(part).unwrap_or(FULL)
    };
    let count = nearest(of, share);
    if (1..of).contains(&count) && part(count).abs_diff(share) <= TOLERANCE {
        return Ok(count);
    }
    Err(around(count, share, part))
}

/// The StatefulSets as they are, so that `share` basis points of their pods are of the release `new`: one that has all says how its are,
/// one that has none leaves them as the stable release says. In between it is the stable one's with the new template and a partition.
pub fn led_sets(stable: &[Value], new: &[Value], parted: &[Parted], mark: &str, share: u32) -> Vec<Value> {
    let led = |one: &Parted| {
        let (before, after) = (set(stable, &one.name)?, set(new, &one.name)?);
        Some(match share {
            0 => before.clone(),
            share if share >= FULL => marked(after.clone(), mark),
            _ => partitioned(before, after, one, mark),
        })
    };
    parted.iter().filter_map(led).collect()
}

fn partitioned(before: &Value, after: &Value, one: &Parted, mark: &str) -> Value {
    let mut then = before.clone();
    let spec = &mut then["spec"];
    spec["template"] = after["spec"]["template"].clone();
    spec["updateStrategy"]["type"] = "RollingUpdate".into();
    spec["updateStrategy"]["rollingUpdate"]["partition"] = one.of.saturating_sub(one.new).into();
    if !spec["replicas"].is_null() {
        // What somebody scaled it to since.
        spec["replicas"] = one.of.into();
    }
    marked(then, mark)
}

/// Says whose template it has. Only on the object: pods are as their release says.
fn marked(mut set: Value, mark: &str) -> Value {
    if !set["metadata"]["annotations"].is_object() {
        set["metadata"]["annotations"] = json!({});
    }
    set["metadata"]["annotations"][SIDE] = mark.into();
    set
}

/// How many of its pods do not answer at a time while they are replaced, as far as the StatefulSet says.
pub fn at_a_time(objects: &[Value], name: &str) -> String {
    match set(objects, name).map(|set| &set["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"]) {
        Some(Value::String(said)) => said.clone(),
        Some(Value::Number(said)) => said.to_string(),
        _ => "one".into(),
    }
}
