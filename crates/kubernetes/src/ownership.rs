//! Whose fields are whose: taking an object's fields over from the tool that made it, and giving them back.
//!
//! The API server keeps who set which field in `metadata.managedFields`. A field disappears with an apply only if the one who
//! applies owned it: so what a tool owned has to become ours, or what a later release leaves out would stay for good.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The tools from which fields are taken over. All others keep theirs, and are named where that is a conflict.
const TOOLS: &[&str] =
    &["helm", "kubectl", "kubectl-client-side-apply", "kubectl-create", "kubectl-replace", "before-first-apply"];
/// Where `kubectl apply` keeps what it applied last.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// By what Helm knows its objects. These fields stay Helm's, so that it goes on knowing them.
pub const HELM: &[&str] = &["meta.helm.sh/release-name", "meta.helm.sh/release-namespace"];
/// The label beside them.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Who applied an object before it was taken over, and how.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Owner {
    /// The field manager.
    pub manager: String,
    /// `Apply`, or `Update` for a tool that works out itself what is to change.
    pub operation: String,
}

impl Owner {
    /// A name for people.
    pub fn words(&self) -> &str {
        match self.manager.as_str() {
            "helm" => "Helm",
            name if name.starts_with("kubectl") => "kubectl",
            name => name,
        }
    }
}

/// What becomes of an object's managed fields when it is taken over.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    /// All of them, as they are to be.
    pub managed: Vec<Value>,
    /// Whose they were; none if no tool that is known applied it.
    pub owner: Option<Owner>,
}

/// The fields that tools own become those of `to`, as if it had applied them. What controllers, people and others set stays
/// theirs. Doing it twice is doing it once.
pub fn taken_over(object: &Value, to: &str) -> Taken {
    let managed = entries(object);
    let tools: Vec<&Value> = managed.iter().filter(|entry| is_tool(entry)).collect();
    let owner = tools.iter().max_by_key(|entry| rank(entry)).map(|entry| owner_of(entry));
    let newest = tools.iter().max_by_key(|entry| entry["time"].as_str().unwrap_or_default());
    let Some(version) = newest.map(|entry| entry["apiVersion"].clone()) else { return Taken { managed, owner: None } };
    let (mut rest, mut fields, mut time) = (Vec::new(), json!({}), Value::Null);
    for entry in &managed {
        let ours = entry["manager"] == to && entry["operation"] == "Apply" && is_whole(entry);
        // Paths mean something in one version of an API only.
        if entry["apiVersion"] != version || !(ours || is_tool(entry)) {
            rest.push(entry.clone());
            continue;
        }
        let (kept, given) = if ours { (json!({}), entry["fieldsV1"].clone()) } else { split(&entry["fieldsV1"]) };
        add(&mut fields, &given);
        if entry["time"].as_str() > time.as_str() {
            time = entry["time"].clone();
        }
        if !is_empty(&kept) {
            let mut entry = entry.clone();
            entry["fieldsV1"] = kept;
            rest.push(entry);
        }
    }
    rest.push(json!({
        "manager": to, "operation": "Apply", "apiVersion": version, "time": time, "fieldsType": "FieldsV1", "fieldsV1": fields,
    }));
    Taken { managed: rest, owner }
}

/// The fields of `from` become those of `to` again; the labels and annotations in `gone` are nobody's any more.
pub fn handed_back(object: &Value, from: &str, to: &Owner, gone: &[&str]) -> Vec<Value> {
    let mut rest: Vec<Value> = Vec::new();
    let mut given: Vec<Value> = Vec::new();
    for entry in entries(object) {
        let all = if entry["manager"] == from && is_whole(&entry) { &mut given } else { &mut rest };
        all.push(entry);
    }
    for mut entry in given {
        for key in gone {
            for map in ["f:labels", "f:annotations"] {
                take(&mut entry["fieldsV1"], &["f:metadata", map, &format!("f:{key}")]);
            }
        }
        entry["manager"] = Value::from(to.manager.as_str());
        entry["operation"] = Value::from(to.operation.as_str());
        let same = |known: &&mut Value| {
            ["manager", "operation", "apiVersion"].iter().all(|key| known[*key] == entry[*key]) && is_whole(known)
        };
        match rest.iter_mut().find(same) {
            Some(known) => {
                let fields = entry["fieldsV1"].clone();
                add(&mut known["fieldsV1"], &fields);
            }
            None => rest.push(entry),
        }
    }
    rest
}

/// The fields that tools own and that are gone when `to` applies what it owns in `then`, unless somebody else owns them too.
pub fn lost(before: &Value, then: &Value, to: &str) -> Vec<String> {
    let taken = taken_over(before, to).managed;
    let ours = |entry: &&Value| entry["manager"] == to && entry["operation"] == "Apply";
    let mut owned = BTreeSet::new();
    taken.iter().filter(ours).for_each(|entry| leaves("", &entry["fieldsV1"], &mut owned));
    let mut stays = BTreeSet::new();
    taken.iter().filter(|entry| !ours(entry)).for_each(|entry| leaves("", &entry["fieldsV1"], &mut stays));
    entries(then).iter().filter(ours).for_each(|entry| leaves("", &entry["fieldsV1"], &mut stays));
    owned.into_iter().filter(|path| !stays.contains(path) && !path.contains(LAST_APPLIED)).collect()
}

fn entries(object: &Value) -> Vec<Value> {
    object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default()
}

fn is_whole(entry: &Value) -> bool {
    entry["subresource"].as_str().is_none_or(str::is_empty)
}

fn is_tool(entry: &Value) -> bool {
    is_whole(entry) && entry["manager"].as_str().is_some_and(is_tool_name)
}

/// Whether fields of this manager are taken over.
pub fn is_tool_name(manager: &str) -> bool {
    TOOLS.contains(&manager)
}

/// Who of several tools is the one that applies it.
fn rank(entry: &Value) -> (bool, bool) {
    let applies = matches!(entry["manager"].as_str(), Some("helm" | "kubectl-client-side-apply"));
    (entry["operation"] == "Apply", applies)
}

fn owner_of(entry: &Value) -> Owner {
    let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    Owner { manager: text("manager"), operation: text("operation") }
}

/// What stays with its owner, and all else.
fn split(fields: &Value) -> (Value, Value) {
    let (mut kept, mut given) = (json!({}), fields.clone());
    let places = HELM.iter().map(|key| ("f:annotations", *key)).chain([("f:labels", MANAGED_BY)]);
    for (map, key) in places {
        let key = format!("f:{key}");
        if let Some(found) = take(&mut given, &["f:metadata", map, &key]) {
            kept["f:metadata"][map][&key] = found;
        }
    }
    (kept, given)
}

/// Takes a field out, and the fields above it of which nothing else is left: an empty one would be a field of its own.
fn take(fields: &mut Value, path: &[&str]) -> Option<Value> {
    let map = fields.as_object_mut()?;
    match path {
        [] => None,
        [last] => map.remove(*last),
        [first, rest @ ..] => {
            let below = map.get_mut(*first)?;
            let found = take(below, rest);
            if found.is_some() && is_empty(below) {
                map.remove(*first);
            }
            found
        }
    }
}

fn is_empty(fields: &Value) -> bool {
    fields.as_object().is_none_or(Map::is_empty)
}

/// The union of two sets of fields.
fn add(to: &mut Value, from: &Value) {
    let (Some(into), Some(all)) = (to.as_object_mut(), from.as_object()) else { return };
    for (key, below) in all {
        match into.get_mut(key) {
            Some(known) => add(known, below),
            None => drop(into.insert(key.clone(), below.clone())),
        }
    }
}

/// The fields at the ends, by their paths.
fn leaves(path: &str, fields: &Value, found: &mut BTreeSet<String>) {
    let Some(map) = fields.as_object() else { return };
    for (key, below) in map.iter().filter(|(key, _)| key.as_str() != ".") {
        let path = match key.split_once(':') {
            Some(("f", name)) if path.is_empty() => name.to_owned(),
            Some(("f", name)) => format!("{path}.{name}"),
            Some((_, item)) => format!("{path}[{}]", item_words(item)),
            None => continue,
        };
        if is_empty(below) || below.as_object().is_some_and(|map| map.len() == 1 && map.contains_key(".")) {
            found.insert(path);
        } else {
            leaves(&path, below, found);
        }
    }
}

/// An item of a list, by the keys that tell it apart.
fn item_words(item: &str) -> String {
    match serde_json::from_str::<Value>(item) {
        Ok(Value::Object(keys)) => {
            let words = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            keys.values().map(words).collect::<Vec<_>>().join(",")
        }
        Ok(Value::String(text)) => text,
        _ => item.to_owned(),
    }
}
