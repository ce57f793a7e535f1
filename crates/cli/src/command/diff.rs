//! `diff`: what differs between two releases.

use super::Context;
use crate::args::{Diff, Output};
use crate::fail::Failure;
use crate::output::{json, out};
use deployctl_api::{Found, Query, paths};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(crate) async fn diff(context: &Context, args: &Diff) -> Result<(), Failure> {
    let mut client = context.engine().await?;
    let mut sides = Vec::new();
    for name in [&args.a, &args.b] {
        let query = Query { name: Some(name.clone()), ..context.query(&args.place)? };
        let found: Found = client.get(paths::RELEASE, &query).await?;
        let mut flat = BTreeMap::new();
        flatten("", &json!(found.release), &mut flat);
        sides.push(flat);
    }
    let (a, b) = (&sides[0], &sides[1]);
    let mut changes: Vec<(&String, Option<&String>, Option<&String>)> = Vec::new();
    for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
        if a.get(key) != b.get(key) {
            changes.push((key, a.get(key), b.get(key)));
        }
    }
    changes.sort();
    if context.output() == Output::Json {
        let all = changes.iter().map(|(key, a, b)| json!({ "key": key, "a": a, "b": b }));
        json::print(&all.collect());
        return Ok(());
    }
    if changes.is_empty() {
        out("no difference");
    }
    for (key, a, b) in changes {
        let text = |side: Option<&String>| side.map_or("(none)".to_owned(), Clone::clone);
        out(&format!("{key}: {} -> {}", text(a), text(b)));
    }
    Ok(())
}

/// Leaves by their path, such as `config.instances`.
fn flatten(path: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| flatten(&below(key), value, into)),
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            items.iter().enumerate().for_each(|(index, item)| flatten(&below(&index.to_string()), item, into));
        }
        Value::Null => {}
        leaf => {
            into.insert(path.to_owned(), leaf.to_string());
        }
    }
}
