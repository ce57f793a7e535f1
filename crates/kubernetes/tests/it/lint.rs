//! What is to be minded of a release, case by case.

use deployctl_kubernetes::lint;
use serde_json::{Value, json};

/// A release of which there is nothing to say.
fn good() -> Vec<Value> {
    let container = json!({
        "name": "web", "image": "shop:v1", "readinessProbe": { "httpGet": { "path": "/", "port": 80 } },
        "lifecycle": { "preStop": { "sleep": { "seconds": 5 } } },
    });
    let labels = json!({ "app": "web" });
    vec![
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
            "spec": { "replicas": 2, "template": { "metadata": { "labels": labels }, "spec": {
                "containers": [container], "volumes": [{ "persistentVolumeClaim": { "claimName": "data" } }],
            } } },
        }),
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" }, "spec": { "selector": labels } }),
        json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": "web" },
            "spec": { "selector": { "matchLabels": labels } },
        }),
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "data" },
            "spec": { "accessModes": ["ReadWriteMany"] },
        }),
    ]
}

/// The beginnings of what is said about the release after this change.
fn said(change: impl FnOnce(&mut Vec<Value>)) -> Vec<String> {
    let mut objects = good();
    change(&mut objects);
    let advice = lint::of(&objects);
    assert!(advice.iter().all(|advice| advice.name.to_string() == "Deployment/web"), "{advice:?}");
    advice.into_iter().map(|advice| advice.message.split(':').next().unwrap_or_default().to_owned()).collect()
}

fn container(objects: &mut [Value]) -> &mut Value {
    &mut objects[0]["spec"]["template"]["spec"]["containers"][0]
}

const PROBE: &str = "no container has a `readinessProbe`";
const WAIT: &str = "no container has a `preStop` that waits";
const BUDGET: &str = "no PodDisruptionBudget of the release covers it";
const ONE: &str = "it has one replica";

#[test]
fn a_release_that_loses_nothing_is_passed_over() {
    assert_eq!(said(|_| {}), Vec::<String>::new());
    // What gets no requests from a Service may be as it likes.
    let plain = said(|objects| {
        container(objects)["readinessProbe"] = Value::Null;
        container(objects)["lifecycle"] = Value::Null;
        objects[0]["spec"]["replicas"] = 1.into();
        objects.remove(1);
    });
    assert_eq!(plain, Vec::<String>::new());
}

#[test]
fn what_loses_requests_is_said() {
    assert_eq!(said(|objects| container(objects)["readinessProbe"] = Value::Null), [PROBE]);
    assert_eq!(said(|objects| container(objects)["lifecycle"] = Value::Null), [WAIT]);
    let recreates = said(|objects| objects[0]["spec"]["strategy"] = json!({ "type": "Recreate" }));
    assert_eq!(recreates, ["`strategy"]);
    assert_eq!(said(|objects| objects[0]["spec"]["replicas"] = 1.into()), [ONE]);
    assert_eq!(said(|objects| objects[0]["spec"]["replicas"] = Value::Null), [ONE]);
    assert_eq!(said(|objects| drop(objects.remove(2))), [BUDGET]);
    let other = said(|objects| objects[2]["spec"]["selector"] = json!({ "matchLabels": { "app": "other" } }));
    assert_eq!(other, [BUDGET]);
}

#[test]
fn an_autoscaler_says_how_many_there_are() {
    let scaled = |least: u64| {
        said(move |objects| {
            objects[0]["spec"]["replicas"] = Value::Null;
            objects.push(json!({
                "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "web" },
                "spec": { "minReplicas": least, "scaleTargetRef": { "kind": "Deployment", "name": "web" } },
            }));
        })
    };
    assert_eq!(scaled(3), Vec::<String>::new());
    assert_eq!(scaled(1), [ONE]);
}

#[test]
fn what_wedges_an_update_is_said() {
    let single = |modes: Value| said(move |objects| objects[3]["spec"]["accessModes"] = modes);
    let wedges =
        "a rolling update starts a pod while the one before still has the claim data, which only one node may have";
    assert_eq!(single(json!(["ReadWriteOnce"])), [wedges]);
    assert_eq!(single(json!(["ReadWriteOncePod"])), [wedges]);
    assert_eq!(single(json!(["ReadWriteOnce", "ReadWriteMany"])), Vec::<String>::new());
    let recreates = said(|objects| {
        objects[3]["spec"]["accessModes"] = json!(["ReadWriteOnce"]);
        objects[0]["spec"]["strategy"] = json!({ "type": "Recreate" });
    });
    assert_eq!(recreates, ["`strategy"]);
    // A claim that is made elsewhere is not known.
    assert_eq!(said(|objects| drop(objects.pop())), Vec::<String>::new());
}

#[test]
fn images_that_are_not_the_same_tomorrow_are_said() {
    let image = |image: &str| {
        let image = image.to_owned();
        said(move |objects| container(objects)["image"] = image.into())
    };
    assert_eq!(image("shop"), ["the image shop has no tag"]);
    assert_eq!(image("registry.example.com/shop:latest"), ["the tag of the image registry.example.com/shop"]);
    let digest = format!("shop:latest@sha256:{}", "0".repeat(64));
    for good in ["shop:v1", "localhost:5000/shop:v1", digest.as_str()] {
        assert_eq!(image(good), Vec::<String>::new(), "{good}");
    }
    let advice = lint::of(&[json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
        "spec": { "template": { "spec": { "containers": [{ "name": "web", "image": "localhost:5000/shop" }] } } },
    })]);
    assert_eq!(
        advice[0].message,
        "the image localhost:5000/shop has no tag: pods that start later may run something else; name a version, or put it \
         under `images`"
    );
}
