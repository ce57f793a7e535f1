//! What may stand in a manifest, and what of it becomes objects.

use crate::object::Name;
use serde_json::Value;

/// What is wrong with a document, for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: &'static str,
}

pub(crate) fn problem<T>(message: impl Into<String>, help: &'static str) -> Result<T, Problem> {
    Err(Problem { message: message.into(), help })
}

/// The objects of one document: itself, or the items of a list. A document with nothing in it has none.
pub fn objects(document: Value, namespace: &str) -> Result<Vec<(Name, Value)>, Problem> {
    match &document {
        Value::Null => return Ok(Vec::new()),
        Value::Object(_) => {}
        _ => return problem("this is no Kubernetes object", "an object has `apiVersion`, `kind` and `metadata`"),
    }
    if document["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) && document["items"].is_array() {
        let items = document["items"].as_array().cloned().unwrap_or_default();
        let each: Result<Vec<_>, _> = items.into_iter().map(|item| objects(item, namespace)).collect();
        return Ok(each?.into_iter().flatten().collect());
    }
    Ok(vec![(checked(&document, namespace)?, document)])
}

/// The name of an object that can be applied.
fn checked(object: &Value, namespace: &str) -> Result<Name, Problem> {
    for key in ["apiVersion", "kind"] {
        if object[key].as_str().is_none_or(str::is_empty) {
            return problem(format!("this object has no `{key}`"), "every object says `apiVersion` and `kind`");
        }
    }
    let kind = object["kind"].as_str().unwrap_or_default();
    if !object["metadata"]["generateName"].is_null() {
        let help = "give it a `metadata.name`; a name that the cluster makes up cannot be found again";
        return problem(format!("this {kind} has a `generateName`"), help);
    }
    let Some(name) = Name::of(object) else {
        return problem(format!("this {kind} has no `metadata.name`"), "every object has a name");
    };
    refused(&name, object, namespace)?;
    Ok(name)
}

fn refused(name: &Name, object: &Value, namespace: &str) -> Result<(), Problem> {
    if let Some(other) = name.namespace.as_deref().filter(|other| *other != namespace) {
        let help = "an app lives in one namespace: take `metadata.namespace` out, or make it another app";
        return problem(format!("{name} belongs to the namespace `{other}`, the app to `{namespace}`"), help);
    }
    if name.is_namespace() && name.name != namespace {
        let help = "an app lives in one namespace: take it out, or make it the namespace of another app";
        return problem(format!("{name} is another namespace than the app's, which is `{namespace}`"), help);
    }
    if !object["status"].is_null() {
        return problem(format!("{name} has a `status`"), "take it out: the cluster writes it");
    }
    let metadata = &object["metadata"];
    for key in ["resourceVersion", "uid", "managedFields", "creationTimestamp"] {
        if metadata.get(key).is_some_and(|value| !value.is_null()) {
            let help = "take it out: the cluster writes it, and what was read from one does not fit the next";
            return problem(format!("{name} has a `metadata.{key}`"), help);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn message(document: Value) -> String {
        objects(document, "shop").unwrap_err().message
    }

    #[test]
    fn documents_and_lists_become_objects() {
        let map = |name: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name } });
        let names = |document| -> Vec<String> {
            objects(document, "shop").unwrap().iter().map(|(name, _)| name.to_string()).collect()
        };
        assert_eq!(names(map("a")), ["ConfigMap/a"]);
        assert_eq!(names(Value::Null), Vec::<String>::new());
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": [map("a"), map("b")] });
        assert_eq!(names(list), ["ConfigMap/a", "ConfigMap/b"]);
    }

    #[test]
    fn what_cannot_be_applied_is_told_with_its_name() {
        let of = |more: Value| {
            let mut object = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" } });
            let more = more.as_object().unwrap().clone();
            object.as_object_mut().unwrap().extend(more);
            object
        };
        let cases = [
            (json!("x"), "this is no Kubernetes object"),
            (json!({ "kind": "Service" }), "this object has no `apiVersion`"),
            (json!({ "apiVersion": "v1" }), "this object has no `kind`"),
            (json!({ "apiVersion": "v1", "kind": "Service" }), "this Service has no `metadata.name`"),
            (of(json!({ "metadata": { "generateName": "x-" } })), "this Service has a `generateName`"),
            (of(json!({ "kind": "Namespace" })), "Namespace/web is another namespace than the app's, which is `shop`"),
            (
                of(json!({ "metadata": { "name": "web", "namespace": "other" } })),
                "Service/web belongs to the namespace `other`, the app to `shop`",
            ),
            (of(json!({ "status": {} })), "Service/web has a `status`"),
            (of(json!({ "metadata": { "name": "web", "uid": "1" } })), "Service/web has a `metadata.uid`"),
        ];
        for (document, wanted) in cases {
            assert_eq!(message(document), wanted);
        }
        let own = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } });
        assert_eq!(objects(own, "shop").unwrap()[0].0.to_string(), "Namespace/shop");
        // What is null says nothing, as exporters write it.
        let exported = of(json!({ "metadata": { "name": "web", "creationTimestamp": null } }));
        assert!(objects(exported, "shop").is_ok());
    }
}
