//! A controller of StatefulSets, as that of Kubernetes does it: pods in their order, one at a time, and none before all are ready. What runs an
//! image `bad` never is.

use serde_json::{Value, json};
use std::collections::BTreeMap;

const PODS: &str = "/api/v1/namespaces/shop/pods";

/// Whether a pod is ready.
pub(crate) fn is_ready(pod: &Value) -> bool {
    pod["status"]["conditions"][0]["status"] == "True"
}

/// What a pod runs.
pub(crate) fn image(pod: &Value) -> &str {
    pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default()
}

/// Does one thing for each StatefulSet, and says how it is.
pub(crate) fn acts(objects: &mut BTreeMap<String, Value>) {
    let sets: Vec<String> = objects.keys().filter(|path| path.contains("/statefulsets/")).cloned().collect();
    for path in sets {
        let mut set = objects[&path].clone();
        let name = set["metadata"]["name"].as_str().expect("a name").to_owned();
        let at = |index: u64| format!("{PODS}/{name}-{index}");
        let number = |value: &Value, usual: u64| value.as_u64().unwrap_or(usual);
        let count = number(&set["spec"]["replicas"], 1);
        let partition = number(&set["spec"]["updateStrategy"]["rollingUpdate"]["partition"], 0);
        let update = image(&set["spec"]["template"]).to_owned();
        let current = set["status"]["currentRevision"].as_str().unwrap_or(&update).to_owned();
        let unready = (0..count).find(|index| !objects.get(&at(*index)).is_some_and(is_ready));
        match unready {
            Some(index) => match objects.get_mut(&at(index)) {
                Some(pod) if image(pod).ends_with(":bad") => {}
                Some(pod) => pod["status"] = json!({ "conditions": [{ "type": "Ready", "status": "True" }] }),
                None => {
                    let image = if index < partition { &current } else { &update };
                    objects.insert(at(index), pod(&format!("{name}-{index}"), image, &path));
                }
            },
            None => {
                let is_old = |index: &u64| image(&objects[&at(*index)]) != update;
                if let Some(index) = (partition..count).rev().find(is_old) {
                    objects.remove(&at(index));
                }
            }
        }
        let pods: Vec<&Value> = (0..count).filter_map(|index| objects.get(&at(index))).collect();
        let of = |revision: &str| pods.iter().filter(|pod| image(pod) == revision).count() as u64;
        let ready = pods.iter().filter(|pod| is_ready(pod)).count() as u64;
        let begun = set["status"]["begun"] == true || ready == count;
        let current = if of(&update) == count && ready == count { &update } else { &current };
        set["status"] = json!({
            "observedGeneration": set["metadata"]["generation"], "currentRevision": current, "updateRevision": update,
            "replicas": pods.len(), "readyReplicas": ready, "availableReplicas": ready, "updatedReplicas": of(&update), "begun": begun,
        });
        objects.insert(path, set);
    }
}

fn pod(name: &str, image: &str, owner: &str) -> Value {
    let owners = json!([{ "kind": "StatefulSet", "name": "db", "uid": owner, "controller": true }]);
    let metadata = json!({
        "name": name, "namespace": "shop", "uid": format!("{name}-{image}"), "resourceVersion": "1", "ownerReferences": owners,
        "labels": { "controller-revision-hash": image },
    });
    let spec = json!({ "containers": [{ "name": "web", "image": image }] });
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {} })
}
