//! The objects of a side: copies of those of a release, under names of their own.

use super::pick::config_names;
use super::select::{budgets, keys, labels, marked, relabelled, reselect, selects, services};
use super::{Means, Sided, Sizes, called, deployment, name_of, of_kind, scaler};
use crate::jobs::renamed;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What of a Service is not its own side's business: what is given to it once, or is an entrance from elsewhere.
const OF_SERVICE: &[&str] =
    &["ports", "publishNotReadyAddresses", "sessionAffinity", "sessionAffinityConfig", "internalTrafficPolicy"];

/// The objects of the side, in the order of the release; what they were made from comes with each. `mark` tells this side from every other.
pub fn made(new: &[Value], sided: &[Sided], sizes: &Sizes, mark: &str) -> Vec<(Value, Value)> {
    let mut all = Vec::new();
    let mut config = BTreeSet::new();
    for one in sided {
        let Some(deployment) = deployment(new, &one.name) else { continue };
        config.extend(config_names(&deployment["spec"]["template"]["spec"]));
        let keys = match one.means {
            Means::Ratio => BTreeSet::new(),
            Means::Route | Means::Switch => keys(new, deployment),
        };
        let size = sizes.get(&one.name).copied();
        all.push((doubled(new, deployment, &keys, size, mark), deployment.clone()));
        if one.means == Means::Ratio {
            // Its pods have all the labels of the others: Services, budgets and policies are about both.
            continue;
        }
        all.extend(services(new, deployment).map(|service| (entrance(service, &keys, mark), service.clone())));
        all.extend(budgets(new, deployment).map(|budget| (about(budget, deployment, &keys, mark), budget.clone())));
        let policies = of_kind(new, "networking.k8s.io", "NetworkPolicy");
        let policies = policies.filter(|policy| means_pods(&policy["spec"], labels(deployment)));
        all.extend(policies.map(|policy| (about(policy, deployment, &keys, mark), policy.clone())));
        all.extend(
            scaler(new, "Deployment", &one.name).map(|scaler| (scaling(scaler, &one.name, size, mark), scaler.clone())),
        );
    }
    let maps = of_kind(new, "", "ConfigMap").filter(|map| config.contains(name_of(map)));
    all.extend(maps.map(|map| (named(map, mark), map.clone())));
    all
}

fn named(object: &Value, mark: &str) -> Value {
    let mut copy = object.clone();
    copy["metadata"]["name"] = Value::from(called(name_of(object), mark));
    copy["metadata"]["labels"] = marked(&copy["metadata"]["labels"], mark);
    copy
}

fn doubled(new: &[Value], deployment: &Value, keys: &BTreeSet<String>, size: Option<u32>, mark: &str) -> Value {
    let mut copy = named(deployment, mark);
    let pods = labels(deployment).clone();
    let spec = &mut copy["spec"];
    let selector = &spec["selector"]["matchLabels"];
    spec["selector"]["matchLabels"] = marked(&relabelled(selector, keys, mark), mark);
    let template = &mut spec["template"];
    template["metadata"]["labels"] = marked(&relabelled(&pods, keys, mark), mark);
    // Such as that pods of one kind are to be on different nodes.
    reselect(&mut template["spec"], &pods, keys, mark);
    for map in of_kind(new, "", "ConfigMap") {
        renamed(&mut template["spec"], name_of(map), &called(name_of(map), mark));
    }
    if let Some(size) = size {
        spec["replicas"] = Value::from(size);
    }
    copy
}

/// A Service within the cluster, that leads to the side alone.
fn entrance(service: &Value, keys: &BTreeSet<String>, mark: &str) -> Value {
    let mut copy = named(service, mark);
    let from = &service["spec"];
    let mut spec = json!({ "selector": selector(service, keys, mark) });
    for key in OF_SERVICE.iter().filter(|key| !from[**key].is_null()) {
        spec[*key] = from[*key].clone();
    }
    if from["clusterIP"] == "None" {
        spec["clusterIP"] = Value::from("None");
    }
    for port in spec["ports"].as_array_mut().into_iter().flatten() {
        if let Some(port) = port.as_object_mut() {
            port.remove("nodePort");
        }
    }
    copy["spec"] = spec;
    copy
}

/// The selector of a Service that leads to the side alone.
pub(super) fn selector(service: &Value, keys: &BTreeSet<String>, mark: &str) -> Value {
    marked(&relabelled(&service["spec"]["selector"], keys, mark), mark)
}

fn about(object: &Value, deployment: &Value, keys: &BTreeSet<String>, mark: &str) -> Value {
    let mut copy = named(object, mark);
    reselect(&mut copy["spec"], labels(deployment), keys, mark);
    copy
}

fn means_pods(value: &Value, pods: &Value) -> bool {
    match value {
        Value::Object(fields) => {
            fields.iter().any(|(key, inner)| (key == "matchLabels" && selects(inner, pods)) || means_pods(inner, pods))
        }
        Value::Array(items) => items.iter().any(|item| means_pods(item, pods)),
        _ => false,
    }
}

fn scaling(scaler: &Value, name: &str, size: Option<u32>, mark: &str) -> Value {
    let mut copy = named(scaler, mark);
    copy["spec"]["scaleTargetRef"]["name"] = Value::from(called(name, mark));
    if let Some(size) = size {
        let most = copy["spec"]["maxReplicas"].as_u64().unwrap_or(0).max(u64::from(size)).max(1);
        copy["spec"]["minReplicas"] = Value::from(size.max(1));
        copy["spec"]["maxReplicas"] = Value::from(most);
    }
    copy
}
