//! How far workloads have come, and how long they are given for it.

use crate::object::group_of;
use serde_json::Value;
use std::time::Duration;

/// What is counted of a status: pods of the current version, and those that are available.
const COUNTS: &[&str] =
    &["updatedReplicas", "availableReplicas", "updatedNumberScheduled", "numberAvailable", "succeeded", "ready"];

/// A number that grows while pods come up, over all objects. That it is larger than ever before is progress; that it falls and
/// rises again is none: so do pods that crash.
pub fn of(objects: &[Value]) -> u64 {
    let counts = |object: &Value| COUNTS.iter().filter_map(|name| object["status"][*name].as_u64()).sum::<u64>();
    objects.iter().filter(|object| is_cause(object) && !is_of_before(object)).map(counts).sum()
}

/// Whether its status is about what it was before it was changed: nothing of what is to come up now.
fn is_of_before(object: &Value) -> bool {
    let (wanted, seen) = (&object["metadata"]["generation"], &object["status"]["observedGeneration"]);
    matches!((wanted.as_u64(), seen.as_u64()), (Some(wanted), Some(seen)) if seen < wanted)
}

/// Whether trouble of such an object is its own, and no consequence of others: a budget is in trouble because pods are.
pub fn is_cause(object: &Value) -> bool {
    let (group, kind) = (group_of(object["apiVersion"].as_str().unwrap_or_default()), object["kind"].as_str());
    matches!(group, "apps" | "batch")
        || matches!((group, kind), ("", Some("Pod" | "PersistentVolumeClaim" | "ReplicationController")))
}

/// Whether what was applied by `manager` says itself how long pods may take (`progressDeadlineSeconds`), and that time runs: the
/// cluster counts it for a new template until all its pods were available once, not for pods that are added later.
pub fn says_deadline(object: &Value, manager: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    if conditions.filter(|c| c["type"] == "Progressing").any(|c| c["reason"] == "NewReplicaSetAvailable") {
        return false;
    }
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let mut own = entries.filter(|entry| entry["manager"] == manager && entry["operation"] == "Apply");
    own.any(|entry| !entry["fieldsV1"]["f:spec"]["f:progressDeadlineSeconds"].is_null())
}

/// What a workload that says nothing is given, by the cluster.
const DEADLINE: Duration = Duration::from_secs(600);

/// Whether a workload's time, which is up by the cluster's clock, says anything about it: only if the cluster could be asked for all of that
/// time, in which nothing came up any more, `looked_for`. While its API server is away pods come up and nobody can say so, and that clock goes on.
pub fn counts(object: &Value, looked_for: Duration) -> bool {
    let said = object["spec"]["progressDeadlineSeconds"].as_u64();
    looked_for >= said.map_or(DEADLINE, Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_deadline_counts_if_the_cluster_could_be_asked_all_the_time() {
        let secs = Duration::from_secs;
        let cases = [
            (json!(15), secs(15), true),
            (json!(15), secs(14), false),
            (json!(15), Duration::ZERO, false),
            (json!(null), secs(599), false),
            (json!(null), secs(600), true),
            (json!(-1), secs(60), false),
        ];
        for (said, looked_for, wanted) in cases {
            let web = json!({ "kind": "Deployment", "spec": { "progressDeadlineSeconds": said } });
            assert_eq!(counts(&web, looked_for), wanted, "{web} {looked_for:?}");
        }
    }

    #[test]
    fn pods_that_come_up_are_progress() {
        let web = |updated: u64, available: u64| {
            let status = json!({ "updatedReplicas": updated, "availableReplicas": available, "replicas": 9 });
            json!({ "apiVersion": "apps/v1", "kind": "Deployment", "status": status })
        };
        assert_eq!(of(&[web(1, 2), web(2, 2)]), 7);
        let mut changed = web(2, 2);
        changed["metadata"]["generation"] = 2.into();
        changed["status"]["observedGeneration"] = 1.into();
        assert_eq!(of(std::slice::from_ref(&changed)), 0, "these are pods of what was before");
        changed["status"]["observedGeneration"] = 2.into();
        assert_eq!(of(&[changed]), 4);
        let budget = json!({ "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "status": { "ready": 5 } });
        assert_eq!(of(&[budget.clone(), json!({})]), 0);
        assert!(!is_cause(&budget) && is_cause(&json!({ "apiVersion": "v1", "kind": "Pod" })));
        assert!(!is_cause(&json!({ "apiVersion": "v1", "kind": "Service" })));
    }

    #[test]
    fn a_deadline_is_said_by_whoever_applied_it() {
        let object = |manager: &str, field: &str| {
            let fields = json!({ "f:spec": { field: {} } });
            json!({ "metadata": { "managedFields": [{ "manager": manager, "operation": "Apply", "fieldsV1": fields }] } })
        };
        assert!(says_deadline(&object("deployctl", "f:progressDeadlineSeconds"), "deployctl"));
        assert!(!says_deadline(&object("deployctl", "f:replicas"), "deployctl"));
        assert!(!says_deadline(&object("helm", "f:progressDeadlineSeconds"), "deployctl"));
        assert!(!says_deadline(&json!({}), "deployctl"));
        let mut complete = object("deployctl", "f:progressDeadlineSeconds");
        let is =
            |reason: &str| json!({ "conditions": [{ "type": "Progressing", "status": "True", "reason": reason }] });
        complete["status"] = is("ReplicaSetUpdated");
        assert!(says_deadline(&complete, "deployctl"));
        complete["status"] = is("NewReplicaSetAvailable");
        assert!(!says_deadline(&complete, "deployctl"), "nobody counts that time for pods that are added");
    }
}
