//! Broken specifications as data: `tests/cases/NAME.yaml`, and `NAME.txt` with what must be said about it.
//!
//! `BLESS=1` writes what is said now; read the difference before you keep it. A case may have an overlay,
//! `NAME.overlay.yaml`.

use deployctl_spec::{Source, Spec};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn cases() -> Vec<(String, PathBuf)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut cases: Vec<(String, PathBuf)> = std::fs::read_dir(dir)
        .expect("the cases")
        .map(|entry| entry.expect("an entry").path())
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_suffix(".yaml")?.to_string();
            (!name.ends_with(".overlay")).then_some((name, path))
        })
        .collect();
    cases.sort();
    cases
}

fn said_about(path: &Path) -> String {
    let mut sources =
        vec![Source { name: "deployctl.yaml".into(), text: std::fs::read_to_string(path).expect("a case") }];
    if let Ok(text) = std::fs::read_to_string(path.with_extension("overlay.yaml")) {
        sources.push(Source { name: "overlay.yaml".into(), text });
    }
    match Spec::parse(Path::new("/project"), sources) {
        Ok(spec) if spec.warnings.0.is_empty() => "fine\n".into(),
        Ok(spec) => spec.warnings.to_string(),
        Err(errors) => errors.to_string(),
    }
}

#[test]
fn every_case_says_what_is_expected() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    for (name, path) in cases() {
        let said = said_about(&path);
        let expected = path.with_extension("txt");
        if bless {
            std::fs::write(&expected, &said).expect("written");
        }
        let wanted = std::fs::read_to_string(&expected).unwrap_or_default();
        if said != wanted {
            wrong.push(format!("--- {name}, wanted:\n{wanted}--- {name}, said:\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_code_of_the_parser_has_a_case() {
    let said: String = cases().iter().map(|(_, path)| said_about(path)).collect();
    let unseen: BTreeSet<&str> = deployctl_spec::Code::ALL
        .iter()
        .map(|code| code.as_str())
        .filter(|code| !said.contains(&format!("[{code}]")))
        .collect();
    // These need a file system or a version that was asked for; `load` tests them.
    assert_eq!(unseen.into_iter().collect::<Vec<_>>(), ["spec-not-found"]);
}

#[test]
fn programs_get_the_same_as_people() {
    let errors =
        super::parse("project: p\nenvironments: { dev: }\napps: { a: { command: [x], instnces: 2 } }").unwrap_err();
    let json = serde_json::to_value(&errors).expect("JSON");
    let wanted = serde_json::json!([{
        "code": "spec-unknown-key",
        "severity": "error",
        "message": "unknown key `instnces`",
        "location": {
            "file": "deployctl.yaml", "line": 3, "column": 28, "width": 8,
            "text": "apps: { a: { command: [x], instnces: 2 } }",
        },
        "help": "did you mean `instances`?",
    }]);
    assert_eq!(json, wanted);
    assert!(!errors.render(false).contains('\u{1b}'));
    assert!(errors.render(true).starts_with("\u{1b}[1;31merror[spec-unknown-key]\u{1b}[0m: "));
}
