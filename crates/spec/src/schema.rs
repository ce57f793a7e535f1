//! The JSON Schema of the file, from the raw types.

use crate::raw::Document;
use serde_json::{Map, Value, json};

/// The JSON Schema (draft 2020-12) of `deployctl.yaml`, with descriptions, for editors.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(Document).to_value();
    if let Some(definitions) = schema.get_mut("$defs").and_then(Value::as_object_mut) {
        add_overrides(definitions);
    }
    if let Some(apps) = schema.pointer_mut("/properties/apps/additionalProperties") {
        *apps = json!({ "$ref": "#/$defs/App" });
    }
    schema
}

/// An app is its settings and, under `in`, settings for single environments.
fn add_overrides(definitions: &mut Map<String, Value>) {
    let Some(settings) = definitions.get("Settings").cloned() else { return };
    let mut app = settings;
    if let Some(properties) = app.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert(
            "in".into(),
            json!({
                "description": "What is different in single environments, by their names: any key of an app but `in`.",
                "type": "object",
                "additionalProperties": { "$ref": "#/$defs/Settings" },
                "examples": [{ "prod": { "instances": 8 } }],
            }),
        );
    }
    definitions.insert("App".into(), app);
}
