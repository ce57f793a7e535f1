//! The schema, the parser and the reference say the same.

use super::{api, parse};
use deployctl_core::config::AppConfig;
use deployctl_spec::{ComposeAsk, Composed, Source};
use serde_json::{Map, Value};

/// Whether `value` is what `schema` says, as far as editors look; patterns aside.
fn fits(schema: &Value, value: &Value, root: &Value) -> Result<(), String> {
    if let Some(name) = schema["$ref"].as_str() {
        let target = root.pointer(name.trim_start_matches('#')).ok_or_else(|| format!("{name} leads nowhere"))?;
        return fits(target, value, root);
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(choices) = schema[key].as_array() {
            let results: Vec<_> = choices.iter().map(|choice| fits(choice, value, root)).collect();
            if results.iter().all(Result::is_err) {
                return Err(format!("{value} is none of the choices: {results:?}"));
            }
        }
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let number = kind == "integer" && kinds.contains(&"number");
    if !(kinds.is_empty() || kinds.contains(&kind) || number) {
        return Err(format!("{value} is not {kinds:?}"));
    }
    if schema["enum"].as_array().is_some_and(|values| !values.contains(value)) {
        return Err(format!("{value} is not in {}", schema["enum"]));
    }
    if !schema["const"].is_null() && schema["const"] != *value {
        return Err(format!("{value} is not {}", schema["const"]));
    }
    for item in value.as_array().into_iter().flatten().filter(|_| schema["items"].is_object()) {
        fits(&schema["items"], item, root)?;
    }
    value.as_object().map_or(Ok(()), |object| object_fits(schema, object, root))
}

fn object_fits(schema: &Value, object: &Map<String, Value>, root: &Value) -> Result<(), String> {
    for (key, value) in object {
        match (&schema["properties"][key], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => return Err(format!("`{key}` is unknown")),
            (Value::Null, extra @ Value::Object(_)) => fits(extra, value, root)?,
            (Value::Null, _) => {}
            (known, _) => fits(known, value, root)?,
        }
    }
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let missing: Vec<&str> = required.filter(|key| !object.contains_key(*key)).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} are missing")) }
}

/// A document around the settings of an app, in the form of JSON, which is YAML.
fn around(settings: &Value) -> Value {
    serde_json::json!({ "project": "p", "environments": { "dev": {} }, "apps": { "api": settings } })
}

#[test]
fn what_validates_fits_the_schema() {
    let schema = deployctl_spec::schema();
    for (text, fit) in [
        (r#"{ "command": ["./x", 5, true], "env": { "A": 1, "B": { "secret": "env:B" } }, "instances": 2 }"#, true),
        (
            r#"{ "command": ["./x"], "strategy": "blue-green", "in": { "dev": { "strategy": { "rolling": {} } } } }"#,
            true,
        ),
        (
            r#"{ "command": ["./x"], "artifact": { "path": "x" }, "health": null, "hooks": { "before": [["x"]] } }"#,
            true,
        ),
        (r#"{ "command": ["./x"], "instnces": 2 }"#, false),
        (r#"{ "command": ["./x"], "in": { "dev": { "instnces": 2 } } }"#, false),
        (r#"{ "command": ["./x"], "instances": "many" }"#, false),
        (r#"{ "command": ["./x"], "in": { "dev": { "in": {} } } }"#, false),
        (r#"{ "command": ["./x"], "strategy": "rollling" }"#, false),
    ] {
        let document = around(&serde_json::from_str(text).expect("JSON"));
        let by_schema = fits(&schema, &document, &schema);
        assert_eq!(by_schema.is_ok(), fit, "{text}: {by_schema:?}");
        let parsed = parse(&document.to_string());
        assert_eq!(parsed.is_ok(), fit, "{text}: {parsed:?}");
    }
}

#[test]
fn every_example_fits_its_key() {
    let schema = deployctl_spec::schema();
    for (owner, properties) in super::docs::tables(&schema) {
        for (key, property) in properties {
            let examples = property["examples"].as_array().unwrap_or_else(|| panic!("{owner}.{key} has no example"));
            for example in examples.iter().chain(property.get("default")) {
                let result = fits(&property, example, &schema);
                assert!(result.is_ok(), "{owner}.{key}: {example}: {result:?}");
            }
        }
    }
}

/// Keys with defaults that only a container has.
const CONTAINERS: &[&str] = &["networks", "read_only", "tmpfs", "volumes"];

/// An app in which `key` of `owner` is `value`, and the same app without.
fn with_and_without(owner: &str, key: &str, value: &Value) -> Option<(Value, Value)> {
    let inner = |set: bool| {
        let mut object = Map::new();
        if set {
            object.insert(key.into(), value.clone());
        }
        object
    };
    let settings = |set: bool| {
        let mut object = inner(set);
        let run = serde_json::json!(["./x"]);
        let mut app = serde_json::json!({ "command": ["./x", "{{ port }}"], "route": { "host": "a.b" } });
        if owner == "App" && CONTAINERS.contains(&key) {
            app = serde_json::json!({ "target": "docker", "image": "x:1" });
        }
        match owner {
            "App" => app.as_object_mut()?.append(&mut object),
            "ImageBuild" => app = serde_json::json!({ "target": "docker", "image": "x:1", "build": object }),
            "Capabilities" => {
                app = serde_json::json!({ "target": "docker", "image": "x:1", "capabilities": object });
            }
            "Restart" | "Hooks" => app[owner.to_lowercase()] = object.into(),
            "Route" => {
                object.insert("host".into(), "a.b".into());
                app["route"] = object.into();
            }
            "Health" => app["health"] = object.into(),
            "Rolling" | "BlueGreen" | "Canary" => {
                let name = if owner == "BlueGreen" { "blue-green".into() } else { owner.to_lowercase() };
                app["strategy"] = serde_json::json!({ name: object });
            }
            "Analysis" => app["strategy"] = serde_json::json!({ "canary": { "analysis": object } }),
            "Migrate" => {
                object.insert("run".into(), run);
                app["migrate"] = object.into();
            }
            "Smoke" | "JobMap" => {
                object.insert("run".into(), run);
                let jobs = serde_json::json!([object]);
                if owner == "Smoke" { app["smoke"] = jobs } else { app["hooks"] = serde_json::json!({ "after": jobs }) }
            }
            _ => return None,
        };
        Some(around(&app))
    };
    Some((settings(true)?, settings(false)?))
}

/// What a Compose project with `key` of `owner` asks of Compose, and what comes of its answer; none if the key is not said
/// of one.
fn of_compose(owner: &str, key: &str, value: Option<&Value>) -> Option<(Vec<ComposeAsk>, Vec<AppConfig>)> {
    let mut said = Map::new();
    said.extend(value.map(|value| (key.to_owned(), value.clone())));
    let app = match (owner, key) {
        ("App", "profiles") => {
            said.insert("target".into(), "compose".into());
            Value::Object(said)
        }
        ("Service", _) => {
            let of_jobs = matches!(key, "timeout" | "repeatable" | "irreversible");
            said.extend(of_jobs.then(|| ("job".to_owned(), true.into())));
            serde_json::json!({ "target": "compose", "services": { "web": said } })
        }
        _ => return None,
    };
    let spec = parse(&around(&app).to_string()).unwrap_or_else(|errors| panic!("{errors}"));
    let asks = spec.compose_asks(None).expect("it is whole");
    let composed = asks.iter().map(|ask| Composed {
        ask: ask.clone(),
        source: Source { name: "compose.yaml".into(), text: String::new() },
        document: serde_json::json!({ "name": "p", "services": { "web": { "image": "x:1" } } }),
    });
    let spec = spec.with_composed(composed.collect()).unwrap_or_else(|errors| panic!("{errors}"));
    let environment = &spec.environments[0];
    let (app, region) = (&spec.apps()[0], &environment.regions[0]);
    let found = spec.resolve(&environment.name, app, region, Some(&"v1".parse().expect("a version")));
    Some((asks, found.unwrap_or_else(|errors| panic!("{errors}")).into_iter().map(|app| app.config).collect()))
}

#[test]
fn every_default_is_what_happens_without_the_key() {
    let schema = deployctl_spec::schema();
    let mut seen = 0;
    for (owner, properties) in super::docs::tables(&schema) {
        for (key, property) in properties {
            let Some(default) = property.get("default") else { continue };
            if let Some(with) = of_compose(&owner, &key, Some(default)) {
                assert_eq!(Some(with), of_compose(&owner, &key, None), "{owner}.{key}");
                continue;
            }
            if owner == "Helm" || key == "adopt" {
                // They go with manifests, which are files: `manifests.rs` and `rendered.rs` look at them.
                continue;
            }
            // So do these, or they are the command's.
            let with_files = [
                ("patience", serde_json::json!("60s")),
                ("pin_tags", serde_json::json!(true)),
                ("replace", serde_json::json!([])),
                ("service_account", serde_json::json!("deployctl")),
            ];
            if let Some((_, wanted)) = with_files.iter().find(|(name, _)| *name == key) {
                assert_eq!(default, wanted);
                continue;
            }
            let Some((with, without)) = with_and_without(&owner, &key, default) else {
                assert_eq!((owner.as_str(), key.as_str()), ("Environment", "approvals"), "not looked at");
                continue;
            };
            assert_eq!(api(&with.to_string()).config, api(&without.to_string()).config, "{owner}.{key}");
            seen += 1;
        }
    }
    assert!(seen >= 25, "only {seen} defaults were found");
}
