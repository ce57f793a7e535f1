//! The account of pods has two names in their specification, of which one is deprecated: the server writes each into the other.
//!
//! So one that is set by the one name alone never goes again by server-side apply: taken out, it is still there by the other name, which
//! nobody owns. What is applied has both.

use serde_json::Value;

const NAMES: [&str; 2] = ["serviceAccountName", "serviceAccount"];

/// The object with both names of its pods' account, if it says one of them.
pub fn by_both_names(mut object: Value) -> Value {
    let at = match object["kind"].as_str() {
        Some("Pod") => "/spec",
        Some("PodTemplate") => "/template/spec",
        Some("CronJob") => "/spec/jobTemplate/spec/template/spec",
        Some("Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "ReplicationController" | "Job") => {
            "/spec/template/spec"
        }
        _ => return object,
    };
    let Some(pod) = object.pointer_mut(at).and_then(Value::as_object_mut) else { return object };
    let said = NAMES.iter().find_map(|name| pod.get(*name).filter(|said| said.is_string()).cloned());
    if let Some(said) = said {
        for name in NAMES {
            pod.entry(name).or_insert_with(|| said.clone());
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_account_that_is_said_by_one_name_is_said_by_both() {
        let web = |pod: Value| json!({ "kind": "Deployment", "spec": { "template": { "spec": pod } } });
        let both = json!({ "serviceAccountName": "a", "serviceAccount": "a" });
        assert_eq!(by_both_names(web(json!({ "serviceAccountName": "a" }))), web(both.clone()));
        assert_eq!(by_both_names(web(json!({ "serviceAccount": "a" }))), web(both.clone()));
        assert_eq!(by_both_names(web(both.clone())), web(both.clone()));
        let differ = web(json!({ "serviceAccountName": "a", "serviceAccount": "b" }));
        assert_eq!(by_both_names(differ.clone()), differ, "what is said is not changed");
        let none = web(json!({ "containers": [] }));
        assert_eq!(by_both_names(none.clone()), none);
        let cron = |pod: Value| json!({ "kind": "CronJob", "spec": { "jobTemplate": { "spec": { "template": { "spec": pod } } } } });
        assert_eq!(by_both_names(cron(json!({ "serviceAccountName": "a" }))), cron(both));
        let other = json!({ "kind": "Rollout", "spec": { "template": { "spec": { "serviceAccountName": "a" } } } });
        assert_eq!(by_both_names(other.clone()), other, "of other kinds nothing is known");
    }
}
