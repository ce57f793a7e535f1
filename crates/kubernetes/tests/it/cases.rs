//! Each file of `tests/cases` is a case: objects and cluster state in, verdicts and reasons out.
//!
//! `case` says what it is about; `source` is `recorded` for what a real control plane answered (of the version that
//! `version` names; names, times and what has no meaning here were trimmed) and `written` for what was written by hand after
//! the API's documentation. `objects` are judged together, for a deployment that began at `since`, if that is there.
//! `verdicts` has one of each object that is no event: `KIND/NAME` to `[VERDICT, REASON]`.

use deployctl_kubernetes::verdict;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// As many are promised.
const CASES_MIN: usize = 150;

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let list = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        entries.map(|entry| entry.expect("an entry").path()).collect()
    };
    let mut all: Vec<PathBuf> = list(&folder).iter().flat_map(|folder| list(folder)).collect();
    all.sort();
    all
}

fn read(file: &Path) -> Value {
    let text = std::fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// What is said about the objects of a case, in the form of its file.
fn said(case: &Value) -> Value {
    let objects = case["objects"].as_array().expect("objects");
    let verdicts = match case["since"].as_str() {
        Some(since) => verdict::of_since(objects, since),
        None => verdict::of(objects),
    };
    let pairs =
        verdicts.iter().map(|one| (format!("{}/{}", one.kind, one.name), json!([one.verdict.word(), one.reason])));
    Value::Object(pairs.collect::<Map<_, _>>())
}

#[test]
fn every_case_gets_its_verdict() {
    let mut wrong = Vec::new();
    for file in files() {
        let case = read(&file);
        let (said, wanted) = (said(&case), &case["verdicts"]);
        if said != *wanted {
            wrong.push(format!("{}\n  said:   {said}\n  wanted: {wanted}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{} cases are judged otherwise:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn cases_are_many_and_say_where_they_come_from() {
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    let mut about: BTreeMap<String, PathBuf> = BTreeMap::new();
    for file in files() {
        let case = read(&file);
        let source = case["source"].as_str().expect("a source");
        assert!(["recorded", "written"].contains(&source), "{}: {source}", file.display());
        assert_eq!(
            source == "recorded",
            case["version"].is_string(),
            "{}: what is recorded has a version",
            file.display()
        );
        *count.entry(source.to_owned()).or_default() += 1;
        let said = case["case"].as_str().expect("what it is about").to_owned();
        assert!(!said.is_empty(), "{}", file.display());
        if let Some(other) = about.insert(said, file.clone()) {
            panic!("{} and {} are about the same", other.display(), file.display());
        }
    }
    let all: usize = count.values().sum();
    assert!(all >= CASES_MIN, "there are {all} cases, and {CASES_MIN} are promised: {count:?}");
}

/// Whatever is left out of an object, it is judged, and never ready for it: only a status makes ready.
#[test]
fn workloads_without_a_status_are_never_ready_nor_failed() {
    for (version, kind) in [
        ("apps/v1", "Deployment"),
        ("apps/v1", "ReplicaSet"),
        ("apps/v1", "StatefulSet"),
        ("apps/v1", "DaemonSet"),
        ("v1", "Pod"),
        ("batch/v1", "Job"),
        ("v1", "PersistentVolumeClaim"),
        ("v1", "Service"),
        ("gateway.networking.k8s.io/v1", "Gateway"),
        ("autoscaling/v2", "HorizontalPodAutoscaler"),
        ("policy/v1", "PodDisruptionBudget"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ("v1", "Namespace"),
    ] {
        let object =
            json!({ "apiVersion": version, "kind": kind, "metadata": { "name": "x", "generation": 1 }, "spec": {} });
        let verdicts = verdict::of(&[object]);
        assert_eq!(verdicts[0].verdict, verdict::Word::Progressing, "{kind}: {}", verdicts[0].reason);
        assert!(!verdicts[0].reason.is_empty());
    }
}

/// All places in a value, as JSON pointers.
fn places(value: &Value, at: &str, into: &mut Vec<String>) {
    into.push(at.to_owned());
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(name, one)| {
                places(one, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), into)
            });
        }
        Value::Array(all) => {
            all.iter().enumerate().for_each(|(number, one)| places(one, &format!("{at}/{number}"), into))
        }
        _ => {}
    }
}

/// Somebody else's JSON: each place of each case is something odd once, and everything still has a verdict with a reason.
#[test]
fn odd_objects_are_judged_as_well() {
    let odd = [json!(null), json!(i64::MIN), json!(i64::MAX), json!("\u{e9}\n\""), json!([]), json!({}), json!(1e300)];
    for (turn, file) in files().iter().enumerate() {
        let case = read(file);
        let mut all = Vec::new();
        places(&case["objects"], "", &mut all);
        for (number, place) in all.iter().enumerate().skip(1) {
            let mut objects = case["objects"].clone();
            *objects.pointer_mut(place).expect("a place") = odd[(turn + number) % odd.len()].clone();
            for one in verdict::of_since(objects.as_array().expect("a list"), "2030-01-01T12:00:00Z") {
                assert!(!one.reason.is_empty(), "{}: {place}: {one:?}", file.display());
                assert!(!one.reason.contains('\n'), "{}: {place}: {one:?}", file.display());
            }
        }
    }
}
