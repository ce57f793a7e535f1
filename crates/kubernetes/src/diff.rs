//! What an apply changes, a field at a time.

use serde_json::Value;

/// The fields that differ, for a person: `PATH: BEFORE -> AFTER`. What the cluster writes itself does not count.
pub fn changes(before: &Value, after: &Value) -> Vec<String> {
    let words = |(path, before, after): (String, Value, Value)| {
        format!("{path}: {} -> {}", shown(&path, &before), shown(&path, &after))
    };
    differences(before, after).into_iter().map(words).collect()
}

/// The same with whole values, secret ones included: the same text is the same change.
pub fn exactly(before: &Value, after: &Value) -> String {
    let words = |(path, before, after): (String, Value, Value)| format!("{path}: {before} -> {after}");
    differences(before, after).into_iter().map(words).collect::<Vec<_>>().join("\n")
}

/// The fields that differ, with both values.
fn differences(before: &Value, after: &Value) -> Vec<(String, Value, Value)> {
    let mut found = Vec::new();
    below("", before, after, &mut found);
    found
}

/// What the cluster writes.
const OWN: &[&str] = &[
    "metadata.managedFields",
    "metadata.resourceVersion",
    "metadata.generation",
    "metadata.creationTimestamp",
    "metadata.uid",
    "metadata.labels.applyset.kubernetes.io/part-of",
    "metadata.annotations.deployctl.io/applied",
    "status",
];

/// A longer value is cut.
const SHOWN: usize = 60;

fn below(path: &str, before: &Value, after: &Value, found: &mut Vec<(String, Value, Value)>) {
    if before == after || OWN.contains(&path) {
        return;
    }
    let none = Value::Object(serde_json::Map::new());
    // Of those each counts for itself.
    let each = matches!(path, "metadata.labels" | "metadata.annotations");
    let or_none = |value| if each && Value::is_null(value) { &none } else { value };
    match (or_none(before), or_none(after)) {
        (Value::Object(old), Value::Object(new)) => {
            let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                below(&path, old.get(key).unwrap_or(&Value::Null), new.get(key).unwrap_or(&Value::Null), found);
            }
        }
        (Value::Array(old), Value::Array(new)) => list(path, old, new, found),
        _ => found.push((path.to_owned(), before.clone(), after.clone())),
    }
}

/// Items that have names are compared by them, others by their place.
fn list(path: &str, old: &[Value], new: &[Value], found: &mut Vec<(String, Value, Value)>) {
    let named = |items: &[Value]| items.iter().all(|item| item["name"].is_string());
    if named(old) && named(new) {
        let mut names: Vec<&str> = old.iter().chain(new).filter_map(|item| item["name"].as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let of = |items: &[Value], name: &str| items.iter().find(|item| item["name"] == name).cloned();
        for name in names {
            let (old, new) = (of(old, name).unwrap_or_default(), of(new, name).unwrap_or_default());
            below(&format!("{path}[{name}]"), &old, &new, found);
        }
        return;
    }
    for index in 0..old.len().max(new.len()) {
        let of = |items: &[Value]| items.get(index).cloned().unwrap_or_default();
        below(&format!("{path}[{index}]"), &of(old), &of(new), found);
    }
}

/// Values of variables and of data are not shown: people keep secrets where they should not.
pub(crate) fn shown(path: &str, value: &Value) -> String {
    let data = ["data.", "binaryData.", "stringData."].iter().any(|start| path.starts_with(start));
    match value {
        Value::Null => "nothing".into(),
        _ if data || path.contains(".env[") => "(a value)".into(),
        Value::Object(_) => "(fields)".into(),
        Value::Array(_) => "(a list)".into(),
        Value::String(text) if text.chars().count() > SHOWN => {
            format!("{}...", text.chars().take(SHOWN).collect::<String>())
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_that_differ_are_told_with_their_paths() {
        let before = json!({ "spec": { "replicas": 1, "template": { "spec": { "containers": [
            { "name": "web", "image": "shop:v1", "args": ["a"] }, { "name": "old", "image": "x" },
        ] } } } });
        let after = json!({ "spec": { "replicas": 3, "template": { "spec": { "containers": [
            { "name": "web", "image": "shop:v2", "args": ["a", "b"] },
        ] } } } });
        let wanted = [
            "spec.replicas: 1 -> 3",
            "spec.template.spec.containers[old]: (fields) -> nothing",
            "spec.template.spec.containers[web].args[1]: nothing -> b",
            "spec.template.spec.containers[web].image: shop:v1 -> shop:v2",
        ];
        assert_eq!(changes(&before, &after), wanted);
        assert_eq!(changes(&before, &before), Vec::<String>::new());
    }

    #[test]
    fn what_is_cut_or_not_shown_counts_exactly() {
        let of = |value: &str, status: u32| json!({ "data": { "key": value }, "status": { "seen": status } });
        let seen = |before: &str, after: &str| exactly(&of(before, 1), &of(after, 2));
        assert_eq!(seen("a", "b"), "data.key: \"a\" -> \"b\"");
        assert_ne!(seen("a", "b"), seen("c", "b"), "what it was counts");
        assert_ne!(seen("a", &"b".repeat(100)), seen("a", &"b".repeat(101)));
        assert_eq!(seen("a", "a"), "", "what the cluster writes does not");
    }

    #[test]
    fn what_the_cluster_writes_is_no_change() {
        let before = json!({ "metadata": { "generation": 1, "managedFields": [] }, "status": { "ready": 1 } });
        let after = json!({ "metadata": { "generation": 2, "managedFields": [1], "uid": "x" }, "status": {} });
        assert_eq!(changes(&before, &after), Vec::<String>::new());
    }

    #[test]
    fn marks_of_our_own_are_no_change_also_where_there_was_no_other() {
        let before = json!({ "metadata": { "name": "web" } });
        let marks = json!({ "deployctl.io/applied": "abc" });
        let after = json!({ "metadata": { "name": "web", "annotations": marks, "labels": { "app": "web" } } });
        assert_eq!(changes(&before, &after), ["metadata.labels.app: nothing -> web"]);
    }

    #[test]
    fn values_that_may_be_secret_are_not_shown() {
        let map = |value: &str| json!({ "data": { "password": value } });
        assert_eq!(changes(&map("hunter2"), &map("hunter3")), ["data.password: (a value) -> (a value)"]);
        let pod = |value: &str| json!({ "spec": { "containers": [{ "name": "web", "env": [{ "name": "KEY", "value": value }] }] } });
        assert_eq!(
            changes(&pod("hunter2"), &pod("hunter3")),
            ["spec.containers[web].env[KEY].value: (a value) -> (a value)"]
        );
        let long = changes(&json!({ "spec": { "x": "a" } }), &json!({ "spec": { "x": "b".repeat(100) } }));
        assert_eq!(long, [format!("spec.x: a -> {}...", "b".repeat(60))]);
    }
}
