//! What a cluster said, as cases: without what differs each time and what no rule reads.

use super::classes::Class;
use deployctl_kubernetes::verdict;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

const VERSION: &str = "v1.36.3";
/// Fields that say nothing about how an object stands.
const NOISE: &[&str] = &[
    "managedFields",
    "resourceVersion",
    "generateName",
    "tolerations",
    "podIP",
    "podIPs",
    "hostIP",
    "hostIPs",
    "containerID",
    "imageID",
    "qosClass",
    "lastProbeTime",
    "lastTransitionTime",
    "lastUpdateTime",
    "lastHeartbeatTime",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "enableServiceLinks",
    "schedulerName",
    "dnsPolicy",
    "priority",
    "preemptionPolicy",
    "serviceAccount",
    "progressDeadlineSeconds",
    "revisionHistoryLimit",
    "strategy",
    "imagePullPolicy",
    "reportingComponent",
    "reportingInstance",
    "source",
    "firstTimestamp",
    "resources",
    "user",
    "volumeMounts",
    "allocatedResources",
    "creationTimestamp",
    "ipFamilies",
    "ipFamilyPolicy",
    "clusterIPs",
    "sessionAffinity",
    "internalTrafficPolicy",
    "startTime",
    "blockOwnerDeletion",
    "apiVersions",
    "persistentVolumeClaimRetentionPolicy",
    "containerStatusesHash",
    "terminationGracePeriodSeconds",
    "securityContext",
    "startedAt",
    "count",
    "eventTime",
    "hostname",
];

/// Writes a case for each class.
pub(super) fn write(classes: &[Class], seen: &BTreeMap<&str, Vec<Value>>, registry: &str, broken: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/recorded");
    std::fs::create_dir_all(&folder).expect("a folder");
    for class in classes {
        let objects = trimmed(&seen[class.name], registry, broken);
        let verdicts = verdict::of(&objects);
        let pairs =
            verdicts.iter().map(|one| (format!("{}/{}", one.kind, one.name), json!([one.verdict.word(), one.reason])));
        let pairs: Map<String, Value> = pairs.collect();
        let (said, objects) = (Value::String(format!("on a real node: {}", class.about)), Value::Array(objects));
        let text = format!(
            "{{\n\"case\": {said},\n\"source\": \"recorded\",\n\"version\": \"{VERSION}\",\n\"objects\": {objects:#},\n\"verdicts\": {:#}\n}}\n",
            Value::Object(pairs)
        );
        std::fs::write(folder.join(format!("{}.json", class.name)), text).expect("a file");
    }
}

fn trimmed(objects: &[Value], registry: &str, broken: &str) -> Vec<Value> {
    let is_ours = |object: &&Value| {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let is_of_space = name == "default" || name == "kube-root-ca.crt";
        !is_of_space
            && (object["kind"] != "Event"
                || object["type"] == "Warning"
                || object["involvedObject"]["kind"] == "PersistentVolumeClaim")
    };
    let objects: Vec<Value> = objects.iter().filter(is_ours).cloned().map(trim).collect();
    let mut text =
        Value::Array(objects).to_string().replace(registry, "registry.example").replace(broken, "broken.example");
    // Identities stay the same in every recording.
    let mut number = 0;
    while let Some(uid) = next_uid(&text) {
        number += 1;
        text = text.replace(&uid, &format!("uid-{number}"));
    }
    serde_json::from_str(&text).expect("objects")
}

fn next_uid(text: &str) -> Option<String> {
    let rest = text.split("\"uid\":\"").skip(1).find(|rest| !rest.starts_with("uid-"))?;
    rest.split('"').next().map(str::to_owned)
}

fn trim(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter_map(|(name, value)| Some((read_of(&name, value)?, name)));
            Value::Object(kept.map(|(value, name)| (name, trim(value))).collect())
        }
        Value::Array(all) => Value::Array(all.into_iter().map(trim).collect()),
        other => other,
    }
}

/// What rules read of a field: of volumes those that are ConfigMaps, Secrets or claims, of templates the labels, of selectors those
/// of Services.
fn read_of(name: &str, value: Value) -> Option<Value> {
    match name {
        "volumes" => {
            let all = value.as_array()?.iter().filter(|one| one.get("projected").is_none()).cloned();
            let all: Vec<Value> = all.collect();
            (!all.is_empty()).then_some(Value::Array(all))
        }
        "template" => Some(json!({ "metadata": { "labels": value.pointer("/metadata/labels")? } })),
        "selector" => value.get("matchLabels").is_none().then_some(value),
        _ if NOISE.contains(&name) || value.is_null() || name.starts_with("kubectl.kubernetes.io/") => None,
        _ => Some(value),
    }
}
