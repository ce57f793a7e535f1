//! Taking fields over and giving them back, over objects as real tools left them: `tests/ownership`, written by
//! `BLESS=1 cargo test -p deployctl --test it -- kube_ adopted` on a real cluster.

use deployctl_kubernetes::ownership::{self, Owner, Taken};
use serde_json::{Value, json};
use std::path::Path;

const PART_OF: &str = "applyset.kubernetes.io/part-of";

/// The tools, and who they say they are.
const TOOLS: &[(&str, &str, &str)] = &[
    ("kubectl", "kubectl-client-side-apply", "Update"),
    ("server-side", "kubectl", "Apply"),
    ("helm", "helm", "Apply"),
    ("helm-client-side", "helm", "Update"),
];

fn recorded(name: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/ownership/{name}.json"));
    let text = std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    serde_json::from_slice(&text).expect("JSON")
}

fn with(object: &Value, managed: Vec<Value>) -> Value {
    let mut object = object.clone();
    object["metadata"]["managedFields"] = Value::Array(managed);
    object
}

fn of<'a>(managed: &'a [Value], manager: &str) -> Option<&'a Value> {
    managed.iter().find(|entry| entry["manager"] == manager && entry["subresource"].is_null())
}

#[test]
fn what_real_tools_own_becomes_ours_once_and_theirs_again() {
    for (name, manager, operation) in TOOLS {
        let object = recorded(name);
        let Taken { managed, owner } = ownership::taken_over(&object, "deployctl");
        let wanted = Owner { manager: (*manager).into(), operation: (*operation).into() };
        assert_eq!(owner.as_ref(), Some(&wanted), "{name}");
        let ours = of(&managed, "deployctl").unwrap_or_else(|| panic!("{name}: nothing is ours"));
        assert_eq!(ours["operation"], "Apply", "{name}");
        assert!(ours["fieldsV1"]["f:spec"]["f:template"].is_object(), "{name}: {ours}");
        // Helm goes on knowing its objects.
        let left = of(&managed, manager).map(|entry| entry["fieldsV1"].clone());
        match wanted.words() {
            "Helm" => assert!(left.expect("some is Helm's")["f:metadata"]["f:annotations"].is_object(), "{name}"),
            _ => assert_eq!(left, None, "{name}"),
        }
        // What controllers have is theirs.
        let status = |managed: &[Value]| managed.iter().filter(|entry| entry["subresource"] == "status").count();
        assert_eq!(status(&managed), status(object["metadata"]["managedFields"].as_array().expect("a list")), "{name}");
        let taken = with(&object, managed.clone());
        assert_eq!(ownership::taken_over(&taken, "deployctl").managed.len(), managed.len(), "{name}: twice is once");
        let back = ownership::handed_back(&taken, "deployctl", &wanted, &[PART_OF]);
        assert_eq!(of(&back, "deployctl"), None, "{name}");
        let theirs = of(&back, manager).expect("it is theirs again");
        let first =
            object["metadata"]["managedFields"].as_array().and_then(|all| of(all, manager)).expect("it was theirs");
        assert_eq!((&theirs["operation"], &theirs["fieldsV1"]), (&first["operation"], &first["fieldsV1"]), "{name}");
    }
}

fn entry(manager: &str, operation: &str, time: &str, fields: Value) -> Value {
    json!({ "manager": manager, "operation": operation, "apiVersion": "v1", "time": time, "fieldsType": "FieldsV1", "fieldsV1": fields })
}

fn object(managed: &[Value]) -> Value {
    json!({ "metadata": { "managedFields": managed } })
}

#[test]
fn several_tools_become_one_and_everybody_else_stays() {
    let one = entry("kubectl-create", "Update", "2026-01-01T00:00:00Z", json!({ "f:data": { "f:a": {} } }));
    let two = entry("kubectl-client-side-apply", "Update", "2026-01-02T00:00:00Z", json!({ "f:data": { "f:b": {} } }));
    let mut status = entry("kubectl", "Update", "2026-01-04T00:00:00Z", json!({ "f:status": {} }));
    status["subresource"] = "status".into();
    let edit = entry("kubectl-edit", "Update", "2026-01-03T00:00:00Z", json!({ "f:data": { "f:c": {} } }));
    let all = [one, two, status.clone(), edit.clone()];
    let taken = ownership::taken_over(&object(&all), "deployctl");
    assert_eq!(taken.owner.expect("a tool").manager, "kubectl-client-side-apply");
    let ours = entry("deployctl", "Apply", "2026-01-02T00:00:00Z", json!({ "f:data": { "f:a": {}, "f:b": {} } }));
    assert_eq!(taken.managed, [status, edit, ours]);
    // Nobody's tool: nothing changes.
    let operator = entry("operator", "Update", "2026-01-02T00:00:00Z", json!({ "f:data": { "f:b": {} } }));
    let taken = ownership::taken_over(&object(std::slice::from_ref(&operator)), "deployctl");
    assert_eq!((taken.managed, taken.owner), (vec![operator], None));
    assert_eq!(ownership::taken_over(&json!({}), "deployctl").managed, Vec::<Value>::new());
}

#[test]
fn fields_of_another_version_of_the_api_stay_where_they_are() {
    let mut old = entry("helm", "Update", "2026-01-01T00:00:00Z", json!({ "f:data": { "f:a": {} } }));
    old["apiVersion"] = "v1beta1".into();
    let new = entry("helm", "Update", "2026-01-02T00:00:00Z", json!({ "f:data": { "f:b": {} } }));
    let taken = ownership::taken_over(&object(&[old.clone(), new]), "deployctl").managed;
    assert_eq!(taken[0], old);
    assert_eq!(taken[1]["fieldsV1"], json!({ "f:data": { "f:b": {} } }));
}

#[test]
fn what_disappears_is_told_by_its_path() {
    let key = r#"k:{"name":"web"}"#;
    let had = json!({
        "f:metadata": { "f:annotations": { ".": {}, format!("f:{}", ownership::LAST_APPLIED): {} } },
        "f:spec": { "f:minReadySeconds": {}, "f:replicas": {}, "f:containers": { key: { ".": {}, "f:image": {}, "f:tty": {} } } },
    });
    let says = json!({ "f:spec": { "f:containers": { key: { ".": {}, "f:image": {} } } } });
    let before = object(&[
        entry("kubectl-client-side-apply", "Update", "1", had),
        entry("scaler", "Update", "1", json!({ "f:spec": { "f:replicas": {} } })),
    ]);
    let then = object(&[entry("deployctl", "Apply", "2", says)]);
    let lost = ownership::lost(&before, &then, "deployctl");
    assert_eq!(lost, ["spec.containers[web].tty", "spec.minReadySeconds"]);
}

#[test]
fn giving_back_joins_what_the_tool_has_already_and_forgets_labels() {
    let helm = entry("helm", "Apply", "1", json!({ "f:metadata": { "f:annotations": { "f:x": {} } } }));
    let label = format!("f:{PART_OF}");
    let ours = entry("deployctl", "Apply", "2", json!({ "f:metadata": { "f:labels": { label: {}, "f:app": {} } } }));
    let owner = Owner { manager: "helm".into(), operation: "Apply".into() };
    let back = ownership::handed_back(&object(&[helm, ours]), "deployctl", &owner, &[PART_OF]);
    let fields = json!({ "f:metadata": { "f:annotations": { "f:x": {} }, "f:labels": { "f:app": {} } } });
    assert_eq!(back, [entry("helm", "Apply", "1", fields)]);
}
