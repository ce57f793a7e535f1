//! The pages about the specification are in step with the code.

use super::parse;
use deployctl_spec::Code;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const MARK: &str =
    "<!-- From here on written by the tests, from the schema: `BLESS=1 cargo test -p deployctl-spec` -->\n";

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The keys of each kind of map, in an order for people.
pub(super) fn tables(schema: &Value) -> Vec<(String, Vec<(String, Value)>)> {
    const ORDER: &[&str] = &[
        "",
        "Environment",
        "App",
        "Service",
        "Artifact",
        "Secret",
        "Route",
        "Tls",
        "Health",
        "StrategyMap",
        "Recreate",
        "Rolling",
        "BlueGreen",
        "Canary",
        "Analysis",
        "StickyMap",
        "Smoke",
        "Expect",
        "Migrate",
        "Hooks",
        "JobMap",
        "Limits",
        "Restart",
        "Capabilities",
        "ImageBuild",
        "Verify",
        "Helm",
        "InCluster",
    ];
    let definitions = schema["$defs"].as_object().expect("definitions");
    let unlisted: Vec<&String> =
        definitions.keys().filter(|name| *name != "Settings" && !ORDER.contains(&name.as_str())).collect();
    assert!(unlisted.is_empty(), "add {unlisted:?} to the reference");
    let properties = |map: &Value| -> Vec<(String, Value)> {
        let keys = map["properties"].as_object().into_iter().flatten();
        keys.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    ORDER
        .iter()
        .map(|name| match *name {
            "" => (String::new(), properties(schema)),
            name => (name.to_string(), properties(&definitions[name])),
        })
        .collect()
}

fn heading(name: &str) -> &str {
    match name {
        "" => "The file",
        "Environment" => "An environment: `environments.NAME`",
        "App" => "An app: `apps.NAME`",
        "Service" => "A service of a Compose file: `services.NAME`",
        "Artifact" => "`artifact`, as a map",
        "Secret" => "A secret: `env.NAME`, as a map",
        "Route" => "`route`",
        "Tls" => "`route.tls`",
        "Health" => "`health`",
        "StrategyMap" => "`strategy`, as a map",
        "Recreate" => "`strategy.recreate`",
        "Rolling" => "`strategy.rolling`",
        "BlueGreen" => "`strategy.blue-green`",
        "Canary" => "`strategy.canary`",
        "Analysis" => "`strategy.canary.analysis`",
        "StickyMap" => "`strategy.canary.sticky`, as a map",
        "Smoke" => "`smoke`, each item",
        "Expect" => "`smoke.expect`",
        "Migrate" => "`migrate`",
        "Hooks" => "`hooks`",
        "JobMap" => "A hook, as a map",
        "Limits" => "`limits`",
        "Restart" => "`restart`",
        "Capabilities" => "`capabilities`",
        "ImageBuild" => "`build`, as a map",
        "Verify" => "`verify`",
        "Helm" => "`helm`",
        "InCluster" => "`in_cluster`",
        other => panic!("`{other}` has no heading"),
    }
}

/// JSON as a person would write it in YAML.
fn yaml(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(yaml).collect::<Vec<_>>().join(", ")),
        Value::Object(map) if map.is_empty() => "{}".into(),
        Value::Object(map) => {
            let entries: Vec<String> = map.iter().map(|(key, value)| format!("{key}: {}", yaml(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::String(text) if text.contains(['{', ':', '*', ',']) => value.to_string(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn reference(schema: &Value) -> String {
    let mut out = String::new();
    for (name, properties) in tables(schema) {
        let map = if name.is_empty() { schema } else { &schema["$defs"][&name] };
        let about = map["description"].as_str().unwrap_or_default().replace('\n', " ");
        let _ = write!(out, "\n### {}\n\n{about}\n", heading(&name));
        if properties.is_empty() {
            continue;
        }
        out.push_str("\n| key | default | example | meaning |\n|---|---|---|---|\n");
        let required: Vec<&str> = map["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (key, property) in properties {
            let default = match property.get("default") {
                Some(default) => format!("`{}`", yaml(default)),
                None if required.contains(&key.as_str()) => "must be there".into(),
                None => String::new(),
            };
            let example = yaml(&property["examples"][0]);
            let meaning = property["description"].as_str().unwrap_or_default().replace('\n', " ");
            let _ = writeln!(out, "| `{key}` | {default} | `{key}: {example}` | {meaning} |");
        }
    }
    out
}

#[test]
fn the_reference_has_every_key() {
    let path = docs().join("specification.md");
    let page = read(&path);
    let (prose, _) = page.split_once(MARK).expect("the mark in docs/specification.md");
    let wanted = format!("{prose}{MARK}{}", reference(&deployctl_spec::schema()));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &wanted).expect("written");
    }
    assert!(read(&path) == wanted, "docs/specification.md is not in step with the schema; run this test with BLESS=1");
}

#[test]
fn every_specification_in_the_pages_is_fine() {
    let page = read(&docs().join("specification.md"));
    let mut seen = 0;
    for block in page.split("```yaml\n").skip(1) {
        let text = block.split("```").next().unwrap_or_default();
        let spec = parse(text).unwrap_or_else(|errors| panic!("{errors}"));
        assert!(spec.warnings.0.is_empty(), "{}", spec.warnings);
        seen += 1;
    }
    assert!(seen >= 2, "only {seen} examples");
}

#[test]
fn every_code_has_a_page() {
    let dir = docs().join("errors");
    for code in Code::ALL {
        let page = read(&dir.join(format!("{code}.md")));
        assert!(page.starts_with(&format!("# {code}\n")), "the page of {code} begins with its name");
        assert!(page.contains("\n## What to do\n"), "the page of {code} says what to do");
    }
    // That every page is about a code is for `cargo xtask tidy`: other crates have codes too.
}
