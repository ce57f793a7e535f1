//! The classes: what is applied, and what is to be said of it.

mod more;

use deployctl_kubernetes::verdict::Word;
use deployctl_live::kube::POD;
use serde_json::{Value, json};

/// Objects in a namespace of their own, of the class's name.
pub(super) struct Class {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) objects: Vec<Value>,
    /// Which object, its verdict, and some words of its reason.
    pub(super) wanted: Vec<(String, Word, &'static str)>,
}

/// A Deployment `web` of one pod; the container and the pod have these fields besides.
pub(super) fn deployment(space: &str, container: Value, pod: Value) -> Value {
    workload("Deployment", "web", space, container, pod)
}

fn workload(kind: &str, name: &str, space: &str, container: Value, pod: Value) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": { "name": name, "namespace": space },
        "spec": {
            "selector": { "matchLabels": { "app": name } },
            "template": { "metadata": { "labels": { "app": name } }, "spec": template(container, pod) },
        },
    });
    match kind {
        "Deployment" => object["spec"]["replicas"] = json!(1),
        "StatefulSet" => object["spec"]["serviceName"] = json!(name),
        _ => {}
    }
    object
}

fn template(container: Value, pod: Value) -> Value {
    let mut spec = json!({ "terminationGracePeriodSeconds": 0, "containers": [{ "name": "web", "image": POD, "args": ["serve", "8080"] }] });
    merge(&mut spec["containers"][0], container);
    merge(&mut spec, pod);
    spec
}

fn merge(into: &mut Value, from: Value) {
    let Value::Object(from) = from else { return };
    for (name, value) in from {
        into[name] = value;
    }
}

fn space(name: &str, labels: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } })
}

/// A class whose only object is the Deployment `web`.
fn web(
    name: &'static str,
    about: &'static str,
    container: Value,
    pod: Value,
    word: Word,
    words: &'static str,
) -> Class {
    class(name, about, vec![deployment(name, container, pod)], vec![("Deployment/web", word, words)])
}

fn class(
    name: &'static str,
    about: &'static str,
    objects: Vec<Value>,
    wanted: Vec<(&str, Word, &'static str)>,
) -> Class {
    let objects = [vec![space(name, json!({}))], objects].concat();
    Class {
        name,
        about,
        objects,
        wanted: wanted.into_iter().map(|(which, word, words)| (which.to_owned(), word, words)).collect(),
    }
}

fn object(version: &str, kind: &str, name: &str, space: &str, rest: Value) -> Value {
    let mut object = json!({ "apiVersion": version, "kind": kind, "metadata": { "name": name, "namespace": space } });
    merge(&mut object, rest);
    object
}

/// All of them; `registry` has no image, and `broken` answers as the image's name says.
pub(super) fn classes(registry: &str, broken: &str) -> Vec<Class> {
    let of_pods = [images(registry, broken), configuration(), starts(), admission()].into_iter().flatten();
    let others = [more::jobs(), more::claims(), more::scaling(), more::services(), more::in_place(), more::whole()];
    of_pods.chain(others.into_iter().flatten()).collect()
}

fn images(registry: &str, broken: &str) -> Vec<Class> {
    let image = |name: String| json!({ "image": name });
    let none = || json!({});
    vec![
        web(
            "image-gone",
            "the registry has no such image",
            image(format!("{registry}/shop/gone:v1")),
            none(),
            Word::Failed,
            "not found",
        ),
        web(
            "registry-500",
            "the registry answers 500",
            image(format!("{broken}/s500/web:v1")),
            none(),
            Word::Progressing,
            "500 Internal Server Error",
        ),
        web(
            "registry-429",
            "the registry answers 429",
            image(format!("{broken}/s429/web:v1")),
            none(),
            Word::Progressing,
            "429 Too Many Requests",
        ),
        web(
            "registry-401",
            "the registry wants a login",
            image(format!("{broken}/s401/web:v1")),
            none(),
            Word::Progressing,
            "401 Unauthorized",
        ),
        web(
            "registry-away",
            "nobody answers for the registry",
            image("127.0.0.1:9/web:v1".into()),
            none(),
            Word::Progressing,
            "failed to do request",
        ),
        web(
            "image-name",
            "the name of the image is none",
            image("Web:v1".into()),
            none(),
            Word::Failed,
            "invalid reference format",
        ),
        web(
            "image-never",
            "the image is not there and must not be pulled",
            json!({ "image": "deployctl.test/gone:1", "imagePullPolicy": "Never" }),
            none(),
            Word::Failed,
            "pull policy of Never",
        ),
    ]
}

fn configuration() -> Vec<Class> {
    let from = |what: Value| json!({ "env": [{ "name": "X", "valueFrom": what }] });
    let mounted = |volume: Value| {
        (json!({ "volumeMounts": [{ "name": "v", "mountPath": "/v" }] }), json!({ "volumes": [volume] }))
    };
    let (mount, volume) = mounted(json!({ "name": "v", "configMap": { "name": "settings" } }));
    let (key_mount, key_volume) = mounted(
        json!({ "name": "v", "secret": { "secretName": "login", "items": [{ "key": "user", "path": "user" }] } }),
    );
    let secret = |space| object("v1", "Secret", "login", space, json!({ "data": { "other": "eA==" } }));
    let mut classes = vec![
        web(
            "no-config-map",
            "a ConfigMap is missing",
            json!({ "envFrom": [{ "configMapRef": { "name": "settings" } }] }),
            json!({}),
            Word::Failed,
            "configmap \"settings\" not found",
        ),
        web(
            "no-secret",
            "a Secret is missing",
            from(json!({ "secretKeyRef": { "name": "login", "key": "user" } })),
            json!({}),
            Word::Failed,
            "secret \"login\" not found",
        ),
        web(
            "no-mount",
            "a ConfigMap that is mounted is missing",
            mount,
            volume,
            Word::Failed,
            "configmap \"settings\" not found",
        ),
    ];
    for (name, about, container, pod, words) in [
        (
            "no-key",
            "a key of a Secret is missing",
            from(json!({ "secretKeyRef": { "name": "login", "key": "user" } })),
            json!({}),
            "couldn't find key user in Secret",
        ),
        (
            "no-mounted-key",
            "a key of a Secret that is mounted is missing",
            key_mount,
            key_volume,
            "non-existent secret key: user",
        ),
    ] {
        classes.push(class(
            name,
            about,
            vec![secret(name), deployment(name, container, pod)],
            vec![("Deployment/web", Word::Failed, words)],
        ));
    }
    classes
}

fn starts() -> Vec<Class> {
    let unready = json!({
        "env": [{ "name": "UNREADY", "value": "yes" }],
        "readinessProbe": { "httpGet": { "path": "/healthz", "port": 8080 }, "periodSeconds": 1 },
    });
    let init = json!({ "initContainers": [{ "name": "migrate", "image": POD, "args": ["exit", "3"] }] });
    let big = json!({ "resources": { "requests": { "cpu": "1000" } } });
    vec![
        web(
            "exits",
            "the container exits with 1",
            json!({ "args": ["exit", "1", "no", "database"] }),
            json!({}),
            Word::Progressing,
            "crash loop: it ended with exit code 1",
        ),
        web(
            "not-ready",
            "the readiness probe fails",
            unready,
            json!({}),
            Word::Progressing,
            "Readiness probe failed: HTTP probe failed with statuscode: 503",
        ),
        web(
            "no-program",
            "the program is not in the image",
            json!({ "command": ["/gone"] }),
            json!({}),
            Word::Failed,
            "no such file or directory",
        ),
        web(
            "as-root",
            "the image runs as root and must not",
            json!({ "securityContext": { "runAsNonRoot": true } }),
            json!({}),
            Word::Failed,
            "image will run as root",
        ),
        web(
            "init-exits",
            "an init container exits with 3",
            json!({}),
            init,
            Word::Progressing,
            "container migrate: crash loop: it ended with exit code 3",
        ),
        web("unschedulable", "no node has so much room", big, json!({}), Word::Progressing, "Insufficient cpu"),
        web(
            "no-claim",
            "the claim of a pod is missing",
            json!({}),
            json!({ "volumes": [{ "name": "v", "persistentVolumeClaim": { "claimName": "gone" } }] }),
            Word::Progressing,
            "persistentvolumeclaim \"gone\" not found",
        ),
    ]
}

fn admission() -> Vec<Class> {
    let with = |name: &'static str, about, other: Value, container: Value, pod: Value, word, words| {
        class(name, about, vec![other, deployment(name, container, pod)], vec![("Deployment/web", word, words)])
    };
    let quota = |name, hard| object("v1", "ResourceQuota", "small", name, json!({ "spec": { "hard": hard } }));
    let limits = json!({ "spec": { "limits": [{ "type": "Container", "max": { "memory": "64Mi" } }] } });
    let large = json!({ "resources": { "limits": { "memory": "128Mi" } } });
    let mut secured =
        web("pod-security", "pod security forbids the pod", json!({}), json!({}), Word::Failed, "violates PodSecurity");
    secured.objects[0] = space("pod-security", json!({ "pod-security.kubernetes.io/enforce": "restricted" }));
    vec![
        secured,
        with(
            "quota",
            "the quota is used up",
            quota("quota", json!({ "pods": "0" })),
            json!({}),
            json!({}),
            Word::Progressing,
            "exceeded quota: small",
        ),
        with(
            "quota-unspecified",
            "the quota wants limits",
            quota("quota-unspecified", json!({ "limits.cpu": "1" })),
            json!({}),
            json!({}),
            Word::Failed,
            "must specify limits.cpu",
        ),
        with(
            "limit-range",
            "a limit range forbids the pod",
            object("v1", "LimitRange", "small", "limit-range", limits),
            large,
            json!({}),
            Word::Failed,
            "maximum memory usage per Container is 64Mi",
        ),
        web(
            "no-account",
            "the service account is missing",
            json!({}),
            json!({ "serviceAccountName": "deployer" }),
            Word::Failed,
            "serviceaccount \"deployer\" not found",
        ),
        web(
            "no-priority-class",
            "the priority class is missing",
            json!({}),
            json!({ "priorityClassName": "high" }),
            Word::Failed,
            "no PriorityClass with name high",
        ),
    ]
}
