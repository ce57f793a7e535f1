//! Values are taken out of Secrets.

use super::{is_secret, reference};
use crate::manifest::{Problem, problem};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use deployctl_core::config::SecretRef;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The scheme of references to a value that stood in a manifest: `manifests:PLACE/NAME/KEY`.
pub const SCHEME: &str = "manifests";

/// Where kubectl keeps a copy of what it applied, values and all.
const COPY: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Filled by the cluster.
const TOKEN: &str = "kubernetes.io/service-account-token";

/// Values, by what stands in their places.
pub(super) type Taken = BTreeMap<SecretRef, Vec<u8>>;

/// Takes the values out of all Secrets of a document, also of those in a list; references to them stay in `data`. `place` tells
/// the Secrets of one set of manifests from those of others. What was taken already is left as it is.
pub fn take(document: &mut Value, place: &str) -> Result<Taken, Problem> {
    let mut taken = Taken::new();
    below(document, place, &mut taken)?;
    Ok(taken)
}

fn below(document: &mut Value, place: &str, taken: &mut Taken) -> Result<(), Problem> {
    if document["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) {
        let items = document.get_mut("items").and_then(Value::as_array_mut);
        return items.into_iter().flatten().try_for_each(|item| below(item, place, taken));
    }
    if is_secret(document) { of_secret(document, place, taken) } else { Ok(()) }
}

fn of_secret(object: &mut Value, place: &str, taken: &mut Taken) -> Result<(), Problem> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let Some(fields) = object.as_object_mut() else { return Ok(()) };
    fields.remove("immutable");
    if let Some(notes) = fields.get_mut("metadata").and_then(|metadata| metadata.get_mut("annotations"))
        && let Some(notes) = notes.as_object_mut()
    {
        notes.remove(COPY);
    }
    let is_token = fields.get("type").is_some_and(|kind| kind == TOKEN);
    let mut left = Map::new();
    for list in ["data", "stringData"] {
        let values = match fields.remove(list) {
            None | Some(Value::Null) => continue,
            Some(Value::Object(values)) => values,
            Some(_) => return problem(format!("Secret/{name}: its `{list}` is no map"), "write `KEY: VALUE` below it"),
        };
        for (key, value) in values {
            let to = SecretRef(format!("{SCHEME}:{place}/{name}/{key}"));
            if let Some(value) = bytes(&value, list == "data", &to).map_err(|why| wrong(&name, &key, why))? {
                taken.insert(to.clone(), value);
            }
            left.insert(key, reference(&to));
        }
    }
    if is_token && !left.is_empty() {
        let help = "take `data` out: the cluster fills it";
        return problem(format!("Secret/{name} is the token of a service account, and has data"), help);
    }
    if !left.is_empty() {
        fields.insert("data".into(), Value::Object(left));
    }
    Ok(())
}

/// The value; none if a reference to it stands there.
fn bytes(value: &Value, encoded: bool, to: &SecretRef) -> Result<Option<Vec<u8>>, &'static str> {
    match value {
        Value::Null => Ok(Some(Vec::new())),
        Value::String(text) if encoded => {
            let text: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
            STANDARD.decode(text).map(Some).map_err(|_| "is not base64")
        }
        Value::String(text) => Ok(Some(text.as_bytes().to_vec())),
        other if *other == reference(to) => Ok(None),
        _ => Err("is no text"),
    }
}

/// Never shows the value.
fn wrong(name: &str, key: &str, why: &str) -> Problem {
    let help = "`data` is base64, `stringData` is plain text; quote numbers and `yes`";
    Problem { message: format!("Secret/{name}: the value of `{key}` {why}"), help }
}

/// Puts a reference of the specification into a Secret, under `key`, in place of what stands there.
pub fn put(object: &mut Value, key: &str, to: &SecretRef) {
    if !object["data"].is_object() {
        object["data"] = Value::Object(Map::new());
    }
    object["data"][key] = reference(to);
}

#[cfg(test)]
mod tests {
    use super::super::references;
    use super::*;
    use serde_json::json;

    fn secret(more: Value) -> Value {
        let mut object = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "db" } });
        object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object
    }

    fn to(key: &str) -> SecretRef {
        SecretRef(format!("manifests:k8s/db/{key}"))
    }

    #[test]
    fn values_are_taken_out_and_references_stay() {
        let mut object = secret(json!({
            "immutable": false,
            "metadata": { "name": "db", "annotations": { COPY: "{\"data\":\"aHVudGVyMg==\"}", "kept": "yes" } },
            "data": { "password": "aHVu\ndGVyMg==", "both": "eA==", "none": null }, "stringData": { "both": "plain" },
        }));
        let taken = take(&mut object, "k8s").unwrap();
        let wanted: Taken =
            [(to("password"), b"hunter2".to_vec()), (to("both"), b"plain".to_vec()), (to("none"), Vec::new())].into();
        assert_eq!(taken, wanted);
        let left = object.to_string();
        assert!(!left.contains("hunter2") && !left.contains("aHVu") && !left.contains("plain"), "{left}");
        assert_eq!(object["metadata"]["annotations"], json!({ "kept": "yes" }));
        assert_eq!(references(&object)["password"], to("password"));
        // What was taken out already has no values any more, and is the same.
        let mut again = object.clone();
        assert_eq!(take(&mut again, "k8s").unwrap(), Taken::new());
        assert_eq!(again, object);
    }

    #[test]
    fn secrets_in_lists_are_met_and_other_objects_are_left_alone() {
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "m" }, "data": { "a": "b" } });
        let mut list = json!({ "kind": "List", "items": [map, { "kind": "SecretList", "items": [secret(json!({ "data": { "a": "eA==" } }))] }] });
        assert_eq!(take(&mut list, "k8s").unwrap().len(), 1);
        assert_eq!(list["items"][0]["data"], json!({ "a": "b" }));
    }

    #[test]
    fn what_is_wrong_is_told_without_the_value() {
        let cases = [
            (json!({ "data": { "k": "hunter2!" } }), "Secret/db: the value of `k` is not base64"),
            (json!({ "stringData": { "k": 4711 } }), "Secret/db: the value of `k` is no text"),
            (json!({ "data": ["hunter2"] }), "Secret/db: its `data` is no map"),
            (json!({ "data": { "k": { "secret": "env:PATH" } } }), "Secret/db: the value of `k` is no text"),
            (
                json!({ "type": TOKEN, "data": { "token": "eA==" } }),
                "Secret/db is the token of a service account, and has data",
            ),
        ];
        for (more, wanted) in cases {
            let problem = take(&mut secret(more), "k8s").unwrap_err();
            assert_eq!(problem.message, wanted);
            assert!(!format!("{problem:?}").contains("hunter2"));
        }
        assert_eq!(take(&mut secret(json!({ "type": TOKEN })), "k8s").unwrap(), Taken::new());
    }

    #[test]
    fn references_of_the_specification_take_the_place_of_values() {
        let mut object = secret(json!({ "stringData": { "password": "changeme" } }));
        take(&mut object, "k8s").unwrap();
        put(&mut object, "password", &SecretRef("env:DB".into()));
        put(&mut object, "user", &SecretRef("env:USER".into()));
        assert_eq!(object["data"], json!({ "password": { "secret": "env:DB" }, "user": { "secret": "env:USER" } }));
    }
}
