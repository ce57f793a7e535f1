//! Reports for other tools.

use crate::make::{Tar, config, elf, image};
use deployctl_readiness::{Code, sarif};
use serde_json::json;

#[test]
fn a_sarif_log_has_what_code_scanning_reads() {
    let layer = Tar::new().file("app", 0o755, &elf(183, None)).bytes();
    let report = image(&config(&json!({ "Entrypoint": ["/app"], "User": "1" })), &[layer]);
    let log = sarif::log(&report, "1.2.3");
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    assert_eq!(run["tool"]["driver"]["semanticVersion"], "1.2.3");
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), Code::ALL.len());
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), report.findings.len());
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()));
        assert!(result["message"]["text"].as_str().unwrap().len() > 10);
    }
    let wrong = results.iter().find(|result| result["ruleId"] == "program-platform").unwrap();
    assert_eq!(wrong["properties"], json!({ "targets": ["docker", "kubernetes"], "blocks": true }));
    let uri = wrong["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].as_str().unwrap();
    assert!(uri.ends_with("image.tar/app") && !uri.starts_with('/'), "{uri}");
}
