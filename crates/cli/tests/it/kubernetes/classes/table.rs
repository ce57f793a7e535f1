//! The classes of failure: what a release has that is wrong, what else is in its namespace by then, and what is said of it.

use super::End::{self, Fails, RefusedBefore, RunsOut};
use serde_json::{Value, json};

/// A release that is as it should be becomes one that is not.
pub(super) struct Class {
    /// Of the app and of its namespace.
    pub(super) name: &'static str,
    /// How the deployment of the second release ends.
    pub(super) end: End,
    /// What the person is told, besides others.
    pub(super) says: &'static str,
    /// What somebody puts into the namespace between both releases.
    pub(super) meanwhile: Vec<Value>,
    /// The objects of the second release.
    pub(super) bad: Vec<Value>,
}

/// Where the images come from that cannot be had.
pub(super) struct Images<'a> {
    /// A registry that has no image.
    pub(super) empty: &'a str,
    /// What answers with a status, for each.
    pub(super) answers: [(u16, &'a str); 3],
}

/// A Deployment of one pod as it should be, with these fields of its container and its pod.
pub(super) fn web(container: Value, pod: Value) -> Value {
    let mut spec = json!({
        "terminationGracePeriodSeconds": 0,
        "containers": [{
            "name": "web", "image": "deployctl.test/web:v1", "command": ["/pod", "serve", "8080"],
            "readinessProbe": { "httpGet": { "path": "/healthz", "port": 8080 }, "periodSeconds": 1 },
        }],
    });
    merge(&mut spec["containers"][0], container);
    merge(&mut spec, pod);
    let labels = json!({ "app": "web" });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
        "spec": {
            "replicas": 1, "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": spec },
        },
    })
}

fn merge(into: &mut Value, from: Value) {
    let Value::Object(from) = from else { return };
    for (name, value) in from {
        into[name] = value;
    }
}

fn object(version: &str, kind: &str, name: &str, rest: Value) -> Value {
    let mut object = json!({ "apiVersion": version, "kind": kind, "metadata": { "name": name } });
    merge(&mut object, rest);
    object
}

fn class(name: &'static str, end: End, says: &'static str, bad: Vec<Value>) -> Class {
    Class { name, end, says, meanwhile: Vec::new(), bad }
}

fn container(name: &'static str, end: End, says: &'static str, fields: Value) -> Class {
    class(name, end, says, vec![web(fields, json!({}))])
}

fn pod(name: &'static str, end: End, says: &'static str, fields: Value) -> Class {
    class(name, end, says, vec![web(json!({}), fields)])
}

/// What can never become right.
pub(super) fn never(images: &Images<'_>) -> Vec<Class> {
    let mut all = refused();
    all.extend(configuration());
    all.extend(admission());
    all.extend([
        container("image-gone", Fails, "not found", json!({ "image": format!("{}/web:gone", images.empty) })),
        container("image-name", Fails, "invalid reference format", json!({ "image": "Web:v1" })),
        container(
            "image-never",
            Fails,
            "pull policy of Never",
            json!({ "image": "deployctl.test/gone:1", "imagePullPolicy": "Never" }),
        ),
        container("no-program", Fails, "no such file or directory", json!({ "command": ["/gone"] })),
        container("as-root", Fails, "image will run as root", json!({ "securityContext": { "runAsNonRoot": true } })),
        class("job-fails", Fails, "BackoffLimitExceeded", vec![good(), job(json!({ "backoffLimit": 0 }), "exit")]),
        class("job-late", Fails, "DeadlineExceeded", vec![good(), job(json!({ "activeDeadlineSeconds": 1 }), "serve")]),
    ]);
    all
}

fn good() -> Value {
    web(json!({}), json!({}))
}

fn job(fields: Value, does: &str) -> Value {
    let container =
        json!({ "name": "migrate", "image": "deployctl.test/web:v1", "command": ["/pod", does, "4", "no table"] });
    let pod = json!({ "restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container] });
    let mut spec = json!({ "template": { "spec": pod } });
    merge(&mut spec, fields);
    object("batch/v1", "Job", "migrate", json!({ "spec": spec }))
}

/// What the server refuses by the dry run.
fn refused() -> Vec<Class> {
    let mut field = good();
    field["spec"]["replicsa"] = 2.into();
    let mut kind = good();
    kind["kind"] = "Deploymint".into();
    let name = object("v1", "ConfigMap", "More_Words", json!({ "data": {} }));
    let mut policy = good();
    policy["metadata"]["labels"] = json!({ "forbidden": "deployment" });
    vec![
        class("unknown-field", RefusedBefore(2), "spec.replicsa", vec![field]),
        class("unknown-kind", RefusedBefore(2), "knows no kind Deploymint in apps/v1", vec![kind]),
        class("invalid-name", RefusedBefore(2), "Invalid value: \"More_Words\"", vec![good(), name]),
        class("policy-of-objects", RefusedBefore(3), "denied request: it is forbidden here", vec![policy]),
    ]
}

fn configuration() -> Vec<Class> {
    let from = |what: Value| json!({ "env": [{ "name": "X", "valueFrom": what }] });
    let mounted = |volume: Value| {
        let mount = json!({ "volumeMounts": [{ "name": "v", "mountPath": "/v" }] });
        let mut named = json!({ "name": "v" });
        merge(&mut named, volume);
        web(mount, json!({ "volumes": [named] }))
    };
    let map = || object("v1", "ConfigMap", "settings", json!({ "data": { "other": "x" } }));
    let secret = || object("v1", "Secret", "login", json!({ "stringData": { "other": "x" } }));
    let (no_map, no_secret) = ("configmap \"settings\" not found", "secret \"login\" not found");
    let map_key = from(json!({ "configMapKeyRef": { "name": "settings", "key": "mode" } }));
    let secret_key = || from(json!({ "secretKeyRef": { "name": "login", "key": "user" } }));
    let items = json!([{ "key": "user", "path": "user" }]);
    vec![
        container("no-map", Fails, no_map, json!({ "envFrom": [{ "configMapRef": { "name": "settings" } }] })),
        class("no-mounted-map", Fails, no_map, vec![mounted(json!({ "configMap": { "name": "settings" } }))]),
        container("no-secret", Fails, no_secret, secret_key()),
        class("no-mounted-secret", Fails, no_secret, vec![mounted(json!({ "secret": { "secretName": "login" } }))]),
        class(
            "no-key-of-map",
            Fails,
            "couldn't find key mode in ConfigMap no-key-of-map/settings",
            vec![map(), web(map_key, json!({}))],
        ),
        class(
            "no-key-of-secret",
            Fails,
            "couldn't find key user in Secret no-key-of-secret/login-",
            vec![secret(), web(secret_key(), json!({}))],
        ),
        class(
            "no-mounted-key",
            Fails,
            "references non-existent secret key: user",
            vec![secret(), mounted(json!({ "secret": { "secretName": "login", "items": items } }))],
        ),
    ]
}

fn admission() -> Vec<Class> {
    let secured = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": "pod-security", "labels": { "pod-security.kubernetes.io/enforce": "restricted" },
    } });
    let limits = json!({ "spec": { "limits": [{ "type": "Container", "max": { "memory": "64Mi" } }] } });
    let large = json!({ "resources": { "limits": { "memory": "128Mi" } } });
    let changed = || web(json!({ "env": [{ "name": "X", "value": "y" }] }), json!({}));
    let mut policy = good();
    policy["spec"]["template"]["metadata"]["labels"]["forbidden"] = "pod".into();
    let with = |class: Class, meanwhile: Value| Class { meanwhile: vec![meanwhile], ..class };
    let strict = json!({ "spec": { "hard": { "limits.cpu": "1" } } });
    vec![
        with(class("pod-security", Fails, "violates PodSecurity \"restricted:latest\"", vec![changed()]), secured),
        with(
            container("limit-range", Fails, "maximum memory usage per Container is 64Mi", large),
            object("v1", "LimitRange", "small", limits),
        ),
        with(
            class("quota-wants-limits", Fails, "must specify limits.cpu", vec![changed()]),
            object("v1", "ResourceQuota", "strict", strict),
        ),
        class("policy-of-pods", Fails, "denied request: it is forbidden here", vec![policy]),
        pod("no-account", Fails, "serviceaccount \"deployer\" not found", json!({ "serviceAccountName": "deployer" })),
        pod("no-priority", Fails, "no PriorityClass with name high", json!({ "priorityClassName": "high" })),
    ]
}

/// What may heal.
pub(super) fn perhaps(images: &Images<'_>) -> Vec<Class> {
    let words = |status| match status {
        401 => ("pull-401", "[manifests v1]: 401"),
        429 => ("pull-429", "[manifests v1]: 429"),
        _ => ("pull-503", "[manifests v1]: 503"),
    };
    let pulls = images.answers.iter().map(|(status, address)| {
        let (name, says) = words(*status);
        container(name, RunsOut, says, json!({ "image": format!("{address}/web:v1") }))
    });
    let mut all: Vec<Class> = pulls.collect();
    let exits = json!({ "command": ["/pod", "exit", "3", "no table"] });
    let init = json!([{ "name": "migrate", "image": "deployctl.test/web:v1", "command": ["/pod", "exit", "3"] }]);
    let gone = json!([{ "name": "v", "persistentVolumeClaim": { "claimName": "gone" } }]);
    all.extend([
        container("registry-away", RunsOut, "failed to do request", json!({ "image": "127.0.0.1:9/web:v1" })),
        container("crash-loop", RunsOut, "ended with exit code 3", exits),
        pod("crash-loop-of-init", RunsOut, "container migrate", json!({ "initContainers": init })),
        container(
            "unready",
            RunsOut,
            "Readiness probe failed",
            json!({ "env": [{ "name": "UNREADY", "value": "yes" }] }),
        ),
        pod(
            "no-node",
            RunsOut,
            "didn't match Pod's node affinity/selector",
            json!({ "nodeSelector": { "disk": "ssd" } }),
        ),
        container("no-room", RunsOut, "Insufficient cpu", json!({ "resources": { "requests": { "cpu": "1000" } } })),
        pod("no-claim", RunsOut, "persistentvolumeclaim \"gone\" not found", json!({ "volumes": gone })),
        class("job-tries", RunsOut, "failed (of 6 that may)", vec![good(), job(json!({}), "exit")]),
    ]);
    all.extend(of_namespaces());
    all
}

/// What others could put right.
fn of_namespaces() -> Vec<Class> {
    let changed = || web(json!({ "env": [{ "name": "X", "value": "y" }] }), json!({}));
    let claim = |storage: &str| {
        let size = json!({ "requests": { "storage": "1Mi" } });
        let spec = json!({ "accessModes": ["ReadWriteOnce"], "resources": size, "storageClassName": storage });
        object("v1", "PersistentVolumeClaim", "data", json!({ "spec": spec }))
    };
    let quota = object("v1", "ResourceQuota", "small", json!({ "spec": { "hard": { "pods": "1" } } }));
    let mut called = good();
    called["spec"]["template"]["metadata"]["labels"]["asked"] = "webhook".into();
    vec![
        Class { meanwhile: vec![quota], ..class("quota", RunsOut, "exceeded quota: small", vec![changed()]) },
        class("webhook-away", RunsOut, "failed calling webhook", vec![called]),
        class("claim-no-class", RunsOut, "storageclass.storage.k8s.io \"fast\" not found", vec![good(), claim("fast")]),
        class("claim-no-volume", RunsOut, "no persistent volumes available", vec![good(), claim("")]),
    ]
}
