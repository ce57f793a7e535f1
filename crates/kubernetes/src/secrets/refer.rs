//! Where objects refer to Secrets by name.

use crate::object::Name;
use serde_json::Value;
use std::collections::BTreeMap;

type Names = BTreeMap<String, String>;

/// Names of Secrets in a pod's `spec`; `*` is every item of a list.
const OF_PODS: &[&str] = &[
    "imagePullSecrets/*/name",
    "volumes/*/secret/secretName",
    "volumes/*/projected/sources/*/secret/name",
    "volumes/*/csi/nodePublishSecretRef/name",
    "volumes/*/azureFile/secretName",
    "volumes/*/cephfs/secretRef/name",
    "volumes/*/cinder/secretRef/name",
    "volumes/*/flexVolume/secretRef/name",
    "volumes/*/iscsi/secretRef/name",
    "volumes/*/rbd/secretRef/name",
    "volumes/*/scaleIO/secretRef/name",
    "volumes/*/storageos/secretRef/name",
];
/// And in each of its containers.
const OF_CONTAINERS: &[&str] = &["env/*/valueFrom/secretKeyRef/name", "envFrom/*/secretRef/name"];
const CONTAINERS: &[&str] = &["containers", "initContainers", "ephemeralContainers"];
/// And in other kinds, by group.
const OF_KINDS: &[(&str, &str, &[&str])] = &[
    ("", "ServiceAccount", &["secrets/*/name", "imagePullSecrets/*/name"]),
    ("networking.k8s.io", "Ingress", &["spec/tls/*/secretName"]),
];
/// Groups whose objects say nothing of Secrets but what is known here.
const KNOWN: &[&str] = &[
    "",
    "apps",
    "batch",
    "autoscaling",
    "policy",
    "networking.k8s.io",
    "rbac.authorization.k8s.io",
    "gateway.networking.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
];
/// Kinds of these groups that may say more.
const OPEN: &[&str] = &["PersistentVolume"];

/// Puts the new names wherever it is known that a Secret is meant.
pub(super) fn rewrite(object: &mut Value, names: &Names) {
    let Some(name) = Name::of(object) else { return };
    let kinds = OF_KINDS.iter().filter(|(group, kind, _)| *group == name.group() && *kind == name.kind);
    for path in kinds.flat_map(|(_, _, paths)| *paths) {
        at(object, path, &mut |value| renamed(value, names));
    }
    match (name.group(), name.kind.as_str()) {
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => {
            at(object, "rules/*", &mut |rule| of_rule(rule, names))
        }
        ("gateway.networking.k8s.io", "Gateway") => {
            for path in [
                "spec/listeners/*/tls/certificateRefs/*",
                "spec/listeners/*/tls/frontendValidation/caCertificateRefs/*",
            ] {
                at(object, path, &mut |to| of_typed(to, names));
            }
        }
        _ => {}
    }
    if let Some(spec) = object.get_mut("spec") {
        pods(spec, names);
    }
}

/// What may mean one of these Secrets in a way that only others know, for people.
pub(super) fn unknown(object: &Value, names: &Names) -> Vec<String> {
    let Some(name) = Name::of(object) else { return Vec::new() };
    let mut found = Vec::new();
    for (key, value) in object["metadata"]["annotations"].as_object().into_iter().flatten() {
        let said = value.as_str().unwrap_or_default();
        let last = said.rsplit('/').next().unwrap_or_default();
        found.extend(names.get_key_value(last).map(|named| (format!("metadata.annotations.{key}"), named)));
    }
    if !KNOWN.contains(&name.group()) || OPEN.contains(&name.kind.as_str()) {
        for (key, value) in object.as_object().into_iter().flatten() {
            if !matches!(key.as_str(), "apiVersion" | "kind" | "metadata" | "status") {
                named_below(value, key.clone(), names, &mut found);
            }
        }
    }
    let line = |(path, (old, new)): (String, (&String, &String))| {
        format!(
            "{name} names `{old}` in {path}, which is left as it is: if the Secret is meant, it is called {new} now"
        )
    };
    found.into_iter().map(line).collect()
}

fn named_below<'a>(value: &Value, path: String, names: &'a Names, found: &mut Vec<(String, (&'a String, &'a String))>) {
    match value {
        Value::String(text) => found.extend(names.get_key_value(text).map(|named| (path, named))),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, item)| named_below(item, format!("{path}[{i}]"), names, found));
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| named_below(value, format!("{path}.{key}"), names, found));
        }
        _ => {}
    }
}

/// Visits what stands at a path.
fn at(value: &mut Value, path: &str, visit: &mut dyn FnMut(&mut Value)) {
    let (first, rest) = path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let below: Vec<&mut Value> = match (first, value) {
        ("*", Value::Array(items)) => items.iter_mut().collect(),
        (key, Value::Object(fields)) => fields.get_mut(key).into_iter().collect(),
        _ => Vec::new(),
    };
    for value in below {
        match rest {
            Some(rest) => at(value, rest, visit),
            None => visit(value),
        }
    }
}

fn renamed(value: &mut Value, names: &Names) {
    if let Some(new) = value.as_str().and_then(|name| names.get(name)) {
        *value = Value::from(new.as_str());
    }
}

/// A reference that says which kind it means; a Secret if it does not.
fn of_typed(to: &mut Value, names: &Names) {
    let is = |key: &str, usual: &str| to[key].as_str().is_none_or(|said| said == usual);
    if is("kind", "Secret") && is("group", "") {
        at(to, "name", &mut |name| renamed(name, names));
    }
}

/// A rule about single Secrets.
fn of_rule(rule: &mut Value, names: &Names) {
    let has = |key: &str, wanted: &str| rule[key].as_array().is_some_and(|all| all.iter().any(|one| one == wanted));
    if has("resources", "secrets") && has("apiGroups", "") {
        at(rule, "resourceNames/*", &mut |name| renamed(name, names));
    }
}

/// Whatever has containers is taken for a pod, however deep it stands: custom resources have pods in them, too.
fn pods(value: &mut Value, names: &Names) {
    match value {
        Value::Object(fields) => {
            let is_pod = fields.get("containers").is_some_and(Value::is_array);
            fields.values_mut().for_each(|value| pods(value, names));
            if is_pod {
                pod(value, names);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| pods(item, names)),
        _ => {}
    }
}

fn pod(spec: &mut Value, names: &Names) {
    for path in OF_PODS {
        at(spec, path, &mut |value| renamed(value, names));
    }
    for list in CONTAINERS {
        for path in OF_CONTAINERS {
            at(spec, &format!("{list}/*/{path}"), &mut |value| renamed(value, names));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn names() -> Names {
        [("db".to_owned(), "db-1".to_owned()), ("tls".to_owned(), "tls-1".to_owned())].into()
    }

    fn object(api_version: &str, kind: &str, more: Value) -> Value {
        let mut object = json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": "x" } });
        object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object
    }

    fn deployment(pod: Value) -> Value {
        object("apps/v1", "Deployment", json!({ "spec": { "template": { "spec": pod } } }))
    }

    /// What is, where the name stands after it.
    fn cases() -> Vec<(&'static str, Value)> {
        let with = |more: Value| {
            let mut pod = json!({ "containers": [{ "name": "c" }] });
            pod.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            pod
        };
        let volume = |volume: Value| deployment(with(json!({ "volumes": [{ "name": "v" }, volume] })));
        let container = |more: Value| json!({ "containers": [{ "name": "a" }, more] });
        let env = json!({ "name": "c", "env": [{ "name": "A" }, { "name": "B", "valueFrom": { "secretKeyRef": { "name": "db", "key": "k" } } }] });
        let pod = "/spec/template/spec";
        let cron = json!({ "spec": { "jobTemplate": { "spec": { "template": { "spec": container(env.clone()) } } } } });
        let custom = json!({ "spec": { "pods": [{ "spec": container(env.clone()) }] } });
        let rule = json!({ "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["db"] });
        let listener = |to: Value| json!({ "spec": { "listeners": [{ "tls": { "certificateRefs": [to] } }] } });
        let gateway = |to| object("gateway.networking.k8s.io/v1", "Gateway", listener(to));
        let at = |end: &'static str| format!("{pod}{end}").leak() as &'static str;
        vec![
            (at("/volumes/1/secret/secretName"), volume(json!({ "secret": { "secretName": "db" } }))),
            (
                at("/volumes/1/projected/sources/0/secret/name"),
                volume(json!({ "projected": { "sources": [{ "secret": { "name": "db" } }] } })),
            ),
            (
                at("/volumes/1/csi/nodePublishSecretRef/name"),
                volume(json!({ "csi": { "nodePublishSecretRef": { "name": "db" } } })),
            ),
            (at("/volumes/1/azureFile/secretName"), volume(json!({ "azureFile": { "secretName": "db" } }))),
            (at("/volumes/1/rbd/secretRef/name"), volume(json!({ "rbd": { "secretRef": { "name": "db" } } }))),
            (at("/imagePullSecrets/0/name"), deployment(with(json!({ "imagePullSecrets": [{ "name": "db" }] })))),
            (at("/containers/1/env/1/valueFrom/secretKeyRef/name"), deployment(container(env.clone()))),
            (
                at("/initContainers/0/envFrom/0/secretRef/name"),
                deployment(with(json!({ "initContainers": [{ "envFrom": [{ "secretRef": { "name": "db" } }] }] }))),
            ),
            (
                "/spec/jobTemplate/spec/template/spec/containers/1/env/1/valueFrom/secretKeyRef/name",
                object("batch/v1", "CronJob", cron),
            ),
            (
                "/spec/pods/0/spec/containers/1/env/1/valueFrom/secretKeyRef/name",
                object("example.com/v1", "Shop", custom),
            ),
            ("/secrets/0/name", object("v1", "ServiceAccount", json!({ "secrets": [{ "name": "db" }] }))),
            (
                "/imagePullSecrets/0/name",
                object("v1", "ServiceAccount", json!({ "imagePullSecrets": [{ "name": "db" }] })),
            ),
            (
                "/spec/tls/0/secretName",
                object("networking.k8s.io/v1", "Ingress", json!({ "spec": { "tls": [{ "secretName": "db" }] } })),
            ),
            ("/rules/0/resourceNames/0", object("rbac.authorization.k8s.io/v1", "Role", json!({ "rules": [rule] }))),
            ("/spec/listeners/0/tls/certificateRefs/0/name", gateway(json!({ "name": "db" }))),
            (
                "/spec/listeners/0/tls/certificateRefs/0/name",
                gateway(json!({ "kind": "Secret", "group": "", "name": "db" })),
            ),
        ]
    }

    #[test]
    fn known_references_follow_and_nothing_else_changes() {
        for (place, before) in cases() {
            let mut after = before.clone();
            rewrite(&mut after, &names());
            assert_eq!(after.pointer(place), Some(&json!("db-1")), "{place} of {after}");
            *after.pointer_mut(place).unwrap() = json!("db");
            assert_eq!(after, before, "only {place}");
            // A Secret that is not of the release is not ours to rename.
            let mut same = before.clone();
            rewrite(&mut same, &[("other".to_owned(), "other-1".to_owned())].into());
            assert_eq!(same, before);
        }
    }

    #[test]
    fn the_same_word_elsewhere_means_something_else() {
        let map = json!({ "volumes": [{ "configMap": { "name": "db" } }], "containers": [{ "name": "db", "env": [
            { "name": "A", "value": "db", "valueFrom": { "configMapKeyRef": { "name": "db" } } }] }] });
        let rule = json!({ "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["db"] });
        let to = json!({ "kind": "ConfigMap", "name": "db" });
        let listener = json!({ "spec": { "listeners": [{ "tls": { "certificateRefs": [to] } }] } });
        for object in [
            deployment(map),
            object("v1", "Service", json!({ "spec": { "selector": { "app": "db" } } })),
            object("rbac.authorization.k8s.io/v1", "Role", json!({ "rules": [rule] })),
            object("gateway.networking.k8s.io/v1", "Gateway", listener),
        ] {
            let mut after = object.clone();
            rewrite(&mut after, &names());
            assert_eq!(after, object);
            assert_eq!(unknown(&object, &names()), Vec::<String>::new());
        }
    }

    #[test]
    fn what_only_others_understand_is_told() {
        let custom = object("example.com/v1", "Shop", json!({ "spec": { "store": [{ "credentials": "db" }] } }));
        let left = "which is left as it is: if the Secret is meant, it is called db-1 now";
        assert_eq!(unknown(&custom, &names()), [format!("Shop/x names `db` in spec.store[0].credentials, {left}")]);
        let ingress = object(
            "networking.k8s.io/v1",
            "Ingress",
            json!({ "metadata": { "name": "x", "annotations": { "nginx.ingress.kubernetes.io/auth-secret": "shop/db" } } }),
        );
        assert_eq!(
            unknown(&ingress, &names()),
            [format!("Ingress/x names `db` in metadata.annotations.nginx.ingress.kubernetes.io/auth-secret, {left}")]
        );
        let volume = json!({ "spec": { "csi": { "nodeStageSecretRef": { "name": "db" } } } });
        assert_eq!(unknown(&object("v1", "PersistentVolume", volume), &names()).len(), 1);
    }
}
