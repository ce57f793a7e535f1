//! What of an object is not as it was applied any more, and who changed it: by the word of the server, which keeps for each field
//! who set it last (`metadata.managedFields`).
//!
//! Whoever changes a field takes it from who applied it. So a field that is set by a release, that its manager does not have any
//! more, and that has another value, was changed by somebody else. What the server writes otherwise than it was given, such as
//! `1000m` as `1`, is nobody's change.

use serde_json::{Map, Value};

/// A field that somebody changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where, as people write it.
    pub path: String,
    /// What it is, for a person.
    pub now: String,
    /// What was applied, for a person.
    pub applied: String,
    /// Who has it now and since when; empty if that is not known, as where it was taken away.
    pub by: Vec<String>,
}

impl Change {
    fn who(&self) -> String {
        if self.by.is_empty() { "somebody".to_owned() } else { self.by.join(", ") }
    }

    /// What was changed.
    pub fn words(&self) -> String {
        format!("{}: {} instead of {}, by {}", self.path, self.now, self.applied, self.who())
    }

    /// What becomes of it if it is taken back.
    pub fn taken_back(&self) -> String {
        format!("{}: {} -> {}, over the change by {}", self.path, self.now, self.applied, self.who())
    }

    /// Whether another field is this one, or a part of it, or the other way round. Both as people write them.
    pub fn covers(&self, path: &str) -> bool {
        let is_below = |one: &str, other: &str| {
            one.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        is_below(path, &self.path) || is_below(&self.path, path)
    }
}

/// The fields of `applied` that others changed in `there`, a line each for a person. `manager` is who applied it.
pub fn of(applied: &Value, there: &Value, manager: &str) -> Vec<String> {
    changes(applied, there, manager).iter().map(Change::words).collect()
}

/// The same, field by field.
pub fn changes(applied: &Value, there: &Value, manager: &str) -> Vec<Change> {
    let own = owned(there, |entry| entry["manager"] == manager && entry["operation"] == "Apply");
    // What it owns is not known: then nothing is claimed.
    let Some(own) = own.first() else { return Vec::new() };
    let mut walk = Walk { there, manager, found: Vec::new() };
    for (key, value) in applied.as_object().into_iter().flatten().filter(|(key, _)| !IDENTITY.contains(&key.as_str())) {
        let at = Step { path: key.clone(), fields: vec![format!("f:{key}")] };
        walk.below(&at, value, there.get(key).unwrap_or(&Value::Null), &own["fieldsV1"][format!("f:{key}")]);
    }
    walk.found
}

/// What no manager owns.
const IDENTITY: &[&str] = &["apiVersion", "kind", "status"];
const NAMES: &[&str] = &["metadata.name", "metadata.namespace"];

fn owned(object: &Value, is: impl Fn(&Value) -> bool) -> Vec<&Value> {
    object["metadata"]["managedFields"].as_array().into_iter().flatten().filter(|entry| is(entry)).collect()
}

/// A place in an object: for people, and as fields of managers have it.
struct Step {
    path: String,
    fields: Vec<String>,
}

impl Step {
    fn into(&self, words: &str, field: &str) -> Self {
        let path = format!("{}{words}", self.path);
        Self { path, fields: [&self.fields[..], &[field.to_owned()]].concat() }
    }
}

struct Walk<'a> {
    there: &'a Value,
    manager: &'a str,
    found: Vec<Change>,
}

impl Walk<'_> {
    /// `own` is what the manager has at this place; null if nothing.
    fn below(&mut self, at: &Step, applied: &Value, there: &Value, own: &Value) {
        if NAMES.contains(&at.path.as_str()) || (applied == there) {
            return;
        }
        let is_whole = own.as_object().is_some_and(Map::is_empty);
        match (applied, own) {
            // All of it is still owned: what differs is how the server writes it.
            _ if is_whole => {}
            (Value::Object(fields), _) => {
                for (key, value) in fields {
                    let step = at.into(&format!(".{key}"), &format!("f:{key}"));
                    self.below(&step, value, there.get(key).unwrap_or(&Value::Null), &own[format!("f:{key}")]);
                }
            }
            (Value::Array(items), Value::Object(keys)) => self.list(at, (items, there), keys),
            (Value::Null, _) => {}
            _ => self.differs(at, applied, there),
        }
    }

    /// Items of lists are known by keys, such as their names.
    fn list(&mut self, at: &Step, (items, there): (&[Value], &Value), keys: &Map<String, Value>) {
        let keyed: Vec<(&String, Value, &Value)> = keys
            .iter()
            .filter_map(|(field, own)| Some((field, serde_json::from_str(field.strip_prefix("k:")?).ok()?, own)))
            .collect();
        for (number, item) in items.iter().enumerate().filter(|(_, item)| item.is_object()) {
            let name = item["name"].as_str().map_or_else(|| format!("[{number}]"), |name| format!("[{name}]"));
            let found = keyed.iter().find(|(_, key, _)| has_key(item, key));
            let key = found
                .map(|(_, key, _)| key.clone())
                .or_else(|| item.get("name").map(|name| serde_json::json!({ "name": name })));
            let all = there.as_array().map_or(&[][..], Vec::as_slice);
            let one = key.and_then(|key| all.iter().find(|one| has_key(one, &key))).unwrap_or(&Value::Null);
            let field = found.map_or_else(String::new, |(field, _, _)| (*field).clone());
            self.below(&at.into(&name, &field), item, one, found.map_or(&Value::Null, |(_, _, own)| own));
        }
    }

    fn differs(&mut self, at: &Step, applied: &Value, there: &Value) {
        let who = self.who(&at.fields);
        let nothing = there.is_null() && matches!(applied, Value::String(text) if text.is_empty());
        if who.is_empty() && !there.is_null() || nothing {
            // Nobody else has it: it is not written as it was given, or nobody says who it was.
            return;
        }
        let (now, applied) = (shown(&at.path, there), shown(&at.path, applied));
        self.found.push(Change { path: at.path.clone(), now, applied, by: who });
    }

    /// The other managers of a field, with when they set it last.
    fn who(&self, fields: &[String]) -> Vec<String> {
        let has = |entry: &Value| {
            let at = fields.iter().try_fold(&entry["fieldsV1"], |own, field| own.get(field));
            at.is_some() && entry["manager"] != self.manager
        };
        let words = |entry: &Value| {
            let text = |name: &str| entry[name].as_str().filter(|text| !text.is_empty());
            let of = text("subresource").map_or(String::new(), |part| format!(" ({part})"));
            let at = text("time").map_or(String::new(), |time| format!(" at {time}"));
            format!("{}{of}{at}", text("manager").unwrap_or("somebody"))
        };
        owned(self.there, has).into_iter().map(words).collect()
    }
}

fn has_key(item: &Value, key: &Value) -> bool {
    let fields = key.as_object().into_iter().flatten();
    // What a key has and an item does not say has its default.
    item.is_object() && fields.into_iter().all(|(name, value)| item.get(name).is_none_or(|own| own == value))
}

fn shown(path: &str, value: &Value) -> String {
    crate::diff::shown(path, value)
}
