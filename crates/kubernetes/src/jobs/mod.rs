//! Commands of a deployment as Jobs: what of a workload they take over, and how they ended.

mod ended;
mod make;

pub use ended::{Run, run};
pub(crate) use make::renamed;
pub use make::{Made, Make, OF, made};

use serde_json::Value;

/// Kinds whose pods a job can be like.
const KINDS: &[&str] = &["Deployment", "StatefulSet", "DaemonSet"];

/// The workloads of a release, by name, with the names of their containers.
pub fn workloads<'a>(objects: impl Iterator<Item = &'a Value>) -> Vec<(String, Vec<String>)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let workloads = objects.filter(|object| is_workload(object));
    workloads
        .map(|object| {
            let containers = object["spec"]["template"]["spec"]["containers"].as_array().into_iter().flatten();
            (text(&object["metadata"]["name"]), containers.map(|container| text(&container["name"])).collect())
        })
        .collect()
}

/// Whether a job can be like its pods.
pub fn is_workload(object: &Value) -> bool {
    object["apiVersion"] == "apps/v1" && object["kind"].as_str().is_some_and(|kind| KINDS.contains(&kind))
}
