//! Reports as SARIF 2.1.0, for code scanning.

use crate::finding::{Code, Finding, Report};
use serde_json::{Value, json};

const GUIDE: &str = "docs/artifacts.md";

/// A report as a SARIF log. `version` is that of deployctl.
pub fn log(report: &Report, version: &str) -> Value {
    let rules: Vec<Value> = Code::ALL.iter().map(|code| rule(*code)).collect();
    let results: Vec<Value> = report.findings.iter().map(|finding| result(report, finding)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "deployctl", "semanticVersion": version, "rules": rules } },
            "results": results,
            "columnKind": "unicodeCodePoints",
        }],
    })
}

fn rule(code: Code) -> Value {
    json!({
        "id": code.word(),
        "shortDescription": { "text": code.what() },
        "help": { "text": format!("{} See {GUIDE}.", code.advice()) },
        "defaultConfiguration": { "level": code.level().word() },
    })
}

fn result(report: &Report, finding: &Finding) -> Value {
    let index = Code::ALL.iter().position(|code| *code == finding.code);
    let targets: Vec<&str> = finding.targets.iter().map(|target| target.word()).collect();
    let name = &report.subject.name;
    let place = finding.place.as_ref().map_or_else(|| name.clone(), |place| format!("{name}/{place}"));
    json!({
        "ruleId": finding.code.word(),
        "ruleIndex": index,
        "level": finding.code.level().word(),
        "message": { "text": format!("{} {} {}", finding.code.what(), sentence(&finding.message), finding.code.advice()) },
        "locations": [{ "physicalLocation": { "artifactLocation": { "uri": uri(&place) } } }],
        "properties": { "targets": targets, "blocks": finding.blocks },
    })
}

fn sentence(text: &str) -> String {
    format!("({text})")
}

/// A name as a relative reference: what may not stand in one is escaped.
fn uri(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.trim_start_matches('/').bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b'@' => {
                out.push(char::from(byte))
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
