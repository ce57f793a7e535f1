//! What still uses names that no release needs any more.

use serde_json::Value;
use std::collections::BTreeSet;

/// Every text in the `spec` of these objects, names of Secrets among them. What has ended, or has no pods and is only
/// remembered, uses nothing; nor does what is told to end: it has what it needs.
pub fn used(objects: &[Value]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for object in objects.iter().filter(|object| !is_over(object)) {
        texts(&object["spec"], &mut found);
    }
    found
}

fn is_over(object: &Value) -> bool {
    let status = &object["status"];
    if !object["metadata"]["deletionTimestamp"].is_null() {
        return true;
    }
    match object["kind"].as_str() {
        Some("Pod") => matches!(status["phase"].as_str(), Some("Succeeded" | "Failed")),
        Some("ReplicaSet") => object["spec"]["replicas"] == 0 && status["replicas"].as_u64().unwrap_or(0) == 0,
        Some("Job") => !status["completionTime"].is_null(),
        _ => false,
    }
}

fn texts(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            found.insert(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(fields) => fields.values().for_each(|value| texts(value, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_runs_uses_what_it_names() {
        let of = |kind: &str, name: &str, more: Value, status: Value| {
            let mut spec = json!({ "template": { "spec": { "volumes": [{ "secret": { "secretName": name } }] } } });
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "kind": kind, "metadata": { "name": "x" }, "spec": spec, "status": status })
        };
        let none = || json!({});
        let objects = [
            of("Pod", "runs", none(), json!({ "phase": "Running" })),
            of("Pod", "ended", none(), json!({ "phase": "Succeeded" })),
            of("Pod", "failed", none(), json!({ "phase": "Failed" })),
            of("ReplicaSet", "old", json!({ "replicas": 0 }), json!({ "replicas": 0 })),
            of("ReplicaSet", "leaving", json!({ "replicas": 0 }), json!({ "replicas": 1 })),
            of("ReplicaSet", "current", json!({ "replicas": 1 }), none()),
            of("Job", "done", none(), json!({ "completionTime": "2026-11-21T10:00:00Z" })),
            of("Job", "works", none(), none()),
            of("CronJob", "later", none(), none()),
        ];
        let names: Vec<String> = used(&objects).into_iter().collect();
        assert_eq!(names, ["current", "later", "leaving", "runs", "works"]);
    }
}
