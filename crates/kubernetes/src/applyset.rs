//! Which objects belong together: an ApplySet, as the Kubernetes enhancement 3659 describes it, so that other tools see it too.

use serde_json::{Value, json};

/// On every object: the set that it is part of.
pub const PART_OF: &str = "applyset.kubernetes.io/part-of";
/// On the object that stands for the set.
pub const ID: &str = "applyset.kubernetes.io/id";
/// Who looks after the set.
pub const TOOLING: &str = "applyset.kubernetes.io/tooling";
/// Of which kinds there are objects in it.
pub const KINDS: &str = "applyset.kubernetes.io/contains-group-kinds";

/// The set that an object says it is part of.
pub fn set_of(object: &Value) -> Option<&str> {
    object["metadata"]["labels"][PART_OF].as_str()
}

/// The object as part of a set.
pub fn with_set(mut object: Value, set: &str) -> Value {
    if !object["metadata"]["labels"].is_object() {
        object["metadata"]["labels"] = json!({});
    }
    object["metadata"]["labels"][PART_OF] = Value::from(set);
    object
}

/// Why an object that is there is not to be touched; none if it is part of the set.
pub fn stranger(object: &Value, set: &str) -> Option<String> {
    match set_of(object) {
        Some(its) if its == set => None,
        Some(its) => Some(format!("it belongs to another app or tool: its set is {its}")),
        None => {
            let managers = object["metadata"]["managedFields"].as_array().into_iter().flatten();
            let mut names: Vec<&str> = managers
                .filter(|entry| entry["subresource"].as_str().is_none_or(str::is_empty))
                .filter_map(|entry| entry["manager"].as_str())
                .collect();
            names.dedup();
            Some(match names.is_empty() {
                true => "somebody else made it".to_owned(),
                false => format!("somebody else made it, with {}", names.join(", ")),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_says_which_set_it_is_part_of() {
        let object = with_set(json!({ "kind": "Service", "metadata": { "name": "web" } }), "one");
        assert_eq!(set_of(&object), Some("one"));
        assert_eq!(stranger(&object, "one"), None);
        let other = stranger(&object, "two").unwrap();
        assert_eq!(other, "it belongs to another app or tool: its set is one");
        let labelled = with_set(json!({ "metadata": { "labels": { "app": "web" } } }), "one");
        assert_eq!(labelled["metadata"]["labels"], json!({ "app": "web", PART_OF: "one" }));
    }

    #[test]
    fn who_made_an_object_is_told_where_it_is_known() {
        let managers = json!([
            { "manager": "kubectl-client-side-apply" },
            { "manager": "kube-controller-manager", "subresource": "status" },
        ]);
        let object = json!({ "metadata": { "managedFields": managers } });
        assert_eq!(stranger(&object, "x").unwrap(), "somebody else made it, with kubectl-client-side-apply");
        assert_eq!(stranger(&json!({ "metadata": {} }), "x").unwrap(), "somebody else made it");
    }
}
