//! Pods made anew without another release: by a mark in the templates that they are made from, as `kubectl rollout restart` does it.

use deployctl_core::config::updates_pods;
use serde_json::{Map, Value};

/// In templates of pods: which restart made them.
pub const RESTARTED: &str = "deployctl.io/restarted";

/// The object with pods of this restart; as it is, if there was none or it has no such pods.
pub fn marked(mut object: Value, restart: Option<u64>) -> Value {
    let Some(number) = restart.filter(|_| updates_pods(&object)) else { return object };
    let template = &mut object["spec"]["template"];
    for field in ["metadata", "annotations"] {
        let within = if field == "metadata" { &mut *template } else { &mut template["metadata"] };
        if !within[field].is_object() {
            within[field] = Value::Object(Map::new());
        }
    }
    template["metadata"]["annotations"][RESTARTED] = Value::from(number.to_string());
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn templates_of_what_the_cluster_updates_are_marked_and_nothing_else() {
        let of = |api: &str, kind: &str, template: Value| json!({ "apiVersion": api, "kind": kind, "spec": { "template": template } });
        let bare = json!({ "spec": {} });
        for kind in ["Deployment", "StatefulSet", "DaemonSet"] {
            let object = of("apps/v1", kind, bare.clone());
            assert_eq!(marked(object.clone(), None), object, "before there was one");
            let template = marked(object, Some(3))["spec"]["template"].clone();
            assert_eq!(template, json!({ "spec": {}, "metadata": { "annotations": { RESTARTED: "3" } } }));
        }
        for (api, kind) in [("batch/v1", "Job"), ("apps/v1", "ReplicaSet"), ("example.com/v1", "Deployment")] {
            let object = of(api, kind, bare.clone());
            assert_eq!(marked(object.clone(), Some(3)), object);
        }
        let noted = json!({ "metadata": { "labels": { "app": "web" }, "annotations": { "note": "x" } } });
        let template = marked(of("apps/v1", "Deployment", noted), Some(4))["spec"]["template"]["metadata"].clone();
        let wanted = json!({ "labels": { "app": "web" }, "annotations": { "note": "x", RESTARTED: "4" } });
        assert_eq!(template, wanted);
    }
}
