//! What of a release will lose requests in an update, or wedge one, though a cluster takes it without a word.

use crate::object::{Name, group_of};
use serde_json::Value;

/// Tags that are moved as a matter of course.
const MOVING: &[&str] = &["latest", "main", "master", "edge", "nightly", "dev", "stable"];

/// Something to mind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What it is about.
    pub name: Name,
    /// What may happen, and what helps. One line.
    pub message: String,
}

/// What is to be minded of objects that are released together. What is not among them is not known: nothing is said of a claim that is
/// made elsewhere, and a budget that is made elsewhere is not seen.
pub fn of(objects: &[Value]) -> Vec<Advice> {
    let mut all = Vec::new();
    for object in objects {
        let Some(name) = Name::of(object).filter(is_workload) else { continue };
        let found = [
            images(object),
            probe(object, objects),
            wait(object, objects),
            recreate(object, objects),
            replicas(object, objects),
            budget(object, objects),
            claim(object, objects),
        ];
        all.extend(found.into_iter().flatten().map(|message| Advice { name: name.clone(), message }));
    }
    all
}

fn is_workload(name: &Name) -> bool {
    name.group() == "apps" && matches!(name.kind.as_str(), "Deployment" | "StatefulSet" | "DaemonSet")
}

fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn containers(object: &Value) -> &[Value] {
    list(object, "/spec/template/spec/containers")
}

fn is_rolling(object: &Value) -> bool {
    object["kind"] == "Deployment" && object["spec"]["strategy"]["type"] != "Recreate"
}

fn of_kind<'a>(objects: &'a [Value], group: &'a str, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    let is = move |object: &&Value| {
        object["kind"] == kind && object["apiVersion"].as_str().is_some_and(|version| group_of(version) == group)
    };
    objects.iter().filter(is)
}

/// Whether labels by name select the pods of a workload. No label at all selects nothing here.
fn selects(labels: &Value, workload: &Value) -> bool {
    let of_pods = &workload["spec"]["template"]["metadata"]["labels"];
    let Some(labels) = labels.as_object().filter(|labels| !labels.is_empty()) else { return false };
    labels.iter().all(|(key, value)| of_pods.get(key) == Some(value))
}

/// Whether requests come to it by a Service.
fn is_served(workload: &Value, objects: &[Value]) -> bool {
    of_kind(objects, "", "Service").any(|service| selects(&service["spec"]["selector"], workload))
}

fn count(workload: &Value, objects: &[Value]) -> Option<u64> {
    let scaled = of_kind(objects, "autoscaling", "HorizontalPodAutoscaler").find(|scaler| {
        let target = &scaler["spec"]["scaleTargetRef"];
        target["kind"] == workload["kind"] && target["name"] == workload["metadata"]["name"]
    });
    match (scaled, workload["kind"] == "DaemonSet") {
        (_, true) => None,
        (Some(scaler), _) => Some(scaler["spec"]["minReplicas"].as_u64().unwrap_or(1)),
        (None, _) => Some(workload["spec"]["replicas"].as_u64().unwrap_or(1)),
    }
}

fn images(workload: &Value) -> Option<String> {
    let images = containers(workload).iter().filter_map(|container| container["image"].as_str());
    let moving = images.filter(|image| !image.contains('@')).find_map(|image| {
        // A colon before a slash is that of a port.
        let tag = image.rsplit('/').next().and_then(|last| last.split_once(':')).map(|(_, tag)| tag);
        match tag {
            None => Some(format!("the image {image} has no tag")),
            Some(tag) if MOVING.contains(&tag) => Some(format!("the tag of the image {image} is moved")),
            Some(_) => None,
        }
    })?;
    Some(format!("{moving}: pods that start later may run something else; name a version, or put it under `images`"))
}

fn probe(workload: &Value, objects: &[Value]) -> Option<String> {
    let has = containers(workload).iter().any(|container| !container["readinessProbe"].is_null());
    (!has && is_served(workload, objects)).then(|| {
        "no container has a `readinessProbe`: pods get requests before they can answer, and a release that cannot answer counts as \
         ready"
            .into()
    })
}

fn wait(workload: &Value, objects: &[Value]) -> Option<String> {
    let has = containers(workload).iter().any(|container| !container["lifecycle"]["preStop"].is_null());
    (!has && is_served(workload, objects)).then(|| {
        "no container has a `preStop` that waits: unless the application goes on listening for some seconds after SIGTERM, each \
         update loses requests"
            .into()
    })
}

fn recreate(workload: &Value, objects: &[Value]) -> Option<String> {
    let recreates = workload["spec"]["strategy"]["type"] == "Recreate";
    (recreates && is_served(workload, objects))
        .then(|| "`strategy: Recreate` ends all pods before it starts others: requests are lost meanwhile".into())
}

fn replicas(workload: &Value, objects: &[Value]) -> Option<String> {
    (count(workload, objects) == Some(1) && is_served(workload, objects))
        .then(|| "it has one replica: when its node is drained or lost, nothing answers".into())
}

fn budget(workload: &Value, objects: &[Value]) -> Option<String> {
    let several = count(workload, objects).is_some_and(|count| count > 1);
    let covers = |budget: &Value| {
        let selector = &budget["spec"]["selector"];
        // One that selects by expressions may mean it.
        !selector["matchExpressions"].is_null() || selects(&selector["matchLabels"], workload)
    };
    let covered = of_kind(objects, "policy", "PodDisruptionBudget").any(covers);
    (several && !covered && is_served(workload, objects)).then(|| {
        "no PodDisruptionBudget of the release covers it: when nodes are drained, all its pods may end at once".into()
    })
}

fn claim(workload: &Value, objects: &[Value]) -> Option<String> {
    if !is_rolling(workload) {
        return None;
    }
    let volumes = list(workload, "/spec/template/spec/volumes").iter();
    let mut claims = volumes.filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str());
    let is_single = |claim: &Value| {
        let modes = list(claim, "/spec/accessModes");
        !modes.is_empty()
            && modes.iter().all(|mode| mode.as_str().is_some_and(|mode| mode.starts_with("ReadWriteOnce")))
    };
    let name = claims.find(|name| {
        of_kind(objects, "", "PersistentVolumeClaim").any(|one| one["metadata"]["name"] == **name && is_single(one))
    })?;
    Some(format!(
        "a rolling update starts a pod while the one before still has the claim {name}, which only one node may have: it may wait \
         for ever; use `strategy: Recreate`, or a StatefulSet"
    ))
}
