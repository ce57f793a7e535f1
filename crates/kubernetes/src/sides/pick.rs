//! Which Deployments are there on both sides, or why they cannot be.

use super::select::{labels, selects, services};
use super::{Means, Sided, backends, deployment, is_backend, is_route, name_of, of_kind, scaler};
use serde_json::Value;
use std::collections::BTreeSet;

/// The Deployments that take requests and whose pods are others in the new release. `split`: whether both sides are to have traffic
/// at once. The error says what cannot be, for a person.
pub fn pick(old: &[Value], new: &[Value], split: bool) -> Result<Vec<Sided>, String> {
    let mut all = Vec::new();
    for set in of_kind(new, "apps", "DaemonSet").filter(|set| services(new, set).next().is_some()) {
        let before = of_kind(old, "apps", "DaemonSet").find(|one| name_of(one) == name_of(set));
        if before.is_some_and(|before| differs(before, old, set, new)) {
            return Err(format!(
                "DaemonSet/{} takes requests and changes, and two of it cannot run beside each other: each node has one pod of it; \
                 `strategy: rolling` replaces them node by node",
                name_of(set)
            ));
        }
    }
    for one in of_kind(new, "apps", "Deployment").filter(|one| services(new, one).next().is_some()) {
        let Some(before) = deployment(old, name_of(one)) else { continue };
        if !differs(before, old, one, new) {
            continue;
        }
        let means = means(old, new, one, split);
        check(old, new, one, means)?;
        all.push(Sided { name: name_of(one).to_owned(), means });
    }
    Ok(all)
}

/// Whether pods of the one are others than those of the other, be it by what they are configured with.
pub(super) fn differs(before: &Value, old: &[Value], after: &Value, new: &[Value]) -> bool {
    let template = |of: &Value| of["spec"]["template"].clone();
    let config = |objects: &[Value], of: &Value| -> Vec<Value> {
        let named = config_names(&of["spec"]["template"]["spec"]);
        let maps = of_kind(objects, "", "ConfigMap").filter(|map| named.contains(name_of(map)));
        maps.map(|map| serde_json::json!([map["data"], map["binaryData"]])).collect()
    };
    template(before) != template(after) || config(old, before) != config(new, after)
}

/// The ConfigMaps that a pod reads.
pub(super) fn config_names(spec: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    below(spec, &mut found);
    found
}

fn below(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for key in ["configMap", "configMapRef", "configMapKeyRef"] {
                let name = fields.get(key).and_then(|to| to["name"].as_str());
                found.extend(name.map(str::to_owned));
            }
            fields.values().for_each(|value| below(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| below(item, found)),
        _ => {}
    }
}

fn means(old: &[Value], new: &[Value], one: &Value, split: bool) -> Means {
    let routed = |objects: &[Value]| {
        services(new, one).any(|service| {
            let routes = objects.iter().filter(|object| is_route(object));
            routes.flat_map(backends).any(|to| is_backend(to, name_of(service)))
        })
    };
    match () {
        () if routed(old) && routed(new) => Means::Route,
        () if split => Means::Ratio,
        () => Means::Switch,
    }
}

fn check(old: &[Value], new: &[Value], one: &Value, means: Means) -> Result<(), String> {
    let name = name_of(one);
    if !one["spec"]["selector"]["matchExpressions"].is_null() {
        return Err(format!(
            "Deployment/{name} selects its pods by expressions: no other labels can be made for a second one"
        ));
    }
    if let Some(claim) = single_claim(new, one) {
        return Err(format!(
            "Deployment/{name} has the claim {claim}, which only one node may have: two of it cannot run at once"
        ));
    }
    for service in services(new, one) {
        let kinds = ["Deployment", "StatefulSet", "DaemonSet"];
        let all = kinds.iter().flat_map(|kind| of_kind(new, "apps", kind));
        let mut others = all.filter(|other| selects(&service["spec"]["selector"], labels(other)) && *other != one);
        if let Some(other) = others.next() {
            let (service, kind, other) = (name_of(service), &other["kind"], name_of(other));
            let kind = kind.as_str().unwrap_or_default();
            return Err(format!(
                "Service/{service} leads to Deployment/{name} and {kind}/{other}: it cannot be led to one alone"
            ));
        }
        let before = of_kind(old, "", "Service").find(|before| name_of(before) == name_of(service));
        if means == Means::Ratio && before.is_some_and(|before| before["spec"]["ports"] != service["spec"]["ports"]) {
            let service = name_of(service);
            return Err(format!("the ports of Service/{service} change, and pods of both versions would be behind it"));
        }
    }
    match means {
        Means::Ratio if scaler(new, "Deployment", name).is_some() || scaler(old, "Deployment", name).is_some() => {
            Err(format!(
                "an autoscaler decides how many pods Deployment/{name} has, so their number cannot stand for a share of the traffic; \
             it takes an HTTPRoute"
            ))
        }
        _ => Ok(()),
    }
}

/// A claim that two pods on two nodes cannot have.
fn single_claim<'a>(objects: &'a [Value], one: &'a Value) -> Option<&'a str> {
    let volumes = one["spec"]["template"]["spec"]["volumes"].as_array().into_iter().flatten();
    let mut claims = volumes.filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str());
    claims.find(|name| {
        let claim = of_kind(objects, "", "PersistentVolumeClaim").find(|claim| name_of(claim) == *name);
        let modes = claim.and_then(|claim| claim["spec"]["accessModes"].as_array());
        let single = |mode: &Value| mode.as_str().is_some_and(|mode| mode.starts_with("ReadWriteOnce"));
        modes.is_some_and(|modes| modes.iter().all(single))
    })
}
