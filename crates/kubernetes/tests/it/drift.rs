//! What somebody changed, and who, case by case: as a real control plane keeps it.

use deployctl_kubernetes::drift;
use serde_json::{Value, json};

fn applied() -> Value {
    let ports = json!([{ "containerPort": 8080 }]);
    let web = json!({ "name": "web", "image": "shop:v1", "ports": ports, "env": [{ "name": "MODE", "value": "a" }],
        "resources": { "limits": { "cpu": "1000m" } } });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "web", "labels": { "app": "web" }, "annotations": { "note": "x" } },
        "spec": { "replicas": 2, "paused": false, "template": { "spec": { "containers": [web] } } },
    })
}

/// As it is kept after it was applied.
fn there() -> Value {
    let container = json!({
        ".": {}, "f:name": {}, "f:image": {},
        "f:ports": { "k:{\"containerPort\":8080,\"protocol\":\"TCP\"}": { ".": {}, "f:containerPort": {} } },
        "f:env": { "k:{\"name\":\"MODE\"}": { ".": {}, "f:name": {}, "f:value": {} } },
        "f:resources": { "f:limits": { "f:cpu": {} } },
    });
    let fields = json!({
        "f:metadata": { "f:labels": { "f:app": {} }, "f:annotations": { "f:note": {} } },
        "f:spec": {
            "f:replicas": {}, "f:paused": {}, "f:template": { "f:spec": { "f:containers": { "k:{\"name\":\"web\"}": container } } },
        },
    });
    let mut there = applied();
    there["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"] = "1".into();
    there["spec"]["template"]["spec"]["containers"][0]["ports"][0]["protocol"] = "TCP".into();
    there["metadata"]["managedFields"] =
        json!([{ "manager": "deployctl", "operation": "Apply", "time": "2026-11-21T10:00:00Z", "fieldsV1": fields }]);
    there
}

/// Somebody else has these fields now.
fn taken(there: &mut Value, by: &Value, fields: &Value, lost: &str) {
    let own = &mut there["metadata"]["managedFields"][0]["fieldsV1"];
    let (parent, last) = lost.rsplit_once('/').expect("a path");
    own.pointer_mut(parent).and_then(Value::as_object_mut).expect("fields").remove(&last.replace('|', "/"));
    let mut entry = by.clone();
    entry["fieldsV1"] = fields.clone();
    there["metadata"]["managedFields"].as_array_mut().expect("entries").push(entry);
}

#[test]
fn what_the_server_writes_otherwise_is_nobodys_change() {
    assert_eq!(drift::of(&applied(), &there(), "deployctl"), Vec::<String>::new());
    let mut other = there();
    other["metadata"]["managedFields"] = json!([]);
    assert_eq!(drift::of(&applied(), &other, "deployctl"), Vec::<String>::new(), "who owns what is not known");
}

#[test]
fn who_scaled_and_when_is_told() {
    let mut there = there();
    there["spec"]["replicas"] = 5.into();
    let by =
        json!({ "manager": "kubectl", "operation": "Update", "subresource": "scale", "time": "2026-11-21T11:00:00Z" });
    taken(&mut there, &by, &json!({ "f:spec": { "f:replicas": {} } }), "/f:spec/f:replicas");
    let found = drift::of(&applied(), &there, "deployctl");
    assert_eq!(found, ["spec.replicas: 5 instead of 2, by kubectl (scale) at 2026-11-21T11:00:00Z"]);
    // And back: it is as it was.
    there["spec"]["replicas"] = 2.into();
    assert_eq!(drift::of(&applied(), &there, "deployctl"), Vec::<String>::new());
}

#[test]
fn what_was_edited_deep_down_is_told_with_its_place() {
    let mut there = there();
    let containers = "/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"web\"}";
    there["spec"]["template"]["spec"]["containers"][0]["image"] = "shop:debug".into();
    let image = json!({ "k:{\"name\":\"web\"}": { "f:image": {} } });
    let fields = json!({ "f:spec": { "f:template": { "f:spec": { "f:containers": image } } } });
    taken(&mut there, &json!({ "manager": "kubectl-edit" }), &fields, &format!("{containers}/f:image"));
    let found = drift::of(&applied(), &there, "deployctl");
    assert_eq!(found, ["spec.template.spec.containers[web].image: shop:debug instead of shop:v1, by kubectl-edit"]);
}

#[test]
fn what_was_taken_away_and_values_that_may_be_secret() {
    let mut there = there();
    there["metadata"]["labels"] = json!({});
    taken(&mut there, &json!({ "manager": "kubectl-label" }), &json!({}), "/f:metadata/f:labels");
    assert_eq!(
        drift::of(&applied(), &there, "deployctl"),
        ["metadata.labels.app: nothing instead of web, by somebody"]
    );
    let map = |value: &str, fields: Value| {
        let entries = json!([
            { "manager": "deployctl", "operation": "Apply", "fieldsV1": { "f:data": fields } },
            { "manager": "sed", "fieldsV1": { "f:data": { "f:key": {} } } },
        ]);
        json!({ "kind": "ConfigMap", "metadata": { "managedFields": entries }, "data": { "key": value, "other": "x" } })
    };
    let found = drift::of(&map("hunter2", json!({})), &map("hunter3", json!({ "f:other": {} })), "deployctl");
    assert_eq!(found, ["data.key: (a value) instead of (a value), by sed"]);
}

#[test]
fn what_is_taken_back_is_told_with_whose_change_goes() {
    let mut there = there();
    there["spec"]["replicas"] = 5.into();
    there["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = "b".into();
    let by = json!({ "manager": "kubectl", "operation": "Update", "subresource": "scale" });
    taken(&mut there, &by, &json!({ "f:spec": { "f:replicas": {} } }), "/f:spec/f:replicas");
    let env = "/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"web\"}/f:env/k:{\"name\":\"MODE\"}";
    let value = json!({ "k:{\"name\":\"MODE\"}": { "f:value": {} } });
    let container = json!({ "k:{\"name\":\"web\"}": { "f:env": value } });
    let fields = json!({ "f:spec": { "f:template": { "f:spec": { "f:containers": container } } } });
    taken(&mut there, &json!({ "manager": "kubectl-set" }), &fields, &format!("{env}/f:value"));
    let found = drift::changes(&applied(), &there, "deployctl");
    let words: Vec<String> = found.iter().map(drift::Change::taken_back).collect();
    assert_eq!(
        words,
        [
            "spec.replicas: 5 -> 2, over the change by kubectl (scale)",
            "spec.template.spec.containers[web].env[MODE].value: (a value) -> (a value), over the change by kubectl-set",
        ]
    );
    let variable = &found[1];
    for (path, wanted) in [
        ("spec.template.spec.containers[web].env[MODE].value", true),
        ("spec.template.spec.containers[web].env[MODE]", true),
        ("spec.template.spec.containers[web].env[MODE].valueFrom", false),
        ("spec.template.spec.containers[web].env[MODERN]", false),
        ("spec.replicas", false),
    ] {
        assert_eq!(variable.covers(path), wanted, "{path}");
    }
}
