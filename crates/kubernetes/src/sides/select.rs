//! What selects the pods of a Deployment, and labels that only the other side has.

use super::{SIDE, called, of_kind};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The labels of a workload's pods.
pub(super) fn labels(workload: &Value) -> &Value {
    &workload["spec"]["template"]["metadata"]["labels"]
}

/// Whether labels by name select pods with these. No label at all selects nothing.
pub(super) fn selects(wanted: &Value, labels: &Value) -> bool {
    let Some(wanted) = wanted.as_object().filter(|wanted| !wanted.is_empty()) else { return false };
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// The Services of a release that lead to a workload.
pub(crate) fn services<'a>(objects: &'a [Value], workload: &'a Value) -> impl Iterator<Item = &'a Value> {
    of_kind(objects, "", "Service").filter(|service| selects(&service["spec"]["selector"], labels(workload)))
}

/// The budgets that are about a workload.
pub(super) fn budgets<'a>(objects: &'a [Value], workload: &'a Value) -> impl Iterator<Item = &'a Value> {
    let about = |budget: &&Value| {
        let selector = &budget["spec"]["selector"];
        selector["matchExpressions"].is_null() && selects(&selector["matchLabels"], labels(workload))
    };
    of_kind(objects, "policy", "PodDisruptionBudget").filter(about)
}

/// The labels of a Deployment's pods by which anything of the release selects them.
pub(super) fn keys(objects: &[Value], deployment: &Value) -> BTreeSet<String> {
    let own = &deployment["spec"]["selector"]["matchLabels"];
    let services = services(objects, deployment).map(|service| &service["spec"]["selector"]);
    let budgets = budgets(objects, deployment).map(|budget| &budget["spec"]["selector"]["matchLabels"]);
    let all = [own].into_iter().chain(services).chain(budgets);
    all.flat_map(|labels| labels.as_object().into_iter().flatten()).map(|(key, _)| key.clone()).collect()
}

/// Labels as pods of the side have them: what selects the stable ones has other values.
pub(super) fn relabelled(labels: &Value, keys: &BTreeSet<String>, mark: &str) -> Value {
    let mut labels = labels.as_object().cloned().unwrap_or_default();
    for (_, value) in labels.iter_mut().filter(|(key, _)| keys.contains(*key)) {
        *value = Value::from(called(value.as_str().unwrap_or_default(), mark));
    }
    Value::Object(labels)
}

/// Labels with the mark of the side besides.
pub(super) fn marked(labels: &Value, mark: &str) -> Value {
    let mut labels: Map<String, Value> = labels.as_object().cloned().unwrap_or_default();
    labels.insert(SIDE.to_owned(), Value::from(mark));
    Value::Object(labels)
}

/// Rewrites, wherever it stands below, each selector that means the stable pods.
pub(super) fn reselect(value: &mut Value, pods: &Value, keys: &BTreeSet<String>, mark: &str) {
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields.iter_mut() {
                match key == "matchLabels" && selects(inner, pods) {
                    true => *inner = relabelled(inner, keys, mark),
                    false => reselect(inner, pods, keys, mark),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| reselect(item, pods, keys, mark)),
        _ => {}
    }
}
